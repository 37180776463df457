"""Images of an unknown folder that are not 8-bit colours: how many channels, which range, which mean."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..data.finding import RASTER_SUFFIXES
from ..data.rasters import has_ending, read_any, sources_in
from ..errors import DeepLabError

READ_BY_RASTERS = (".tif", ".tiff", *RASTER_SUFFIXES)
LOOKED_AT = 20
TWELVE_BITS, SIXTEEN_BITS = 4095, 65535


def unusual_images(paths: Sequence[Path]) -> dict[str, Any]:
    """Return `mean`, `std` and `pixel_range` for a `FolderDataModule`; nothing for images of the usual kinds."""
    unusual = [path for path in paths if has_ending(path, READ_BY_RASTERS)]
    stored = [values for path in unusual[:: max(1, len(unusual) // LOOKED_AT)] if (values := _read(path)) is not None]
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


def _read(path: Path) -> np.ndarray | None:
    try:
        parts = sources_in(path)
        return read_any(parts[len(parts) // 2])
    except DeepLabError:
        return None
