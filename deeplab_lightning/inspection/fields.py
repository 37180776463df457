"""Which pixels a position of a feature map looks at: ranges of pixels, followed back through everything it came from.

The usual recurrence (`R += (k - 1) * r * J; J *= s`, the maximum where paths meet) gives the same sizes wherever maps
only shrink. Behind an enlargement it is not exact, since what a position sees then depends on where it stands between
two samples, and it does not tell *where* the field lies. Following ranges back is exact in both respects. Images
count as unbounded: a field may be larger than the image, as in the papers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

Pair = tuple[int, int]
"""Rows, columns."""
Range = tuple[np.ndarray, np.ndarray]
"""First and last position along one axis, both included: int64, one entry for each position asked about."""


class Reach(NamedTuple):
    """What a layer's output depends on, along one axis.

    Attributes:
        follow: From a range of the output to the range of the input that it is computed from.
        step: Positions of the input that one position of the output is wide; 0 where the input has only one.
    """

    follow: Callable[[np.ndarray, np.ndarray], Range]
    step: float


IMAGE = 0
"""The node of the image itself."""


def windowed(kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> Reach:
    """Return the reach of a convolution or pooling; with a kernel of 1, of cutting (negative padding) and padding."""
    return Reach(
        lambda first, last: (first * stride - padding, last * stride - padding + (kernel - 1) * dilation), stride
    )


def transposed(kernel: int, stride: int, padding: int, dilation: int) -> Reach:
    """Return the reach of a transposed convolution: input `i` is spread over `i * stride - padding + k * dilation`."""

    def follow(first: np.ndarray, last: np.ndarray) -> Range:
        from_, to = -((-first - padding + (kernel - 1) * dilation) // stride), (last + padding) // stride
        return np.minimum(from_, to), to

    return Reach(follow, 1 / stride)


def nearest(size_in: int, size_out: int) -> Reach:
    """Return the reach of copying values to a finer or coarser map."""
    return Reach(lambda first, last: (first * size_in // size_out, last * size_in // size_out), size_in / size_out)


def unpooled(size_in: int, size_out: int) -> Reach:
    """Return the reach of unpooling, whose factor is a whole number even where the last window was cut."""
    factor = round(size_out / size_in)
    return Reach(lambda first, last: (first // factor, last // factor), 1 / factor)


def interpolated(size_in: int, size_out: int, align_corners: bool, margin: int = 0) -> Reach:
    """Return the reach of linear interpolation: the two samples around a position, or the one it falls on.

    `margin` samples are read beyond those on either side (cubic interpolation: 1).
    """
    # Positions as fractions of integers: rounding would take a sample that is met exactly for one just missed.
    if align_corners:
        numerator, shift, denominator = size_in - 1, 0, max(size_out - 1, 1)
    else:
        numerator, shift, denominator = 2 * size_in, size_in - size_out, 2 * size_out

    def follow(first: np.ndarray, last: np.ndarray) -> Range:
        return (
            (first * numerator + shift) // denominator - margin,
            -((-last * numerator - shift) // denominator) + margin,
        )

    return Reach(follow, numerator / denominator)


def adaptive(size_in: int, size_out: int) -> Reach:
    """Return the reach of adaptive pooling."""
    return Reach(
        lambda first, last: (first * size_in // size_out, -(-(last + 1) * size_in // size_out) - 1),
        size_in / size_out,
    )


FROM_SINGLE = Reach(lambda first, last: (np.zeros_like(first), np.zeros_like(last)), 0)
"""Reach of spreading a map's only value over a larger one."""

SAME = windowed(1)
"""Reach of everything that works position by position."""


class Link(NamedTuple):
    """Where a node's values come from: the node that is read, and how far along either axis."""

    parent: int
    rows: Reach = SAME
    columns: Reach = SAME


Field = tuple[Range, Range]
"""Rows and columns of pixels that some positions of a map see through windows, spatial means left aside."""


class Graph:
    """The layers of an executed forward pass that change what is seen, in the order of execution."""

    def __init__(self) -> None:
        self._links: list[tuple[Link, ...]] = [()]
        self._everywhere = [False]
        self._strides: list[tuple[float, float]] = [(1, 1)]

    def add(self, links: Sequence[Link], everywhere: bool = False) -> int:
        """Add a node and return its number; with `everywhere` it also reads a whole map (a spatial mean).

        Maps read in this way only need no link.
        """
        self._links.append(tuple(links))
        self._everywhere.append(everywhere)
        steps = [[stride * reach.step for stride, reach in zip(self._strides[link.parent], link[1:], strict=True)]
                 for link in links]  # fmt: skip
        rows, columns = (max(axis) for axis in zip(*steps, strict=True)) if steps else (0, 0)
        self._strides.append((rows, columns))
        return len(self._links) - 1

    def stride(self, node: int) -> tuple[float, float]:
        """Return the pixels between neighbouring positions of a node's map, the most where paths meet.

        0 where only spatial means lie between image and node.
        """
        return self._strides[node]

    def field(self, node: int, rows: np.ndarray, columns: np.ndarray) -> tuple[Field | None, bool]:
        """Follow positions of a node's map back to the image.

        Ranges of different paths are united where paths part: every reach is monotone, so the hull of what two ranges
        reach is what their hull reaches, and each node is passed once.

        Args:
            node: As numbered by `add`.
            rows: int64 `(positions,)`.
            columns: Likewise.

        Returns:
            The field, None where spatial means are all there is between image and node; and whether such a mean lies
            on some path.
        """
        ranges: dict[int, Field] = {node: ((rows, rows), (columns, columns))}
        everywhere = False
        for current in range(node, IMAGE, -1):
            if current not in ranges:
                continue
            own_rows, own_columns = ranges.pop(current)
            everywhere |= self._everywhere[current]
            for link in self._links[current]:
                reached = link.rows.follow(*own_rows), link.columns.follow(*own_columns)
                known = ranges.get(link.parent, reached)
                ranges[link.parent] = _hull(known[0], reached[0]), _hull(known[1], reached[1])
        return ranges.get(IMAGE), everywhere

    def ancestors(self, node: int) -> set[int]:
        """Return all nodes that windows lead to from `node`, without itself."""
        found = {node}
        for current in range(node, IMAGE, -1):
            if current in found:
                found.update(link.parent for link in self._links[current])
        return found - {node}


def _hull(one: Range, other: Range) -> Range:
    return np.minimum(one[0], other[0]), np.maximum(one[1], other[1])


def valid_taps(size_in: Pair, size_out: Pair, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair) -> float:
    """Return the share of a kernel's taps, over all positions, that fall inside the map instead of on its padding.

    An exact count (v3 paper, figure 4).
    """
    share = 1.0
    for side_in, side_out, k, s, p, d in zip(size_in, size_out, kernel, stride, padding, dilation, strict=True):
        read = np.arange(side_out)[:, None] * s - p + np.arange(k) * d
        share *= float(((read >= 0) & (read < side_in)).mean())
    return share
