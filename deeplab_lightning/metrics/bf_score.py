"""BF score: the F1 of contours, of which those count that have a counterpart within a tolerance.

Of Csurka and others (BMVC 2013), as the SegNet paper uses it. For a class in an image

    precision = share of the prediction's contour pixels with one of the truth's nearer than the tolerance
    recall    = share of the truth's contour pixels with one of the prediction's nearer than the tolerance
    BF        = 2 precision recall / (precision + recall)

with a tolerance of 0.75 % of the image's diagonal. `mean` is SegNet's figure: F1 averaged over the classes that the
image's truth has, then over images. Means per class, over the images whose truth has it, are given too.

- A contour pixel belongs to the class and has a neighbour, in its row or column, that does not; the image's edge
  makes no contour.
- A class without contour in both (it fills the image) does not count there. With a contour in one of them only it
  counts 0. Images in which no class counts do not count.
- Void: a class ends where void begins, in truth and prediction alike, and this too is contour: that of a prediction is
  then right wherever the class is. On data with void strips along all borders, the score says little; it is meant for
  data such as CamVid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .boundary import bounding_window, classes_in, contour, diagonal, nearer_than


@dataclass(frozen=True, eq=False)
class BFScores:
    """Fractions in 0..1; NaN marks a class that counts in no image.

    Attributes:
        class_names: `C` names.
        f1: `(C,)` float64, the mean over the images in which the class counts.
        precision: `(C,)` float64, the mean over the same images; 0 where the prediction has no contour.
        recall: `(C,)` float64, the mean over the same images.
        images: `(C,)` int64, how many those are.
        mean: Over classes within an image, then over images.
        num_images: Over how many.
    """

    class_names: tuple[str, ...]
    f1: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    images: np.ndarray
    mean: float
    num_images: int


def contour_pixels(pred: np.ndarray, mask: np.ndarray, num_classes: int, tolerance: float) -> np.ndarray:
    """Return `(4, C)` int64: contour pixels of one image's prediction that match and all of them, and the truth's.

    Classes that the truth does not have are 0 throughout: they count nowhere.

    Args:
        pred: `(H, W)` int16 class ids, `VOID` where the mask is.
        mask: `(H, W)` int16 class ids or `VOID`.
        num_classes: `C`.
        tolerance: As a share of the diagonal; contours match when nearer than this.
    """
    counts = np.zeros((4, num_classes), dtype=np.int64)
    limit = tolerance * diagonal(mask)
    for index in classes_in(mask):
        window = bounding_window((mask == index) | (pred == index), 1)  # 1: neighbours tell what is contour
        truth_contour = contour(mask[window] == index)
        pred_contour = contour(pred[window] == index)
        pred_matches = nearer_than(limit, truth_contour)[pred_contour]
        truth_matches = nearer_than(limit, pred_contour)[truth_contour]
        counts[:, index] = pred_matches.sum(), pred_matches.size, truth_matches.sum(), truth_matches.size
    return counts


def bf_scores_of(pixels: np.ndarray, class_names: Sequence[str]) -> BFScores:
    """Return the scores of the images' `contour_pixels`, `(images, 4, C)`."""
    pred_hit, pred_all, truth_hit, truth_all = np.moveaxis(pixels, 1, 0)  # (images, C) each
    counts = pred_all + truth_all > 0
    precision, recall = pred_hit / np.maximum(pred_all, 1), truth_hit / np.maximum(truth_all, 1)
    f1 = 2 * precision * recall / np.where(precision + recall > 0, precision + recall, 1)
    of_images = _mean(f1, counts, axis=1)
    counted = ~np.isnan(of_images)
    return BFScores(
        class_names=tuple(class_names),
        f1=_mean(f1, counts, axis=0),
        precision=_mean(precision, counts, axis=0),
        recall=_mean(recall, counts, axis=0),
        images=counts.sum(axis=0),
        mean=float(of_images[counted].mean()) if counted.any() else np.nan,
        num_images=int(counted.sum()),
    )


def _mean(values: np.ndarray, counts: np.ndarray, axis: int) -> np.ndarray:
    """Return the mean of the values that count; NaN where none does."""
    number = counts.sum(axis=axis)
    return np.where(number > 0, (values * counts).sum(axis=axis) / np.maximum(number, 1), np.nan)
