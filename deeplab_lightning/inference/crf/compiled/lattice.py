"""The permutohedral lattice, compiled.

Vertices are numbered in the order in which the pixels, row by row, first meet them: neighbours in the image are then
neighbours in memory. Along each axis the vertices form chains, blurred in place; a vertex without a neighbour there
costs nothing, since the blur is (1/2, 1, 1/2): the halves that are missing per axis are made up for at the end.
"""

from __future__ import annotations

import math

import numpy as np
from torch import Tensor

from ..kernels import Kernel
from ..lattice import Points
from .compiling import compiled, in_threads
from .lanes import LANES, load, plus, prefetch, store, whole_lanes, zeros

HASH_FACTOR = np.int64(-7046029254386353131)
"""2^64 divided by the golden ratio, as int64: spreads neighbouring keys."""
AHEAD = 24
"""Vertices by which what will be needed is asked for early."""
HALF, ONE = np.float32(0.5), np.float32(1)


class CompiledLattice(Kernel):
    """See `lattice.TorchLattice`.

    Args:
        points: Pixels in the space of the lattice, on the CPU.
    """

    def __init__(self, points: Points) -> None:
        elevated, base, strides, steps = (part.contiguous().numpy() for part in points)
        table = np.full(1 << max(4, math.ceil(math.log2(2 * elevated.size))), -1, np.int32)  # at most half full
        keys = np.empty(elevated.size, np.int64)
        self.to_pixels = np.empty(elevated.shape, np.float32)
        self.vertices = np.empty(elevated.shape, np.int32)
        self.count = _find_vertices(elevated, base, strides, self.to_pixels, self.vertices, keys, table)
        self.pixels = np.empty(elevated.size, np.int32)
        self.to_vertices = np.empty(elevated.size, np.float32)
        self.starts = np.zeros(self.count + 1, np.int32)
        _sort_entries(self.vertices, self.to_pixels, self.starts, self.pixels, self.to_vertices)
        self.to_pixels *= HALF ** (len(steps) + 1)  # of the blur along each axis, and of the two orders' mean
        members = np.empty((len(steps), self.count), np.int32)
        ends = np.empty((len(steps), self.count), np.int32)
        chains = np.zeros(len(steps), np.int32)
        in_threads(_find_chains, len(steps), steps, keys[: self.count], table, members, ends, chains)
        self.chains = [
            (own[: last[count - 1] if count else 0].copy(), last[:count].copy())
            for own, last, count in zip(members, ends, chains, strict=True)
        ]
        self._buffers = np.empty((0, 0, 0), np.float32)

    def scale(self, before: Tensor, after: Tensor) -> None:
        """See `lattice.TorchLattice`."""
        self.to_vertices *= before[:, 0].numpy()[self.pixels]
        self.to_pixels *= after.numpy()

    def add_to(self, sums: Tensor, values: Tensor, weight: float = 1.0) -> None:
        """See `Kernel`."""
        classes = values.shape[1]
        if classes % LANES:
            wide = whole_lanes(sums)
            self.add_to(wide, whole_lanes(values), weight)
            sums.copy_(wide[:, :classes])
            return
        if self._buffers.shape[2] != classes:
            self._buffers = np.empty((2, self.count, classes), np.float32)
        forward, backward = self._buffers
        entries = self.to_vertices, self.pixels, self.starts
        in_threads(_splat, self.count, values.contiguous().numpy(), *entries, forward, backward)
        for chains, rising in ((self.chains, forward), (self.chains[::-1], backward)):
            for members, ends in chains:
                in_threads(_blur, len(ends), members, ends, rising)
        in_threads(
            _slice, len(sums), forward, backward, self.to_pixels, self.vertices, np.float32(weight), sums.numpy()
        )


@compiled()
def _place_of(key: int, keys: np.ndarray, table: np.ndarray) -> int:
    """Return the place of the hash table that holds `key`'s vertex, or the free one where it belongs."""
    mask = len(table) - 1
    place = key * HASH_FACTOR
    place = (place ^ (place >> 32)) & mask
    while table[place] >= 0 and keys[table[place]] != key:
        place = (place + 1) & mask
    return place


@compiled()
def _find_vertices(
    elevated: np.ndarray,
    base: np.ndarray,
    strides: np.ndarray,
    weights: np.ndarray,
    vertices: np.ndarray,
    keys: np.ndarray,
    table: np.ndarray,
) -> int:
    """Fill `weights`, `vertices`, `keys` and the hash `table` (key -> vertex); return the number of vertices."""
    points, corners = elevated.shape
    rounded = np.empty(corners, np.int64)
    rank = np.empty(corners, np.int64)
    falling = np.empty(corners, np.float32)
    count = 0
    for point in range(points):
        total = 0
        for axis in range(corners):
            rounded[axis] = corners * round(elevated[point, axis] / corners)
            total += rounded[axis]
            rank[axis] = 0
        total //= corners
        for axis in range(corners):
            own = elevated[point, axis] - rounded[axis]
            for other in range(axis + 1, corners):
                if own < elevated[point, other] - rounded[other]:
                    rank[axis] += 1
                else:
                    rank[other] += 1
        key = base[point]
        for axis in range(corners):
            rank[axis] += total
            if rank[axis] < 0:
                rank[axis] += corners
                rounded[axis] += corners
            elif rank[axis] >= corners:
                rank[axis] -= corners
                rounded[axis] -= corners
            falling[rank[axis]] = (elevated[point, axis] - rounded[axis]) / corners
            if axis < corners - 1:
                key += rounded[axis] * strides[axis]
        for corner in range(corners):
            if corner == 0:
                weights[point, 0] = 1 + falling[corners - 1] - falling[0]
            else:
                weights[point, corner] = falling[corners - 1 - corner] - falling[corners - corner]
            # Coordinates of rank below `corners - corner` rise by `corner`, the others sink by the rest.
            vertex_key = key
            for axis in range(corners - 1):
                vertex_key += strides[axis] * (corner if rank[axis] < corners - corner else corner - corners)
            place = _place_of(vertex_key, keys, table)
            if table[place] < 0:
                table[place] = count
                keys[count] = vertex_key
                count += 1
            vertices[point, corner] = table[place]
    return count


@compiled()
def _sort_entries(
    vertices: np.ndarray, weights: np.ndarray, starts: np.ndarray, pixels: np.ndarray, sorted_weights: np.ndarray
) -> None:
    """Sort pixels and weights of the entries (pixel, corner) by vertex, keeping their order: a counting sort."""
    for vertex in vertices.ravel():
        starts[vertex + 1] += 1
    for vertex in range(len(starts) - 1):
        starts[vertex + 1] += starts[vertex]
    filled = starts.copy()
    for pixel in range(len(vertices)):
        for corner in range(vertices.shape[1]):
            vertex = vertices[pixel, corner]
            pixels[filled[vertex]] = pixel
            sorted_weights[filled[vertex]] = weights[pixel, corner]
            filled[vertex] += 1


@compiled()
def _find_chains(
    first: int,
    last: int,
    steps: np.ndarray,
    keys: np.ndarray,
    table: np.ndarray,
    members: np.ndarray,
    ends: np.ndarray,
    chains: np.ndarray,
) -> None:
    """For each axis, list the vertices chain by chain, chains of one left out, and where each chain ends."""
    behind = np.empty(len(keys), np.int32)
    has_before = np.empty(len(keys), np.bool_)
    for axis in range(first, last):
        has_before[:] = False
        for vertex in range(len(keys)):
            behind[vertex] = table[_place_of(keys[vertex] + steps[axis], keys, table)]
            if behind[vertex] >= 0:
                has_before[behind[vertex]] = True
        filled = 0
        for vertex in range(len(keys)):
            if has_before[vertex] or behind[vertex] < 0:
                continue
            member = np.int32(vertex)
            while member >= 0:
                members[axis, filled] = member
                filled += 1
                member = behind[member]
            ends[axis, chains[axis]] = filled
            chains[axis] += 1


@compiled(fastmath=True)
def _splat(
    first: int,
    last: int,
    values: np.ndarray,
    weights: np.ndarray,
    pixels: np.ndarray,
    starts: np.ndarray,
    forward: np.ndarray,
    backward: np.ndarray,
) -> None:
    """Sum up each vertex's pixels, into both buffers."""
    width = values.shape[1]
    threes = width - width % (3 * LANES)
    for vertex in range(first, last):
        for entry in range(starts[vertex] + AHEAD, min(starts[vertex + 1] + AHEAD, len(pixels))):
            for lane in range(0, width, 2 * LANES):
                prefetch(values, pixels[entry], lane)
        for lane in range(0, threes, 3 * LANES):  # three sums at a time: one alone waits for itself
            one, two, three = zeros(), zeros(), zeros()
            for entry in range(starts[vertex], starts[vertex + 1]):
                weight, pixel = weights[entry], pixels[entry]
                one = plus(one, weight, load(values, pixel, lane))
                two = plus(two, weight, load(values, pixel, lane + LANES))
                three = plus(three, weight, load(values, pixel, lane + 2 * LANES))
            for rows in (forward, backward):
                store(rows, vertex, lane, one)
                store(rows, vertex, lane + LANES, two)
                store(rows, vertex, lane + 2 * LANES, three)
        for lane in range(threes, width, LANES):
            one = zeros()
            for entry in range(starts[vertex], starts[vertex + 1]):
                one = plus(one, weights[entry], load(values, pixels[entry], lane))
            store(forward, vertex, lane, one)
            store(backward, vertex, lane, one)


@compiled(fastmath=True)
def _blur(first: int, last: int, members: np.ndarray, ends: np.ndarray, rows: np.ndarray) -> None:
    """Add to each vertex of the chains half of those before and behind it."""
    start = ends[first - 1] if first else 0
    for chain in range(first, last):
        end = ends[chain]
        for place in range(start + AHEAD, min(end + AHEAD, len(members))):
            for lane in range(0, rows.shape[1], 2 * LANES):
                prefetch(rows, members[place], lane)
        for lane in range(0, rows.shape[1], LANES):
            before, own = zeros(), load(rows, members[start], lane)
            for place in range(start, end - 1):
                behind = load(rows, members[place + 1], lane)
                store(rows, members[place], lane, plus(own, HALF, plus(before, ONE, behind)))
                before, own = own, behind
            store(rows, members[end - 1], lane, plus(own, HALF, before))
        start = end


@compiled(fastmath=True)
def _slice(
    first: int,
    last: int,
    forward: np.ndarray,
    backward: np.ndarray,
    weights: np.ndarray,
    vertices: np.ndarray,
    scale: float,
    sums: np.ndarray,
) -> None:
    """Add to each pixel its vertices."""
    for pixel in range(first, last):
        ahead = min(pixel + AHEAD // weights.shape[1], last - 1)
        for corner in range(weights.shape[1]):
            for lane in range(0, sums.shape[1], 2 * LANES):
                prefetch(forward, vertices[ahead, corner], lane)
                prefetch(backward, vertices[ahead, corner], lane)
        for lane in range(0, sums.shape[1], LANES):
            total = load(sums, pixel, lane)
            for corner in range(weights.shape[1]):
                weight, vertex = scale * weights[pixel, corner], vertices[pixel, corner]
                total = plus(total, weight, plus(load(forward, vertex, lane), ONE, load(backward, vertex, lane)))
            store(sums, pixel, lane, total)
