"""A tiny data set in COCO's panoptic form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 50, 40
CATEGORIES = [
    {"id": 200, "name": "sky", "isthing": 0, "color": [1, 2, 3]},
    {"id": 1, "name": "person", "isthing": 1, "color": [1, 2, 4]},
    {"id": 18, "name": "dog", "isthing": 1, "color": [1, 2, 5]},
]
SEGMENTS = {70_000: (200, 0), 9: (1, 0), 2**24 - 1: (1, 0), 600: (18, 0), 5: (18, 1)}
"""Id -> category and iscrowd."""
NAMES = {"train2017": ("000000000009", "000000000025"), "val2017": ("000000000139",)}


def ids_of(name: str) -> np.ndarray:
    """Return the segments' ids of an image, `(40, 50)` int32; the upper rows are void."""
    blocks = np.random.default_rng(int(name)).permutation(np.repeat(list(SEGMENTS), 5)).reshape(5, 5)
    ids = np.kron(blocks, np.ones((8, 10), int)).astype(np.int32)
    ids[:3] = 0
    return ids


def write_coco_panoptic(root: Path) -> Path:
    """Write `annotations/panoptic_SPLIT.json` with its folder, and the images, and return the root."""
    for split, names in NAMES.items():
        folder = root / "annotations" / f"panoptic_{split}"
        folder.mkdir(parents=True)
        (root / split).mkdir()
        annotations: list[dict[str, Any]] = []
        for number, name in enumerate(names, start=1):
            ids = ids_of(name)
            pixels = np.stack([ids & 255, ids >> 8 & 255, ids >> 16], axis=-1).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{name}.png")
            Image.fromarray(pixels[..., ::-1].copy()).save(root / split / f"{name}.jpg")
            segments = [
                {"id": one, "category_id": category, "iscrowd": crowd} for one, (category, crowd) in SEGMENTS.items()
            ]
            annotations.append({"image_id": number, "file_name": f"{name}.png", "segments_info": segments})
        images = [
            {"id": number, "file_name": f"{name}.jpg", "width": WIDTH, "height": HEIGHT}
            for number, name in enumerate(names, start=1)
        ]
        content = {"images": images, "annotations": annotations, "categories": CATEGORIES}
        (root / "annotations" / f"panoptic_{split}.json").write_text(json.dumps(content))
    return root
