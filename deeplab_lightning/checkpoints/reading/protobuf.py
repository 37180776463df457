"""Protocol buffers by their wire format alone: numbered fields, whose meaning the caller knows.

Enough for weights (Caffe, TensorFlow) without either's package. Nothing is copied: bytes are views of the file.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from .foreign import BrokenFile

Value = int | memoryview

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_FIXED = {FIXED64: 8, FIXED32: 4}


def fields(message: memoryview) -> Iterator[tuple[int, Value]]:
    """Yield `(number, value)` of a message's fields in their order.

    Values are numbers where the wire says varint, else the field's bytes: of messages, strings, packed vectors, and of
    fixed-size numbers.

    Raises:
        BrokenFile: A field is cut off, or is no field.
    """
    place = 0
    while place < len(message):
        key, place = varint(message, place)
        number, kind = key >> 3, key & 7
        if kind == VARINT:
            value, place = varint(message, place)
            yield number, value
            continue
        if kind == BYTES:
            length, place = varint(message, place)
        elif kind in _FIXED:
            length = _FIXED[kind]
        else:
            raise BrokenFile(f"a field in it is of no known kind ({kind})")
        if place + length > len(message):
            raise BrokenFile(f"a field of {length} bytes is cut off after {len(message) - place}")
        yield number, message[place : place + length]
        place += length


def grouped(value: Value) -> dict[int, list[Value]]:
    """Return the fields of a field that is to be a message: number -> values in their order."""
    found: dict[int, list[Value]] = {}
    for number, content in fields(message(value)):
        found.setdefault(number, []).append(content)
    return found


def message(value: Value) -> memoryview:
    """Return a field that is to be a message, a string or a vector."""
    if not isinstance(value, memoryview):
        raise BrokenFile("a number stands in it where a message is expected")
    return value


def text(values: Sequence[Value]) -> str:
    """Return a field that is a string, given all its occurrences: the last one counts."""
    return str(message(values[-1]), "utf-8", "replace") if values else ""


def number(values: Sequence[Value], default: int = 0) -> int:
    """Return a field that is to be an integer, given all its occurrences: the last one counts."""
    value = values[-1] if values else default
    if isinstance(value, memoryview):
        if len(value) == 4:
            return int(struct.unpack("<I", value)[0])
        raise BrokenFile("a message stands in it where a number is expected")
    return value


def integers(value: Value) -> list[int]:
    """Return a repeated integer field: one number, or several packed together."""
    if not isinstance(value, memoryview):
        return [value]
    found, place = [], 0
    while place < len(value):
        one, place = varint(value, place)
        found.append(one)
    return found


def floats(values: Sequence[Value]) -> Tensor:
    """Return a repeated float field, given all its occurrences: packed vectors, or one number each."""
    parts = [message(value) for value in values]
    content: memoryview | bytearray = parts[0] if len(parts) == 1 else bytearray().join(parts)
    if len(content) % 4:
        raise BrokenFile(f"a vector of floats in it has {len(content)} bytes")
    if not len(content):
        return torch.empty(0)
    return torch.frombuffer(content, dtype=torch.float32)


def varint(data: memoryview, place: int) -> tuple[int, int]:
    """Return the number that begins at `place`, and where the next thing begins."""
    value = 0
    for shift in range(0, 64, 7):
        if place >= len(data):
            raise BrokenFile("it ends within a number")
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
    raise BrokenFile("a number in it has more than 64 bits")
