"""Finding out what a file is, by what stands in it, and reading it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from ...errors import CheckpointError, did_you_mean
from ...files import open_file
from .caffe import read_caffe
from .foreign import ForeignFile, explained
from .pytorch import read_pytorch, read_safetensors
from .tensorflow import checkpoint_prefix, read_checkpoint_files, read_frozen_graph
from .tflite import IDENTIFIER, read_tflite

KNOWN = (
    "PyTorch (.pth, .pt, .pkl), .safetensors, .tflite, .caffemodel, TensorFlow checkpoints (.index) and graphs (.pb)"
)
BY_SUFFIX: dict[str, tuple[str, Callable[[Path], ForeignFile]]] = {
    ".safetensors": ("a safetensors file", read_safetensors),
    ".caffemodel": ("a Caffe model", read_caffe),
    ".pb": ("a frozen graph", read_frozen_graph),
}


def read_foreign(path: str | Path, trust: bool = False) -> ForeignFile:
    """Read the weights of another program's file.

    Args:
        path: The file; of a TensorFlow checkpoint any of its files, or what they begin with.
        trust: Run what a pickle asks for, where it holds more than weights.

    Raises:
        CheckpointError: It is missing, of an unknown kind, or broken.
    """
    path = Path(path)
    prefix = checkpoint_prefix(path)
    if prefix is not None:
        with explained(prefix, "a TensorFlow checkpoint"):
            return read_checkpoint_files(prefix)
    if not path.is_file():
        siblings = [str(entry) for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        raise CheckpointError(f"There is no file {path}.{did_you_mean(str(path), siblings)}")
    with open_file(path) as file:
        start = file.read(8)
    read: Callable[[Path], ForeignFile]
    if start[4:8] == IDENTIFIER:
        kind, read = "a TFLite file", read_tflite
    elif path.suffix.lower() in BY_SUFFIX:
        kind, read = BY_SUFFIX[path.suffix.lower()]
    elif start[:2] in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"):
        kind, read = "a PyTorch file", partial(read_pytorch, trust=trust)
    else:
        raise CheckpointError(f"{path} begins with {start!r}, as no file of a known kind does. Known: {KNOWN}.")
    with explained(path, kind):
        return read(path)
