"""The probability from which a pixel counts as foreground, chosen by histograms: additive, and of bounded size."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..errors import DataError
from .by_image import ByImage, Counted

BINS = 256
"""Thresholds that are compared are multiples of 1 / BINS."""


class Threshold(NamedTuple):
    """A threshold and what it gives."""

    value: float
    """A pixel is foreground if its probability is above this, 0..1."""
    iou: float
    """IoU of the foreground with it, 0..1."""


class BestThreshold(ByImage):
    """Counts true and false pixels by their probability of being foreground.

    `compute` returns `best_threshold`, and `best_threshold_IoU` that it gives.

    Args:
        ignore_index: Label that does not count.
        options: Of `ByImage`: `only`, and torchmetrics' own.
    """

    def __init__(self, ignore_index: int, **options: Any) -> None:
        super().__init__(f"pixels in {BINS} bins of probability", (), ignore_index, (2, BINS), **options)

    def count(self, pred: Tensor, truth: Tensor) -> Counted:
        """Return the pixels of background and foreground in each bin.

        Args:
            pred: `(H, W)` probability of the foreground, 0..1.
            truth: `(H, W)` of 0, 1 and `ignore_index`.

        Raises:
            DataError: There is another label.
        """
        labelled = truth != self.ignore_index
        if (labelled & (truth != 0) & (truth != 1)).any():
            raise DataError(
                f"A label is no class: labels are {int(truth.min())} to {int(truth.max())}, with 2 classes and "
                f"ignore_index {self.ignore_index}."
            )
        # Bin b holds the probabilities in (b, b + 1] / BINS: those above b / BINS are in the bins from b on.
        place = (pred * BINS).ceil().long().sub(1).clamp(0, BINS - 1)
        cells = (truth.long() * BINS + place)[labelled]
        return Counted(torch.bincount(cells, minlength=2 * BINS).view(2, BINS).cpu().numpy())

    def best(self) -> Threshold:
        """Return the threshold under which the foreground has the highest IoU; of equal ones that nearest to 0.5.

        Without a foreground pixel there is nothing to choose by: 0.5, and an IoU of NaN.
        """
        negatives, positives = (np.cumsum(row[::-1])[::-1] for row in self.total())  # above b / BINS
        if positives[0] == 0:
            return Threshold(0.5, math.nan)
        iou = positives / (positives[0] + negatives)
        iou[0] = -1  # above 0 is everything: no threshold has that meaning on logits
        best = np.flatnonzero(iou == iou.max())
        chosen = int(best[np.argmin(np.abs(best - BINS / 2))])
        return Threshold(chosen / BINS, float(iou[chosen]))

    def values(self) -> dict[str, float]:
        """Return what `compute` does."""
        best = self.best()
        return {"best_threshold": best.value, "best_threshold_IoU": best.iou}
