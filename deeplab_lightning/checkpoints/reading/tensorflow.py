"""TensorFlow: checkpoints (`NAME.index` with `NAME.data-00000-of-00001`) and frozen graphs (`.pb`), without TensorFlow.

The index of a checkpoint is a table as LevelDB writes it: blocks of sorted keys that share their beginnings, found by
a last block of pointers; TensorFlow does not compress them. A value says where in the data file a tensor lies.
"""

from __future__ import annotations

import math
import mmap
import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from ...files import open_file, read_bytes
from . import protobuf
from .foreign import BrokenFile, ForeignFile

TABLE_MAGIC = struct.pack("<Q", 0xDB4775248B80FB57)
_FOOTER = 48
DTYPES = {1: torch.float32, 2: torch.float64, 3: torch.int32, 9: torch.int64, 14: torch.bfloat16, 19: torch.float16}
"""DataType."""
_INDEX_NAME = re.compile(r"(?P<prefix>.+)\.(index|meta|data-\d{5}-of-\d{5})")
MOST_DIMENSIONS = 8


def checkpoint_prefix(path: Path) -> Path | None:
    """Return what the files of a checkpoint begin with, given any of them or just that; None if it is no checkpoint."""
    match = _INDEX_NAME.fullmatch(path.name)
    prefix = path.with_name(match["prefix"]) if match else path
    return prefix if prefix.with_name(f"{prefix.name}.index").is_file() else None


# --- checkpoints ----------------------------------------------------------------------------------------------------


def read_checkpoint_files(prefix: Path) -> ForeignFile:
    """Read the variables of a checkpoint.

    Raises:
        BrokenFile: A file is cut off or missing, or the checkpoint is spread over several data files.
    """
    index = memoryview(read_bytes(prefix.with_name(f"{prefix.name}.index")))
    data_path = prefix.with_name(f"{prefix.name}.data-00000-of-00001")
    if not data_path.is_file():
        raise BrokenFile(f"{data_path.name} is missing beside it (one data file is expected, not several)")
    tensors = {}
    with open_file(data_path) as file:
        # Copy on write: PyTorch wants writable memory, the file stays as it is.
        data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))
    for key, value in _table(index):
        if key:  # that of the header is empty
            name = str(key, "utf-8", "replace")
            tensor = _variable(name, value, data)
            if tensor is not None:
                tensors[name] = tensor
    return ForeignFile(prefix, "tensorflow", tensors)


def _table(index: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """Yield the keys and values of a table."""
    if len(index) < _FOOTER or index[-8:] != TABLE_MAGIC:
        raise BrokenFile("it does not end as an index does")
    footer = index[-_FOOTER:]
    place = 0
    for _ in range(2):  # the place and size of a block that is not needed
        _, place = protobuf.varint(footer, place)
    for _, handle in _block(index, footer[place:]):
        yield from _block(index, handle)


def _block(index: memoryview, handle: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """Yield the keys and values of the block that `handle` points at."""
    start, place = protobuf.varint(handle, 0)
    size, _ = protobuf.varint(handle, place)
    if start + size + 1 > len(index):
        raise BrokenFile(f"a block of {size} bytes at {start} reaches beyond its end at {len(index)}")
    if index[start + size]:
        raise BrokenFile("it is compressed, which TensorFlow's own checkpoints are not")
    block = index[start : start + size]
    if len(block) < 4:
        raise BrokenFile("a block in it is empty")
    restarts = struct.unpack("<I", block[-4:])[0]
    end = len(block) - 4 - 4 * restarts
    key, place = b"", 0
    while place < end:
        shared, place = protobuf.varint(block, place)
        fresh, place = protobuf.varint(block, place)
        length, place = protobuf.varint(block, place)
        if shared > len(key) or place + fresh + length > end:
            raise BrokenFile("an entry of it is cut off")
        key = key[:shared] + bytes(block[place : place + fresh])
        place += fresh
        yield key, block[place : place + length]
        place += length


def _variable(name: str, entry: memoryview, data: memoryview) -> Tensor | None:
    """Return a variable, given its `BundleEntryProto`; None for one that is no number (strings)."""
    parts = protobuf.grouped(entry)
    dtype, shard, offset, size = (protobuf.number(parts.get(field, [])) for field in (1, 3, 4, 5))
    if dtype not in DTYPES:
        return None
    if shard or offset + size > len(data):
        raise BrokenFile(f"{name} lies at bytes {offset} to {offset + size} of a data file of {len(data)}")
    return _tensor(name, data[offset : offset + size], dtype, _shape(parts))


# --- frozen graphs --------------------------------------------------------------------------------------------------


def read_frozen_graph(path: Path) -> ForeignFile:
    """Read the constants of a frozen graph (`GraphDef`).

    Raises:
        BrokenFile: It is cut off, or has no constants.
    """
    data = memoryview(bytearray(read_bytes(path)))
    tensors: dict[str, Tensor] = {}
    for field, node in protobuf.fields(data):
        if field != 1:
            continue
        parts = protobuf.grouped(node)
        if protobuf.text(parts.get(2, [])) == "Const":
            name = protobuf.text(parts.get(1, []))
            tensor = _constant(name, parts.get(5, []))
            if tensor is not None and tensor.is_floating_point():
                tensors[name] = tensor
    if not tensors:
        raise BrokenFile("it is no frozen graph: it has no constants")
    return ForeignFile(path, "tensorflow", tensors)


def _constant(name: str, attributes: Sequence[protobuf.Value]) -> Tensor | None:
    """Return the tensor of a node's attribute `value`; None for one that is no number or is one value for all."""
    named = (protobuf.grouped(entry) for entry in attributes)
    value = [content for entry in named if protobuf.text(entry.get(1, [])) == "value" for content in entry.get(2, [])]
    proto = protobuf.grouped(value[-1]).get(8, []) if value else []
    if not proto:
        return None
    parts = protobuf.grouped(proto[0])
    dtype, shape = protobuf.number(parts.get(1, [])), _shape(parts)
    if dtype not in DTYPES:
        return None
    if 4 in parts:
        return _tensor(name, protobuf.message(parts[4][-1]), dtype, shape)
    floats = protobuf.floats(parts.get(5, []))
    return floats.reshape(shape) if math.prod(shape) == floats.numel() else None


def _shape(parts: Mapping[int, Sequence[protobuf.Value]]) -> list[int]:
    """Return the `TensorShapeProto` in field 2 of a message."""
    dimensions = protobuf.grouped(parts[2][-1]).get(2, []) if 2 in parts else []
    if len(dimensions) > MOST_DIMENSIONS:
        raise BrokenFile(f"a tensor in it has {len(dimensions)} dimensions")
    return [protobuf.number(protobuf.grouped(one).get(1, [])) for one in dimensions]


def _tensor(name: str, content: memoryview, dtype: int, shape: list[int]) -> Tensor:
    if math.prod(shape) * DTYPES[dtype].itemsize != len(content):
        raise BrokenFile(f"{name} of shape {shape} has {len(content)} bytes")
    if not len(content):
        return torch.empty(shape, dtype=DTYPES[dtype])
    return torch.frombuffer(content, dtype=DTYPES[dtype]).reshape(shape)
