"""The gate's look at objects: a file's stuff and objects against its original's, and both against the truth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ..inference.panoptic import PanopticPredictor
from ..metrics.panoptic import PanopticScores
from .format import RunToAll


@dataclass(frozen=True)
class ObjectComparison:
    """What was found.

    Attributes:
        same: PQ of what the file finds, with what the original finds as the truth, over all images; 1 where both find
            nothing. It does not mind in which order objects are numbered.
        pq: PQ of the original and of the file against the truth; None without.
        images: How many had a truth.
    """

    same: float
    pq: tuple[float, float] | None
    images: int

    def rows(self) -> list[tuple[str, ...]]:
        """Return lines of the gate's table."""
        lines: list[tuple[str, ...]] = [("objects and stuff, as the original's", "", "", f"PQ {self.same:.4f}")]
        if self.pq is not None:
            ours, theirs = self.pq
            lines.append((f"PQ, {self.images} images", f"{ours:.4f}", f"{theirs:.4f}", f"{theirs - ours:+.4f}"))
        return lines

    def failures(self, least_same: float, most_drop: float) -> list[str]:
        """Say in words what is past a tolerance."""
        found = []
        if not self.same >= least_same:
            found.append(
                f"objects and stuff are the original's by a PQ of {self.same:.4f}, expected {least_same:g} or more"
            )
        if self.pq is not None and not self.pq[0] - self.pq[1] <= most_drop:
            found.append(f"PQ falls from {self.pq[0]:.4f} to {self.pq[1]:.4f}, by more than {most_drop:g}")
        return found


class ObjectGate:
    """Counts what original and file find, image by image.

    Args:
        predictor: The original.
        run: The file, to `panoptic_ending.OBJECT_OUTPUTS`.
        class_names: Of the truth.
        ignore_index: Of the truth.
    """

    def __init__(
        self, predictor: PanopticPredictor, run: RunToAll, class_names: Sequence[str], ignore_index: int
    ) -> None:
        self.predictor, self.run = predictor, run
        things = predictor.things
        self._same = PanopticScores(class_names, things, ignore_index)
        self._ours, self._theirs = (PanopticScores(class_names, things, ignore_index) for _ in range(2))
        self._seen = self._true = 0

    def add(self, given: np.ndarray, truth: tuple[np.ndarray, np.ndarray] | None = None) -> None:
        """Compare what the predictor saw last with what the file makes of it.

        Args:
            given: The images, `(B, C, H, W)`, as the file takes them.
            truth: Classes and numbers of the only image.
        """
        numbers, panoptic, *_ = (torch.from_numpy(np.asarray(each)) for each in self.run(given))
        for original, classes, objects in zip(self.predictor.panoptic(), panoptic, numbers, strict=True):
            ours, theirs = (original.classes, original.numbers), (classes, objects)
            name = str(self._seen)
            self._same.update(theirs, ours, name)
            self._seen += 1
            if truth is not None:
                self._ours.update(ours, truth, name)
                self._theirs.update(theirs, truth, name)
                self._true += 1

    def comparison(self) -> ObjectComparison:
        """Return what was found of all images."""
        same = self._same.quality().all.pq
        pq = (self._ours.quality().all.pq, self._theirs.quality().all.pq) if self._true else None
        return ObjectComparison(1.0 if math.isnan(same) else same, pq, self._true)
