"""LabelMe 5: NAME.json beside NAME.jpg, polygons in drawing order.

LabelMe draws polygons with Pillow, which cuts coordinates to whole pixels and draws the outline, too. So vertices are
put into the middle of a region's own pixels along its border: outlines that are not simplified then draw the very class
map. Between two such lines askew there would be gaps. So of a simplified outline each vertex lies in the pixel of
whichever region there is drawn last: neighbours have their border line in common, and the later one wins. That may be
off by a pixel more than the tolerance.

A polygon has no holes. Enclosing regions come first, and what lies in them is drawn over them; background that a region
encloses is a polygon labelled `_background_`, which is LabelMe's own name for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from ....files import write_json, write_text
from ..form import IGNORED, DraftImage, Form
from ..outlines import OutlinedRegion

BACKGROUND = "_background_"


class LabelMeForm(Form):
    """A JSON file beside each image, and `labels.txt` with the classes in their order."""

    images = "."

    def add(self, image: DraftImage) -> None:
        """Write the image's JSON file; its polygons are in drawing order."""
        regions = sorted(self.drafted(image) + self._enclosed(image), key=lambda region: -region.outer.area)
        drawn_last = _DrawnLast(regions, image.height, image.width)
        annotation: dict[str, Any] = {
            "version": "5.5.0",
            "flags": {},
            "shapes": [self._shape(region, drawn_last) for region in regions],
            "imagePath": PurePosixPath(image.file).name,
            "imageData": None,
            "imageHeight": image.height,
            "imageWidth": image.width,
        }
        write_json((self.folder / image.file).with_suffix(".json"), annotation)

    def finish(self) -> None:
        """Write the classes as `labelme --labels` takes them."""
        names = [one.name for one in self.classes.values() if one.name != IGNORED]
        write_text(self.folder / "labels.txt", "".join(f"{name}\n" for name in (IGNORED, BACKGROUND, *names)))

    def _enclosed(self, image: DraftImage) -> list[OutlinedRegion]:
        """Return regions of background that lie in another region, and would be drawn over by it."""
        background = [region for region in image.regions if region.class_id not in self.classes]
        covered = np.zeros((image.height, image.width), bool)
        for region in self.drafted(image) if background else []:
            if region.holes:
                covered |= region.bitmap(with_holes=False).area(image.height, image.width)
        first = [tuple(region.outer.pixels[0]) for region in background]
        return [region for region, (column, row) in zip(background, first, strict=True) if covered[row, column]]

    def _shape(self, region: OutlinedRegion, drawn_last: _DrawnLast) -> dict[str, object]:
        known = self.classes.get(region.class_id)
        onwards = np.roll(region.outer.corners, -1, axis=0) - region.outer.corners
        pixels = drawn_last.at(region.outer.corners) if onwards.all(1).any() else region.outer.pixels
        return {
            "label": known.name if known else BACKGROUND,
            "points": (pixels + 0.5).tolist(),
            "group_id": None,
            "description": "",
            "shape_type": "polygon",
            "flags": {},
            "mask": None,
        }


class _DrawnLast:
    """Knows which regions are drawn last where several meet.

    Args:
        regions: In drawing order.
        height: Of the image.
        width: Likewise.
    """

    AROUND = np.array([(-1, -1), (0, -1), (0, 0), (-1, 0)])
    """Column and row of the pixels around a corner, less those of the corner, in a circle."""

    def __init__(self, regions: Sequence[OutlinedRegion], height: int, width: int) -> None:
        self._rank = np.zeros((height + 2, width + 2), np.int32)
        for rank, region in enumerate(regions, start=1):
            found = region.bitmap()
            rows, columns = found.pixels.shape
            top, left = found.top + 1, found.left + 1
            self._rank[top : top + rows, left : left + columns][found.pixels] = rank

    def at(self, corners: np.ndarray) -> np.ndarray:
        """Return for corners `(N, 2)` the pixel, of those of the last region there, that lies in its corner."""
        columns, rows = (corners[:, None] + self.AROUND + 1).transpose(2, 0, 1)
        ranks = self._rank[rows, columns]
        last = (ranks == ranks.max(1, keepdims=True)).astype(np.int64)
        beside = np.roll(last, 1, axis=1) + np.roll(last, -1, axis=1)
        return corners + self.AROUND[(last * (1 + beside)).argmax(1)]
