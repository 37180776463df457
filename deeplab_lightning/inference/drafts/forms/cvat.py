"""CVAT for images 1.1: one XML file, a polygon for each region, or a mask where it has holes.

A mask's run lengths go along the rows of its box, outside first.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

import numpy as np

from ....files import write_text
from ..form import DraftClass, DraftImage, Form
from ..outlines import OutlinedRegion


class CvatForm(Form):
    """`annotations.xml`, the folder `images`, and `labels.json` to make a task's labels of (Raw)."""

    def __init__(self, folder: Path, classes: Mapping[int, DraftClass]) -> None:
        super().__init__(folder, classes)
        self._count = 0
        self._file = (folder / "annotations.xml").open("w", encoding="utf-8")
        labels = "".join(
            f"<label><name>{escape(one.name)}</name><color>{one.hex_colour}</color><type>any</type>"
            "<attributes></attributes></label>\n"
            for one in classes.values()
        )
        self._file.write(
            f'<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n<version>1.1</version>\n'
            f"<meta><task><name>drafts</name><mode>annotation</mode><labels>\n{labels}</labels></task></meta>\n"
        )

    def add(self, image: DraftImage) -> None:
        """Write the image's element."""
        place = {"id": self._count, "name": image.file, "width": image.width, "height": image.height}
        shapes = "".join(f"{self._shape(region)}\n" for region in self.drafted(image))
        self._file.write(f"{_tag('image', place)}\n{shapes}</image>\n")
        self._count += 1

    def finish(self) -> None:
        """End the file, and write the labels."""
        self._file.write("</annotations>\n")
        self._file.close()
        labels = [{"name": one.name, "color": one.hex_colour, "attributes": []} for one in self.classes.values()]
        write_text(self.folder / "labels.json", json.dumps(labels, indent=2, ensure_ascii=False) + "\n")

    def _shape(self, region: OutlinedRegion) -> str:
        common = {"label": self.classes[region.class_id].name, "source": "auto", "occluded": 0}
        if not region.holes:
            points = ";".join(f"{x}.00,{y}.00" for x, y in region.outer.corners.tolist())
            return f"{_tag('polygon', {**common, 'points': points, 'z_order': 0})}</polygon>"
        left, top, width, height = region.box
        flat = np.concatenate([[False], region.bitmap().pixels.ravel()])
        changes = np.flatnonzero(flat[1:] != flat[:-1])
        runs = ", ".join(map(str, np.diff(changes, prepend=0, append=width * height).tolist()))
        box = {"rle": runs, "left": left, "top": top, "width": width, "height": height, "z_order": 0}
        return f"{_tag('mask', {**common, **box})}</mask>"


def _tag(name: str, attributes: Mapping[str, object]) -> str:
    written = " ".join(f"{key}={quoteattr(str(value))}" for key, value in attributes.items())
    return f"<{name} {written}>"
