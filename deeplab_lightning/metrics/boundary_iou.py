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

from .boundary import bounding_window, classes_in, diagonal, inner_band


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


def boundary_pixels(pred: np.ndarray, mask: np.ndarray, num_classes: int, dilation_ratio: float) -> np.ndarray:
    """Return `(2, C)` int64: the pixels of one image in both bands, and in either.

    Args:
        pred: `(H, W)` int16 class ids, `VOID` where the mask is.
        mask: `(H, W)` int16 class ids or `VOID`.
        num_classes: `C`.
        dilation_ratio: Width of the band as a share of the diagonal; it is rounded to pixels, and is at least 1.
    """
    counts = np.zeros((2, num_classes), dtype=np.int64)
    width = max(1, round(dilation_ratio * diagonal(mask)))
    for index in classes_in(mask, pred):
        window = bounding_window((mask == index) | (pred == index), 0)  # nothing of the class is outside
        truth_band = inner_band(mask[window] == index, width)
        pred_band = inner_band(pred[window] == index, width)
        counts[:, index] = np.count_nonzero(truth_band & pred_band), np.count_nonzero(truth_band | pred_band)
    return counts


def boundary_iou_of(pixels: np.ndarray, class_names: Sequence[str]) -> BoundaryIoUScores:
    """Return the scores of `boundary_pixels`, summed over all images."""
    both, either = pixels
    present = either > 0
    iou = np.where(present, both / np.maximum(either, 1), np.nan)
    mean = float(iou[present].mean()) if present.any() else np.nan
    return BoundaryIoUScores(tuple(class_names), iou, mean, int(present.sum()))
