"""Rasters read by GDAL (package rasterio, extra `geo`): TIFF of many channels, and windows of very big images."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ...errors import ConfigError, DataError
from ...extras import need
from ...files import open_file
from .limits import MOST_CHANNELS, expect_memory, expect_parts, expect_size
from .raster_headers import JPEG2000_STARTS, TIFF_STARTS, stated_channels

_IN_PARTS = "A TIFF is read in parts with data.window_size."


class RasterPart(NamedTuple):
    """A part of a raster, in pixels from its upper left corner."""

    row: int
    column: int
    height: int
    width: int


def windows_of(path: str | Path, window_size: int) -> list[RasterPart]:
    """Divide a raster into windows that cover each pixel once, row by row. Only the file's header is read.

    They are as equal as can be, so that none is a narrow strip: 1000 pixels with windows of at most 512 are two of 500.

    Raises:
        ConfigError: `window_size` is not above 0, or rasterio is missing.
        DataError: The file cannot be opened.
    """
    if window_size < 1:
        raise ConfigError(f"data.window_size is {window_size}; expected the largest side of a window in pixels.")
    with _opened(path) as raster:
        height, width = raster.shape
    count = -(-height // window_size) * -(-width // window_size)
    expect_parts(path, count, f"windows of {window_size} pixels")
    return [
        RasterPart(top, left, bottom - top, right - left)
        for top, bottom in _pieces(height, window_size)
        for left, right in _pieces(width, window_size)
    ]


def read_raster(path: str | Path, window: RasterPart | None = None) -> np.ndarray:
    """Read a raster, or a window of it without the rest of the file.

    Returns:
        `(H, W, C)` in the type that the file stores, bands in its order; of a palette the indices.

    Raises:
        ConfigError: rasterio is missing.
        DataError: The file cannot be read.
    """
    with _opened(path) as raster:
        part = None
        if window is not None:
            part = ((window.row, window.row + window.height), (window.column, window.column + window.width))
        height, width = raster.shape if window is None else (window.height, window.width)
        expect_size(path, height, width, sum(np.dtype(kind).itemsize for kind in raster.dtypes), _IN_PARTS)
        pixels = raster.read(window=part)
    if pixels.dtype.kind == "c":
        raise DataError(f"{path} holds complex numbers, expected real ones. Save their magnitude.")
    return np.ascontiguousarray(pixels.transpose(1, 2, 0))


def bits_of(path: str | Path) -> int:
    """Return how many bits a raster's values have, which may be fewer than those of the type they come in: 12 of 16."""
    with _opened(path) as raster:
        stated = raster.tags(1, ns="IMAGE_STRUCTURE").get("NBITS")
        return int(stated or 8 * np.dtype(raster.dtypes[0]).itemsize)


def check_same_grid(path: str | Path, other: str | Path) -> None:
    """Refuse two rasters of different size or, where both say where on Earth they lie, of different places.

    Raises:
        DataError: Says in what they differ.
    """
    with _opened(path) as one, _opened(other) as two:
        if one.shape != two.shape:
            raise DataError(
                f"A mask must have the size of its image: {path} is {one.width}x{one.height}, {other} is "
                f"{two.width}x{two.height} (width x height). Cut or resample them to one grid."
            )
        placed = not (one.transform.is_identity or two.transform.is_identity)
        if placed and not one.transform.almost_equals(two.transform, precision=1e-6 * abs(one.transform.a)):
            raise DataError(
                f"{path} and {other} lie in different places: their pixels' transforms are {tuple(one.transform)[:6]} "
                f"and {tuple(two.transform)[:6]}. Resample the mask to the image's grid."
            )


def _pieces(length: int, largest: int) -> list[tuple[int, int]]:
    count = -(-length // largest)
    return [(length * index // count, length * (index + 1) // count) for index in range(count)]


@contextmanager
def _opened(path: str | Path) -> Iterator[Any]:
    rasterio = need("rasterio", "geo", f"Reading {path}, a raster of many channels or in windows,")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
            raster = rasterio.open(path, driver=_driver_of(path))
        with raster:
            blocks = max(math.prod(block) for block in raster.block_shapes)
            expect_memory(path, blocks * sum(np.dtype(kind).itemsize for kind in raster.dtypes), _IN_PARTS)
            yield raster
    except rasterio.errors.RasterioError as error:
        words = error.__cause__ or error
        raise DataError(f"Cannot read {path}: {words}. Copy it again, or take it out of the data.") from error
    except OSError as error:
        raise DataError(f"Cannot read {path}: {error.strerror or error}. Check the path.") from error


def _driver_of(path: str | Path) -> str:
    """Return which of GDAL's readers is to be asked, by the file's first bytes.

    Others than these, such as VRT, read files and addresses that the file names. Of channels GDAL makes objects, which
    takes it minutes for as many as a header of some bytes can announce.

    Raises:
        DataError: It is of another kind, or has more channels than any image.
        OSError: It is no ordinary file, or not there.
    """
    with open_file(path) as file:
        start = file.read(12)
        file.seek(0)
        channels = stated_channels(file)
    if channels is not None and channels > MOST_CHANNELS:
        raise DataError(
            f"{path} announces {channels:,} channels; {MOST_CHANNELS} are read. Copy it again, or take it out of the "
            f"data.",
            kind="unreadable_image",
        )
    if not start.startswith((*TIFF_STARTS, *JPEG2000_STARTS)):
        raise DataError(f"{path} is no TIFF, or is damaged from its first bytes on. Copy it again.")
    return "GTiff" if start.startswith(TIFF_STARTS) else "JP2OpenJPEG"
