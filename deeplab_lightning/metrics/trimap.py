"""Trimap curves: how good the labels are within narrow bands around boundaries, against the bands' width.

The figure of the papers (v1, v2 and v3+ after Kohli and others, 2009): IoU over those labelled pixels alone that are
within `width` pixels of a boundary, for widths of up to 40. What a boundary is, differs:

- `around="void"`, as in the papers: the void pixels, which PASCAL VOC's annotators drew along every object. Difficult
  objects that are void as a whole have a band around them, too. The band lies on both sides of the void strip.
- `around="boundaries"`, for data without such strips: a pixel is in the band when a labelled pixel of another class is
  within `width`. Width 1 is one pixel on each side. Void between two classes counts as distance.

The papers dilate void without a word on the shape; here distances are Euclidean, as of a disc. Counts are summed over
all images before dividing, and void is never counted itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..errors import ConfigError, DataError
from .boundary import distance_to, distance_to_another_class
from .by_image import VOID, ByImage
from .scores import scores_from_confusion

Around = Literal["void", "boundaries"]

WIDTHS = (1, 2, 3, 5, 7, 10, 15, 20, 30, 40)
"""In pixels: close together where the curve bends."""


@dataclass(frozen=True, eq=False)
class TrimapCurve:
    """Scores against the width of the band. Fractions in 0..1; NaN for what does not occur.

    Attributes:
        class_names: `C` names.
        protocol: Around what, in words.
        widths: `(W,)` int64, in pixels, growing.
        iou: `(W, C)` float64.
        mIoU: `(W,)` float64, over the classes that occur in the band of that width, in truth or prediction.
        pixel_acc: `(W,)` float64.
        pixels: `(W,)` int64, labelled pixels within the band.
    """

    class_names: tuple[str, ...]
    protocol: str
    widths: np.ndarray
    iou: np.ndarray
    mIoU: np.ndarray  # noqa: N815 - the name the field uses
    pixel_acc: np.ndarray
    pixels: np.ndarray


class Trimap(ByImage):
    """Collects predictions and gives the trimap curve, exactly, for any number of processes.

    Args:
        class_names: `C` names.
        ignore_index: Label that does not count.
        around: Where the bands lie; see the module's docstring.
        widths: Of the bands, in whole pixels of at least 1, growing.

    Raises:
        ConfigError: Widths or place make no sense.
    """

    def __init__(
        self,
        class_names: Sequence[str],
        ignore_index: int,
        around: Around = "boundaries",
        widths: Sequence[int] = WIDTHS,
    ) -> None:
        super().__init__(class_names, ignore_index)
        if around not in ("void", "boundaries"):
            raise ConfigError(f"Trimaps lie around 'void' or 'boundaries', not {around!r}.")
        growing = list(widths) == sorted(set(widths)) and all(int(width) == width >= 1 for width in widths)
        if not widths or not growing:
            raise ConfigError(f"Widths of trimaps are whole pixels from 1 on, growing; got {list(widths)}.")
        self.around = around
        self.widths = np.array(widths, dtype=np.int64)

    @property
    def protocol(self) -> str:
        """Around what, and how broad."""
        return f"trimap around {self.around}, {', '.join(map(str, self.widths))} px"

    def _measure(self, pred: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Return `(2, k)`: cell numbers of a `(W, C, C)` table, and its pixels, each pixel at its narrowest band."""
        reach = int(self.widths[-1])
        distance = distance_to(mask == VOID) if self.around == "void" else distance_to_another_class(mask, reach)
        near = (distance <= reach) & (mask != VOID)
        band = np.searchsorted(self.widths, distance[near])
        classes = len(self.class_names)
        cells = (band * classes + mask[near]) * classes + pred[near]
        counts = np.bincount(cells, minlength=1)
        occupied = np.flatnonzero(counts)
        return np.stack([occupied, counts[occupied]])

    def compute(self) -> TrimapCurve:
        """Return the curve over all images so far.

        Raises:
            DataError: No labelled pixel is in any band.
        """
        classes = len(self.class_names)
        table = np.zeros(len(self.widths) * classes * classes, dtype=np.int64)
        for cells, pixels in self.images.values():
            table[cells] += pixels  # the cells of one image are all different
        confusions = table.reshape(-1, classes, classes).cumsum(axis=0)  # a broad band holds the narrow ones
        if not confusions.any():
            remedy = "These masks have no void: use around='boundaries'." if self.around == "void" else ""
            raise DataError(f"No labelled pixel is within {self.widths[-1]} pixels of {self.around}. {remedy}".rstrip())
        scores = [scores_from_confusion(confusion, self.class_names) for confusion in confusions]
        return TrimapCurve(
            class_names=self.class_names,
            protocol=f"around {self.around}",
            widths=self.widths,
            iou=np.stack([score.iou for score in scores]),
            mIoU=np.array([score.mIoU for score in scores]),
            pixel_acc=np.array([score.pixel_acc for score in scores]),
            pixels=confusions.sum(axis=(1, 2)),
        )
