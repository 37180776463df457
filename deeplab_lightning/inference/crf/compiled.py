"""The permutohedral lattice for CPUs, compiled by numba (`pip install deeplab-lightning[crf]`).

Vertices are numbered in the order in which the pixels, row by row, first meet them: neighbours in the picture are then
neighbours in memory. Every sum is made by one thread in a fixed order: results do not depend on the number of threads,
which is torch's. They are Python's: numba's own pool (of its OpenMP layer) slows torch's matrix products down fourfold.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numba  # type: ignore[import-not-found,import-untyped,unused-ignore]
import numpy as np
import torch
from torch import Tensor

from .lattice import Points

HASH_FACTOR = np.int64(-7046029254386353131)
"""2^64 divided by the golden ratio, as int64: spreads neighbouring keys."""


def _compile(fastmath: bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    return numba.njit(cache=True, nogil=True, fastmath=fastmath)


def _in_threads(work: Callable[..., None], count: int, *arguments: Any) -> None:
    """Call `work(first, last, *arguments)` for consecutive parts of `0..count`, one for each of torch's threads."""
    threads = max(1, min(torch.get_num_threads(), count))
    if threads == 1:
        work(0, count, *arguments)
        return
    ends = [count * part // threads for part in range(threads + 1)]
    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(work, *ends[part : part + 2], *arguments) for part in range(threads)]:
            done.result()


class CompiledLattice:
    """See `lattice.Lattice`.

    Args:
        points: Pixels in the space of the lattice, on the CPU.
    """

    def __init__(self, points: Points) -> None:
        elevated, base, strides, steps = (part.contiguous().numpy() for part in points)
        table = np.full(1 << max(4, math.ceil(math.log2(2 * elevated.size))), -1, np.int32)  # at most half full
        keys = np.empty(elevated.size, np.int64)
        self.weights = np.empty(elevated.shape, np.float32)
        self.vertices = np.empty(elevated.shape, np.int32)
        count = _find_vertices(elevated, base, strides, self.weights, self.vertices, keys, table)
        self.neighbours = np.full((len(steps), count, 2), count, np.int32)
        _find_neighbours(keys[:count], steps, table, self.neighbours)
        self.entries = np.empty(elevated.size, np.int32)
        self.starts = np.zeros(count + 1, np.int32)
        _sort_entries(self.vertices.ravel(), self.starts, self.entries)
        self._buffers: list[np.ndarray] = []

    def filter(self, values: Tensor) -> Tensor:
        """See `lattice.Lattice`."""
        shape = (len(self.starts), values.shape[1])  # the last row stands for all missing vertices: zero
        if not self._buffers or self._buffers[0].shape != shape:
            self._buffers = [np.zeros(shape, np.float32) for _ in range(5)]
        splatted = self._buffers[0]
        count, weights = len(self.starts) - 1, self.weights
        _in_threads(_splat, count, values.contiguous().numpy(), weights.ravel(), self.starts, self.entries, splatted)
        forward = self._blur(splatted, self.neighbours, self._buffers[1:3])
        backward = self._blur(splatted, self.neighbours[::-1], self._buffers[3:5])
        sums = torch.empty(len(values), values.shape[1])
        _in_threads(_slice, len(sums), forward, backward, weights, self.vertices, sums.numpy())
        return sums

    def _blur(self, source: np.ndarray, neighbours: np.ndarray, targets: list[np.ndarray]) -> np.ndarray:
        for axis, along in enumerate(neighbours):
            _in_threads(_blur_axis, len(along), source, along, targets[axis % 2])
            source = targets[axis % 2]
        return source


@_compile()
def _place_of(key: int, keys: np.ndarray, table: np.ndarray) -> int:
    """Return the place of the hash table that holds `key`'s vertex, or the free one where it belongs."""
    mask = len(table) - 1
    place = key * HASH_FACTOR
    place = (place ^ (place >> 32)) & mask
    while table[place] >= 0 and keys[table[place]] != key:
        place = (place + 1) & mask
    return place


@_compile()
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


@_compile()
def _find_neighbours(keys: np.ndarray, steps: np.ndarray, table: np.ndarray, neighbours: np.ndarray) -> None:
    """Fill `(axes, M, 2)` with the vertices before and behind each along an axis, where they exist."""
    for axis in range(len(steps)):
        for vertex in range(len(keys)):
            behind = table[_place_of(keys[vertex] + steps[axis], keys, table)]
            if behind >= 0:
                neighbours[axis, vertex, 1] = behind
                neighbours[axis, behind, 0] = vertex


@_compile()
def _sort_entries(vertex_of: np.ndarray, starts: np.ndarray, entries: np.ndarray) -> None:
    """Sort the entries of pixels x corners by vertex, keeping their order: a counting sort."""
    for vertex in vertex_of:
        starts[vertex + 1] += 1
    for vertex in range(len(starts) - 1):
        starts[vertex + 1] += starts[vertex]
    filled = starts.copy()
    for entry in range(len(vertex_of)):
        vertex = vertex_of[entry]
        entries[filled[vertex]] = entry
        filled[vertex] += 1


@_compile(fastmath=True)
def _splat(
    first: int,
    last: int,
    values: np.ndarray,
    weights: np.ndarray,
    starts: np.ndarray,
    entries: np.ndarray,
    splatted: np.ndarray,
) -> None:
    corners = len(weights) // len(values)
    for vertex in range(first, last):
        for channel in range(values.shape[1]):
            splatted[vertex, channel] = 0
        for position in range(starts[vertex], starts[vertex + 1]):
            entry = entries[position]
            point, weight = entry // corners, weights[entry]
            for channel in range(values.shape[1]):
                splatted[vertex, channel] += weight * values[point, channel]


@_compile(fastmath=True)
def _blur_axis(first: int, last: int, source: np.ndarray, along: np.ndarray, target: np.ndarray) -> None:
    half, quarter = np.float32(0.5), np.float32(0.25)
    for vertex in range(first, last):
        before, behind = along[vertex, 0], along[vertex, 1]
        for channel in range(source.shape[1]):
            target[vertex, channel] = half * source[vertex, channel] + quarter * (
                source[before, channel] + source[behind, channel]
            )


@_compile(fastmath=True)
def _slice(
    first: int,
    last: int,
    forward: np.ndarray,
    backward: np.ndarray,
    weights: np.ndarray,
    vertices: np.ndarray,
    sums: np.ndarray,
) -> None:
    for point in range(first, last):
        for channel in range(sums.shape[1]):
            sums[point, channel] = 0
        for corner in range(weights.shape[1]):
            vertex, weight = vertices[point, corner], np.float32(0.5) * weights[point, corner]
            for channel in range(sums.shape[1]):
                sums[point, channel] += weight * (forward[vertex, channel] + backward[vertex, channel])
