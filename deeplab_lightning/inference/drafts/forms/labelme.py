"""LabelMe 5: NAME.json beside NAME.jpg, polygons in drawing order.

LabelMe draws polygons with Pillow, which cuts coordinates to whole pixels and draws the outline, too. So vertices are
put into the middle of a region's own pixels along its border: outlines that are not simplified then draw the very class
map. Simplified ones may be off by a pixel more than the tolerance.

A polygon has no holes. Enclosing regions come first, and what lies in them is drawn over them; background that a region
encloses is a polygon labelled `_background_`, which is LabelMe's own name for it.
"""

from __future__ import annotations

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
        annotation: dict[str, Any] = {
            "version": "5.5.0",
            "flags": {},
            "shapes": [self._shape(region) for region in regions],
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

    def _shape(self, region: OutlinedRegion) -> dict[str, object]:
        known = self.classes.get(region.class_id)
        return {
            "label": known.name if known else BACKGROUND,
            "points": (region.outer.pixels + 0.5).tolist(),
            "group_id": None,
            "description": "",
            "shape_type": "polygon",
            "flags": {},
            "mask": None,
        }
