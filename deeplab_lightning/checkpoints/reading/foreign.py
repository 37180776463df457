"""What every reader returns, and the words for a file that it cannot read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from ...errors import CheckpointError

Container = Literal["pytorch", "caffe", "tensorflow", "tflite"]
"""Whose names and kernel layouts a file has: PyTorch and Caffe `(out, in, h, w)`; TensorFlow `(h, w, in, out)`,
depthwise `(h, w, in, multiplier)`; TFLite `(out, h, w, in)`, depthwise `(1, h, w, out)`."""


@dataclass(frozen=True)
class ForeignFile:
    """The tensors of a file, by their own names and in their own layout.

    Attributes:
        path: Where it is.
        container: Whose layout the kernels have.
        tensors: Weights by name.
        facts: What the file says besides; `tflite.py` describes its own.
    """

    path: Path
    container: Container
    tensors: dict[str, Tensor]
    facts: dict[str, Any] = field(default_factory=dict)


class UnknownForm(Exception):  # noqa: N818 - becomes a CheckpointError, with the file's name
    """A file is whole, but nothing that can be taken over; the message completes "FILE cannot be read: "."""


class BrokenFile(Exception):  # noqa: N818 - becomes a CheckpointError, with the file's name
    """A file does not hold what its form demands; the message completes "FILE cannot be read: "."""


@contextmanager
def explained(path: Path, kind: str) -> Iterator[None]:
    """Name the file in whatever goes wrong while it is read."""
    try:
        yield
    except UnknownForm as error:
        raise CheckpointError(f"{path} is {kind} that cannot be taken over: {error}.") from error
    except BrokenFile as error:
        raise CheckpointError(
            f"{path} looks like {kind}, but cannot be read: {error}. Was its download or copying cut short? Compare "
            f"its size with the original's."
        ) from error
