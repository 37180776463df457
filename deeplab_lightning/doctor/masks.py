"""What masks of an unknown folder hold, before anything says what their values mean; and how large images are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from ..data.finding import RASTER_SUFFIXES
from ..data.rasters import has_ending, read_any, read_labels, sources_in
from ..data.spacing import spread
from ..errors import DeepLabError
from .crop import fitting_crop

LOOKED_AT = 200
"""Files that are opened, spread evenly over the folder."""
MOST_COLOURS = 64
"""Masks with more colours than this were compressed or smoothed: no palette is proposed."""

Colour = tuple[int, int, int]


@dataclass
class MaskValues:
    """What a folder's masks hold.

    Attributes:
        largest: Largest value but 255 in grey and palette masks; -1 if there are none.
        black_and_white: All values are 0 and 255, and 255 occurs.
        colours: Colours of RGB masks, black first, then by frequency; empty for grey and palette masks.
    """

    largest: int = -1
    black_and_white: bool = False
    colours: list[Colour] = field(default_factory=list)


def look_at_masks(paths: Sequence[Path]) -> MaskValues:
    """Open masks whatever they are; those that cannot be opened are left to the doctor's later pass."""
    values: set[int] = set()
    colours: Counter[Colour] = Counter()
    for path in _spread(paths):
        pixels = _pixels(path)
        if pixels is None:
            continue
        if pixels.ndim == 2:
            values.update(np.unique(pixels).tolist())
            continue
        packed = pixels[..., :3].astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
        found, counts = np.unique(packed, return_counts=True)
        colours.update({_unpacked(int(colour)): int(count) for colour, count in zip(found, counts, strict=True)})
    if colours and not values and any(len(set(colour)) > 1 for colour in colours):
        listed = [colour for colour, _ in colours.most_common() if colour != (0, 0, 0)]
        listed = [(0, 0, 0)] * ((0, 0, 0) in colours) + listed
        return MaskValues(colours=listed if len(listed) <= MOST_COLOURS else [])
    values.update(colour[0] for colour in colours)  # grey values, stored three times
    classes = values - {255}
    return MaskValues(max(classes, default=-1), values == {0, 255})


def image_sizes(paths: Sequence[Path]) -> list[tuple[int, int]]:
    """Return the `(height, width)` of images, read from their first bytes."""
    sizes = []
    for path in _spread(paths):
        size = _size(path)
        if size is not None:
            sizes.append(size)
    return sizes


def suggested_window(sizes: Sequence[tuple[int, int]]) -> int:
    """Return the crop for these sizes; that of the embedded data set if there are none."""
    return fitting_crop([min(size) for size in sizes]) if sizes else 129


def _spread(paths: Sequence[Path]) -> list[Path]:
    return [paths[index] for index in spread(len(paths), LOOKED_AT)]


def _pixels(path: Path) -> np.ndarray | None:
    """Return `(H, W)` values or `(H, W, 3)` colours; None where the file cannot be read."""
    try:
        parts = sources_in(path)
        return read_labels(parts[len(parts) // 2])
    except DeepLabError:
        return None


def _size(path: Path) -> tuple[int, int] | None:
    try:
        if has_ending(path, RASTER_SUFFIXES):
            height, width = read_any(sources_in(path)[0]).shape[:2]
            return height, width
        with Image.open(path) as image:
            return image.height, image.width
    except (DeepLabError, OSError, SyntaxError, ValueError):
        return None


def _unpacked(colour: int) -> Colour:
    return colour >> 16, colour >> 8 & 255, colour & 255
