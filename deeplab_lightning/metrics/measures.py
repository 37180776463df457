"""What `evaluate` measures: scores over a set of pictures, gathered one by one, which can be stopped and go on.

A further measure is a class with the methods of `Measure`, and one line in `MEASURES`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np
from torch import Tensor

from .per_picture import PictureCounts
from .scores import scores_from_confusion
from .segmentation import confusion_matrix


class Measure(Protocol):
    """Gathers what it needs of each picture."""

    def update(self, pred: Tensor, mask: Tensor, sample_id: str) -> None:
        """Look at a picture: `pred` and `mask` `(H, W)` uint8 on the CPU, `mask` with the ignored label."""

    def compute(self) -> dict[str, float]:
        """Return the scores of all pictures so far, under the names of the table's columns."""

    def state(self) -> dict[str, np.ndarray]:
        """Return all that was gathered, as plain arrays."""

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Take up what `state` returned."""


class RegionScores:
    """mIoU and pixel accuracy, from the pictures' confusion counts.

    Args:
        class_names: One per class.
        ignore_index: Label that does not count.
    """

    def __init__(self, class_names: Sequence[str], ignore_index: int) -> None:
        self.ignore_index = ignore_index
        self.pictures = PictureCounts(class_names)

    def update(self, pred: Tensor, mask: Tensor, sample_id: str) -> None:
        """See `Measure`."""
        matrix = confusion_matrix(pred, mask, len(self.pictures.class_names), self.ignore_index)
        self.pictures.add(sample_id, matrix.numpy())

    def compute(self) -> dict[str, float]:
        """See `Measure`."""
        scores = scores_from_confusion(self.pictures.total(), self.pictures.class_names)
        return {"mIoU": scores.mIoU, "pixel acc": scores.pixel_acc}

    def state(self) -> dict[str, np.ndarray]:
        """See `Measure`."""
        return self.pictures.as_arrays()

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """See `Measure`."""
        self.pictures = PictureCounts.from_arrays(state)


MEASURES: dict[str, Callable[[Sequence[str], int], Measure]] = {"regions": RegionScores}
"""Name -> what makes the measure from class names and ignored label."""
