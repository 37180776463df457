"""Objects in files: COCO's forms of panoptic and instance segmentation, Cityscapes' ids, and a table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..data.files.saving import write_image, write_numbers
from ..files import write_csv, write_json
from ..inference.drafts.forms.coco import run_lengths
from ..inference.found_objects import PanopticImage
from ..labels import LabelSet

FIRST_OBJECT = 257
"""Segment of an image's first object in COCO's form: stuff has its class's id and 1, and 0 is void."""
COLUMNS = ("image", "number", "class", "score", "left", "top", "width", "height", "area")


class ObjectFiles:
    """Writes the objects of images, those of each at once and the lists at the end.

    ```
    panoptic/NAME.png   segments as red + 256 green + 256^2 blue    panoptic.json   what they are
    instance_ids/NAME.png   16 bits: label id, or label id * 1000 + number in the class (for Cityscapes' classes)
    objects.json        an annotation with score and run lengths for each object
    objects.csv         a line for each object
    ```

    Args:
        output: Folder.
        labels: The classes.
        things: Train ids of those that have objects.
        label_ids: Cityscapes' label id of each class, to write `instance_ids`; none for other classes.
    """

    def __init__(
        self, output: Path, labels: LabelSet, things: Sequence[int], label_ids: Sequence[int] | None = None
    ) -> None:
        self.output, self.labels, self.label_ids = output, labels, label_ids
        self._categories = [
            {"id": index + 1, "name": name, "isthing": int(index in things), "color": list(colour)}
            for index, (name, colour) in enumerate(zip(labels.class_names, labels.palette, strict=True))
        ]
        self._images: list[dict[str, Any]] = []
        self._segments: list[dict[str, Any]] = []
        self._objects: list[dict[str, Any]] = []
        self._rows: list[tuple[object, ...]] = []

    def add(self, name: str, found: PanopticImage) -> None:
        """Write an image's maps, and remember its objects."""
        height, width = found.classes.shape
        number = len(self._images) + 1
        self._images.append({"id": number, "file_name": f"{name}.png", "height": height, "width": width})
        segments = np.where(found.numbers > 0, found.numbers + (FIRST_OBJECT - 1), found.classes.astype(np.int32) + 1)
        segments[found.classes == self.labels.ignore_index] = 0
        coded = np.stack([segments & 255, segments >> 8 & 255, segments >> 16], axis=-1).astype(np.uint8)
        write_image(self.output / "panoptic" / f"{name}.png", coded)
        if self.label_ids is not None:
            write_numbers(self.output / "instance_ids" / f"{name}.png", self._ids(found, self.label_ids))
        areas = np.bincount(segments[found.numbers == 0], minlength=1)
        stuff = [
            {"id": segment, "category_id": segment, "area": area, "iscrowd": 0}
            for segment, area in enumerate(areas.tolist())
            if segment and area
        ]
        things = [
            {
                "id": one.number + FIRST_OBJECT - 1,
                "category_id": one.class_id + 1,
                "area": one.area,
                "bbox": one.box,
                "iscrowd": 0,
                "score": one.score,
            }
            for one in found.objects
        ]
        self._segments.append({"image_id": number, "file_name": f"{name}.png", "segments_info": [*stuff, *things]})
        for one in found.objects:
            counts = run_lengths(one.pixels, height, width)
            self._objects.append(
                {
                    "id": len(self._objects) + 1,
                    "image_id": number,
                    "category_id": one.class_id + 1,
                    "segmentation": {"size": [height, width], "counts": counts},
                    "area": one.area,
                    "bbox": one.box,
                    "iscrowd": 0,
                    "score": one.score,
                }
            )
            self._rows.append((name, one.number, one.class_name, one.score, *one.box, one.area))

    @property
    def count(self) -> int:
        """Objects so far."""
        return len(self._objects)

    def finish(self) -> None:
        """Write the lists."""
        lists = {"images": self._images, "categories": self._categories}
        write_json(self.output / "panoptic.json", {**lists, "annotations": self._segments}, indent=None)
        write_json(self.output / "objects.json", {**lists, "annotations": self._objects}, indent=None)
        write_csv(self.output / "objects.csv", COLUMNS, self._rows)

    def _ids(self, found: PanopticImage, label_ids: Sequence[int]) -> np.ndarray:
        """Return Cityscapes' ids `(H, W)` uint16."""
        table = np.zeros(256, np.uint16)
        table[: len(label_ids)] = label_ids
        ids = table[found.classes]
        of_class: dict[int, int] = {}
        of_number = np.zeros(len(found.objects) + 1, np.uint16)
        for one in found.objects:
            order = of_class[one.class_id] = of_class.get(one.class_id, -1) + 1
            of_number[one.number] = label_ids[one.class_id] * 1000 + order
        is_object = found.numbers > 0
        ids[is_object] = of_number[found.numbers[is_object]]
        return ids
