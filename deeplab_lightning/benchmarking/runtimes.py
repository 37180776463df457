"""What can execute a case."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Literal

from ..export.format import formats

Precision = Literal["fp32", "bf16", "fp16"]
PYTORCH = ("eager", "contiguous", "compile")
"""PyTorch in channels-last order, as predict has it; in contiguous order; compiled."""


@dataclass(frozen=True)
class FileRuntime:
    """A runtime of exported files, on the CPU.

    Attributes:
        format: Name of its format.
        one_size: Whether the file is for one image of the case's size.
    """

    format: str
    one_size: bool


@functools.cache
def file_runtimes() -> dict[str, FileRuntime]:
    """Return the runtimes of exported files: for images of any size (`onnx`), or for one (`onnx_one_size`)."""
    return {
        f"{name}_one_size" if one_size else name: FileRuntime(name, one_size)
        for name, format in formats().items()
        if format.timed
        for one_size in (False, True)
    }
