"""A lossless cache of decoded images and masks, of which only the tiles are read that a crop needs.

Decoding a PNG of Cityscapes takes most of a worker's time, whatever part of it is used. So each image is written once
more as tiles, in a form that is quick to decode (differences of neighbours, compressed by Zstandard) and about as large
as the PNG. Pixels are the same to the bit: a run with the cache equals one without.

A file of the cache holds image and mask, one after the other, each a row of tiles after the other:

    blake2b of the header (16 bytes) | length of the header (4 bytes) | header, JSON | tiles

The header names the size, time and blake2b of the files that it was made from. Where size or time of one has changed,
its content decides: equal content is adopted, a changed one decoded anew. A damaged file is made anew as well. Files
appear whole or not at all, so any number of processes may share a cache. Its name follows from the paths and from the
settings of the data set, since these decide what numbers a mask has.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from .. import __version__
from ..errors import ConfigError, DataError
from ..extras import need
from ..files import atomic_open, open_file, read_bytes, writing
from ..memory import free_memory
from .dataset import SegmentationDataset
from .fingerprint import reading_of
from .subset import Subset
from .transforms.geometry import Stored

TILE_HEIGHT, TILE_WIDTH = 128, 256
"""Of a tile, in pixels."""
LEVEL = 1
"""Zstandard's; higher ones are slower and, on differences of pixels, no smaller."""

_DIGEST_SIZE, _LENGTH_SIZE = 16, 4
_FORMAT = 1


class TiledDataset(Subset):
    """A data set whose images come from a cache; what is not there yet is decoded and written when first read.

    Args:
        source: Reads the images from their files.
        folder: Of the cache; made if need be. Several data sets may share one.

    Raises:
        ConfigError: The package zstandard is not installed, or the images are no files.
    """

    def __init__(self, source: SegmentationDataset, folder: str | Path) -> None:
        super().__init__(source, range(len(source)))
        self.folder = Path(folder).expanduser()
        need("zstandard", "cache", "--data.cache")
        if len(source) and not source.files(0):
            raise ConfigError(f"{type(source).__name__} reads no files, so there is nothing to cache: leave cache out.")
        self._identity = f"{_FORMAT} {__version__} {reading_of(source)}"

    def load(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Read a whole image and its mask."""
        image, mask = self.open(index)
        everything = slice(None), slice(None)
        return image[everything], mask[everything]

    def open(self, index: int) -> tuple[Stored, Stored]:
        """Return an image and its mask, of which parts are read by slicing."""
        if not self.files(index):
            return self.source.load(index)
        tiles = self._tiles(index) or self.build(index)
        return TiledArray(self, index, 0, tiles), TiledArray(self, index, 1, tiles)

    def summary(self) -> str:
        """Say in a line how much is stored, and where."""
        sizes = [path.stat().st_size for index in range(len(self)) if (path := self._path(index)).is_file()]
        return (
            f"cache {self.folder}: {len(sizes)} of {len(self)} images, {sum(sizes) / 1e9:.2f} GB; the others are "
            f"added when they are first read"
        )

    def build(self, index: int) -> Tiles:
        """Decode an image and its mask, and write their tiles.

        Raises:
            DataError: The source is unreadable, or the folder cannot be written.
        """
        sources = [_describe(path) for path in self.files(index)]
        packed = [_pack(array) for array in self.source.load(index)]
        _write(self._path(index), sources, [stored for stored, _ in packed], b"".join(body for _, body in packed))
        tiles = self._tiles(index)
        if tiles is None:
            raise DataError(f"{self._path(index)} cannot be read after writing it. Is the disk of --data.cache sound?")
        return tiles

    def _path(self, index: int) -> Path:
        paths = (str(path.absolute()) for path in self.files(index))
        key = "\n".join([self._identity, self.sample_id(index), *paths])
        name = hashlib.blake2b(key.encode(), digest_size=_DIGEST_SIZE).hexdigest()
        return self.folder / name[:2] / f"{name}.tiles"

    def _tiles(self, index: int) -> Tiles | None:
        """Open what is stored of an image; None if nothing is, or nothing that can be used."""
        try:
            tiles = Tiles(open_file(self._path(index)))
        except (OSError, ValueError, KeyError, TypeError):  # none, or damaged
            return None
        paths = self.files(index)
        if [source[:2] for source in tiles.sources] == [_stamp(path) for path in paths]:
            return tiles
        sources = [_describe(path) for path in paths]
        if [source[2] for source in tiles.sources] != [source[2] for source in sources]:
            return None
        _write(self._path(index), sources, tiles.arrays, tiles.body())  # touched or unpacked again: the same content
        return tiles


class TiledArray:
    """A stored image (`which` 0) or mask (1): it has a shape, and slicing reads and decodes what is asked for.

    The data set makes damaged files anew.
    """

    def __init__(self, dataset: TiledDataset, index: int, which: int, tiles: Tiles) -> None:
        self.dataset, self.index, self.which, self.tiles = dataset, index, which, tiles

    @property
    def shape(self) -> tuple[int, ...]:
        """`(H, W, C)` or `(H, W)`."""
        return self.tiles.arrays[self.which].shape

    def __getitem__(self, part: tuple[slice, slice]) -> np.ndarray:
        """Return rows and columns (steps of 1), writable, perhaps not contiguous."""
        rows, columns = (range(length)[piece] for length, piece in zip(self.shape, part, strict=False))
        try:
            return self.tiles.read(self.which, rows, columns)
        except (OSError, ValueError, need("zstandard", "cache", "--data.cache").ZstdError):  # damaged
            self.tiles = self.dataset.build(self.index)
            return self.tiles.read(self.which, rows, columns)


class StoredArray(NamedTuple):
    """What the header says of an array.

    Attributes:
        shape: `(H, W, C)` or `(H, W)`.
        dtype: As NumPy writes it, with the byte order.
        ends: Where each tile ends, in bytes from the first tile of this array; rows of tiles one after the other.
    """

    shape: tuple[int, ...]
    dtype: str
    ends: list[int]


def _checked(stored: StoredArray) -> int:
    """Return how many bytes an array's tiles have in the file, if what the header says of it fits together.

    Raises:
        ValueError: It does not; or TypeError.
    """
    height, width = stored.shape[:2]
    count = -(-height // TILE_HEIGHT) * -(-width // TILE_WIDTH)
    numbers = (*stored.shape, *stored.ends)
    plain = isinstance(stored.dtype, str) and np.dtype(stored.dtype).kind in "biuf"
    if not plain or not all(type(number) is int and number >= 0 for number in numbers) or min(stored.shape) < 1:
        raise ValueError("no header of tiles")
    if math.prod(stored.shape) * np.dtype(stored.dtype).itemsize > free_memory():
        raise ValueError("more pixels than there is memory")
    if len(stored.ends) != count or stored.ends != sorted(stored.ends):
        raise ValueError("its tiles do not cover its image")
    return stored.ends[-1]


class Tiles:
    """One file of the cache, open. It stays readable when another process replaces it.

    Raises:
        ValueError: It is damaged; or KeyError, TypeError.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        digest, length = file.read(_DIGEST_SIZE), int.from_bytes(file.read(_LENGTH_SIZE), "little")
        header = file.read(length)
        if _digest(header) != digest:
            raise ValueError("damaged header")
        facts: dict[str, Any] = json.loads(header)
        self.sources: list[list[Any]] = facts["sources"]
        self.arrays = [StoredArray(tuple(shape), dtype, ends) for shape, dtype, ends in facts["arrays"]]
        self.first = _DIGEST_SIZE + _LENGTH_SIZE + length
        left = os.fstat(file.fileno()).st_size - self.first
        if sum(_checked(array) for array in self.arrays) > left:
            raise ValueError("it is cut off")

    def body(self) -> bytes:
        """Return all tiles as they are stored."""
        self.file.seek(self.first)
        return self.file.read()

    def read(self, which: int, rows: range, columns: range) -> np.ndarray:
        """Decode the tiles that cover a part of an array, writable.

        Raises:
            ValueError: The file is damaged (or OSError, or Zstandard's own error).
        """
        zstandard = need("zstandard", "cache", "--data.cache")
        decompress, content_size = zstandard.ZstdDecompressor().decompress, zstandard.frame_content_size
        stored = self.arrays[which]
        height, width = stored.shape[:2]
        pixel = int(np.prod(stored.shape[2:])) * np.dtype(stored.dtype).itemsize  # bytes
        across = -(-width // TILE_WIDTH)
        start = self.first + sum(array.ends[-1] for array in self.arrays[:which])
        top, left = rows.start // TILE_HEIGHT * TILE_HEIGHT, columns.start // TILE_WIDTH * TILE_WIDTH
        bottom = min(-(-rows.stop // TILE_HEIGHT) * TILE_HEIGHT, height)
        right = min(-(-columns.stop // TILE_WIDTH) * TILE_WIDTH, width)
        pixels = np.empty((bottom - top, right - left, pixel), np.uint8)
        for y in range(top, bottom, TILE_HEIGHT):
            number = y // TILE_HEIGHT * across + left // TILE_WIDTH
            ends = stored.ends[number : number + -(-(right - left) // TILE_WIDTH)]
            begin = stored.ends[number - 1] if number else 0
            self.file.seek(start + begin)
            data = memoryview(self.file.read(ends[-1] - begin))
            for x, first, last in zip(range(left, right, TILE_WIDTH), [begin, *ends], ends, strict=False):
                tile = pixels[y - top : y - top + TILE_HEIGHT, x - left : x - left + TILE_WIDTH]
                packed = data[first - begin : last - begin]
                if content_size(packed) != tile.size:
                    raise ValueError("a tile of another size")
                tile[:] = np.frombuffer(decompress(packed), np.uint8).reshape(tile.shape)
        for y in range(1, min(TILE_HEIGHT, len(pixels))):  # the rows with number y of all tiles at once
            lower = pixels[y::TILE_HEIGHT]
            lower += pixels[y - 1 :: TILE_HEIGHT][: len(lower)]
        array = pixels.view(stored.dtype).reshape(bottom - top, right - left, *stored.shape[2:])
        return array[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]


def _pack(array: np.ndarray) -> tuple[StoredArray, bytes]:
    """Turn an array into tiles of differences to the pixel above, byte by byte and modulo 256."""
    compress = need("zstandard", "cache", "--data.cache").ZstdCompressor(level=LEVEL, write_checksum=True).compress
    height, width = array.shape[:2]
    pixels = np.ascontiguousarray(array).view(np.uint8).reshape(height, width, -1)
    frames, ends, end = [], [], 0
    for y in range(0, height, TILE_HEIGHT):
        for x in range(0, width, TILE_WIDTH):
            tile = pixels[y : y + TILE_HEIGHT, x : x + TILE_WIDTH]
            differences = tile.copy()
            differences[1:] -= tile[:-1]
            frames.append(compress(differences.tobytes()))
            end += len(frames[-1])
            ends.append(end)
    return StoredArray(array.shape, array.dtype.str, ends), b"".join(frames)


def _write(path: Path, sources: Sequence[Sequence[Any]], arrays: Sequence[StoredArray], body: bytes) -> None:
    header = json.dumps({"sources": sources, "arrays": arrays}).encode()
    remedy = "Choose a folder for --data.cache on a disk with room, or leave it out."
    with writing(path, remedy):
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_open(path) as file:
            file.write(_digest(header) + len(header).to_bytes(_LENGTH_SIZE, "little") + header + body)


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=_DIGEST_SIZE).digest()


def _stamp(path: Path) -> list[int]:
    """Return size and time of change, which tell cheaply that a file is as it was; 0 and 0 if it is gone."""
    try:
        status = os.stat(path)
    except OSError:
        return [0, 0]  # reading it says what is wrong
    return [status.st_size, status.st_mtime_ns]


def _describe(path: Path) -> list[Any]:
    """Return size, time and content's digest of a file."""
    size, changed = _stamp(path)
    return [size, changed, _content(path, size, changed)]


@lru_cache(maxsize=16)  # an annotation file may hold the masks of all images
def _content(path: Path, size: int, changed: int) -> str:
    return _digest(read_bytes(path)).hex() if size else ""
