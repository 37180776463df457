"""NumPy's files of arrays, read with bounds: they may be anyone's, and few bytes can announce gigabytes."""

from __future__ import annotations

import io
import math
import zipfile
from pathlib import Path
from typing import IO

import numpy as np

from .errors import DataError
from .files import open_file

MOST_BYTES = 1 << 30
"""Of all arrays of a file together, unpacked. Counts of 100,000 images of 171 classes take a tenth of it."""


def read_npz(path: Path, remedy: str, most_bytes: int = MOST_BYTES) -> dict[str, np.ndarray]:
    """Return the arrays of an `.npz`, by name; of numbers and texts alone.

    Args:
        path: The file.
        remedy: What to do about one that cannot be used.
        most_bytes: Of all arrays together.

    Raises:
        DataError: It is missing, damaged, unpacks to more than `most_bytes`, or holds something else.
    """
    try:
        with open_file(path) as file, zipfile.ZipFile(file) as archive:
            parts = archive.infolist()
            _expect_bytes(sum(part.file_size for part in parts), most_bytes)
            return {part.filename.removesuffix(".npy"): _part(archive, part) for part in parts}
    except Exception as error:  # of what is torn or made up, zipfile and NumPy raise a dozen kinds
        raise DataError(f"{path} cannot be read ({_said(error)}). {remedy}") from error


def read_npy(path: Path, remedy: str, most_bytes: int = MOST_BYTES) -> np.ndarray:
    """Return the array of an `.npy`, of numbers or texts.

    Args:
        path: The file.
        remedy: What to do about one that cannot be used.
        most_bytes: Of it.

    Raises:
        DataError: It is missing, damaged, larger than `most_bytes`, or holds something else.
    """
    try:
        with open_file(path) as file:
            size = file.seek(0, io.SEEK_END)
            file.seek(0)
            return _array(file, size, most_bytes)
    except Exception as error:
        raise DataError(f"{path} cannot be read ({_said(error)}). {remedy}") from error


def _part(archive: zipfile.ZipFile, part: zipfile.ZipInfo) -> np.ndarray:
    try:
        with archive.open(part) as file:
            return _array(file, part.file_size, part.file_size)
    except ValueError as error:
        raise ValueError(f"{part.filename}: {error}") from error


def _array(file: IO[bytes], size: int, most_bytes: int) -> np.ndarray:
    """Read an array from a file of `size` bytes, which must be what its header says."""
    version = np.lib.format.read_magic(file)
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read_header(file)
    if dtype.kind not in "biufU" or dtype.fields or dtype.subdtype or not dtype.itemsize:
        raise ValueError(f"it holds {dtype}, expected numbers or texts")
    announced = math.prod(shape) * dtype.itemsize
    left = size - file.tell()
    if announced != left or any(side < 0 for side in shape):
        raise ValueError(f"it announces {dtype} of shape {shape}, {announced:,} bytes, and has {left:,}")
    _expect_bytes(announced, most_bytes)
    content = bytearray(announced)  # so that the array may be written to
    place = 0
    while place < announced:
        count = file.readinto(memoryview(content)[place:])  # type: ignore[attr-defined]
        if not count:
            raise ValueError(f"it ends {announced - place:,} bytes too early")
        place += count
    return np.frombuffer(content, dtype).reshape(shape, order="F" if fortran else "C")


def _expect_bytes(count: int, most: int) -> None:
    if count > most:
        raise ValueError(f"it would unpack to {count:,} bytes; {most:,} are allowed")


def _said(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return "it needs more memory than there is"
    return (
        (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
    ).splitlines()[0][:200]
