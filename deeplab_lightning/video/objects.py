"""Connected objects of a mask, followed from frame to frame by overlap.

An object is a connected region of one class (neighbours on the diagonal count). It keeps its number as long as it
overlaps in the next frame: of all pairs of regions of one class the one with the largest IoU is matched first, and so
on down; what is left over is new, or gone for good. No motion is guessed, so what moves farther than its own width in a
frame gets a new number.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np


class TrackedObject(NamedTuple):
    """One object in one frame. `left`, `top`, `width`, `height` and `area` are in pixels."""

    id: int
    class_id: int
    left: int
    top: int
    width: int
    height: int
    area: int


class ObjectTracker:
    """Numbers the objects of mask after mask.

    Args:
        class_ids: Classes whose objects count; road or sky has none worth counting.
        min_area: Smaller regions, in pixels, are left out.
    """

    def __init__(self, class_ids: Sequence[int], min_area: int) -> None:
        self.class_ids = tuple(class_ids)
        self.min_area = min_area
        self._next_id = 1
        self._previous: np.ndarray | None = None  # (H, W) int32: each pixel's object, 0 for none
        self._classes: dict[int, int] = {}  # of the objects in it

    def update(self, mask: np.ndarray) -> list[TrackedObject]:
        """Return the objects of the next frame, in the order of their numbers.

        Args:
            mask: `(H, W)` uint8 class ids.
        """
        regions, found = self._regions(mask)
        ids = self._matched(regions, found)
        for index in range(len(found)):
            if index not in ids:
                ids[index] = self._next_id
                self._next_id += 1
        table = np.zeros(len(found) + 1, np.int32)
        table[[index + 1 for index in ids]] = list(ids.values())
        self._previous = table[regions]
        self._classes = {ids[index]: region.class_id for index, region in enumerate(found)}
        return sorted(region._replace(id=ids[index]) for index, region in enumerate(found))

    def _regions(self, mask: np.ndarray) -> tuple[np.ndarray, list[TrackedObject]]:
        """Return `(H, W)` int32 numbers of regions from 1 on, and the regions, without ids."""
        regions, found = np.zeros(mask.shape, np.int32), []
        for class_id in self.class_ids:
            inside = mask == class_id
            if not inside.any():
                continue
            count, labels, stats, _ = cv2.connectedComponentsWithStats(inside.view(np.uint8), connectivity=8)
            for label in range(1, count):
                left, top, width, height, area = map(int, stats[label])
                if area >= self.min_area:
                    found.append(TrackedObject(0, class_id, left, top, width, height, area))
                    window = slice(top, top + height), slice(left, left + width)
                    regions[window][labels[window] == label] = len(found)
        return regions, found

    def _matched(self, regions: np.ndarray, found: list[TrackedObject]) -> dict[int, int]:
        """Return the ids of those regions (indices into `found`) that go on from the frame before."""
        if self._previous is None or self._previous.shape != regions.shape or not found:
            return {}
        both = (regions > 0) & (self._previous > 0)
        pairs, overlaps = np.unique(
            np.stack([regions[both] - 1, self._previous[both]]).astype(np.int64), axis=1, return_counts=True
        )
        old_ids, old_areas = np.unique(self._previous, return_counts=True)
        areas = dict(zip(old_ids.tolist(), old_areas.tolist(), strict=True))
        candidates = []
        for index, old, overlap in zip(*pairs.tolist(), overlaps.tolist(), strict=True):
            if self._classes[old] == found[index].class_id:
                candidates.append((overlap / (areas[old] + found[index].area - overlap), -old, index))
        ids: dict[int, int] = {}
        taken: set[int] = set()
        for _, minus_old, index in sorted(candidates, reverse=True):
            if index not in ids and -minus_old not in taken:
                ids[index] = -minus_old
                taken.add(-minus_old)
        return ids

    def state(self) -> dict[str, np.ndarray]:
        """Return what the next frame depends on, to go on from later."""
        previous = np.zeros((0, 0), np.int32) if self._previous is None else self._previous
        classes = np.array(sorted(self._classes.items()), np.int64).reshape(-1, 2)
        return {"objects": previous, "object_classes": classes, "next_object": np.array(self._next_id)}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Go on from what `state` returned."""
        self._previous = state["objects"]
        self._classes = {int(identifier): int(class_id) for identifier, class_id in state["object_classes"]}
        self._next_id = int(state["next_object"])
