"""Arrays in files of NumPy (`.npy`, `.npz`) and MATLAB (`.mat`): images or masks, if there is one in the file."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import DataError
from ..wording import first_few, nearest_sibling

ARRAY_SUFFIXES = (".npy", ".npz", ".mat")
_LEAST_SIDE = 2
_MATLAB_73 = b"MATLAB 7.3 MAT-file"


def read_array(path: Path) -> np.ndarray:
    """Read the one image that a file holds, `(H, W, C)`.

    Raises:
        DataError: It cannot be read, or holds none, or several.
    """
    try:
        arrays = _arrays_in(path)
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist.{nearest_sibling(path)}") from error
    except (OSError, ValueError, EOFError, TypeError, NotImplementedError, zipfile.BadZipFile) as error:
        raise DataError(f"Cannot read {path}: {error} Save it again with numpy.save, as plain numbers.") from error
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
    array = array.astype(np.uint8) if array.dtype == bool else array
    return array[..., None] if array.ndim == 2 else array


def _arrays_in(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays in a file by name, those within MATLAB's structures too."""
    if path.suffix.lower() != ".mat":
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return {"": loaded}
        with loaded:
            return {name: loaded[name] for name in loaded.files}
    with open(path, "rb") as file:
        if file.read(len(_MATLAB_73)) == _MATLAB_73:
            raise ValueError("it is of MATLAB's format 7.3, which is not read. In MATLAB, save it with '-v7'.")
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        return _nested(loadmat(path, simplify_cells=True))
    except MatReadError as error:
        raise ValueError(f"{error}.") from error


def _nested(found: Mapping[str, Any], start: str = "") -> dict[str, np.ndarray]:
    arrays: dict[str, np.ndarray] = {}
    for name, value in found.items():
        if name.startswith("__"):
            continue
        if isinstance(value, dict):
            arrays |= _nested(value, f"{start}{name}.")
        elif isinstance(value, np.ndarray):
            arrays[f"{start}{name}"] = value
    return arrays
