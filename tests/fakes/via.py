"""A tiny project of the VGG Image Annotator."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 50, 40
SQUARE = {"name": "polygon", "all_points_x": [10, 20, 20, 10], "all_points_y": [5, 5, 25, 25]}
RECT = {"name": "rect", "x": 30, "y": 10, "width": 8, "height": 20}


def entry(name: str, *regions: tuple[Any, Any], as_object: bool = False) -> dict[str, Any]:
    """Return an image's entry, its regions given as shape and attributes; `as_object` as VIA 1 has it."""
    found = [{"shape_attributes": shape, "region_attributes": attributes} for shape, attributes in regions]
    held: Any = {str(number): one for number, one in enumerate(found)} if as_object else found
    return {"filename": name, "size": 1234, "regions": held, "file_attributes": {}}


def write_images(folder: Path, *, seed: int = 0) -> None:
    """Write p0.jpg to p5.jpg."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for number in range(6):
        image = rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        Image.fromarray(image).save(folder / f"p{number}.jpg")


def write_via(root: Path, entries: list[dict[str, Any]] | None = None, *, project: bool = True) -> Path:
    """Write images and a project, or only what it exports, and return the folder."""
    write_images(root)
    if entries is None:
        regions = ((SQUARE, {"kind": "road"}), (RECT, {"kind": "car"}))
        entries = [entry(f"p{number}.jpg", *regions) for number in range(6)]
    metadata = {f"{one['filename']}1234": one for one in entries}
    attributes = {"kind": {"type": "dropdown", "description": "", "options": {"road": "", "car": "", "tree": ""}}}
    settings = {"ui": {"annotation_editor_height": 25}, "core": {"buffer_size": 18}, "project": {"name": "mine"}}
    whole = {"_via_settings": settings, "_via_img_metadata": metadata,
             "_via_attributes": {"region": attributes, "file": {}},
             "_via_data_format_version": "2.0.10", "_via_image_id_list": list(metadata)}  # fmt: skip
    (root / "via_project.json").write_text(json.dumps(whole if project else metadata), encoding="utf-8")
    return root
