"""What a task may learn and score beside the classes: one file each (`depth.py`, `objects.py`)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from torch import Tensor, nn

from ..errors import ConfigError
from ..inference.predictor import Predictor
from ..metrics.by_image import ByImage
from ..models import TrainingMaps
from ..types import Batch

if TYPE_CHECKING:
    from .evaluating import EvaluatedTask


class Seen(NamedTuple):
    """Images of one size whose classes were just predicted."""

    predictor: Predictor
    """That did it."""
    images: Tensor
    """`(B, C, H, W)` as stored."""
    pred: Tensor
    """`(B, H, W)` uint8 classes."""
    masks: Sequence[Tensor]
    """`B` of `(H, W)`."""
    maps: Sequence[Tensor]
    """`B` of the batch entry that the side task learns from."""
    sample_ids: Sequence[str]


class SideTask(nn.Module, ABC):
    """One thing beside the classes; its weights, if it has any, stand in the checkpoint under its name."""

    needs: ClassVar[str]
    """The entry of a batch that it learns from, and what a datamodule is asked to deliver."""
    prefix: ClassVar[str]
    """How the names of its scores begin in the log."""

    @property
    @abstractmethod
    def metrics(self) -> list[ByImage]:
        """Return what counts; their names in the log begin with `prefix`."""

    @abstractmethod
    def losses(self, maps: TrainingMaps, batch: Batch) -> dict[str, Tensor]:
        """Return the weighted losses of a training step by name; the network has just seen the batch."""

    def pixel_weights(self, batch: Batch) -> Tensor | None:
        """Return `(B, H, W)` factors for losses of classes that weigh pixels, or None."""
        return None

    @abstractmethod
    def evaluate(self, task: EvaluatedTask, seen: Seen) -> dict[str, list[Any]]:
        """Predict and count images; return what a step is to give back of each, beside its classes."""


def maps_of(batch: Batch, name: str) -> Any:
    """Return an entry of a batch beside image and mask: `(B, H, W)` in training, a list of `(H, W)` in evaluation.

    Raises:
        ConfigError: The data has none.
    """
    if name not in batch:
        raise ConfigError(f"The batches have no entry {name!r}, and this model learns from it: give it data that has.")
    return batch[name]  # type: ignore[literal-required]
