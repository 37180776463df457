"""What all formats share: what is asked of them, and what they hand to the gate."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from ..errors import ConfigError, did_you_mean
from ..models import Network
from .model import ImageModel
from .running import Run

Precision = Literal["fp32", "fp16", "bf16", "int8"]


@dataclass(frozen=True)
class Order:
    """What is to be written.

    Attributes:
        model: From image to output.
        example: An image to export with, `(2, C, H, W)`.
        path: The file.
        metadata: For the file to carry.
        precision: Of the file. Either the model has it already, or the format makes it, see `Format.made_in`.
        opset: Of ONNX.
        one_size: Write a file for one image of the example's size. ONNX can have it either way; the other formats are
            as their writers say.
        calibration: For int8: makes images `(1, C, H, W)`, as the file will get them.
    """

    model: ImageModel
    example: Tensor
    path: Path
    metadata: dict[str, Any]
    precision: Precision
    opset: int
    calibration: Callable[[], Iterable[np.ndarray]] | None = None
    one_size: bool = False

    @property
    def fixed_size(self) -> tuple[int, int] | None:
        """`(H, W)` that alone a file takes that is written so; None for any."""
        height, width = self.example.shape[-2:]
        return (height, width) if self.one_size else None

    @property
    def sizes(self) -> str:
        """That in words."""
        if self.fixed_size is None:
            return "height, width and batch are open"
        return "takes one image of {}x{}".format(*self.fixed_size)


@dataclass(frozen=True)
class Exported:
    """A file that was written, ready to run.

    Attributes:
        path: The file.
        run: Runs the file itself.
        run_logits: Runs the same graph to its full-size logits; None where the output are coarse logits.
        fixed_size: `(H, W)` that alone it takes; None for any.
        fixed_batch: Likewise for images at a time.
        runtime: What ran it, with its version.
        notes: What a user must know.
        beside: Other files that were written.
        weights: The one of them that holds the weights, where the file itself does not.
    """

    path: Path
    run: Run
    run_logits: Run | None
    fixed_size: tuple[int, int] | None
    fixed_batch: int | None
    runtime: str
    notes: tuple[str, ...] = ()
    beside: tuple[Path, ...] = ()
    weights: Path | None = None

    @property
    def bytes(self) -> int:
        """Of all that is needed to run it."""
        return sum(path.stat().st_size for path in (self.path, self.weights) if path is not None)


@dataclass(frozen=True)
class Format:
    """A file format.

    Attributes:
        suffix: Of its files.
        precisions: That it can be written in.
        module: Of this folder, with `write(order) -> Exported`.
        why_not: Precision -> what to do instead.
        made_in: Precisions that writing makes of a float32 model; other ones are the model's own.
    """

    suffix: str
    precisions: tuple[Precision, ...]
    module: str
    why_not: dict[str, str]
    made_in: tuple[Precision, ...] = ()

    def model_dtype(self, precision: Precision) -> torch.dtype:
        """Return what a model's weights are to be for a file of some precision."""
        own = {"fp16": torch.float16, "bf16": torch.bfloat16}
        return torch.float32 if precision in self.made_in else own.get(precision, torch.float32)

    def write(self, order: Order) -> Exported:
        """Write the file, and return it ready to run.

        Raises:
            ConfigError: A package is missing, or the network does not go into the format.
        """
        exported: Exported = importlib.import_module(f".{self.module}", __package__).write(order)
        return exported


_INT8 = "int8 needs images to measure activations on, which only the ONNX path here does: --format onnx"
FORMATS = {
    "onnx": Format(
        ".onnx",
        ("fp32", "fp16", "int8"),
        "onnx_file",
        {"bf16": "ONNX Runtime has no bfloat16 convolutions on a CPU: fp16 in ONNX, or --format pt2"},
        ("int8",),
    ),
    "openvino": Format(
        ".xml",
        ("fp32", "fp16"),
        "openvino_file",
        {
            "bf16": "Its weights are fp32 or fp16; either is computed in bfloat16 where OpenVINO is told to",
            "int8": _INT8,
        },
        ("fp16",),
    ),
    "pt2": Format(".pt2", ("fp32", "fp16", "bf16"), "torch_files", {"int8": _INT8}),
    "torchscript": Format(".torchscript", ("fp32", "fp16", "bf16"), "torch_files", {"int8": _INT8}),
    "litert": Format(
        ".tflite", ("fp32",), "litert_file", dict.fromkeys(("fp16", "bf16", "int8"), "LiteRT is written in fp32 here")
    ),
}


def chosen_format(name: str | None, path: Path | None, precision: Precision) -> str:
    """Return the format that is asked for by name or by the file's ending.

    Raises:
        ConfigError: Neither says, they contradict each other, or the format has no such precision.
    """
    by_suffix = {format.suffix: key for key, format in FORMATS.items()}
    suffixes = ", ".join(f"{suffix} ({key})" for suffix, key in by_suffix.items())
    if name is None:
        if path is None:
            raise ConfigError(f"Which format? Give --format {'|'.join(FORMATS)}, or -o FILE with its ending.")
        if path.suffix not in by_suffix:
            raise ConfigError(
                f"-o {path}: the ending {path.suffix!r} is of no format.{did_you_mean(path.suffix, by_suffix)} "
                f"Endings: {suffixes}."
            )
        name = by_suffix[path.suffix]
    if path is not None and path.suffix != FORMATS[name].suffix:
        raise ConfigError(
            f"-o {path} does not end as --format {name} does: expected {path.with_suffix(FORMATS[name].suffix).name}."
        )
    if precision not in FORMATS[name].precisions:
        raise ConfigError(f"--format {name} has no {precision}. {FORMATS[name].why_not[precision]}.")
    return name


def expect_open_sizes(network: Network, suffix: str) -> None:
    """Refuse a network whose sizes cannot stay open in a graph that is recorded with symbols for them.

    Raises:
        ConfigError: What it has, and the format that works.
    """
    what = network.needs_fixed_size
    if what is not None:
        raise ConfigError(
            f"{what[0].upper()}{what[1:]} is laid out anew for every size, cannot be written as {suffix} for images "
            f"of any size. What works is --format torchscript, or ONNX or OpenVINO for one size: --size H W."
        )
