"""PyTorch's files (`.pth`, `.pt`, `.pkl`) and safetensors.

A pickle is a program. PyTorch's restricted reader runs none of it, and takes nothing but tensors and plain values.
"""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, _weights_only_unpickler
from torch.serialization import MAGIC_NUMBER

from ...errors import CheckpointError
from .foreign import BrokenFile, ForeignFile

WRAPPERS = ("state_dict", "model_state", "model_state_dict", "model", "net", "network")
"""Under which names training programs keep the weights among other things."""

PREFIXES = ("module.", "_orig_mod.", "model.")
"""What wrappers of a network put before all its names."""


def read_safetensors(path: Path) -> ForeignFile:
    """Read a safetensors file.

    Raises:
        BrokenFile: Its header is too long, or does not describe what follows.
    """
    try:
        return ForeignFile(path, "pytorch", load_file(path))
    except SafetensorError as error:
        raise BrokenFile(str(error)) from error


def read_pytorch(path: Path, trust: bool) -> ForeignFile:
    """Read the weights in a file that PyTorch wrote.

    Args:
        path: The file.
        trust: Run what the pickle asks for, where it holds more than weights.

    Raises:
        BrokenFile: It is cut off or not what PyTorch writes.
        CheckpointError: It holds more than weights, or no weights.
    """
    _check_zip(path)
    try:
        with torch.serialization.safe_globals(_numpy_values()):
            content = _load(path, trust)
    except pickle.UnpicklingError as error:
        if "unsupported" not in str(error).lower():
            raise BrokenFile("its pickle is torn") from error
        raise CheckpointError(_wants_more(path)) from error
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, TypeError, IndexError, AttributeError,
            OverflowError, MemoryError, AssertionError) as error:  # fmt: skip
        raise BrokenFile((str(error) or type(error).__name__).splitlines()[0]) from error
    tensors = {name: _as_tensor(value) for name, value in _weights(content, path).items()}
    found = {name: value for name, value in tensors.items() if value is not None}
    for name, tensor in found.items():
        # A view of few numbers as of many costs nothing here, and its copy everything.
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise BrokenFile(f"{name} of shape {tuple(tensor.shape)} is made of {tensor.untyped_storage().nbytes()} "
                             f"bytes")  # fmt: skip
    for prefix in PREFIXES:
        if found and all(name.startswith(prefix) for name in found):
            found = {name.removeprefix(prefix): value for name, value in found.items()}
    return ForeignFile(path, "pytorch", found)


def _load(path: Path, trust: bool) -> Any:
    with path.open("rb") as file:
        start = file.read(64)
        # PyTorch's forms: an archive, and of old a number of 80 bits before all else.
        if start.startswith(b"PK") or MAGIC_NUMBER.to_bytes(10, "little") in start:
            return torch.load(path, map_location="cpu", weights_only=not trust)
        file.seek(0)  # a program's own pickle: detectron2's, of NumPy arrays
        return pickle.load(file, encoding="latin1") if trust else _weights_only_unpickler.load(file, encoding="latin1")


def _check_zip(path: Path) -> None:
    """Refuse an archive that unpacks to more than it is: PyTorch compresses nothing."""
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise BrokenFile(str(error)) from error
    unpacked = sum(entry.file_size for entry in entries)
    if unpacked > path.stat().st_size:
        raise BrokenFile(
            f"its {len(entries)} parts would unpack to {unpacked:,} bytes, more than the {path.stat().st_size:,} it "
            f"has; PyTorch's files are not compressed"
        )


def _numpy_values() -> list[Any]:
    """Return what numbers and arrays of NumPy are made with: plain values, as harmless as tensors."""
    core = getattr(np, "_core", None) or np.core
    kinds = {type(np.dtype(code)) for code in "?bhilqBHILQefd"}
    makers = [core.multiarray.scalar, core.multiarray._reconstruct]
    older = [(maker, f"numpy.core.multiarray.{maker.__name__}") for maker in makers]
    return [*makers, *older, np.ndarray, np.dtype, *kinds]


def _wants_more(path: Path) -> str:
    try:
        names = sorted(torch.serialization.get_unsafe_globals_in_checkpoint(str(path)))
    except Exception:  # older forms of the file cannot be looked into
        names = []
    return (
        f"{path} holds Python objects besides weights{': ' if names else ''}{', '.join(names[:5])}. Loading them could "
        f"run any code, so nothing was read. If you know where the file comes from, add --trust; better, save "
        f"model.state_dict() alone, with the program that wrote it."
    )


def _weights(content: Any, path: Path) -> Mapping[str, Any]:
    """Return the state dict, be it the whole content or a part of it."""
    if isinstance(content, torch.nn.Module):
        return content.state_dict()
    if isinstance(content, Mapping):
        if "deeplab_lightning" in content:
            raise CheckpointError(f"{path} is a checkpoint of this framework already: it needs no import.")
        for name in WRAPPERS:
            if isinstance(content.get(name), Mapping):
                return content[name]
        if any(isinstance(value, Tensor | np.ndarray) for value in content.values()):
            return content
    found = ", ".join(map(str, list(content)[:6])) if isinstance(content, Mapping) else type(content).__name__
    raise CheckpointError(f"{path} holds no state dict (names -> tensors), but: {found}.")


def _as_tensor(value: Any) -> Tensor | None:
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiu":
        return torch.from_numpy(np.ascontiguousarray(value))
    return value if isinstance(value, Tensor) else None
