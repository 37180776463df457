"""Images, masks and numbers to files, each whole or not at all."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from ...errors import DataError
from ...files import atomic_open, writing

WRITTEN_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")


def write_mask(path: str | Path, mask: np.ndarray, palette: np.ndarray) -> None:
    """Write a mask `(H, W)` uint8 as palette PNG: the file stores the ids, and viewers show the colours.

    The file appears whole or not at all; its folder is made if need be. The palette `(256, 3)` is what
    `LabelSet.colour_table()` gives.

    Raises:
        DataError: The name does not end in `.png`, or the place cannot be written.
    """
    if Path(path).suffix.lower() != ".png":
        raise DataError(f"Masks are written as palette PNG, so {path} must end in .png.")
    image = Image.fromarray(mask)
    image.putpalette(palette.tobytes())
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    _write_whole(Path(path), buffer.getvalue())


def write_numbers(path: str | Path, numbers: np.ndarray) -> None:
    """Write numbers `(H, W)` uint16 as a grey PNG of 16 bits; the file appears whole or not at all.

    Raises:
        DataError: The place cannot be written.
    """
    buffer = io.BytesIO()
    Image.fromarray(numbers).save(buffer, "PNG")
    _write_whole(Path(path), buffer.getvalue())


def write_image(path: str | Path, rgb: np.ndarray) -> None:
    """Write an image `(H, W, 3)` uint8 in the format that its name's ending says (JPEG with quality 95).

    The file appears whole or not at all; its folder is made if need be.

    Raises:
        DataError: The ending is none of `WRITTEN_SUFFIXES`, or the place cannot be written.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in WRITTEN_SUFFIXES:
        raise DataError(f"Cannot write {path}: its ending must be one of {', '.join(WRITTEN_SUFFIXES)}.")
    _, encoded = cv2.imencode(suffix, cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
    _write_whole(Path(path), encoded.tobytes())


def _write_whole(path: Path, data: bytes) -> None:
    with writing(path, "Choose a folder that you may write to."):
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_open(path) as file:
            file.write(data)
