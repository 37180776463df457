"""Charts of a page as SVG: lines over steps, and points with their Pareto front."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from markupsafe import Markup

from .pages import macro

COLOURS = 8
DASHES = ("", "6 3", "2 3", "9 3 2 3")
MOST_POINTS = 400


class Line(NamedTuple):
    """A curve.

    Attributes:
        name: In the legend.
        x: `(N,)`.
        y: `(N,)`.
        dots: Mark each point: for curves with few.
    """

    name: str
    x: np.ndarray
    y: np.ndarray
    dots: bool = False

    @property
    def points(self) -> list[tuple[float, float]]:
        """Its points from left to right."""
        return list(zip(self.x.tolist(), self.y.tolist(), strict=True))


class Point(NamedTuple):
    """A point of a scatter plot."""

    name: str
    x: float
    y: float

    @property
    def short_name(self) -> str:
        """What fits beside it."""
        return self.name if len(self.name) <= 28 else f"{self.name[:27]}…"


def line_chart(title: str, lines: Sequence[Line], x_label: str) -> Markup:
    """Draw curves over a common axis, with a legend and, for who cannot see them, their ends and extremes in words.

    There must be a line at least, and a point at least in each.
    """
    xs, ys = (np.concatenate(values) for values in ([line.x for line in lines], [line.y for line in lines]))
    return macro("charts.html.j2", "line_chart")(
        title=title,
        words="; ".join(map(_describe_line, lines)),
        axes=_Axes(_limits(xs), _limits(ys, from_zero=True)),
        lines=[_thinned(line) for line in lines],
        styles=_styles(len(lines)),
        x_label=x_label,
    )


def scatter_chart(title: str, points: Sequence[Point], x_label: str, y_label: str) -> Markup:
    """Draw points, at least one, with names, and the front of those that no other beats: less of x, more of y."""
    front = pareto_front(points)
    stairs = [front[0][1:]]
    for before, point in pairwise(front):
        stairs += [(point.x, before.y), (point.x, point.y)]
    words = "; ".join(f"{point.name}: {point.y:.4g} at {point.x:.4g}" for point in points)
    return macro("charts.html.j2", "scatter_chart")(
        title=title,
        words=f"{words}. On the front: {', '.join(point.name for point in front)}",
        axes=_Axes(
            _limits(np.array([point.x for point in points]), pad=0.12),
            _limits(np.array([point.y for point in points]), pad=0.2),
        ),
        points=points,
        front=front,
        stairs=stairs,
        styles=_styles(len(points)),
        x_label=x_label,
        y_label=y_label,
    )


def pareto_front(points: Sequence[Point]) -> list[Point]:
    """Return the points that no other one beats, by x: none has at most their x and more y, or less x and as much y."""
    front: list[Point] = []
    for point in sorted(points, key=lambda point: (point.x, -point.y)):
        if not front or point.y > front[-1].y:
            front.append(point)
    return front


class _Axes:
    """From values, given the lowest and highest of x and y, to coordinates of the drawing, in tenths; y goes down."""

    width, height = 640, 300
    left, right, top, bottom = 58, 626, 14, 258

    def __init__(self, x: tuple[float, float], y: tuple[float, float]) -> None:
        self._x, self._y = x, y
        self.x_ticks, self.y_ticks = ([(value, _tick_label(value)) for value in _ticks(*ends)] for ends in (x, y))

    def x(self, value: float, shift: float = 0) -> str:
        return f"{self._place(value) + shift:.1f}"

    def y(self, value: float, shift: float = 0) -> str:
        low, high = self._y
        return f"{self.bottom - (value - low) / (high - low) * (self.bottom - self.top) + shift:.1f}"

    def has_room_right_of(self, value: float) -> bool:
        return self._place(value) < self.width * 0.65

    def _place(self, value: float) -> float:
        low, high = self._x
        return self.left + (value - low) / (high - low) * (self.right - self.left)


def _limits(values: np.ndarray, from_zero: bool = False, pad: float = 0.04) -> tuple[float, float]:
    """Return the ends of an axis, a little beyond the values."""
    low, high = float(values.min()), float(values.max())
    if from_zero and low >= 0:
        return 0.0, (high or 1.0) * (1 + pad)
    room = (high - low) * pad or abs(high) * 0.1 or 1.0
    return low - room, high + room


def _ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Return round numbers between two ends."""
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw)
    return [number * step for number in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def _tick_label(value: float) -> str:
    for size, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= 10 * size or (size > 1e3 and abs(value) >= size):
            return f"{value / size:.4g}{unit}"
    return f"{value:.4g}" if abs(value) > 1e-12 else "0"


def _thinned(line: Line) -> Line:
    """Average neighbouring points of long curves: more than the drawing has pixels only make the file large."""
    if len(line.x) <= MOST_POINTS:
        return line
    parts = np.array_split(np.arange(len(line.x)), MOST_POINTS)
    x, y = (np.array([values[part].mean() for part in parts]) for values in (line.x, line.y))
    return line._replace(x=x, y=y)


def _describe_line(line: Line) -> str:
    low, high = int(line.y.argmin()), int(line.y.argmax())
    return (
        f"{line.name}: {line.y[0]:.4g} at {line.x[0]:g}, {line.y[-1]:.4g} at {line.x[-1]:g}, lowest {line.y[low]:.4g} "
        f"at {line.x[low]:g}, highest {line.y[high]:.4g} at {line.x[high]:g}"
    )


def _styles(count: int) -> list[tuple[str, str]]:
    """Return colour and dashes of each line; where colours repeat, dashes change once for all of them."""
    return [
        (f"var(--s{number % COLOURS + 1})", DASHES[(number // COLOURS if number >= COLOURS else number) % len(DASHES)])
        for number in range(count)
    ]
