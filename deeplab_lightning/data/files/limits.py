"""How large an image may be, and which decoders may look at it: decided before a header's numbers reach any of them."""

from __future__ import annotations

import functools
import io
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

from ...errors import DataError
from ...files import open_file
from ...memory import free_memory

MOST_PIXELS = 2**28
"""Of an image that is read whole, where memory suffices. What is larger (16384 x 16384) is refused undecoded."""
BYTES_PER_PIXEL = 16
"""Of memory, at most, while an image of 8 bits is read: as decoded, as RGB, with transparency, and laid on white."""
MOST_PARTS = 100_000
"""Slices, frames or windows of a file: a header of a few bytes can announce any number of them."""
MOST_CHANNELS = 512
"""Of an image. A TIFF of 198 bytes can announce 65,535, for which GDAL takes minutes."""
VARIABLE = "DEEPLAB_MAX_PIXELS"
"""In the environment, because the processes that read images inherit it: the limit that a user has set."""
FORMATS = (
    "JPEG", "PNG", "WEBP", "BMP", "DIB", "TIFF", "GIF", "JPEG2000", "AVIF", "PPM", "TGA", "PCX", "SGI", "ICO",
    "PSD",
)  # fmt: skip
"""Pillow's decoders that are asked, by the file's content. Of the others EPS starts a program."""

# Pillow's own limit warns from 89 megapixels on, which maps and scans of tissue have, and only headers of larger ones
# are read here. None stays as a user has set it.
if Image.MAX_IMAGE_PIXELS is not None:
    Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS, 64 * MOST_PIXELS)


def most_pixels() -> int:
    """Return how many pixels an image may have: what was set, or by default what memory holds."""
    said = os.environ.get(VARIABLE, "")
    return int(said) if said.isdecimal() else min(MOST_PIXELS, free_memory() // BYTES_PER_PIXEL)


def set_most_pixels(count: int | None) -> None:
    """Set the limit for this process and those that it starts; None leaves it as it is."""
    if count is not None:
        os.environ[VARIABLE] = str(count)


def expect_size(
    where: object, height: int, width: int, bytes_per_pixel: int = 3, remedy: str = "Cut it into smaller images."
) -> None:
    """Refuse an image that has more pixels than are read, or needs more memory than there is.

    Args:
        where: Where it comes from, for the message.
        height: In pixels, as its header says.
        width: Likewise.
        bytes_per_pixel: Of all channels together, decoded.
        remedy: What to do about it.

    Raises:
        DataError: Says the limit.
    """
    most = most_pixels()
    if height * width > most:
        raise DataError(
            f"{where} is too large to be read whole: {width}x{height} pixels (width x height), and {most:,} are the "
            f"limit. {remedy} Where there is memory for it, --max_pixels (--data.max_pixels) allows more.",
            kind="unreadable_image",
        )
    expect_memory(where, height * width * bytes_per_pixel, remedy)


def expect_memory(where: object, needed: int, remedy: str = "Cut it into smaller images.") -> None:
    """Refuse what takes more than half of the memory that is left: the rest is for what is made of it.

    Raises:
        DataError: Says how much both are.
    """
    free = free_memory()
    if needed > free // 2:
        raise DataError(
            f"{where} is too large to be read: it would take {needed:,} bytes of memory, and {free:,} are free. "
            f"{remedy}",
            kind="unreadable_image",
        )


def expect_parts(where: object, count: int, what: str) -> None:
    """Refuse a file that announces more slices, frames or windows than any has.

    Raises:
        DataError: Says how many.
    """
    if count > MOST_PARTS:
        raise DataError(
            f"{where} announces {count:,} {what}; {MOST_PARTS:,} are read. It is damaged: copy or download it again, "
            f"or take it out of the data.",
            kind="unreadable_image",
        )


@functools.cache
def formats() -> tuple[str, ...]:
    """Return those of `FORMATS` that this Pillow has."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


@contextmanager
def opened_image(source: str | Path | bytes) -> Iterator[Image.Image]:
    """Open an image of one of `FORMATS` with Pillow, from an ordinary file or its bytes; nothing is decoded yet.

    Raises:
        OSError: It is no ordinary file, or no image; and whatever Pillow raises.
    """
    with (
        io.BytesIO(source) if isinstance(source, bytes) else open_file(source) as file,
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        with Image.open(file, formats=formats()) as image:
            yield image
