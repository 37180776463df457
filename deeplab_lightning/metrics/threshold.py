"""The probability from which a pixel counts as foreground, chosen by histograms: additive, and of bounded size."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .processes import from_all_processes

BINS = 256
"""Thresholds that are compared are multiples of 1 / BINS."""


class Threshold(NamedTuple):
    """A threshold and what it gives."""

    value: float
    """A pixel is foreground if its probability is above this, 0..1."""
    iou: float
    """IoU of the foreground with it, 0..1."""


class ThresholdSearch:
    """Counts true and false pixels by their probability of being foreground, each image once.

    Args:
        ignore_index: Label that does not count.
    """

    def __init__(self, ignore_index: int) -> None:
        self.ignore_index = ignore_index
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._histograms: dict[str, np.ndarray] = {}

    def update(self, logits: Tensor, mask: Tensor, sample_id: str) -> None:
        """Count (a part of) one image.

        Args:
            logits: `(2, H, W)` of background and foreground.
            mask: `(H, W)` of 0, 1 and `ignore_index`.
            sample_id: Unique within the split; parts of one image are added up.
        """
        probability = (logits[1] - logits[0]).sigmoid()
        # Bin b holds the probabilities in (b, b + 1] / BINS: those above b / BINS are in the bins from b on.
        place = (probability * BINS).ceil().long().sub(1).clamp(0, BINS - 1)
        labelled = mask != self.ignore_index
        cells = (mask.long() * BINS + place)[labelled]
        counts = torch.bincount(cells, minlength=2 * BINS).view(2, BINS).cpu().numpy()
        self._histograms[sample_id] = self._histograms.get(sample_id, 0) + counts

    def gather(self) -> None:
        """Bring the images of all processes together, in each of them."""
        together: dict[str, np.ndarray] = {}
        for histograms in from_all_processes(self._histograms):
            together = histograms | together
        self._histograms = together

    def best(self) -> Threshold:
        """Return the threshold under which the foreground has the highest IoU; of equal ones that nearest to 0.5.

        Without a foreground pixel there is nothing to choose by: 0.5, and an IoU of NaN.
        """
        total = sum(self._histograms.values(), np.zeros((2, BINS), np.int64))
        negatives, positives = (np.cumsum(row[::-1])[::-1] for row in total)  # above b / BINS
        if positives[0] == 0:
            return Threshold(0.5, math.nan)
        iou = positives / (positives[0] + negatives)
        iou[0] = -1  # above 0 is everything: no threshold has that meaning on logits
        best = np.flatnonzero(iou == iou.max())
        chosen = int(best[np.argmin(np.abs(best - BINS / 2))])
        return Threshold(chosen / BINS, float(iou[chosen]))
