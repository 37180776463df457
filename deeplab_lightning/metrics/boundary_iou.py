"""Boundary IoU: the IoU of the bands along the contours (Cheng and others, CVPR 2021).

For each class, `G` are its pixels in the truth within `d` of its contour there, and `P` those in the prediction within
`d` of its contour there; the score is `|G and P| / |G or P|`, with `d` 2 % of the image's diagonal. Unlike a trimap
it looks at the prediction's contours as well as the truth's, and unlike IoU it does not pass over the contours of
large objects. An object that is nowhere broader than `2 d` has its plain IoU.

- The band is that of the paper's program: eroding the class `d` times by 3 x 3, the image's edge being contour.
- The paper scores single objects; here a class is scored, over all images: the pixels of the bands are summed over
  the data set before dividing, as they are for IoU. A class that occurs neither in truth nor prediction enters no mean.
- Void: a class ends where void begins, in truth and prediction alike. On PASCAL VOC, where void strips surround all
  objects, contours hence are the strips' rims, wherever within the strip a prediction's own contour runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import ConfigError
from .boundary import bounding_window, classes_in, diagonal, inner_band
from .by_image import ByImage


@dataclass(frozen=True, eq=False)
class BoundaryIoUScores:
    """Fractions in 0..1; NaN marks an absent class.

    Attributes:
        class_names: `C` names.
        iou: `(C,)` float64, the boundary IoU of each class.
        mean: Over the classes that are not absent.
        num_averaged: How many those are.
    """

    class_names: tuple[str, ...]
    iou: np.ndarray
    mean: float
    num_averaged: int


class BoundaryIoU(ByImage):
    """Collects predictions and gives the boundary IoU, exactly, for any number of processes.

    Args:
        class_names: `C` names.
        ignore_index: Label that does not count.
        dilation_ratio: Width of the band as a share of the diagonal; it is rounded to pixels, and is at least 1.
    """

    def __init__(self, class_names: Sequence[str], ignore_index: int, dilation_ratio: float = 0.02) -> None:
        super().__init__(class_names, ignore_index)
        if not 0 < dilation_ratio <= 1:
            raise ConfigError(f"dilation_ratio is a share of the diagonal above 0, at most 1; got {dilation_ratio}.")
        self.dilation_ratio = dilation_ratio

    @property
    def protocol(self) -> str:
        """The measure and its width."""
        return f"boundary IoU, band of {self.dilation_ratio:.2%} of the diagonal"

    def _measure(self, pred: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Return `(2, C)` int64: pixels in both bands, and in either."""
        counts = np.zeros((2, len(self.class_names)), dtype=np.int64)
        width = max(1, round(self.dilation_ratio * diagonal(mask)))
        for index in classes_in(mask, pred):
            window = bounding_window((mask == index) | (pred == index), 0)  # nothing of the class is outside
            truth_band = inner_band(mask[window] == index, width)
            pred_band = inner_band(pred[window] == index, width)
            counts[:, index] = np.count_nonzero(truth_band & pred_band), np.count_nonzero(truth_band | pred_band)
        return counts

    def compute(self) -> BoundaryIoUScores:
        """Return the scores over all images so far.

        Raises:
            DataError: There is no image.
        """
        both, either = self._stacked().sum(axis=0)
        present = either > 0
        iou = np.where(present, both / np.maximum(either, 1), np.nan)
        mean = float(iou[present].mean()) if present.any() else np.nan
        return BoundaryIoUScores(self.class_names, iou, mean, int(present.sum()))
