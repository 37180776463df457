"""Scores of predicted depth: relative error, root mean square, and the share of pixels that are nearly right."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from torch import Tensor

from .by_image import ByImage, Counted

DELTA = 1.25


class DepthScores(ByImage):
    """Adds up errors over the known pixels of all images.

    With `y` the true and `p` the predicted depth (Eigen et al., 2014, section 4.3): `abs_rel` is the mean of
    `|p - y| / y`, `rmse` the root of the mean of `(p - y)^2`, in the depth's unit, and `delta_1.25` the share of pixels
    whose `max(p / y, y / p)` is below 1.25. The means are over the pixels of the whole split; NaN where no depth is
    known.

    Args:
        options: Of `ByImage`: `only`, and torchmetrics' own.
    """

    higher_is_better = None  # errors and a share of hits

    def __init__(self, **options: Any) -> None:
        super().__init__(f"errors of depth, delta {DELTA}", (), None, (2,), **options)

    def count(self, pred: Tensor, truth: Tensor) -> Counted:
        """Return hits and known pixels, and the sums of relative and squared errors.

        Args:
            pred: `(H, W)` above 0.
            truth: `(H, W)`; 0 or less, or NaN: unknown.
        """
        known = (truth > 0) & truth.isfinite()
        depth, guess = truth[known].float(), pred[known].float()
        ratio = (guess / depth).clamp(min=1e-12)
        relative, squares = (guess - depth).abs() / depth, (guess - depth).square()
        hits = ratio.max(1 / ratio) < DELTA
        # Apple's GPUs have no float64; an image's sum is exact enough without.
        return Counted(np.array([int(hits.sum()), int(known.sum())]), (float(relative.sum()), float(squares.sum())))

    def values(self) -> dict[str, float]:
        """Return what `compute` does."""
        hits, pixels = self.total().tolist()
        if not pixels:
            return dict.fromkeys(("abs_rel", "rmse", "delta_1.25"), math.nan)
        relative, squares = (math.fsum(sums) for sums in zip(*(i.sums for i in self.images().values()), strict=True))
        return {"abs_rel": relative / pixels, "rmse": math.sqrt(squares / pixels), "delta_1.25": hits / pixels}
