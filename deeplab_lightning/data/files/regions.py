"""Outlines and bitmaps of objects as annotation files hold them, and the pixels that they cover.

Coordinates are of the image's plane: x to the right, y down, pixel (column, row) covers [column, column + 1) by
[row, row + 1). A pixel belongs to a region if its centre does; rings that lie in one another are holes (even-odd rule).
Forms whose tools define other pixels draw for themselves (LabelMe's, COCO's).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...errors import DataError

FARTHEST = 100_000.0
"""Pixels from the image's corner beyond which a coordinate is a mistake."""
LONGEST = 4_000_000.0
"""Length of an outline in pixels, beyond which it is a mistake: drawing takes memory for each of them."""


class Region(ABC):
    """Some pixels of an image."""

    @abstractmethod
    def area(self, height: int, width: int) -> np.ndarray:
        """Return the pixels that it covers in an image of this size, `(H, W)` bool; what lies outside is cut off.

        Raises:
            DataError: It does not belong to an image of this size.
        """

    @property
    def is_within_a_pixel(self) -> bool:
        """Whether it is an outline whose points all lie in the image's first pixel."""
        return False


@dataclass(frozen=True)
class Polygon(Region):
    """Rings of points.

    Attributes:
        rings: Each `(N, 2)` float64 of x and y; closed by itself.
    """

    rings: tuple[np.ndarray, ...]

    @property
    def is_within_a_pixel(self) -> bool:
        """Whether all points do."""
        return all(((points >= 0) & (points <= 1)).all() for points in self.rings)

    def area(self, height: int, width: int) -> np.ndarray:
        """Cross each row's middle with all edges: between odd and even crossings is inside.

        Raises:
            DataError: It is longer than `LONGEST`.
        """
        crossed = np.zeros((height, width + 1), np.int32)
        for ring in self.rings:
            ends = np.roll(ring, -1, axis=0)
            upper = np.where((ring[:, 1] <= ends[:, 1])[:, None], ring, ends)
            lower = np.where((ring[:, 1] <= ends[:, 1])[:, None], ends, ring)
            first = np.ceil(upper[:, 1] - 0.5).clip(0, height).astype(np.int64)
            last = np.ceil(lower[:, 1] - 0.5).clip(0, height).astype(np.int64)  # not included
            if (last - first).sum() > LONGEST:
                raise DataError(f"An outline of {len(ring)} points crosses more rows than any object's: leave it out.")
            edge = np.repeat(np.arange(len(ring)), last - first)
            rows = (
                np.arange(len(edge)) - np.repeat(np.cumsum(last - first) - (last - first), last - first) + first[edge]
            )
            share = (rows + 0.5 - upper[edge, 1]) / (lower[edge, 1] - upper[edge, 1])
            x = upper[edge, 0] + share * (lower[edge, 0] - upper[edge, 0])
            columns = np.ceil(x - 0.5).clip(0, width).astype(np.int64)
            np.add.at(crossed, (rows, columns), 1)
        return (np.cumsum(crossed, axis=1)[:, :width] & 1).astype(bool)


@dataclass(frozen=True)
class Bitmap(Region):
    """A block of pixels.

    Attributes:
        pixels: `(h, w)` bool.
        left: Column of its first pixel.
        top: Row of it.
    """

    pixels: np.ndarray
    left: int = 0
    top: int = 0

    def area(self, height: int, width: int) -> np.ndarray:
        """Paste the block."""
        found = np.zeros((height, width), bool)
        rows, columns = self.pixels.shape
        top, left = max(self.top, 0), max(self.left, 0)
        bottom, right = min(self.top + rows, height), min(self.left + columns, width)
        if top < bottom and left < right:
            inner = self.pixels[top - self.top : bottom - self.top, left - self.left : right - self.left]
            found[top:bottom, left:right] = inner
        return found


@dataclass(frozen=True)
class Ellipse(Region):
    """An ellipse, or a disc.

    Attributes:
        x: Of the centre.
        y: Of it.
        radius_x: Half of its width before it is turned.
        radius_y: Half of its height.
        angle: By which it is turned, clockwise on the screen, in radians.
    """

    x: float
    y: float
    radius_x: float
    radius_y: float
    angle: float = 0.0

    def area(self, height: int, width: int) -> np.ndarray:
        """Ask each pixel's centre."""
        right, down = np.arange(width) + 0.5 - self.x, (np.arange(height) + 0.5 - self.y)[:, None]
        cos, sin = math.cos(self.angle), math.sin(self.angle)
        along, across = right * cos + down * sin, down * cos - right * sin
        return (along / self.radius_x) ** 2 + (across / self.radius_y) ** 2 <= 1


@dataclass(frozen=True)
class Runs(Region):
    """Run lengths of pixels outside and inside by turns, outside first, within a block or the whole image.

    Attributes:
        counts: `(N,)` int64, of as many pixels as the block has (`runs_of` checks it).
        height: Of the block.
        width: Of it.
        by_columns: Whether they run down the columns, as COCO's do, or along the rows, as CVAT's.
        left: Column of the block's first pixel; None for run lengths of whole images.
        top: Row of it; likewise.
        where: File and number, for messages.
    """

    counts: np.ndarray
    height: int
    width: int
    by_columns: bool
    left: int | None
    top: int | None
    where: str

    def area(self, height: int, width: int) -> np.ndarray:
        """Write the runs out, and paste them."""
        whole = self.left is None or self.top is None
        fits = (height, width) == (self.height, self.width) if whole else self.height <= height and self.width <= width
        if not fits:
            raise DataError(
                f"{self.where}: its run lengths are of {'an image' if whole else 'a block'} of "
                f"[{self.height}, {self.width}], the image is [{height}, {width}] (height, width). Put back the image "
                f"that was annotated, or export it again."
            )
        inside = np.repeat(np.arange(len(self.counts)) % 2 == 1, self.counts)
        block = (
            inside.reshape(self.width, self.height).T if self.by_columns else inside.reshape(self.height, self.width)
        )
        return Bitmap(block, self.left or 0, self.top or 0).area(height, width)


def runs_of(
    counts: object,
    height: int,
    width: int,
    where: str,
    remedy: str,
    *,
    by_columns: bool,
    left: int | None = None,
    top: int | None = None,
) -> Runs:
    """Return run lengths, once they are checked.

    Args:
        counts: A list of integers, or a string as COCO compresses them.
        height: Of the block or image.
        width: Of it.
        where: File and number, for messages.
        remedy: What to do about damaged ones.
        by_columns: See `Runs`.
        left: See `Runs`.
        top: See `Runs`.

    Raises:
        DataError: They are no such list, or do not cover the block exactly.
    """
    try:
        found = _decompressed(counts) if isinstance(counts, str) else counts
        if not isinstance(found, list) or not all(type(count) is int for count in found):
            raise ValueError("they are no list of whole numbers")
        covered = sum(found)  # of Python's integers, which do not overflow
        if covered != height * width or min(found) < 0:
            raise ValueError(f"they cover {covered:.9g} of {height * width} pixels")
    except (ValueError, OverflowError) as error:
        raise DataError(f"{where}: its run lengths are damaged: {error}. {remedy}") from error
    return Runs(np.array(found, np.int64), height, width, by_columns, left, top, where)


def _decompressed(counts: str) -> list[int]:
    """Return the run lengths that a string of COCO's holds.

    Each number is written in groups of 5 bits, lowest first, in characters from "0" on; bit 5 says that more groups
    follow, bit 4 of the last one is the sign. From the fourth number on it is the difference to the last but one.
    `pycocotools`' own reading takes damaged strings without a word.
    """
    runs: list[int] = []
    position = 0
    while position < len(counts):
        number, shift, more = 0, 0, True
        while more:
            if position == len(counts):
                raise ValueError("they end within a number")
            group = ord(counts[position]) - 48
            if not 0 <= group < 64:
                raise ValueError(f"{counts[position]!r} is no character of theirs")
            if shift > 60:
                raise ValueError("a number has more than 64 bits")
            number |= (group & 31) << shift
            position, shift, more = position + 1, shift + 5, bool(group & 32)
        if group & 16:
            number -= 1 << shift
        runs.append(number + (runs[-2] if len(runs) > 2 else 0))
    return runs


def ring(points: Sequence[Sequence[float]] | np.ndarray, where: str, remedy: str) -> np.ndarray:
    """Return a polygon's points as `(N, 2)` float64.

    Raises:
        DataError: They are fewer than 3, no pairs of finite numbers, lie far outside any image, or are joined by an
            outline far too long.
    """
    try:
        found = np.asarray(points, np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{where}: its points are no list of x and y ({error}). {remedy}") from error
    if found.ndim != 2 or found.shape[1] != 2 or len(found) < 3:
        raise DataError(f"{where}: a polygon of shape {found.shape}, expected x and y of 3 points or more. {remedy}")
    if not (np.abs(found) < FARTHEST).all():  # NaN is not either
        raise DataError(f"{where}: its points lie nowhere near an image. {remedy}")
    if np.abs(np.roll(found, -1, axis=0) - found).sum() > LONGEST:
        raise DataError(f"{where}: its outline of {len(found)} points is longer than any object's. {remedy}")
    return found


def ellipse(x: float, y: float, radius_x: float, radius_y: float, angle: float, where: str, remedy: str) -> Ellipse:
    """Return an ellipse; see `Ellipse`.

    Raises:
        DataError: It has no area, lies far outside any image, or is no numbers.
    """
    values = (x, y, radius_x, radius_y, angle)
    if not all(abs(value) < FARTHEST for value in values):  # NaN is not either
        raise DataError(f"{where}: it lies nowhere near an image. {remedy}")
    if min(radius_x, radius_y) <= 0:
        raise DataError(f"{where}: an ellipse of {2 * radius_x:g}x{2 * radius_y:g} pixels has no area. {remedy}")
    return Ellipse(*values)


def box(left: float, top: float, right: float, bottom: float, where: str, remedy: str) -> Polygon:
    """Return a rectangle.

    Raises:
        DataError: Its corners lie far outside any image, or are no numbers.
    """
    return Polygon((ring([[left, top], [right, top], [right, bottom], [left, bottom]], where, remedy),))
