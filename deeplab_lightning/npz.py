"""NumPy's archives of arrays, read with bounds: a run folder may be anyone's, and few bytes can announce gigabytes."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path

import numpy as np

from .errors import DataError

MOST_BYTES = 1 << 30
"""Of all arrays of a file together, unpacked. Counts of 100,000 images of 171 classes take a tenth of it."""


def read_npz(path: Path, remedy: str) -> dict[str, np.ndarray]:
    """Return the arrays of an `.npz`, by name; of numbers and texts alone.

    Args:
        path: The file.
        remedy: What to do about one that cannot be used.

    Raises:
        DataError: It is missing, damaged, unpacks to more than `MOST_BYTES`, or holds something else.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            parts = archive.infolist()
            unpacked = sum(part.file_size for part in parts)
            if unpacked > MOST_BYTES:
                raise ValueError(f"it would unpack to {unpacked:,} bytes; {MOST_BYTES:,} are allowed")
            return {part.filename.removesuffix(".npy"): _array(archive, part) for part in parts}
    except Exception as error:  # of what is torn or made up, zipfile and NumPy raise a dozen kinds
        said = (str(error) or type(error).__name__).splitlines()[0][:200]
        raise DataError(f"{path} cannot be read ({said}). {remedy}") from error


def _array(archive: zipfile.ZipFile, part: zipfile.ZipInfo) -> np.ndarray:
    with archive.open(part) as file:
        version = np.lib.format.read_magic(file)
        if version == (1, 0):
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
        else:
            shape, fortran, dtype = np.lib.format.read_array_header_2_0(file)
        if dtype.kind not in "biufU" or dtype.fields or dtype.subdtype or not dtype.itemsize:
            raise ValueError(f"{part.filename} holds {dtype}, expected numbers or texts")
        content = file.read()
        if math.prod(shape) * dtype.itemsize != len(content):
            raise ValueError(f"{part.filename} of shape {shape} and {dtype} has {len(content)} bytes")
        return np.frombuffer(content, dtype).reshape(shape, order="F" if fortran else "C")
