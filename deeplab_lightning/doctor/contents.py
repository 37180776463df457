"""What the images of an unknown folder are like: sizes, and kinds of pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..data.files.limits import opened_image
from ..data.files.rasters import Source, read_any, read_source, sources_in
from ..data.pairing.finding import RASTER_SUFFIXES, is_of_kind
from ..data.spacing import spread
from ..errors import DeepLabError
from .advice import fitting_crop

LOOKED_AT = 200
"""Images that are opened, spread evenly over the folder."""
READ_BY_RASTERS = (".tif", ".tiff", *RASTER_SUFFIXES)
RASTERS_LOOKED_AT = 20
TWELVE_BITS, SIXTEEN_BITS = 4095, 65535


def suggested_window(images: Sequence[Path]) -> int:
    """Return the crop for images of these sizes; that of the embedded data set if there are none."""
    sides = [side for path in _spread(images) if (side := _shorter_side(path)) is not None]
    return fitting_crop(sides) if sides else 129


def unusual_images(paths: Sequence[Path]) -> dict[str, Any]:
    """Return `mean`, `std` and `pixel_range` for a `FolderDataModule`; nothing for images of the usual kinds."""
    unusual = [path for path in paths if is_of_kind(path, READ_BY_RASTERS)]
    stored = list(_middles(unusual[:: max(1, len(unusual) // RASTERS_LOOKED_AT)], read_any))
    if not stored or (stored[0].dtype == np.uint8 and (stored[0].shape[-1] in (1, 3) or _is_rgb(unusual[0]))):
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


def _is_rgb(path: Path) -> bool:
    """Whether an image of 8 bits becomes RGB: a fourth channel that is transparency does, near infrared does not."""
    try:
        read_source(path, 3, 255.0)
    except DeepLabError:
        return False
    return True


def _range(kind: np.dtype[Any], largest: float) -> float:
    """Guess the value that means 1 from the type and the largest value."""
    if kind == np.uint8:
        return 255.0
    if kind.kind == "f":
        return 1.0 if largest <= 1 else largest
    return float(TWELVE_BITS if largest <= TWELVE_BITS else SIXTEEN_BITS)


def _spread(paths: Sequence[Path]) -> list[Path]:
    return [paths[index] for index in spread(len(paths), LOOKED_AT)]


def _middles(paths: Sequence[Path], read: Callable[[Source], np.ndarray]) -> Iterator[np.ndarray]:
    """Yield the pixels of each file, or of its middle slice; those that cannot be read are left out."""
    for path in paths:
        try:
            parts = sources_in(path)
            pixels = read(parts[len(parts) // 2])
        except DeepLabError:
            continue
        yield pixels


def _shorter_side(path: Path) -> int | None:
    try:
        if is_of_kind(path, RASTER_SUFFIXES):
            return min(read_any(sources_in(path)[0]).shape[:2])
        with opened_image(path) as image:
            return min(image.size)
    except (DeepLabError, OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None
