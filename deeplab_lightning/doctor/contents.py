"""What files of an unknown folder hold, before anything says what they mean: masks, kinds of pixels, sizes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..data.finding import RASTER_SUFFIXES
from ..data.images import packed, unpacked
from ..data.rasters import Source, has_ending, read_any, read_labels, sources_in
from ..data.spacing import spread
from ..errors import DeepLabError
from ..labels import RGB

LARGEST_CROP = 769
"""The papers' for Cityscapes; larger ones cost memory and teach little more."""
SMALLEST_CROP = 33
LOOKED_AT = 200
"""Files that are opened, spread evenly over the folder."""
UNUSUAL_LOOKED_AT = 20
"""Images other than of 8-bit colours that are read whole."""
MOST_COLOURS = 64
"""Masks with more colours than this were compressed or smoothed: no palette is proposed."""
READ_BY_RASTERS = (".tif", ".tiff", *RASTER_SUFFIXES)
TWELVE_BITS, SIXTEEN_BITS = 4095, 65535


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
    colours: list[RGB] = field(default_factory=list)


def look_at_masks(paths: Sequence[Path]) -> MaskValues:
    """Open masks whatever they are; those that cannot be opened are left to the doctor's later pass."""
    values: set[int] = set()
    colours: Counter[RGB] = Counter()
    for path in _spread(paths):
        pixels = _middle_part(path, read_labels)
        if pixels is None:
            continue
        if pixels.ndim == 2:
            values.update(np.unique(pixels).tolist())
            continue
        found, counts = np.unique(packed(pixels), return_counts=True)
        colours.update(dict(zip(unpacked(found), counts.tolist(), strict=True)))
    if colours and not values and any(len(set(colour)) > 1 for colour in colours):
        listed = [colour for colour, _ in colours.most_common() if colour != (0, 0, 0)]
        listed = [(0, 0, 0)] * ((0, 0, 0) in colours) + listed
        return MaskValues(colours=listed if len(listed) <= MOST_COLOURS else [])
    values.update(colour[0] for colour in colours)  # grey values, stored three times
    classes = values - {255}
    return MaskValues(max(classes, default=-1), values == {0, 255})


def unusual_images(paths: Sequence[Path]) -> dict[str, Any]:
    """Return `mean`, `std` and `pixel_range` for a `FolderDataModule`; nothing for images of 8-bit colours."""
    unusual = [path for path in paths if has_ending(path, READ_BY_RASTERS)]
    stored = [
        values
        for path in unusual[:: max(1, len(unusual) // UNUSUAL_LOOKED_AT)]
        if (values := _middle_part(path, read_any)) is not None
    ]
    if not stored or (stored[0].dtype == np.uint8 and stored[0].shape[-1] in (1, 3, 4)):
        return {}
    alike = [values for values in stored if values.shape[-1] == stored[0].shape[-1]]
    pixels = np.concatenate([values.reshape(-1, values.shape[-1]) for values in alike]).astype(np.float64)
    pixel_range = _range(stored[0].dtype, float(np.nanmax(np.abs(pixels))))
    mean, std = np.nanmean(pixels, axis=0) / pixel_range, np.nanstd(pixels, axis=0) / pixel_range
    return {
        "mean": [round(float(value), 4) for value in mean],
        "std": [round(max(float(value), 1e-3), 4) for value in std],
        "pixel_range": pixel_range,
    }


def _range(kind: np.dtype[Any], largest: float) -> float:
    """Guess the value that means 1 from the type and the largest value."""
    if kind == np.uint8:
        return 255.0
    if kind.kind == "f":
        return 1.0 if largest <= 1 else largest
    return float(TWELVE_BITS if largest <= TWELVE_BITS else SIXTEEN_BITS)


def image_sizes(paths: Sequence[Path]) -> list[tuple[int, int]]:
    """Return the `(height, width)` of images, read from their first bytes."""
    return [size for path in _spread(paths) if (size := _size(path)) is not None]


def fitting_crop(shorter_sides: Sequence[int] | np.ndarray) -> int:
    """Return the largest `16k + 1` within the median shorter side, from 33 to 769."""
    return int(min(LARGEST_CROP, max(SMALLEST_CROP, (np.median(shorter_sides) - 1) // 16 * 16 + 1)))


def suggested_window(sizes: Sequence[tuple[int, int]]) -> int:
    """Return the crop for these sizes; that of the embedded data set if there are none."""
    return fitting_crop([min(size) for size in sizes]) if sizes else 129


def _spread(paths: Sequence[Path]) -> list[Path]:
    return [paths[index] for index in spread(len(paths), LOOKED_AT)]


def _middle_part(path: Path, read: Callable[[Source], np.ndarray]) -> np.ndarray | None:
    """Read a file's image, of several the one in the middle; None where it cannot be read."""
    try:
        parts = sources_in(path)
        return read(parts[len(parts) // 2])
    except DeepLabError:
        return None


def _size(path: Path) -> tuple[int, int] | None:
    try:
        if has_ending(path, RASTER_SUFFIXES):
            height, width = read_any(sources_in(path)[0]).shape[:2]
            return height, width
        with Image.open(path) as image:
            return image.height, image.width
    except (DeepLabError, OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None
