"""Simplifies the borders between regions, each once for both its sides, so that neighbours still fit together.

Douglas and Peucker: "Algorithms for the reduction of the number of points required to represent a digitized line or its
caricature", Cartographica 1973. A border runs between two corners where regions meet; it becomes the line between them
if all its corners lie within the tolerance of that, else it is divided at the farthest, and so on. An outline that
meets no third region is divided first at its topmost corner and at the one farthest from it.

Departure: lines that meet otherwise than at their ends, as where a region is thinner than the tolerance, are divided
further until none do. So no outline crosses itself or another, and no region vanishes.

All lines are worked on together, one step after the other. Of equally far corners the topmost is taken, so that both
sides of a border are simplified alike, whichever way they run.
"""

from __future__ import annotations

import numpy as np

CELL = 4
"""Side of the squares, in pixels, within which lines are compared with each other."""


def kept_corners(x: np.ndarray, y: np.ndarray, lengths: np.ndarray, fixed: np.ndarray, tolerance: float) -> np.ndarray:
    """Choose corners of outlines.

    Args:
        x: Of the corners of all rings, int64, behind each other.
        y: Likewise.
        lengths: How many each ring has.
        fixed: Corners that stay, `(H + 1, W + 1)` bool: where a border ends.
        tolerance: In pixels, above 0.

    Returns:
        Which of the corners are kept, bool.
    """
    corner = y * fixed.shape[1] + x
    kept = fixed.ravel().copy()
    beginnings = np.cumsum(lengths) - lengths
    ring = np.repeat(np.arange(len(lengths)), lengths)
    # Rings begin at a fixed corner, or at their topmost, which then is one; behind their last the first comes again.
    rank = np.where(kept[corner], corner, corner + kept.size)
    first = np.flatnonzero(rank == np.minimum.reduceat(rank, beginnings)[ring])
    first = first[np.unique(ring[first], return_index=True)[1]]
    kept[corner[first]] = True
    closed = np.repeat(np.arange(len(lengths)), lengths + 1)
    number = np.arange(len(closed)) - (beginnings + np.arange(len(lengths)))[closed]
    order = beginnings[closed] + ((first - beginnings)[closed] + number) % lengths[closed]
    path = _Path(x[order], y[order], corner[order], closed)
    while True:
        while len(farther := path.farthest(kept, tolerance)):
            kept[farther] = True
        lines = path.lines(kept)
        if not len(crossed := lines.of_those(_meeting(lines.ends))):
            return kept[corner]
        kept[crossed] = True


class _Lines:
    """Straight lines that stand for parts of a path.

    Args:
        ends: `(N, 4)` int64 x, y, x, y.
        farthest: The corner between the ends that lies farthest from each; -1 where there is none.
    """

    def __init__(self, ends: np.ndarray, farthest: np.ndarray) -> None:
        self.ends, self.farthest = ends, farthest

    def of_those(self, chosen: np.ndarray) -> np.ndarray:
        """Return the farthest corners of the chosen lines."""
        found = self.farthest[chosen]
        return found[found >= 0]


class _Path:
    """Closed rings behind each other, each with its first corner again at its end.

    Args:
        x: Of the corners, int64.
        y: Likewise.
        corner: A number for each place.
        ring: Which ring each belongs to.
    """

    def __init__(self, x: np.ndarray, y: np.ndarray, corner: np.ndarray, ring: np.ndarray) -> None:
        self.x, self.y, self.corner, self.ring = x, y, corner, ring

    def farthest(self, kept: np.ndarray, tolerance: float) -> np.ndarray:
        """Return the corners that lie farther than the tolerance from the line that stands for them, one for each."""
        ends, found, distance = self._measured(kept)
        closed = (self.x[ends[:-1]] == self.x[ends[1:]]) & (self.y[ends[:-1]] == self.y[ends[1:]])
        return found[(found >= 0) & ((distance > tolerance**2) | closed)]

    def lines(self, kept: np.ndarray) -> _Lines:
        """Return the lines between the corners that are kept; of both sides of a border one."""
        ends, found, _ = self._measured(kept)
        within = self.ring[ends[:-1]] == self.ring[ends[1:]]  # not from a ring's end to the next one's begin
        begin, end, found = ends[:-1][within], ends[1:][within], found[within]
        here, there = self.corner[begin], self.corner[end]
        keys = np.stack([np.minimum(here, there), np.maximum(here, there), found])
        order = np.lexsort(keys)
        new = np.concatenate([[True], (keys[:, order[1:]] != keys[:, order[:-1]]).any(0)])
        chosen = order[new]
        begin, end = begin[chosen], end[chosen]
        return _Lines(np.stack([self.x[begin], self.y[begin], self.x[end], self.y[end]], axis=1), found[chosen])

    def _measured(self, kept: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return where the kept corners stand in the path, the farthest between each two, and its distance squared.

        The corner is -1 where there is none between.
        """
        here = kept[self.corner]
        ends = np.flatnonzero(here)
        line = np.cumsum(here) - 1
        inner = np.flatnonzero(~here)
        line = line[inner]
        begin, end = ends[line], ends[line + 1]
        across, down = self.x[end] - self.x[begin], self.y[end] - self.y[begin]
        right, below = self.x[inner] - self.x[begin], self.y[inner] - self.y[begin]
        length = across**2 + down**2
        along = right * across + below * down
        beside = (right * down - below * across).astype(np.float64) ** 2 / np.maximum(length, 1)
        to_begin = (right**2 + below**2).astype(np.float64)
        to_end = ((right - across) ** 2 + (below - down) ** 2).astype(np.float64)
        distance = np.where(along <= 0, to_begin, np.where(along >= length, to_end, beside))

        largest = np.full(len(ends) - 1, -1.0)
        corner = np.full(len(ends) - 1, -1)
        if len(inner):
            starts = np.flatnonzero(np.concatenate([[True], line[1:] != line[:-1]]))
            largest[line[starts]] = np.maximum.reduceat(distance, starts)
            candidates = np.where(distance == largest[line], self.corner[inner], kept.size)
            corner[line[starts]] = np.minimum.reduceat(candidates, starts)
        return ends, corner, largest


def _meeting(lines: np.ndarray) -> np.ndarray:
    """Tell which lines `(N, 4)` meet another than at an end that both have: `(N,)` bool.

    Lines with both ends in common meet: they are different lines.
    """
    cell, line = _cells(lines)
    met = np.zeros(len(lines), bool)
    for step in range(1, len(cell)):
        together = np.flatnonzero(cell[step:] == cell[:-step])
        if not len(together):
            break
        one, other = line[together], line[together + step]
        near = _boxes_overlap(lines[one], lines[other])
        one, other = one[near], other[near]
        meets = _pairs_meet(lines[one], lines[other])
        met[one[meets]] = True
        met[other[meets]] = True
    return met


def _cells(lines: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the squares that lines run through, sorted, and beside each the line."""
    begin, onwards = lines[:, :2].astype(np.float64), (lines[:, 2:] - lines[:, :2]).astype(np.float64)
    pieces = np.maximum(1, np.ceil(np.abs(onwards).max(1) / CELL)).astype(np.int64)
    line = np.repeat(np.arange(len(lines)), pieces)
    number = np.arange(len(line)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    ends = [begin[line] + onwards[line] * ((number + more) / pieces[line])[:, None] for more in (0, 1)]
    low = np.floor((np.minimum(*ends) - 1e-6) / CELL).astype(np.int64) + 1  # none is below 0
    high = np.floor((np.maximum(*ends) + 1e-6) / CELL).astype(np.int64) + 1
    columns = int(high[:, 0].max()) + 1
    cells = [rows[:, 1] * columns + cols[:, 0] for rows in (low, high) for cols in (low, high)]
    return np.divmod(np.unique(np.concatenate(cells) * len(lines) + np.tile(line, 4)), len(lines))


def _boxes_overlap(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Tell of pairs of lines, `(N, 4)` each, whether the boxes around them touch or overlap: `(N,)` bool."""
    overlap = np.ones(len(one), bool)
    for a, b in ((0, 2), (1, 3)):
        overlap &= np.maximum(one[:, a], one[:, b]) >= np.minimum(other[:, a], other[:, b])
        overlap &= np.maximum(other[:, a], other[:, b]) >= np.minimum(one[:, a], one[:, b])
    return overlap


def _pairs_meet(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Tell of pairs of lines whose boxes overlap, `(N, 4)` each, which meet elsewhere than at one common end."""
    a, b, c, d = one[:, :2], one[:, 2:], other[:, :2], other[:, 2:]
    sides = [np.sign(_turn(*three)) for three in ((a, b, c), (a, b, d), (c, d, a), (c, d, b))]
    meet = (sides[0] * sides[1] <= 0) & (sides[2] * sides[3] <= 0)
    for here, there in ((a, b), (b, a)):
        for near, far in ((c, d), (d, c)):
            common = (here == near).all(1)
            same_way = (np.sign(_turn(here, there, far)) == 0) & (((there - here) * (far - here)).sum(1) > 0)
            meet[common] = same_way[common]
    twins = ((a == c) & (b == d)).all(1) | ((a == d) & (b == c)).all(1)
    return meet | twins


def _turn(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Return twice the area of triangles `(N, 2)` each: positive where the way turns to the right on the screen."""
    return (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
