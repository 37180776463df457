"""From one confusion matrix to every score. Numpy only, so that reports can be made where there is no torch.

With `C[t, p]` the number of pixels of true class `t` predicted as `p`, and for each class `c`

    hit = C[c, c]    truth = sum of row c    predicted = sum of column c    union = truth + predicted - hit

    IoU = hit / union                        Dice = F1 = 2 hit / (truth + predicted)
    precision = hit / predicted              recall = hit / truth

Conventions where a denominator is zero:

- A class with an empty union (neither in the truth nor predicted) is absent: all its scores are NaN, it enters no mean,
  and `Scores.num_averaged` says how many classes did.
- A class that is in the truth but never predicted has precision 0, and a class predicted somewhere but not in the truth
  has recall 0: scikit-learn's `zero_division=0`. Hence a class has either all four scores or none.
- A matrix without a single pixel (all void) makes every score NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import DataError


@dataclass(frozen=True)
class Averages:
    """Precision, recall, Dice (= F1) and IoU averaged over the classes, each in 0..1 or NaN."""

    precision: float
    recall: float
    dice: float
    iou: float


@dataclass(frozen=True, eq=False)
class Scores:
    """What a confusion matrix says, per class and averaged. Fractions in 0..1; NaN marks an absent class.

    Attributes:
        class_names: The classes, in the order of the arrays below.
        iou: `(C,)` float64.
        dice: `(C,)` float64, the same as F1.
        precision: `(C,)` float64.
        recall: `(C,)` float64, also called the class accuracy.
        support: `(C,)` int64, pixels of the class in the truth.
        num_averaged: How many classes are not absent, which is how many `macro` averages.
        pixel_acc: Share of labelled pixels that are right.
        mean_acc: Mean recall over the classes that occur in the truth. It differs from `macro.recall`, which counts a
            class predicted somewhere but not in the truth as 0.
        macro: Plain means over the classes that are not absent. `macro.dice` is the mean of the classes' F1, as in
            scikit-learn, not the F1 of mean precision and mean recall.
        micro: Over pixels: hits, truth and predictions are summed over the classes before dividing. With one label per
            pixel precision, recall and Dice then all equal `pixel_acc`.
        weighted: Means over the classes, weighted by support. `weighted.recall` equals `pixel_acc`.
    """

    class_names: tuple[str, ...]
    iou: np.ndarray
    dice: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    support: np.ndarray
    num_averaged: int
    pixel_acc: float
    mean_acc: float
    macro: Averages
    micro: Averages
    weighted: Averages

    @property
    def mIoU(self) -> float:  # noqa: N802 - the name the field uses, and the logged key
        """Mean IoU over the classes that are not absent."""
        return self.macro.iou

    @property
    def mean_dice(self) -> float:
        """Mean Dice (= macro F1) over the classes that are not absent."""
        return self.macro.dice

    @property
    def fwIoU(self) -> float:  # noqa: N802
        """Frequency-weighted IoU: weighted by each class's share of the true pixels."""
        return self.weighted.iou


def check_confusion(matrix: np.ndarray, class_names: Sequence[str]) -> np.ndarray:
    """Return `matrix` as int64 if it can be the confusion matrix of these classes.

    Args:
        matrix: `(C, C)`, any integer type, no negative counts; rows are the truth, columns the prediction.
        class_names: `C` names.

    Raises:
        DataError: The shape, type or sign is wrong.
    """
    matrix = np.asarray(matrix)
    size = len(class_names)
    if matrix.shape != (size, size):
        raise DataError(
            f"A confusion matrix of shape {matrix.shape} does not fit {size} classes: expected ({size}, {size}), "
            "rows the truth and columns the prediction. Leave ignored pixels out instead of giving them a row."
        )
    if not np.issubdtype(matrix.dtype, np.integer):
        raise DataError(
            f"A confusion matrix holds pixel counts, but this one is {matrix.dtype}: count in int64, do not normalise."
        )
    if (matrix < 0).any():
        raise DataError(
            f"A confusion matrix has a negative count ({matrix.min()}): did an int32 overflow? Count in int64."
        )
    return matrix.astype(np.int64)


def scores_from_confusion(matrix: np.ndarray, class_names: Sequence[str]) -> Scores:
    """Compute every score of one confusion matrix. The module's docstring states the conventions.

    Args:
        matrix: `(C, C)` integer pixel counts; rows are the truth, columns the prediction, ignored pixels left out.
        class_names: `C` names.

    Returns:
        The scores per class and their averages.
    """
    matrix = check_confusion(matrix, class_names)
    hit, truth, predicted = matrix.diagonal(), matrix.sum(axis=1), matrix.sum(axis=0)
    union = truth + predicted - hit
    present = union > 0

    def per_class(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
        ratio = numerator / np.maximum(denominator, 1)  # 0 / 0 -> 0; absent classes become NaN below
        return np.where(present, ratio, np.nan)

    iou, dice = per_class(hit, union), per_class(2 * hit, truth + predicted)
    precision, recall = per_class(hit, predicted), per_class(hit, truth)

    hits, pixels = int(hit.sum()), int(matrix.sum())
    pixel_acc = hits / pixels if pixels else np.nan

    def mean(values: np.ndarray, weights: np.ndarray) -> float:
        """Mean of the values with a positive weight; NaN when there is none."""
        used = weights > 0
        return float(np.average(values[used], weights=weights[used])) if used.any() else np.nan

    def averages(weights: np.ndarray) -> Averages:
        return Averages(mean(precision, weights), mean(recall, weights), mean(dice, weights), mean(iou, weights))

    return Scores(
        class_names=tuple(class_names),
        iou=iou,
        dice=dice,
        precision=precision,
        recall=recall,
        support=truth,
        num_averaged=int(present.sum()),
        pixel_acc=pixel_acc,
        mean_acc=mean(recall, truth > 0),
        macro=averages(present),
        micro=Averages(pixel_acc, pixel_acc, pixel_acc, hits / (2 * pixels - hits) if pixels else np.nan),
        weighted=averages(truth),
    )
