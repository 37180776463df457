"""NRRD volumes (3D Slicer, ITK): a text header, and the numbers behind it or in a file of their own.

Read are the encodings raw, gzip and ascii, of 2 to 4 dimensions (teem.sourceforge.net/nrrd/format.html).
"""

from __future__ import annotations

import math
import re
import zlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from ...errors import DataError
from ...files import open_file, read_bytes
from .limits import expect_memory, expect_parts, expect_size

NRRD_SUFFIXES = (".nrrd", ".nhdr")
_TYPES = {
    "int8": ("signed char", "int8", "int8_t"),
    "uint8": ("uchar", "unsigned char", "uint8", "uint8_t"),
    "int16": ("short", "short int", "signed short", "signed short int", "int16", "int16_t"),
    "uint16": ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
    "int32": ("int", "signed int", "int32", "int32_t"),
    "uint32": ("uint", "unsigned int", "uint32", "uint32_t"),
    "int64": ("longlong", "long long", "long long int", "signed long long", "signed long long int", "int64", "int64_t"),
    "uint64": ("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"),
    "float32": ("float",),
    "float64": ("double",),
}
_CHANNEL_KINDS = ("vector", "list", "point", "RGB-color", "RGBA-color", "3-color", "4-color", "3-vector", "4-vector")
_WAYS = {
    "right": (0, 1),
    "left": (0, -1),
    "anterior": (1, 1),
    "posterior": (1, -1),
    "superior": (2, 1),
    "inferior": (2, -1),
}
_SEVERAL_FILES = re.compile(r"LIST|.*%\d*d")
_LONGEST_HEADER = 1 << 20
_BYTES_OF_WORD = 50
"""Of memory, for each number while it is text."""
_LARGEST_RATIO = {"raw": 1, "gzip": 1032, "ascii": 8}
"""Bytes of numbers that a byte of the file can stand for."""
_AS_NIFTI = "Save it as NIfTI (.nii.gz), as 3D Slicer and SimpleITK do."


@dataclass(frozen=True)
class Nrrd:
    """A header.

    Attributes:
        path: The header's file.
        data: The file of the numbers.
        start: Where they begin in it, in bytes; from its end backwards if negative.
        dtype: Their type.
        shape: Sizes of the axes, the fastest first, without that of the channels.
        channel_axis: Which axis of the file holds channels; None if none does.
        encoding: raw, gzip or ascii.
        ways: Of each axis in `shape`: to which of right, front and up (0, 1, 2) it runs, and 1, or -1 if against it;
            empty if the file does not say.
        place: `(3, 4)`, where voxels lie in the body, in mm: directions of the axes and origin; None likewise.
    """

    path: Path
    data: Path
    start: int
    dtype: np.dtype
    shape: tuple[int, ...]
    channel_axis: int | None
    channels: int
    encoding: str
    ways: tuple[tuple[int, int], ...]
    place: tuple[tuple[float, ...], ...] | None

    @property
    def slices(self) -> int:
        """How many axial slices there are; 1 of an image."""
        return 1 if len(self.shape) == 2 else self.shape[self._axes[2][0]]

    @property
    def _axes(self) -> list[tuple[int, int]]:
        """Return the axes that run to right, front and up, and their signs; as stored where nothing is said."""
        ways = self.ways or ((0, 1), (1, -1), (2, 1))  # as images are: rows downwards
        return [next((axis, sign) for axis, (way, sign) in enumerate(ways) if way == wanted) for wanted in range(3)]

    def slice(self, index: int) -> np.ndarray:
        """Return a slice, `(H, W, C)`: rows from front to back, columns from left to right, from the feet upwards.

        Raises:
            DataError: There is no such slice, or the numbers are damaged.
        """
        if not 0 <= index < self.slices:
            raise DataError(f"{self.path} has {self.slices} slices, 0 to {self.slices - 1}; there is no slice {index}.")
        stored = _numbers(self, _changed(self.data)).T  # the fastest axis first, as the header has them
        stored = stored[..., None] if self.channel_axis is None else np.moveaxis(stored, self.channel_axis, -1)
        if len(self.shape) == 2:
            return np.ascontiguousarray(stored.swapaxes(0, 1))
        (right, right_sign), (front, front_sign), (up, up_sign) = self._axes
        turned = stored.transpose(right, front, up, 3)[::right_sign, ::front_sign, ::up_sign]
        return np.ascontiguousarray(turned[:, ::-1, index].swapaxes(0, 1))


def read_nrrd(path: Path, index: int = 0) -> np.ndarray:
    """Read a slice of an NRRD file, `(H, W, C)` in the type that it stores."""
    return nrrd_header(path).slice(index)


def check_same_place(image: Path, mask: Path) -> None:
    """Refuse two files whose sizes differ, or whose headers put a voxel elsewhere by more than half of one.

    Raises:
        DataError: Says in what they differ.
    """
    one, other = nrrd_header(image), nrrd_header(mask)
    if one.shape != other.shape:
        raise DataError(f"{image} has {one.shape} voxels and {mask} {other.shape}: expected volumes of one size.")
    if one.place is None or other.place is None:
        return
    corners = np.array([[0, 0, 0, 1], [*(size - 1 for size in one.shape), 1]]).T
    apart = float(np.abs(np.array(one.place) @ corners - np.array(other.place) @ corners).max())
    voxel = float(np.linalg.norm(np.array(one.place)[:, :3], axis=0).min())
    if apart > voxel / 2:
        raise DataError(
            f"By their headers {image} and {mask} lie {apart:.4g} mm apart, with voxels of {voxel:.4g} mm. Resample "
            f"the mask to the image's grid."
        )


def nrrd_header(path: Path) -> Nrrd:
    """Read a header.

    Raises:
        DataError: It is damaged, or of a kind that is not read.
    """
    try:
        with open_file(path) as file:
            begin = file.read(_LONGEST_HEADER)
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist.") from error
    except OSError as error:
        raise DataError(f"Cannot read {path}: {error.strerror}. Check the path and its permissions.") from error
    end = re.search(rb"\r?\n\r?\n", begin)
    detached = end is None
    text = (begin if end is None else begin[: end.start()]).decode("latin-1")
    if not text.startswith("NRRD000"):
        raise DataError(f"{path} is no NRRD file, or damaged from its first bytes on. Copy it again.")
    fields = {
        name.strip().lower(): value.strip()
        for line in text.splitlines()[1:]
        if not line.startswith("#") and ":=" not in line
        for name, _, value in [line.partition(":")]
    }
    try:
        return _parsed(path, fields, 0 if end is None else end.end(), detached)
    except DataError:
        raise
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise DataError(f"The header of {path} cannot be read: {error!r}. {_AS_NIFTI}") from error


def _parsed(path: Path, fields: dict[str, str], header_size: int, detached: bool) -> Nrrd:
    kind = fields["type"].lower()
    name = next((dtype for dtype, spellings in _TYPES.items() if kind in spellings), None)
    encoding = fields["encoding"].lower()
    encoding = {"gz": "gzip", "text": "ascii", "txt": "ascii"}.get(encoding, encoding)
    sizes = [int(size) for size in fields["sizes"].split()]
    file_name = fields.get("data file", fields.get("datafile"))
    if name is None or encoding not in ("raw", "gzip", "ascii") or _SEVERAL_FILES.match(file_name or ""):
        raise DataError(
            f"{path} holds {kind} in the encoding {encoding}, data file {file_name or 'itself'}, which is not read: "
            f"numbers, raw or gzip, in one file are. {_AS_NIFTI}"
        )
    if detached and file_name is None:
        raise DataError(f"{path} ends within its header: it was cut short. Copy it again.")
    dtype = np.dtype(name)
    if dtype.itemsize > 1 and encoding != "ascii":
        dtype = np.dtype({"little": "<", "big": ">"}[fields["endian"].lower()] + dtype.str[1:])
    kinds = fields.get("kinds", "").split()
    directions = re.findall(r"none|\([^)]*\)", fields.get("space directions", ""))
    channel_axis = next((axis for axis, one in enumerate(kinds) if one in _CHANNEL_KINDS), None)
    if channel_axis is None:
        channel_axis = next((axis for axis, one in enumerate(directions) if one == "none"), None)
    if channel_axis is None and len(sizes) == 4:
        raise DataError(f"{path} has 4 axes of which none is said to hold channels (kinds: vector). {_AS_NIFTI}")
    shape = tuple(size for axis, size in enumerate(sizes) if axis != channel_axis)
    if len(sizes) != int(fields["dimension"]) or len(shape) not in (2, 3) or min(sizes) < 1:
        raise DataError(f"{path} has axes of {sizes}, expected 2 or 3, and one of channels. {_AS_NIFTI}")
    data = path if file_name is None else path.parent / file_name
    if not data.resolve().is_relative_to(path.parent.resolve()):
        raise DataError(f"{path} names {file_name} for its numbers, which leads out of its folder. Put it beside it.")
    _expect_bounded(path, data, sizes, channel_axis, dtype.itemsize, encoding)
    start = int(fields.get("byte skip", fields.get("byteskip", "0")))
    if int(fields.get("line skip", fields.get("lineskip", "0"))):
        raise DataError(f"{path} skips lines of its data file. {_AS_NIFTI}")
    place = _place(fields, [one for one in directions if one != "none"]) if len(shape) == 3 else None
    return Nrrd(
        path,
        data,
        start if file_name is not None or start < 0 else header_size + start,
        dtype,
        shape,
        channel_axis,
        1 if channel_axis is None else sizes[channel_axis],
        encoding,
        () if place is None else _ways(place[:, :3]),
        None if place is None else tuple(map(tuple, place.tolist())),
    )


def _expect_bounded(
    path: Path, data: Path, sizes: list[int], channel_axis: int | None, itemsize: int, encoding: str
) -> None:
    """Refuse sizes that the file cannot hold, or memory.

    Raises:
        DataError: Says which.
    """
    needed = math.prod(sizes) * itemsize
    if data.is_file() and needed > _LARGEST_RATIO[encoding] * data.stat().st_size:
        raise DataError(
            f"{path} announces {' x '.join(map(str, sizes))} numbers, for which {data.name} is too small: it was cut "
            f"short. Copy it again."
        )
    expect_memory(path, 2 * needed, "Cut it into smaller volumes.")
    shape = sorted(size for axis, size in enumerate(sizes) if axis != channel_axis)
    expect_size(path, shape[-1], shape[-2], needed // (shape[-1] * shape[-2]), "Cut it into smaller volumes.")
    expect_parts(path, max(shape) if len(shape) > 2 else 1, "slices")


def _place(fields: dict[str, str], directions: list[str]) -> np.ndarray | None:
    """Return the `(3, 4)` matrix of the header's directions and origin, to right, front and up; None if it has none."""
    space = fields.get("space", "").lower()
    short = {"ras": "right-anterior-superior", "las": "left-anterior-superior", "lps": "left-posterior-superior"}
    named = short.get(space, space).split("-")
    if len(directions) != 3 or len(named) != 3 or any(word not in _WAYS for word in named):
        return None
    to_body = np.zeros((3, 3))
    for column, word in enumerate(named):
        way, sign = _WAYS[word]
        to_body[way, column] = sign
    vectors = [*directions, fields.get("space origin", "(0,0,0)")]
    return to_body @ np.array([[float(one) for one in text.strip("()").split(",")] for text in vectors]).T


def _ways(directions: np.ndarray) -> tuple[tuple[int, int], ...]:
    """Return how axes lie in the body: each runs nearest to one of right, front and up, or against it."""
    nearest = np.abs(directions).argmax(axis=0)
    if len(set(nearest.tolist())) < 3:
        return ()
    return tuple((int(way), 1 if directions[way, axis] > 0 else -1) for axis, way in enumerate(nearest))


def _changed(path: Path) -> int:
    return path.stat().st_mtime_ns if path.is_file() else 0


@lru_cache(maxsize=2)
def _numbers(header: Nrrd, changed: int) -> np.ndarray:
    """Return all numbers, the slowest axis first; the last two volumes are kept, for they are read slice by slice.

    Args:
        header: Says where they are.
        changed: When the file was changed, so that no older numbers are returned.
    """
    sizes = list(header.shape)
    if header.channel_axis is not None:
        sizes.insert(header.channel_axis, header.channels)
    count = int(np.prod(sizes))
    size = count * header.dtype.itemsize
    try:
        data = read_bytes(header.data)
        start = header.start if header.start >= 0 else len(data) - size
        if header.encoding == "ascii":
            expect_memory(header.path, _BYTES_OF_WORD * len(data) // 2)
            numbers = np.array(data[start:].split()[:count], header.dtype)
        else:
            raw = data[start:]
            if header.encoding == "gzip":
                raw = zlib.decompressobj(wbits=31).decompress(raw, size)
            numbers = np.frombuffer(raw, header.dtype, count)
    except DataError:
        raise
    except (MemoryError, OSError, OverflowError, ValueError, zlib.error) as error:
        raise DataError(f"Cannot read {header.path}: {error}. Copy it again, or take it out of the data.") from error
    if numbers.size != count:
        raise DataError(
            f"{header.path} holds {numbers.size} numbers, expected {count}: it was cut short. Copy it again."
        )
    native = numbers.astype(header.dtype.newbyteorder("="), copy=False)
    return native.reshape(sizes[::-1])
