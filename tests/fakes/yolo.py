"""A tiny data set in the form of YOLO segmentation: text files of polygons whose pixels are known."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 50, 40


def rectangle(number: int, left: int, top: int, right: int, bottom: int) -> str:
    """Return the line of an object of class `number` that covers columns `left` to `right` - 1, and rows likewise."""
    corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
    return f"{number} " + " ".join(f"{x / WIDTH:.6f} {y / HEIGHT:.6f}" for x, y in corners)


def box(number: int, left: int, top: int, right: int, bottom: int) -> str:
    """Return the line of its box."""
    centre = ((left + right) / 2 / WIDTH, (top + bottom) / 2 / HEIGHT)
    return f"{number} {centre[0]} {centre[1]} {(right - left) / WIDTH} {(bottom - top) / HEIGHT}"


def write_image(images: Path, labels: Path, name: str, lines: Sequence[str] | None, grey: int = 0) -> None:
    """Write an image of 50x40 pixels, and its label file unless `lines` is None."""
    images.mkdir(parents=True, exist_ok=True)
    labels.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((HEIGHT, WIDTH, 3), grey, np.uint8)).save(images / f"{name}.png")
    if lines is not None:
        (labels / f"{name}.txt").write_text("".join(f"{line}\n" for line in lines))


def write_yolo(root: Path) -> Path:
    """Write images/SPLIT and labels/SPLIT with data.yaml, and return the root."""
    for split, count in {"train": 4, "val": 2}.items():
        for number in range(count):
            lines = [rectangle(0, 10, 5, 30, 25), rectangle(1, 12, 8, 20, 12)]
            write_image(root / "images" / split, root / "labels" / split, f"{number}", lines)
    (root / "data.yaml").write_text("path: .\ntrain: images/train\nval: images/val\nnames: [crack, spall]\n")
    return root
