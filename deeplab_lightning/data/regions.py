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

from ..errors import DataError

FARTHEST = 100_000.0
"""Pixels from the image's corner beyond which a coordinate is a mistake."""


class Region(ABC):
    """Some pixels of an image."""

    @abstractmethod
    def area(self, height: int, width: int) -> np.ndarray:
        """Return the pixels that it covers in an image of this size, `(H, W)` bool; what lies outside is cut off.

        Raises:
            DataError: It does not belong to an image of this size.
        """


@dataclass(frozen=True)
class Polygon(Region):
    """Rings of points.

    Attributes:
        rings: Each `(N, 2)` float64 of x and y; closed by itself.
    """

    rings: tuple[np.ndarray, ...]

    def area(self, height: int, width: int) -> np.ndarray:
        """Cross each row's middle with all edges: between odd and even crossings is inside."""
        crossed = np.zeros((height, width + 1), np.int32)
        for ring in self.rings:
            ends = np.roll(ring, -1, axis=0)
            upper = np.where((ring[:, 1] <= ends[:, 1])[:, None], ring, ends)
            lower = np.where((ring[:, 1] <= ends[:, 1])[:, None], ends, ring)
            first = np.ceil(upper[:, 1] - 0.5).clip(0, height).astype(np.int64)
            last = np.ceil(lower[:, 1] - 0.5).clip(0, height).astype(np.int64)  # not included
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


def ring(points: Sequence[Sequence[float]] | np.ndarray, where: str, remedy: str) -> np.ndarray:
    """Return a polygon's points as `(N, 2)` float64.

    Raises:
        DataError: They are fewer than 3, no pairs of finite numbers, or lie far outside any image.
    """
    try:
        found = np.asarray(points, np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{where}: its points are no list of x and y: {error}. {remedy}") from error
    if found.ndim != 2 or found.shape[1] != 2 or len(found) < 3:
        raise DataError(f"{where}: a polygon of shape {found.shape}, expected x and y of 3 points or more. {remedy}")
    if not (np.abs(found) < FARTHEST).all():  # NaN is not either
        raise DataError(f"{where}: its points lie nowhere near an image. {remedy}")
    return found


def box(left: float, top: float, right: float, bottom: float, where: str, remedy: str) -> Polygon:
    """Return a rectangle.

    Raises:
        DataError: Its corners lie far outside any image, or are no numbers.
    """
    return Polygon((ring([[left, top], [right, top], [right, bottom], [left, bottom]], where, remedy),))
