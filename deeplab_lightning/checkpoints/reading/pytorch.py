"""PyTorch's files (`.pth`, `.pt`, `.pkl`) and safetensors.

A pickle is a program. `torch_files.py` runs none of it, and takes nothing but tensors, arrays and plain values.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ... import torch_files
from ...errors import CheckpointError
from ...files import open_file
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
    content = _trusted(path) if trust else _plain(path)
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


def _plain(path: Path) -> Any:
    try:
        return torch_files.read_torch_file(path)
    except torch_files.MoreThanData as error:
        raise CheckpointError(
            f"{path} holds Python objects besides weights: {error}. Loading them could run any code, so nothing was "
            f"read. If you know where the file comes from, add --trust; better, save model.state_dict() alone, with "
            f"the program that wrote it."
        ) from error
    except torch_files.BrokenFile as error:
        raise BrokenFile(str(error)) from error
    except OSError as error:
        raise BrokenFile(error.strerror or str(error)) from error


def _trusted(path: Path) -> Any:
    """Run what the file asks for, on the user's word."""
    try:
        with open_file(path) as file:
            start = file.read(64)
            # PyTorch's forms: an archive, and of old a number of 80 bits before all else.
            if start.startswith(b"PK") or torch_files.MAGIC_NUMBER.to_bytes(10, "little") in start:
                return torch.load(path, map_location="cpu", weights_only=False)
            file.seek(0)  # a program's own pickle: detectron2's, of NumPy arrays
            return pickle.load(file, encoding="latin1")
    except Exception as error:  # whatever the code in it raises
        raise BrokenFile((str(error) or type(error).__name__).splitlines()[0]) from error


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
