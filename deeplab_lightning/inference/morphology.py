"""Post-processing a class map: doubtful pixels, specks, holes, ragged edges; for a class at a time, or all of them.

The steps, in this order, each skipped by default:

1. `threshold`: pixels whose most likely class has a lower probability become `unsure`.
2. `opening`, `closing`: of each class chosen, by a disc. Opening takes away what the disc does not fit into; closing
   adds what it fits into nowhere outside the class, and takes it from the classes around.
3. `largest`: of these classes all but the largest connected component are taken away (organs, in medical images).
4. `min_area`: connected components with fewer pixels are taken away.
5. `fill_holes`: what a class encloses wholly, and has at most so many pixels, becomes that class.

What takes the place of pixels taken away: with probabilities, the most likely class other than the one that lost the
pixel; without, the class of the nearest pixel of another class (to 2 %: OpenCV's 5 x 5 distances; of equally near ones,
any). Where there is no other class they stay. This may make new specks of a third class: one pass is made, not
repeated. Regions are connected along rows, columns and diagonals, holes along rows and columns: so a line one pixel
thick encloses what it runs around. The image's edge does not erode a class, and encloses nothing.

Unsure pixels are a class of their own to all steps behind the first, which neither takes away nor adds any but by
closing and filling of other classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from ..errors import ConfigError
from ..labels import LabelSet
from .options import Postprocessing


@dataclass(frozen=True)
class Morphology(Postprocessing):
    """The steps, with classes by id, ready to be applied."""

    @classmethod
    def of_classes(cls, steps: Postprocessing, labels: LabelSet) -> Morphology:
        """Return the steps with the ids of the classes that they name.

        Raises:
            ConfigError: There is no such class.
        """

        def ids(classes: Sequence[int | str]) -> tuple[int, ...]:
            return tuple(labels.ids_of([one])[0] if isinstance(one, str) else one for one in classes)

        unsure = labels.ignore_index if steps.unsure is None else ids([steps.unsure])[0]
        found = {"largest": ids(steps.largest), "classes": ids(steps.classes)}
        return cls(**{**vars(steps), **found, "unsure": unsure if 0 <= unsure < 256 else 255})

    def check(self) -> None:
        """Refuse names, which no mask holds."""
        super().check()
        for one in (self.unsure, *self.largest, *self.classes):
            if isinstance(one, str):
                raise ConfigError(f"Class {one!r} is given by name; expected its id (Morphology.of_classes).")

    def apply(self, pred: np.ndarray, probs: np.ndarray | None = None) -> np.ndarray:
        """Post-process one class map.

        Args:
            pred: `(H, W)` uint8 class ids; it is not changed.
            probs: `(C, H, W)` floating point, from which `pred` was taken, at least for `threshold`.

        Returns:
            `(H, W)` uint8.

        Raises:
            ConfigError: There is a threshold, but there are no probabilities.
        """
        mask = pred.copy()
        if self.threshold:
            if probs is None:
                raise ConfigError("A threshold needs the probabilities: hand them over with the class map.")
            mask[probs.max(axis=0) < self.threshold] = self._unsure_id
        if self.opening:
            for index in self._chosen(mask):
                inside = (mask == index).view(np.uint8)
                kept = cv2.morphologyEx(inside, cv2.MORPH_OPEN, _disc(self.opening))
                _take_away(mask, index, (inside != 0) & (kept == 0), probs)
        if self.closing:
            for index in self._chosen(mask):
                # Padded, so that dilation has room, and erosion then gives it back: nothing outside takes part.
                padded = np.pad((mask == index).view(np.uint8), self.closing)
                closed = cv2.morphologyEx(padded, cv2.MORPH_CLOSE, _disc(self.closing)).view(bool)
                mask[closed[self.closing : -self.closing, self.closing : -self.closing]] = index
        for index in map(int, self.largest):
            _keep_components(mask, index, 0, probs)
        if self.min_area > 1:
            for index in self._chosen(mask):
                _keep_components(mask, index, self.min_area, probs)
        if self.fill_holes:
            for index in self._chosen(mask):
                mask[_holes(mask == index, self.fill_holes)] = index
        return mask

    def _chosen(self, mask: np.ndarray) -> list[int]:
        """Return the classes that occur and are to be worked on, the smallest first: large ones must not swallow it."""
        found, pixels = np.unique(mask, return_counts=True)
        return [
            index
            for index in found[np.argsort(pixels, kind="stable")].tolist()
            if (not self.classes or index in self.classes) and not (self.threshold and index == self._unsure_id)
        ]

    @property
    def _unsure_id(self) -> int:
        return 255 if self.unsure is None else int(self.unsure)


def _disc(radius: int) -> np.ndarray:
    """Return the pixels within `radius` of the centre, `(2 radius + 1, 2 radius + 1)` uint8."""
    offsets = np.arange(-radius, radius + 1)
    return (np.hypot(offsets[:, None], offsets) <= radius).astype(np.uint8)


def _keep_components(mask: np.ndarray, index: int, min_area: int, probs: np.ndarray | None) -> None:
    """Take away a class's components below `min_area` pixels; with 0, all but the largest one (the first of equals)."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats((mask == index).view(np.uint8), connectivity=8)
    areas = stats[1:, cv2.CC_STAT_AREA]
    if count <= 1:
        return
    kept = areas >= min_area if min_area else np.arange(count - 1) == areas.argmax()
    if not kept.all():
        _take_away(mask, index, np.concatenate([[False], ~kept])[labels], probs)


def _holes(inside: np.ndarray, max_area: int) -> np.ndarray:
    """Return what a region encloses wholly and in pieces of at most `max_area` pixels."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats((~inside).view(np.uint8), connectivity=4)
    fill = stats[:, cv2.CC_STAT_AREA] <= max_area
    fill[0] = False  # the region itself
    for edge in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        fill[edge] = False
    return fill[labels]


def _take_away(mask: np.ndarray, index: int, lost: np.ndarray, probs: np.ndarray | None) -> None:
    """Give the pixels `lost` of class `index` to others, as the module's docstring says; `mask` is changed."""
    if not lost.any():
        return
    if probs is not None and len(probs) > 1:
        others = probs[:, lost].copy()
        if index < len(others):
            others[index] = -np.inf
        mask[lost] = others.argmax(axis=0)
        return
    keeps = ~lost & (mask != index)  # the class itself may be the nearest, but is what they are not to be
    if keeps.any():
        _, nearest = cv2.distanceTransformWithLabels(
            (~keeps).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
        )
        classes = np.zeros(nearest.max() + 1, mask.dtype)
        classes[nearest[keeps]] = mask[keeps]
        mask[lost] = classes[nearest[lost]]
