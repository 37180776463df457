"""What can execute a cell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Precision = Literal["fp32", "bf16", "fp16"]
Runtime = Literal["eager", "contiguous", "compile", "onnx", "onnx_one_size", "openvino", "openvino_one_size"]
"""PyTorch in channels-last order, as predict has it; in contiguous order; compiled. Or a file that `export` writes, for
images of any size or for the cell's, in its own runtime on the CPU."""


@dataclass(frozen=True)
class FileRuntime:
    """A runtime of exported files.

    Attributes:
        format: Of `export.formats.FORMATS`.
        one_size: Whether the file is for one image of the cell's size.
    """

    format: str
    one_size: bool


FILE_RUNTIMES: dict[str, FileRuntime] = {
    "onnx": FileRuntime("onnx", False),
    "onnx_one_size": FileRuntime("onnx", True),
    "openvino": FileRuntime("openvino", False),
    "openvino_one_size": FileRuntime("openvino", True),
}
"""All other ones are PyTorch's."""
