"""Tiny folders with a mask for each object or class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 50, 40


def save(path: Path, area: np.ndarray) -> None:
    """Write `(H, W)` bool as 0 and 255."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(area.astype(np.uint8) * 255).save(path)


def image(path: Path, seed: int = 0) -> None:
    """Write an image."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def block(left: int, top: int, right: int, bottom: int) -> np.ndarray:
    """Return pixels (left, top) to (right, bottom), the last ones not included."""
    area = np.zeros((HEIGHT, WIDTH), bool)
    area[top:bottom, left:right] = True
    return area


LARGE, SMALL = block(5, 5, 30, 30), block(20, 20, 35, 28)
"""Two objects that overlap."""
