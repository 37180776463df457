"""A tiny folder of images annotated with LabelMe: JSON files in the form that LabelMe 5 writes."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

NAMES = ("a", "b", "c", "day 2/d", "day 2/e", "f")
"""`b`'s JSON holds the image itself; `c`'s names an image that was moved; `f` has no shapes."""


def write_labelme(root: Path, *, seed: int = 0) -> Path:
    """Write annotated images of 50x40 pixels, and return the folder. Labels are VOC's person, bottle and void."""
    rng = np.random.default_rng(seed)
    for name in NAMES:
        image = rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)
        left, top = (float(value) for value in rng.integers(2, 20, 2))
        shapes = [
            shape("person", [[left, top], [left + 20.5, top], [left + 20.5, top + 15.5]]),
            shape("bottle", [[left + 4, top + 2], [left + 9, top + 8]], "rectangle"),
            shape("__ignore__", [[40, 30], [43, 30]], "circle"),
        ]
        path = root / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        fields: dict[str, Any] = {"imagePath": f"{path.stem}.jpg"}
        if name == "b":
            fields["imageData"] = encoded_png(image)
        else:
            Image.fromarray(image).save(path.with_suffix(".jpg"))
        if name == "c":
            fields["imagePath"] = "..\\images\\c.jpg"
        write_annotation(path, [] if name == "f" else shapes, **fields)
    return root


def shape(label: str, points: list[list[float]], kind: str = "polygon", **fields: Any) -> dict[str, Any]:
    """Return a shape in LabelMe's form."""
    return {"label": label, "points": points, "group_id": None, "shape_type": kind, "flags": {}, **fields}


def write_annotation(path: Path, shapes: list[Any], width: int = 50, height: int = 40, **fields: Any) -> Path:
    """Write an annotation, and return its path; `fields` replace the usual ones."""
    annotation = {
        "version": "5.4.1",
        "flags": {},
        "shapes": shapes,
        "imagePath": f"{path.stem}.jpg",
        "imageData": None,
        "imageHeight": height,
        "imageWidth": width,
    }
    path.write_text(json.dumps({**annotation, **fields}, indent=2), encoding="utf-8")
    return path


def encoded_png(pixels: np.ndarray) -> str:
    """Return pixels as PNG in base64."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()
