"""What an evaluation counts besides classes: the best threshold between two of them, and the errors of depth."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import Tensor

from ..metrics.depth import DepthEvaluation
from ..metrics.threshold import ThresholdSearch


class FurtherScores:
    """Counts what was asked for, and nothing else.

    Args:
        ignore_index: Label that does not count.
        threshold: Look for the best threshold between two classes.
        depth: Count the errors of depth.
    """

    def __init__(self, ignore_index: int, threshold: bool, depth: bool) -> None:
        self._thresholds = ThresholdSearch(ignore_index) if threshold else None
        self._depth = DepthEvaluation() if depth else None

    def reset(self) -> None:
        """Forget everything."""
        for counter in (self._thresholds, self._depth):
            if counter is not None:
                counter.reset()

    def add_logits(self, logits: Tensor, mask: Tensor, sample_ids: Sequence[str]) -> None:
        """Count a band of images: `(B, 2, rows, W)` and `(B, rows, W)`."""
        if self._thresholds is not None:
            for each, labels, sample_id in zip(logits, mask, sample_ids, strict=True):
                self._thresholds.update(each, labels, sample_id)

    def add_depth(self, predicted: Tensor, depth: Iterable[Tensor], sample_ids: Sequence[str]) -> None:
        """Count the depth of images: `(B, H, W)` predicted, and true maps `(H, W)`."""
        if self._depth is not None:
            for each, truth, sample_id in zip(predicted, depth, sample_ids, strict=True):
                self._depth.update(each, truth, sample_id)

    def gather(self) -> None:
        """Bring the images of all processes together, in each of them."""
        for counter in (self._thresholds, self._depth):
            if counter is not None:
                counter.gather()

    def best_threshold(self) -> float | None:
        """Return the threshold that gives the second class the highest IoU; None if none was looked for."""
        return None if self._thresholds is None else self._thresholds.best().value

    def values(self) -> dict[str, float]:
        """Return what is to be logged, by its name behind the stage's."""
        values: dict[str, float] = {}
        if self._thresholds is not None:
            best = self._thresholds.best()
            values |= {"best_threshold": best.value, "best_threshold_IoU": best.iou}
        if self._depth is not None:
            values |= {f"depth/{name}": value for name, value in self._depth.scores().items()}
        return values
