"""How many channels TIFF and JPEG 2000 announce, read without a library that believes it."""

from __future__ import annotations

import struct
from typing import BinaryIO

TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
JPEG2000_STARTS = (b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51")
_SAMPLES_PER_PIXEL = 277
_MOST_TAGS = 4096
_SIZE_OF_IMAGE = b"\xff\x4f\xff\x51"  # the markers with which a code stream of JPEG 2000 begins: SOC, SIZ


def stated_channels(file: BinaryIO) -> int | None:
    """Return the number of channels of the first image; None where it does not say, or is of another kind."""
    start = file.read(1 << 16)
    if start[:4] in TIFF_STARTS[:2]:
        return _of_tiff(file, start[:2], 4, "H", "HHI", struct.unpack_from(_order(start) + "I", start, 4)[0])
    if start[:4] in TIFF_STARTS[2:] and len(start) >= 16:
        return _of_tiff(file, start[:2], 8, "Q", "HHQ", struct.unpack_from(_order(start) + "Q", start, 8)[0])
    at = start.find(_SIZE_OF_IMAGE)
    if at >= 0 and len(start) >= at + 42:  # ISO/IEC 15444-1, A.5.1: eight sides and offsets of 4 bytes stand before
        return int.from_bytes(start[at + 40 : at + 42], "big")
    return None


def _order(start: bytes) -> str:
    return "<" if start[:2] == b"II" else ">"


def _of_tiff(file: BinaryIO, mark: bytes, value_size: int, count_kind: str, entry: str, offset: int) -> int | None:
    """Look through a directory of tags (TIFF 6.0, section 2; BigTIFF has longer numbers)."""
    order = _order(mark)
    count_size = struct.calcsize(order + count_kind)
    entry_size = struct.calcsize(order + entry) + value_size
    if offset >= 1 << 62:
        return None
    file.seek(offset)
    head = file.read(count_size)
    if len(head) < count_size:
        return None
    count = min(struct.unpack(order + count_kind, head)[0], _MOST_TAGS)
    tags = file.read(count * entry_size)
    for at in range(0, len(tags) - entry_size + 1, entry_size):
        tag, kind, _ = struct.unpack_from(order + entry, tags, at)
        if tag == _SAMPLES_PER_PIXEL:
            size = {1: 1, 3: 2, 4: 4, 16: 8}.get(kind, value_size)
            value = tags[at + entry_size - value_size :][:size]
            return int.from_bytes(value, "little" if order == "<" else "big")
    return None
