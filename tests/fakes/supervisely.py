"""A tiny project of Supervisely, as its download holds it."""

from __future__ import annotations

import base64
import io
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 50, 40
CLASSES = ("road", "car")


def packed(area: np.ndarray, *, compress: bool = True, kind: str = "P") -> str:
    """Pack `(h, w)` bool as the SDK does: a PNG of two colours, of which the first is transparent."""
    image = Image.fromarray(area.astype(np.uint8))
    buffer = io.BytesIO()
    if kind == "P":
        image.putpalette([0, 0, 0, 255, 255, 255])
        image.save(buffer, "PNG", transparency=0)
    elif kind == "L":
        Image.fromarray(area.astype(np.uint8) * 255).save(buffer, "PNG")
    else:
        pixels = np.zeros((*area.shape, 4), np.uint8)
        pixels[area] = (10, 0, 200, 255)
        Image.fromarray(pixels).save(buffer, "PNG")
    data = buffer.getvalue()
    return base64.b64encode(zlib.compress(data) if compress else data).decode()


def bitmap(area: np.ndarray, label: str, left: int = 0, top: int = 0, **options: Any) -> dict[str, Any]:
    """Return a painted object."""
    return {**_object(label, "bitmap"), "bitmap": {"data": packed(area, **options), "origin": [left, top]}}


def shape(kind: str, points: Any, label: str, holes: Any = ()) -> dict[str, Any]:
    """Return an object of points."""
    return {**_object(label, kind), "points": {"exterior": points, "interior": list(holes)}}


def _object(label: str, kind: str) -> dict[str, Any]:
    return {"id": 1, "classId": 2, "classTitle": label, "geometryType": kind, "tags": [], "labelerLogin": "me"}


def write_annotation(path: Path, objects: list[Any], **fields: Any) -> None:
    """Write the annotation of an image."""
    path.parent.mkdir(parents=True, exist_ok=True)
    plain = {"description": "", "tags": [], "size": {"height": HEIGHT, "width": WIDTH}, "objects": objects}
    path.write_text(json.dumps({**plain, **fields}), encoding="utf-8")


def write_supervisely(root: Path, *, datasets: tuple[str, ...] = ("ds0", "ds1"), seed: int = 0) -> Path:
    """Write three images in each dataset, and return the project's folder."""
    rng = np.random.default_rng(seed)
    for dataset in datasets:
        (root / dataset / "img").mkdir(parents=True)
        for number in range(3):
            image = rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
            Image.fromarray(image).save(root / dataset / "img" / f"p{number}.jpg")
            area = np.ones((6, 8), bool)
            area[2:4, 2:4] = False
            objects = [
                shape("polygon", [[10, 10], [40, 10], [40, 30], [10, 30]], "road"),
                bitmap(area, "car", left=12 + number, top=12),
            ]
            write_annotation(root / dataset / "ann" / f"p{number}.jpg.json", objects)
    classes = [{"title": title, "shape": "any", "color": "#0F8A12", "geometry_config": {}} for title in CLASSES]
    (root / "meta.json").write_text(json.dumps({"classes": classes, "tags": [], "projectType": "images"}))
    return root
