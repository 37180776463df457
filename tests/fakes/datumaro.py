"""A tiny data set in Datumaro's form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from PIL import Image

WIDTH, HEIGHT = 50, 40
LABELS = ("crack", "spall")


def polygon(label: int, left: int, top: int, right: int, bottom: int, z_order: int = 0) -> dict[str, Any]:
    """Return a polygon around columns `left` to `right` - 1, and rows likewise."""
    points = [left, top, right, top, right, bottom, left, bottom]
    return {"type": "polygon", "label_id": label, "points": [float(value) for value in points], "z_order": z_order}


def write_subset(root: Path, subset: str, images: dict[str, list[dict[str, Any]]]) -> Path:
    """Write a subset's file and its images, 50x40 pixels, and return the file."""
    items = [
        {
            "id": Path(name).stem,
            "annotations": [
                {"id": number, "attributes": {}, "group": 0, **entry} for number, entry in enumerate(objects)
            ],
            "attr": {},
            "image": {"path": name, "size": [HEIGHT, WIDTH]},
        }
        for name, objects in images.items()
    ]
    labels = {"labels": [{"name": name, "parent": "", "attributes": []} for name in LABELS], "attributes": []}
    content = {"info": {}, "categories": {"label": labels}, "items": items}
    (root / "annotations").mkdir(parents=True, exist_ok=True)
    for name in images:
        file = root / "images" / subset / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (WIDTH, HEIGHT)).save(file)
    path = root / "annotations" / f"{subset}.json"
    path.write_text(json.dumps(content))
    return path


def write_datumaro(root: Path) -> Path:
    """Write the subsets train and val, and return the root."""
    objects = [polygon(1, 12, 8, 20, 12, z_order=1), polygon(0, 10, 5, 30, 25)]
    write_subset(root, "train", {f"{number}.png": objects for number in range(3)})
    write_subset(root, "val", {"0.png": objects})
    return root
