"""What `evaluate` measures: scores over a set of images, gathered one by one, which can be stopped and go on.

A further measure is a class with the methods of `Measure`, and one line in `MEASURES`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Protocol

import numpy as np
from torch import Tensor

from ..errors import DataError
from .bf_score import BFScore
from .boundary_iou import BoundaryIoU
from .by_image import ByImage
from .per_image import ImageCounts
from .scores import scores_from_confusion
from .segmentation import confusion_matrix
from .trimap import Around, Trimap, TrimapCurve


class Measure(Protocol):
    """Gathers what it needs of each image."""

    def update(self, pred: Tensor, mask: Tensor, sample_id: str) -> None:
        """Look at an image: `pred` and `mask` `(H, W)` uint8 on the CPU, `mask` with the ignored label."""

    def compute(self) -> dict[str, float]:
        """Return the scores of all images so far, under the names of the table's columns."""

    def state(self) -> dict[str, np.ndarray]:
        """Return all that was gathered, as plain arrays."""

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Take up what `state` returned."""


class RegionScores:
    """mIoU and pixel accuracy, from the images' confusion counts.

    Args:
        class_names: One per class.
        ignore_index: Label that does not count.
    """

    def __init__(self, class_names: Sequence[str], ignore_index: int) -> None:
        self.ignore_index = ignore_index
        self.images = ImageCounts(class_names)

    def update(self, pred: Tensor, mask: Tensor, sample_id: str) -> None:
        """See `Measure`."""
        matrix = confusion_matrix(pred, mask, len(self.images.class_names), self.ignore_index)
        self.images.add(sample_id, matrix.numpy())

    def compute(self) -> dict[str, float]:
        """See `Measure`."""
        scores = scores_from_confusion(self.images.total(), self.images.class_names)
        return {"mIoU": scores.mIoU, "pixel acc": scores.pixel_acc}

    def state(self) -> dict[str, np.ndarray]:
        """See `Measure`."""
        return self.images.as_arrays()

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """See `Measure`."""
        self.images = ImageCounts.from_arrays(state)


class OfBoundaries(ABC):
    """A boundary measure as a `Measure`.

    Args:
        counts: It.
    """

    def __init__(self, counts: ByImage) -> None:
        self.counts = counts

    def update(self, pred: Tensor, mask: Tensor, sample_id: str) -> None:
        """See `Measure`."""
        self.counts.update(pred, mask, sample_id)

    @abstractmethod
    def compute(self) -> dict[str, float]:
        """See `Measure`."""

    def state(self) -> dict[str, np.ndarray]:
        """See `Measure`."""
        return self.counts.state()

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """See `Measure`."""
        self.counts.restore(state)


class MeanBoundaryIoU(OfBoundaries):
    """The mean over the classes of `boundary_iou.BoundaryIoU`."""

    counts: BoundaryIoU

    def __init__(self, class_names: Sequence[str], ignore_index: int) -> None:
        super().__init__(BoundaryIoU(class_names, ignore_index))

    def compute(self) -> dict[str, float]:
        """See `Measure`."""
        return {"boundary IoU": self.counts.compute().mean}


class MeanBF(OfBoundaries):
    """The mean over classes and images of `bf_score.BFScore`."""

    counts: BFScore

    def __init__(self, class_names: Sequence[str], ignore_index: int) -> None:
        super().__init__(BFScore(class_names, ignore_index))

    def compute(self) -> dict[str, float]:
        """See `Measure`."""
        return {"BF": self.counts.compute().mean}


class TrimapColumns(OfBoundaries):
    """Three points of `trimap.Trimap`'s curve; NaN where no image has such a band.

    Args:
        class_names: One per class.
        ignore_index: Label that does not count.
        around: What the bands lie around.
    """

    counts: Trimap

    def __init__(self, class_names: Sequence[str], ignore_index: int, around: Around = "boundaries") -> None:
        super().__init__(Trimap(class_names, ignore_index, around))

    def compute(self) -> dict[str, float]:
        """See `Measure`."""
        names = [f"trimap {width} px" for width in TRIMAP_COLUMNS]
        curve = self.curve()
        if curve is None:
            return dict.fromkeys(names, math.nan)
        at = np.searchsorted(curve.widths, TRIMAP_COLUMNS)
        return dict(zip(names, curve.mIoU[at].tolist(), strict=True))

    def curve(self) -> TrimapCurve | None:
        """Return the whole curve; None where no labelled pixel is in any band."""
        try:
            return self.counts.compute()
        except DataError:
            return None


TRIMAP_COLUMNS = (2, 10, 40)
"""Widths of the bands whose mIoU stands in the table, in pixels."""

MEASURES: dict[str, Callable[[Sequence[str], int], Measure]] = {
    "regions": RegionScores,
    "boundary_iou": MeanBoundaryIoU,
    "bf_score": MeanBF,
    "trimap": TrimapColumns,
    "trimap_void": partial(TrimapColumns, around="void"),
}
"""Name -> what makes the measure from class names and ignored label."""

ALWAYS = ("regions",)
"""Measured whatever is asked for."""
CHEAP = ("boundary_iou", "bf_score")
"""Measured unless something else is asked for: some milliseconds an image each (docs/boundaries.md)."""
