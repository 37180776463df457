"""YOLO segmentation: a text file for each image, a line for each region: class, then x and y as shares of the sides.

Laid out as Ultralytics reads it and CVAT exports it. A line has no holes: they are joined to the outline by cuts that
run there and back, which fill to the same pixels.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from ....files import write_text
from ..form import DraftClass, DraftImage, Form

DIGITS = 9
"""Behind the point: a billionth of a side moves no border over the centre of a pixel."""


class YoloForm(Form):
    """`data.yaml`, `train.txt`, and the folders `images/train` and `labels/train`."""

    images = "images/train"

    def __init__(self, folder: Path, classes: Mapping[int, DraftClass]) -> None:
        super().__init__(folder, classes)
        self._numbers = {class_id: number for number, class_id in enumerate(classes)}
        self._list = (folder / "train.txt").open("w", encoding="utf-8")

    def add(self, image: DraftImage) -> None:
        """Write the image's labels; an empty file where there is background alone."""
        lines = []
        for region in self.drafted(image):
            shares = (region.keyhole() / (image.width, image.height)).ravel().tolist()
            numbers = " ".join(f"{share:.{DIGITS}f}".rstrip("0").rstrip(".") for share in shares)
            lines.append(f"{self._numbers[region.class_id]} {numbers}\n")
        path = (self.folder / "labels/train" / image.file).with_suffix(".txt")
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, "".join(lines))
        self._list.write(f"{self.images}/{image.file}\n")

    def finish(self) -> None:
        """Write the names of the classes."""
        self._list.close()
        names = "".join(f"  {number}: {json.dumps(one.name)}\n" for number, one in enumerate(self.classes.values()))
        write_text(
            self.folder / "data.yaml",
            f"path: .\ntrain: train.txt  # all drafts; to train Ultralytics' own, add val\nnames:\n{names}",
        )
