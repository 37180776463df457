"""What a network really computes, read off an executed forward pass and not off its configuration."""

from .activations import capture, find_parts
from .report import report, warnings_of, write_layers_csv
from .tracing import Layer, Part, Trace, trace

__all__ = [
    "Layer",
    "Part",
    "Trace",
    "capture",
    "find_parts",
    "report",
    "trace",
    "warnings_of",
    "write_layers_csv",
]
