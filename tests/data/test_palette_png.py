from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deeplab_lightning.data.files import images
from deeplab_lightning.data.files.images import read_mask
from deeplab_lightning.data.files.palette_png import unfiltered_indices
from deeplab_lightning.data.files.saving import write_mask
from deeplab_lightning.errors import DataError

MASK = np.random.default_rng(0).integers(0, 256, (37, 53), dtype=np.uint8)
PALETTE = np.random.default_rng(1).integers(0, 256, (256, 3), dtype=np.uint8)


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(mask: np.ndarray, *, row_filter: int = 0, kind: tuple[int, ...] = (8, 3, 0, 0, 0), extra: bytes = b"") -> bytes:
    rows = np.pad(mask, ((0, 0), (1, 0)))
    rows[-1, 0] = row_filter
    compressed = zlib.compress(rows.tobytes())
    header = struct.pack(">II5B", mask.shape[1], mask.shape[0], *kind)
    half = len(compressed) // 2  # the data may be parted anywhere
    body = chunk(b"PLTE", PALETTE.tobytes()) + extra + chunk(b"IDAT", compressed[:half])
    body += chunk(b"IDAT", compressed[half:]) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + body


def test_indices_equal_the_library(tmp_path: Path) -> None:
    for data in (png(MASK), png(MASK, extra=chunk(b"tRNS", bytes(20)) + chunk(b"gAMA", struct.pack(">I", 45455)))):
        indices = unfiltered_indices(data)
        assert indices is not None
        assert indices.flags.writeable
        assert indices.flags.c_contiguous
        np.testing.assert_array_equal(indices, np.array(Image.open(io.BytesIO(data))))
        np.testing.assert_array_equal(indices, MASK)


def test_our_own_masks_take_this_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_mask(tmp_path / "a.png", MASK, PALETTE)
    monkeypatch.setattr(images, "_decode", None)
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png"), MASK)


@pytest.mark.skipif("DEEPLAB_SHARED_DATA" not in os.environ, reason="needs DEEPLAB_SHARED_DATA")
def test_masks_of_voc_take_this_way() -> None:
    found = sorted(Path(os.environ["DEEPLAB_SHARED_DATA"]).glob("VOCdevkit/VOC2012/SegmentationClass/*.png"))
    assert found
    for path in found:
        np.testing.assert_array_equal(unfiltered_indices(path.read_bytes()), np.array(Image.open(path)))


@pytest.mark.parametrize("row_filter", [1, 2, 3, 4])
def test_filtered_rows_are_left_to_the_library(tmp_path: Path, row_filter: int) -> None:
    data = png(MASK, row_filter=row_filter)
    assert unfiltered_indices(data) is None
    (tmp_path / "a.png").write_bytes(data)
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png"), np.array(Image.open(io.BytesIO(data))))


def test_other_kinds_are_left_to_the_library() -> None:
    assert unfiltered_indices(png(MASK, kind=(8, 0, 0, 0, 0))) is None  # grey
    assert unfiltered_indices(png(MASK, kind=(8, 3, 0, 0, 1))) is None  # interlaced
    assert unfiltered_indices(png(MASK, extra=chunk(b"eXIf", b"MM\0*"))) is None  # may say that it is turned
    assert unfiltered_indices(b"\xff\xd8\xff\xd9") is None


def test_whatever_is_cut_or_damaged_is_refused(tmp_path: Path) -> None:
    data = png(MASK)
    for length in range(len(data)):
        assert unfiltered_indices(data[:length]) is None, length
    for place in range(8, len(data), 7):
        damaged = data[:place] + bytes([data[place] ^ 16]) + data[place + 1 :]
        assert unfiltered_indices(damaged) is None, place
    (tmp_path / "a.png").write_bytes(data[:-400])
    with pytest.raises(DataError, match=r"a\.png"):
        read_mask(tmp_path / "a.png")


def test_more_or_fewer_pixels_than_said() -> None:
    whole = png(MASK)
    for height in (36, 38):
        header = chunk(b"IHDR", struct.pack(">II5B", 53, height, 8, 3, 0, 0, 0))
        assert unfiltered_indices(whole[:8] + header + whole[33:]) is None
