"""Masks of three classes in the codings that people have, with the truth that they were made of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from .folder import draw

COUNT = 6
HEIGHT, WIDTH = 60, 80
COLOURS = np.array([(0, 0, 0), (250, 50, 83), (51, 221, 255)], np.uint8)
"""Of the ids 0, 1 and 2."""


def truth(number: int, classes: int = 3) -> np.ndarray:
    """Return mask `number`, `(H, W)` uint8, of which 0 has more than half."""
    mask = draw(number, classes, HEIGHT, WIDTH)[0]
    mask[: HEIGHT // 2] = 0
    return mask


def objects(number: int) -> np.ndarray:
    """Return a mask in which 0 lies around objects that are numbered from 1 on."""
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    for one in range((1, 2, 3, 5, 4, 2)[number % COUNT]):
        mask[5:40, 4 + 15 * one : 14 + 15 * one] = one + 1
    return mask


def indexed(mask: np.ndarray, palette: np.ndarray) -> Image.Image:
    """Return a palette image that stores a mask's numbers."""
    image = Image.fromarray(mask)
    image.putpalette(palette.astype(np.uint8).tobytes())
    return image


def write_masks(
    root: Path,
    mask_of: Callable[[int], np.ndarray | Image.Image],
    images: str = "images",
    masks: str = "masks",
    name: str = "p{}",
    ending: str = ".png",
) -> Path:
    """Write images, and masks as `mask_of` their number makes them; return `root`."""
    for number in range(COUNT):
        for folder, stored, suffix in (
            (images, draw(number, 3, HEIGHT, WIDTH)[1], ".jpg"),
            (masks, mask_of(number), ending),
        ):
            (root / folder).mkdir(parents=True, exist_ok=True)
            image = stored if isinstance(stored, Image.Image) else Image.fromarray(stored)
            image.save(root / folder / f"{name.format(number)}{suffix}")
    return root
