"""From a class map to the outlines of its regions, along the borders of pixels.

Coordinates are those of `data/files/regions.py`: pixel (column, row) covers [column, column + 1) by [row, row + 1), so
that the corners of borders are whole numbers. Filled by the even-odd rule of pixel centres, outlines that are not
simplified give back the very class map; simplified ones still cover every pixel once (see `simplifying`).

Regions are connected along rows and columns, not across corners: an outline does not cross itself. OpenCV's
`findContours` runs through the centres of pixels instead, half a pixel inside.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from scipy import ndimage
from scipy.spatial import KDTree

from ...data.files.regions import Bitmap, Polygon
from .simplifying import kept_corners


@dataclass(frozen=True)
class Ring:
    """A closed outline, with its region on the right of the way along it: clockwise on the screen around regions.

    Attributes:
        corners: `(N, 2)` int64 x and y of pixel corners, each once.
        pixels: `(N, 2)` int64 column and row of the region's pixel that lies in each corner.
    """

    corners: np.ndarray
    pixels: np.ndarray

    @property
    def area(self) -> float:
        """What it encloses, in pixels; negative for holes."""
        x, y = self.corners.T
        return float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2


@dataclass(frozen=True)
class OutlinedRegion:
    """A connected region of one class.

    Attributes:
        class_id: As in the class map.
        outer: Its outline.
        holes: Outlines of what it encloses.
    """

    class_id: int
    outer: Ring
    holes: tuple[Ring, ...] = ()

    @property
    def area(self) -> float:
        """In pixels, without the holes."""
        return sum(ring.area for ring in (self.outer, *self.holes))

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Left, top, width and height, in pixels."""
        left, top = self.outer.corners.min(0).tolist()
        right, bottom = self.outer.corners.max(0).tolist()
        return left, top, right - left, bottom - top

    def bitmap(self, with_holes: bool = True) -> Bitmap:
        """Return its pixels, with the holes cut out or filled."""
        left, top, width, height = self.box
        rings = (self.outer, *self.holes) if with_holes else (self.outer,)
        # Moved up only: sideways, lines through the centres of pixels would be rounded otherwise than a polygon's.
        polygon = Polygon(tuple((ring.corners - (0, top)).astype(np.float64) for ring in rings))
        return Bitmap(polygon.area(height, left + width)[:, left:], left, top)

    def keyhole(self) -> np.ndarray:
        """Return one ring `(N, 2)` int64 for forms without holes: each is joined by a cut that runs there and back.

        Even-odd and non-zero filling give the region itself, since the two ways of a cut cancel out.
        """
        joined = self.outer.corners
        for hole in sorted((hole.corners for hole in self.holes), key=lambda ring: tuple(ring.min(0))):
            distances, nearest = KDTree(joined).query(hole)
            there = int(distances.argmin())
            here, around = int(nearest[there]), np.roll(hole, -there, axis=0)
            joined = np.concatenate([joined[: here + 1], around, around[:1], joined[here:]])
        return joined


def outlines(mask: np.ndarray, tolerance: float, left_out: Collection[int] = ()) -> list[OutlinedRegion]:
    """Outline all connected regions of a class map.

    Args:
        mask: `(H, W)` uint8 class ids.
        tolerance: How far simplified outlines may lie from the borders of pixels, in pixels; 0 leaves them as they are.
        left_out: Classes whose regions are not wanted.

    Returns:
        By class, then from top to bottom.
    """
    traced = [
        _trace(mask[box] == value, box[1].start, box[0].start, value)
        for value, box in enumerate(ndimage.find_objects(mask.astype(np.int32) + 1))
        if box is not None
    ]
    x, y, lengths, owners = (np.concatenate(parts) for parts in zip(*traced, strict=True))
    corners = _Corners(x, y, lengths)
    if tolerance > 0:
        fixed = junctions(mask)
        corners = corners.with_those_between(fixed)
        kept = kept_corners(corners.x, corners.y, corners.lengths, fixed, tolerance)
    else:
        kept = np.ones(len(corners.x), bool)
    pixels = corners.pixels()
    rings = corners.split(kept, pixels)

    found: dict[tuple[int, int], tuple[list[Ring], list[Ring]]] = {}
    for ring, (value, component, is_hole) in zip(rings, owners.tolist(), strict=True):
        if value not in left_out:
            found.setdefault((value, component), ([], []))[is_hole].append(ring)
    return [OutlinedRegion(value, outer, tuple(holes)) for (value, _), ((outer,), holes) in sorted(found.items())]


def junctions(mask: np.ndarray) -> np.ndarray:
    """Return where three regions or more meet, or two touch at a corner: `(H + 1, W + 1)` bool of pixel corners.

    What lies outside the image counts as a region, and its four corners are among those that are returned.
    """
    padded = np.pad(mask.astype(np.int16), 1, constant_values=-1)
    beside = (padded[:, 1:] != padded[:, :-1]).view(np.uint8)
    below = (padded[1:] != padded[:-1]).view(np.uint8)
    found = beside[:-1] + beside[1:] + below[:, :-1] + below[:, 1:] >= 3
    found[:: mask.shape[0], :: mask.shape[1]] = True
    return found


def _trace(inside: np.ndarray, left: int, top: int, value: int) -> tuple[np.ndarray, ...]:
    """Outline the regions of one class, in a part of the image that begins at `left`, `top`.

    The corners of all outlines, from top to bottom and left to right, are the ends of horizontal pieces by turns, and
    in the order of columns those of vertical ones: so each corner's neighbours are known at once. Where two pixels
    touch across a corner, it is there twice: once for each of them.

    Returns:
        x and y of the corners of all rings, int64, behind each other; how many each ring has; and for each ring
        `(R, 3)` the class, its region's number and whether it is a hole.
    """
    padded = np.pad(inside, 1)
    nw, ne, sw, se = padded[:-1, :-1], padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]
    touching = (nw == se) & (ne == sw) & (nw != ne)
    y, x = np.nonzero((nw ^ ne ^ sw ^ se) | touching)
    twice = touching[y, x]
    again = np.repeat(np.arange(len(x)), 1 + twice)
    second = np.concatenate([[False], again[1:] == again[:-1]])
    y, x, twice = y[again], x[again], twice[again]
    # The first of the two goes left, the second right. The one that goes up comes first in its column.
    goes_down = np.where(nw[y, x], second, ~second) & twice
    by_column = np.lexsort((goes_down, y, x))
    vertical = np.empty_like(by_column)
    vertical[by_column] = by_column[np.arange(len(x)) ^ 1]
    across = vertical.tolist()

    _, regions = cv2.connectedComponents(inside.view(np.uint8), connectivity=4)
    order: list[int] = []
    lengths, owners = [], []
    seen = bytearray(len(across))
    rows, columns = y.tolist(), x.tolist()
    for start in range(0, len(across), 2):  # its topmost row's first corner, whence it runs to the right
        if seen[start]:
            continue
        ring: list[int] = []
        corner = start
        while not ring or corner != start:
            ring += [corner, corner ^ 1]
            seen[corner] = 1
            seen[corner ^ 1] = 1
            corner = across[corner ^ 1]
        row, column = rows[start], columns[start]
        is_hole = not inside[row, column]
        owners.append((value, int(regions[row - is_hole, column]), int(is_hole)))
        lengths.append(len(ring))
        order += reversed(ring) if is_hole else ring
    return x[order] + left, y[order] + top, np.array(lengths), np.array(owners)


class _Corners(NamedTuple):
    """Rings behind each other.

    Attributes:
        x: Of the corners, int64.
        y: Likewise.
        lengths: Corners of each ring.
    """

    x: np.ndarray
    y: np.ndarray
    lengths: np.ndarray

    @property
    def following(self) -> np.ndarray:
        """The index of each corner's next one in its ring."""
        ends = np.cumsum(self.lengths)
        following = np.arange(1, len(self.x) + 1)
        following[ends - 1] = ends - self.lengths
        return following

    def with_those_between(self, wanted: np.ndarray) -> _Corners:
        """Return the rings with the corners that lie on straight pieces of them.

        Args:
            wanted: Which are to be found, `(H + 1, W + 1)` bool.
        """
        to_x, to_y = self.x[self.following], self.y[self.following]
        rows, columns = wanted.shape
        horizontal = self.y == to_y
        begin = np.where(horizontal, self.y * columns + self.x, self.x * rows + self.y)
        end = np.where(horizontal, to_y * columns + to_x, to_x * rows + to_y)
        found = np.empty((2, len(self.x)), np.int64)  # of each piece: which of the sorted corners lie within
        low, high = np.minimum(begin, end), np.maximum(begin, end)
        by_row, by_column = np.flatnonzero(wanted), np.flatnonzero(wanted.T)
        for chosen, keys in ((horizontal, by_row), (~horizontal, by_column)):
            found[0, chosen] = np.searchsorted(keys, low[chosen], "right")
            found[1, chosen] = np.searchsorted(keys, high[chosen], "left")
        between = found[1] - found[0]
        piece = np.repeat(np.arange(len(self.x)), between + 1)
        number = np.arange(len(piece)) - np.repeat(np.cumsum(between + 1) - between - 1, between + 1) - 1
        place = np.where(begin < end, found[0], found[1] - 1)[piece] + np.where(begin < end, 1, -1)[piece] * number
        x, y = self.x[piece], self.y[piece]
        new = number >= 0
        for chosen, keys, is_row in ((new & horizontal[piece], by_row, True), (new & ~horizontal[piece], by_column, 0)):
            far, near = np.divmod(keys[place[chosen]], columns if is_row else rows)
            (x if is_row else y)[chosen] = near
            (y if is_row else x)[chosen] = far
        ring = np.repeat(np.arange(len(self.lengths)), self.lengths)
        lengths = np.bincount(ring[piece], minlength=len(self.lengths))
        return _Corners(x, y, lengths)

    def pixels(self) -> np.ndarray:
        """Return the region's pixel in each corner, `(N, 2)` int64: half a pixel to the right of both pieces there."""
        corners = np.stack([self.x, self.y], axis=1)
        onwards = np.sign(corners[self.following] - corners)
        arriving = np.empty_like(onwards)
        arriving[self.following] = onwards
        to_the_right = onwards[:, ::-1] * (-1, 1)
        side = np.where((onwards == arriving).all(1)[:, None], onwards, arriving[:, ::-1] * (-1, 1)) + to_the_right
        return corners + (side - 1) // 2

    def split(self, kept: np.ndarray, pixels: np.ndarray) -> list[Ring]:
        """Return the rings of the corners that are kept; those on a line between their neighbours are left out."""
        corners = np.stack([self.x, self.y], axis=1)[kept]
        ring = np.repeat(np.arange(len(self.lengths)), self.lengths)[kept]
        lengths = np.bincount(ring, minlength=len(self.lengths))
        following = _Corners(corners[:, 0], corners[:, 1], lengths).following
        onwards = corners[following] - corners
        arriving = np.empty_like(onwards)
        arriving[following] = onwards
        turns = onwards[:, 0] * arriving[:, 1] != onwards[:, 1] * arriving[:, 0]
        ends = np.cumsum(np.bincount(ring[turns], minlength=len(lengths)))[:-1]
        return [
            Ring(*both)
            for both in zip(np.split(corners[turns], ends), np.split(pixels[kept][turns], ends), strict=True)
        ]
