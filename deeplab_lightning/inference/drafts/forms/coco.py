"""COCO: one JSON file, an object for each region: a polygon, or run lengths where it has holes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ....data.files.regions import Bitmap
from ..form import DraftClass, DraftImage, Form
from ..outlines import OutlinedRegion


class CocoForm(Form):
    """`annotations.json`, whose lists of images and categories come last, and the folder `images`."""

    def __init__(self, folder: Path, classes: Mapping[int, DraftClass]) -> None:
        super().__init__(folder, classes)
        self._categories = {class_id: number for number, class_id in enumerate(classes, start=1)}
        self._images: list[dict[str, object]] = []
        self._objects = 0
        self._file = (folder / "annotations.json").open("w", encoding="utf-8")
        self._file.write('{"annotations": [')

    def add(self, image: DraftImage) -> None:
        """Write the image's objects."""
        number = len(self._images) + 1
        self._images.append({"id": number, "file_name": image.file, "height": image.height, "width": image.width})
        for region in self.drafted(image):
            self._objects += 1
            entry = {
                "id": self._objects,
                "image_id": number,
                "category_id": self._categories[region.class_id],
                "segmentation": _segmentation(region, image.height, image.width),
                "area": region.area,
                "bbox": region.box,
                "iscrowd": 0,
            }
            self._file.write(f"{',' * (self._objects > 1)}\n{json.dumps(entry)}")

    def finish(self) -> None:
        """Write images and categories."""
        categories = [
            {"id": self._categories[class_id], "name": one.name, "supercategory": ""}
            for class_id, one in self.classes.items()
        ]
        lists = {"images": self._images, "categories": categories}
        rest = ",\n".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in lists.items())
        self._file.write(f"\n],\n{rest}}}\n")
        self._file.close()


def _segmentation(region: OutlinedRegion, height: int, width: int) -> object:
    if not region.holes:
        return [region.outer.corners.ravel().tolist()]
    return {"size": [height, width], "counts": run_lengths(region.bitmap(), height, width)}


def run_lengths(bitmap: Bitmap, height: int, width: int) -> list[int]:
    """Return how many pixels lie outside and inside by turns, down the columns of an image of this size."""
    pixels = np.pad(bitmap.pixels, ((1, 1), (0, 0))).T.view(np.int8)
    columns, begin = np.nonzero(np.diff(pixels, axis=1) == 1)
    _, end = np.nonzero(np.diff(pixels, axis=1) == -1)
    above = (columns + bitmap.left) * height + bitmap.top
    changes = np.stack([above + begin, above + end], axis=1).ravel()
    goes_on = np.flatnonzero(changes[1:-1:2] == changes[2::2]) * 2 + 1  # from a column's end into the next one's begin
    changes = np.delete(changes, np.concatenate([goes_on, goes_on + 1]))
    return np.diff(changes, prepend=0, append=height * width).tolist()
