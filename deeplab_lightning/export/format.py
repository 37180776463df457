"""What a file format is: what is asked of it, and what it hands to the gate."""

from __future__ import annotations

import importlib
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ..errors import ConfigError, did_you_mean
from ..plugins import subclasses

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor

    from ..models import Network
    from .model import ImageModel

Precision = Literal["fp32", "fp16", "bf16", "int8"]
Outputs = Literal["classes", "probs", "logits", "coarse_logits"]
"""What a file gives: class ids at full size, probabilities, logits, or logits before the last resize."""
Inputs = Literal["pixels", "normalised"]
"""What a file takes: stored pixels, or normalised ones."""
Run = Callable[["np.ndarray"], "np.ndarray"]
"""An image `(B, C, H, W)` in, one output out."""
RunToAll = Callable[["np.ndarray"], "Sequence[np.ndarray]"]
"""An image `(B, C, H, W)` in, several outputs out."""
NO_INT8 = "int8 needs images to measure activations on, which only the ONNX path here does: --format onnx"


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
        one_size: Write a file for one image of the example's size. See `Format.sizes`.
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
        """`(H, W)` that alone a file takes that is written so, for one image at a time; None for any."""
        height, width = self.example.shape[-2:]
        return (height, width) if self.one_size else None

    @property
    def image(self) -> Tensor:
        """The example as the file takes it: of one size, one image alone."""
        return self.example[:1].clone() if self.one_size else self.example

    def expect_precision(self, found: str) -> None:
        """Refuse a file whose weights are `found` to be in another precision than it would say of itself."""
        if found != self.precision:
            raise ConfigError(
                f"{self.path} came out in {found}, not in {self.precision}: what works is --precision {found}."
            )


@dataclass(frozen=True)
class Exported:
    """A file that was written, ready to run.

    Attributes:
        path: The file.
        run: Runs the file itself.
        run_logits: Runs the same graph to its full-size logits; None where the output are coarse logits.
        fixed_size: `(H, W)` that alone it takes, one image at a time; None for any.
        runtime: What ran it, with its version.
        notes: What a user must know.
        beside: Other files that were written.
        weights: The one of them that holds the weights, where the file itself does not.
        run_objects: Runs the file to `panoptic_ending.OBJECT_OUTPUTS`; None where it finds no objects.
    """

    path: Path
    run: Run
    run_logits: Run | None
    fixed_size: tuple[int, int] | None
    runtime: str
    notes: tuple[str, ...] = ()
    beside: tuple[Path, ...] = ()
    weights: Path | None = None
    run_objects: RunToAll | None = None

    @property
    def bytes(self) -> int:
        """Of all that is needed to run it."""
        return sum(path.stat().st_size for path in (self.path, self.weights) if path is not None)


def sizes_in_words(fixed_size: tuple[int, int] | None) -> str:
    """Return what a file takes, in words."""
    if fixed_size is None:
        return "height, width and batch are open"
    return "takes one image of {}x{}".format(*fixed_size)


class Format(ABC):
    """A file format; each is a class in a module of its own in `export.formats`, whose name is the format's.

    A module of a format that runs without PyTorch does not import it: there `benchmark` times its files.
    """

    suffix: ClassVar[str]
    """Ending of its files."""
    precisions: ClassVar[tuple[Precision, ...]]
    """Precisions that it can be written in."""
    why_not: ClassVar[Mapping[str, str]] = {}
    """What to do instead, by the precision that it cannot be written in."""
    made_in: ClassVar[tuple[Precision, ...]] = ()
    """Precisions that writing makes of a float32 model; other ones are the model's own."""
    sizes: ClassVar[Literal["open", "either", "one"]] = "open"
    """Whether a file takes images of any size, of one, or can be written either way."""
    folded: ClassVar[bool] = False
    """Whether batch norms are to be folded beforehand; many a runtime does so itself."""
    finds_objects: ClassVar[bool] = False
    """Whether a model's `objects` go into a file; others hold its classes alone."""
    timed: ClassVar[bool] = False
    """Whether `runner` runs a file without PyTorch, so that `benchmark` can time it."""

    @abstractmethod
    def write(self, order: Order) -> Exported:
        """Write the file, and return it ready to run.

        Raises:
            ConfigError: A package is missing, or the network does not go into the format.
        """

    @abstractmethod
    def runtime(self) -> str:
        """Return what runs the files, with its version, such as `onnxruntime 1.32.0`.

        Raises:
            ConfigError: It is not installed.
        """

    def runner(self, path: Path, output: str, threads: int) -> Run:
        """Return what runs a file to one output on the CPU, without PyTorch, where the format is `timed`."""
        raise NotImplementedError

    def model_dtype(self, precision: Precision) -> torch.dtype:
        """Return what a model's weights are to be for a file of some precision."""
        import torch

        own = {"fp16": torch.float16, "bf16": torch.bfloat16}
        return torch.float32 if precision in self.made_in else own.get(precision, torch.float32)


def format_names() -> list[str]:
    """Return the names of all formats; none is imported for it."""
    return [module.name for module in pkgutil.iter_modules([str(Path(__file__).parent / "formats")])]


def format_named(name: str) -> Format:
    """Return a format of `format_names`; its module alone is imported."""
    module = importlib.import_module(f".formats.{name}", __package__)
    found = subclasses(Format)  # type: ignore[type-abstract]
    return next(one() for one in found if one.__module__ == module.__name__)


def formats() -> dict[str, Format]:
    """Return all formats by name."""
    return {name: format_named(name) for name in format_names()}


def chosen_format(name: str | None, path: Path | None, precision: Precision) -> str:
    """Return the format that is asked for by name or by the file's ending.

    Raises:
        ConfigError: Neither says, they contradict each other, or the format has no such precision.
    """
    known = formats()
    by_suffix = {format.suffix: key for key, format in known.items()}
    suffixes = ", ".join(f"{suffix} ({key})" for suffix, key in by_suffix.items())
    if name is None:
        if path is None:
            raise ConfigError(f"Which format? Give --format {'|'.join(known)}, or -o FILE with its ending.")
        if path.suffix not in by_suffix:
            raise ConfigError(
                f"-o {path}: the ending {path.suffix!r} is of no format.{did_you_mean(path.suffix, by_suffix)} "
                f"Endings: {suffixes}."
            )
        name = by_suffix[path.suffix]
    format = known[name]
    if path is not None and path.suffix != format.suffix:
        raise ConfigError(
            f"-o {path} does not end as --format {name} does: expected {path.with_suffix(format.suffix).name}."
        )
    if precision not in format.precisions:
        raise ConfigError(f"--format {name} has no {precision}. {format.why_not[precision]}.")
    return name


def expect_open_sizes(network: Network, suffix: str) -> None:
    """Refuse a network whose sizes cannot stay open in a graph that is recorded with symbols for them.

    Raises:
        ConfigError: What it has, and the format that works.
    """
    what = network.needs_fixed_size
    if what is not None:
        raise ConfigError(
            f"{what[0].upper()}{what[1:]} is laid out anew for every size, and cannot be written as {suffix} for "
            f"images of any size. What works is --format torchscript, or ONNX or OpenVINO for one size: --size H W."
        )
