"""A tiny data set in the form of COCO: its folders, and objects as polygons and run lengths."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

CATEGORIES = [
    {"id": 1, "name": "person", "supercategory": "person"},
    {"id": 3, "name": "car", "supercategory": "vehicle"},
    {"id": 90, "name": "toothbrush", "supercategory": "indoor"},
]
NAMES = {"train2017": ("000000000009", "000000000025", "000000000030"), "val2017": ("000000000139", "000000000285")}
"""The last of each split has no objects."""


def write_coco(root: Path, *, seed: int = 0) -> Path:
    """Write `annotations/instances_SPLIT.json` and the images, 50x40 pixels, and return the root."""
    (root / "annotations").mkdir(parents=True)
    for split, names in NAMES.items():
        (root / split).mkdir()
        annotations: list[dict[str, Any]] = []
        for number, name in enumerate(names, start=1):
            rng = np.random.default_rng([seed, int(name)])
            image = rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)
            Image.fromarray(image).save(root / split / f"{name}.jpg")
            if name == names[-1]:
                continue
            left, top = (int(value) for value in rng.integers(2, 20, 2))
            box = [left, top, left + 20, top, left + 20, top + 15, left, top + 15]
            brush = np.zeros((40, 50), np.uint8)
            brush[top + 2 : top + 6, left + 2 : left + 9] = 1
            crowd = np.zeros((40, 50), np.uint8)
            crowd[36:, :] = 1
            annotations += [
                thing(number, 90, runs(brush)),
                thing(number, 1, [box]),
                thing(number, 1, runs(crowd), iscrowd=1),
            ]
        images = [image_entry(number, f"{name}.jpg") for number, name in enumerate(names, start=1)]
        write_annotations(root / "annotations" / f"instances_{split}.json", images, annotations)
    return root


def image_entry(number: int, file_name: str, width: int = 50, height: int = 40) -> dict[str, Any]:
    """Return an entry of `images`."""
    return {"id": number, "file_name": file_name, "width": width, "height": height}


def thing(image: int, category: int, segmentation: Any, iscrowd: int = 0) -> dict[str, Any]:
    """Return an entry of `annotations`, without its number."""
    return {"image_id": image, "category_id": category, "segmentation": segmentation, "iscrowd": iscrowd}


def runs(mask: np.ndarray) -> dict[str, Any]:
    """Return a mask's run lengths, uncompressed: down the columns, beginning with zeros."""
    pixels = mask.astype(bool).ravel(order="F")
    changes = np.flatnonzero(np.diff(np.concatenate([[False], pixels]))).tolist()
    counts = np.diff([0, *changes, pixels.size]).tolist()
    return {"size": list(mask.shape), "counts": counts}


def write_annotations(
    path: Path, images: list[dict[str, Any]], annotations: list[dict[str, Any]], /, **fields: Any
) -> Path:
    """Write an annotation file, its objects numbered from 1, and return its path; `fields` replace the usual ones."""
    numbered = [{"id": number, **entry} for number, entry in enumerate(annotations, start=1)]
    content = {"info": {}, "images": images, "annotations": numbered, "categories": CATEGORIES, **fields}
    path.write_text(json.dumps(content), encoding="utf-8")
    return path
