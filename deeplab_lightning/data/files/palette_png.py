"""Palette PNG masks to their indices, twice as fast as through an image library.

Writers leave the rows of palette images unfiltered, as PNG recommends (section 12.7), so that the indices follow from
inflating alone. VOC's masks are such files, and those of `saving.write_mask`.
"""

from __future__ import annotations

import struct
import zlib

import numpy as np

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEADER = struct.Struct(">II5B")  # width, height, bit depth, colour type, compression, filter, interlace
_EIGHT_BIT_PALETTE = (8, 3, 0, 0, 0)
_CHUNK = struct.Struct(">I4s")
_CRC_SIZE = 4
_LARGEST = 1 << 26
"""Pixels; of larger masks the library's reader, which has a limit by memory, is quick enough."""
_HARMLESS = (b"PLTE", b"tRNS", b"IDAT", b"gAMA", b"sRGB", b"cHRM", b"pHYs", b"tIME", b"bKGD")
"""Chunks that change nothing of the indices; others, such as texts, may hold an orientation."""


def unfiltered_indices(data: bytes) -> np.ndarray | None:
    """Return the indices of a palette PNG of 8 bits whose rows are unfiltered, given the whole file.

    Returns:
        `(H, W)` uint8, or None where it is another kind of file, or damaged in any way: an image library then reads
        it, or says what is wrong.
    """
    if data[:16] != _SIGNATURE + b"\0\0\0\rIHDR" or len(data) < 33:
        return None
    width, height, *kind = _HEADER.unpack_from(data, 16)
    if tuple(kind) != _EIGHT_BIT_PALETTE or not 0 < width * height <= _LARGEST or not _is_sound(data, 8, 13):
        return None
    compressed, start = [], 33
    while start + _CHUNK.size <= len(data):
        length, name = _CHUNK.unpack_from(data, start)
        if not _is_sound(data, start, length):
            return None
        if name == b"IEND":
            break
        if name not in _HARMLESS:
            return None
        if name == b"IDAT":
            compressed.append(data[start + 8 : start + 8 + length])
        start += _CHUNK.size + length + _CRC_SIZE
    else:
        return None
    expected = (width + 1) * height  # each row begins with the kind of its filter
    inflating = zlib.decompressobj()
    try:
        stored = inflating.decompress(b"".join(compressed), expected + 1)
    except zlib.error:
        return None
    if len(stored) != expected or not inflating.eof:
        return None
    rows = np.frombuffer(stored, np.uint8).reshape(height, width + 1)
    return None if rows[:, 0].any() else rows[:, 1:].copy()


def _is_sound(data: bytes, start: int, length: int) -> bool:
    """Whether a chunk is there to its end and has the check sum that it says."""
    end = start + _CHUNK.size + length
    return data[end : end + _CRC_SIZE] == zlib.crc32(data[start + 4 : end]).to_bytes(4, "big")
