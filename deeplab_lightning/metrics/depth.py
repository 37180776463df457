"""Scores of predicted depth: relative error, root mean square, and the share of pixels that are nearly right."""

from __future__ import annotations

import math

from torch import Tensor

from .processes import from_all_processes

DELTA = 1.25


class DepthEvaluation:
    """Adds up errors over the known pixels of all images, each image once, however many processes saw it.

    With `y` the true and `p` the predicted depth (Eigen et al., 2014, section 4.3): `abs_rel` is the mean of
    `|p - y| / y`, `rmse` the root of the mean of `(p - y)^2`, in the depth's unit, and `delta_1.25` the share of pixels
    whose `max(p / y, y / p)` is below 1.25. The means are over the pixels of the whole split.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._sums: dict[str, tuple[float, float, int, int]] = {}

    def update(self, predicted: Tensor, depth: Tensor, sample_id: str) -> None:
        """Count one image.

        Args:
            predicted: `(H, W)` above 0.
            depth: `(H, W)`; 0 or less, or NaN: unknown.
            sample_id: Unique within the split.
        """
        known = (depth > 0) & depth.isfinite()
        truth, guess = depth[known].float(), predicted[known].float()
        ratio = (guess / truth).clamp(min=1e-12)
        relative, squares, hits = (
            ((guess - truth).abs() / truth),
            (guess - truth).square(),
            ratio.max(1 / ratio) < DELTA,
        )
        # Apple's GPUs have no float64; an image's sum is exact enough without.
        self._sums.setdefault(
            sample_id, (float(relative.sum()), float(squares.sum()), int(hits.sum()), int(known.sum()))
        )

    def gather(self) -> None:
        """Bring the images of all processes together, in each of them."""
        together: dict[str, tuple[float, float, int, int]] = {}
        for sums in from_all_processes(self._sums):
            together = sums | together
        self._sums = together

    def scores(self) -> dict[str, float]:
        """Return `abs_rel`, `rmse` and `delta_1.25`; NaN where no depth is known."""
        relative, squares, hits, pixels = (
            math.fsum(values) for values in zip(*self._sums.values(), (0.0, 0.0, 0, 0), strict=True)
        )
        if not pixels:
            return dict.fromkeys(("abs_rel", "rmse", "delta_1.25"), math.nan)
        return {"abs_rel": relative / pixels, "rmse": math.sqrt(squares / pixels), "delta_1.25": hits / pixels}
