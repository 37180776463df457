"""Arrays in files of NumPy (`.npy`, `.npz`) and MATLAB (`.mat`): images or masks, if there is one in the file."""

from __future__ import annotations

import io
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

import numpy as np

from ...errors import DataError
from ...files import open_file
from ...memory import free_memory
from ...npz import read_npy, read_npz
from ..wording import first_few, nearest_sibling
from .limits import expect_memory, expect_size

ARRAY_SUFFIXES = (".npy", ".npz", ".mat")
_LEAST_SIDE = 2
_MATLAB_73 = b"MATLAB 7.3 MAT-file"
_COMPRESSED = 15
_DEEPEST = 50
_REMEDY = "Save it again with numpy.save, as plain numbers."


def read_array(path: Path) -> np.ndarray:
    """Read the one image that a file holds, `(H, W, C)`.

    Raises:
        DataError: It cannot be read, or holds none, or several.
    """
    if not path.exists():
        raise DataError(f"{path} does not exist.{nearest_sibling(path)}")
    try:
        arrays = _arrays_in(path)
    except DataError:
        raise
    except Exception as error:  # of what is torn or made up, SciPy raises a dozen kinds
        said = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
        raise DataError(f"Cannot read {path}: {said.rstrip('.')}. {_REMEDY}") from error
    fitting = {name: one for name, one in arrays.items() if one.ndim in (2, 3) and one.dtype.kind in "biuf"}
    if path.suffix.lower() != ".npy":  # numbers and lists beside the image
        fitting = {name: one for name, one in fitting.items() if min(one.shape[:2]) >= _LEAST_SIDE}
    if len(fitting) != 1:
        held = [f"{name} {one.dtype} of shape {one.shape}".strip() for name, one in (fitting or arrays).items()]
        alone = "" if path.suffix.lower() == ".npy" else ", one in a file. Save it alone, with numpy.save or as PNG"
        raise DataError(
            f"{path} holds {first_few(held) or 'nothing'}, expected numbers of shape (height, width) or (height, "
            f"width, channels){alone}."
        )
    (array,) = fitting.values()
    height, width, *channels = array.shape
    expect_size(path, height, width, array.itemsize * (channels or [1])[0])
    array = array.astype(np.uint8) if array.dtype == bool else array
    return array[..., None] if array.ndim == 2 else array


def _arrays_in(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays in a file by name, those within MATLAB's structures too."""
    most = free_memory() // 2
    if path.suffix.lower() == ".npy":
        return {"": read_npy(path, _REMEDY, most)}
    if path.suffix.lower() == ".npz":
        return read_npz(path, _REMEDY, most)
    return _nested(read_mat(path))


def read_mat(path: Path) -> dict[str, Any]:
    """Return what a file of MATLAB (up to format 7) holds, by name: arrays, and dictionaries for structures.

    Raises:
        DataError: It needs more memory than there is.
        OSError: It cannot be read.
        Exception: It is torn or made up: SciPy raises a dozen kinds.
    """
    with open_file(path) as file:
        start = file.read(128)
        if start.startswith(_MATLAB_73):
            raise ValueError("it is of MATLAB's format 7.3, which is not read. In MATLAB, save it with '-v7'.")
        expect_memory(path, 3 * _unpacked(file, free_memory()), "Save it with numpy.save.")
        file.seek(0)
        from scipy.io import loadmat
        from scipy.io.matlab import MatReadError

        try:
            return cast("dict[str, Any]", loadmat(file, simplify_cells=True))
        except MatReadError as error:
            raise ValueError(str(error)) from error


def _unpacked(file: BinaryIO, enough: int) -> int:
    """Return how many bytes a file of MATLAB has once its compressed elements are unpacked, counted to `enough`.

    SciPy unpacks what is there, and a byte can stand for a thousand.
    """
    total = file.seek(0, io.SEEK_END)
    file.seek(126)
    order: Literal["little", "big"] = "little" if file.read(2) == b"IM" else "big"
    while total < enough and len(head := file.read(8)) == 8:
        kind, size = int.from_bytes(head[:4], order), int.from_bytes(head[4:], order)
        following = file.tell() + size
        if kind == _COMPRESSED:
            total += _inflated(file, size, enough - total)
        file.seek(following)
    return total


def _inflated(file: BinaryIO, size: int, enough: int) -> int:
    unpacking, count = zlib.decompressobj(), 0
    while size > 0 and count < enough and (block := file.read(min(size, 1 << 16))):
        size -= len(block)
        while block and count < enough:
            count += len(unpacking.decompress(block, 1 << 20))
            block = unpacking.unconsumed_tail
    return count


def _nested(found: Mapping[str, Any], start: str = "") -> dict[str, np.ndarray]:
    arrays: dict[str, np.ndarray] = {}
    if start.count(".") > _DEEPEST:
        raise ValueError("it is nested too deeply.")
    for name, value in found.items():
        if name.startswith("__"):
            continue
        if isinstance(value, dict):
            arrays |= _nested(value, f"{start}{name}.")
        elif isinstance(value, np.ndarray):
            arrays[f"{start}{name}"] = value
    return arrays
