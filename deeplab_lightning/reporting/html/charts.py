"""Charts as SVG within the page: lines over steps, and points with their Pareto front.

Colours are variables of the page, so that they follow light and dark; lines differ in their dashes, too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

import numpy as np

WIDTH, HEIGHT = 640, 300
LEFT, RIGHT, TOP, BOTTOM = 58, 14, 14, 42
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


class Point(NamedTuple):
    """A point of a scatter plot."""

    name: str
    x: float
    y: float


def line_chart(title: str, lines: Sequence[Line], x_label: str, from_zero: bool = True) -> str:
    """Draw curves over a common axis, with a legend and, for who cannot see them, their ends and extremes in words.

    Args:
        title: Above the chart.
        lines: At least one, each with at least one point.
        x_label: Below the axis.
        from_zero: Let the upright axis begin at zero.
    """
    xs = np.concatenate([line.x for line in lines])
    ys = np.concatenate([line.y for line in lines])
    scale = _Scale(_span(xs), _span(ys, from_zero))
    marks = []
    for number, line in enumerate(lines):
        line = _thinned(line)
        points = " ".join(f"{scale.x(x):.1f},{scale.y(y):.1f}" for x, y in zip(line.x, line.y, strict=True))
        style = f'fill="none" stroke="{_colour(number)}" stroke-width="2" stroke-dasharray="{_dashes(number)}"'
        marks.append(f'<polyline points="{points}" {style}/>')
        if line.dots:
            marks += [
                f'<circle cx="{scale.x(x):.1f}" cy="{scale.y(y):.1f}" r="3.5" fill="{_colour(number)}">'
                f"<title>{escape(line.name)}: {y:.4g} at {x:g}</title></circle>"
                for x, y in zip(line.x, line.y, strict=True)
            ]
    return _figure(title, "; ".join(map(_describe_line, lines)), scale.axes(x_label) + "".join(marks), _legend(lines))


def scatter_chart(title: str, points: Sequence[Point], x_label: str, y_label: str) -> str:
    """Draw points with their names, and the front of those that no other point beats: less of x, more of y.

    Args:
        title: Above the chart.
        points: At least one.
        x_label: Below the axis; less is better.
        y_label: Beside the axis; more is better.
    """
    scale = _Scale(
        _span(np.array([point.x for point in points]), pad=0.12),
        _span(np.array([point.y for point in points]), pad=0.2),
    )
    front = pareto_front(points)
    steps = []
    for place, point in enumerate(front):
        if place:
            steps.append(f"{scale.x(point.x):.1f},{scale.y(front[place - 1].y):.1f}")
        steps.append(f"{scale.x(point.x):.1f},{scale.y(point.y):.1f}")
    marks = [
        f'<polyline points="{" ".join(steps)}" fill="none" stroke="var(--faint)" stroke-width="1.5" '
        'stroke-dasharray="4 3"/>'
    ]
    for number, point in enumerate(points):
        x, y = scale.x(point.x), scale.y(point.y)
        fill = _colour(number) if point in front else "var(--panel)"
        marks.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{fill}" stroke="{_colour(number)}" stroke-width="2">'
            f"<title>{escape(point.name)}: {point.y:.4g} at {point.x:.4g}</title></circle>"
        )
        right = x < WIDTH * 0.65
        anchor, shift = ("start", 9) if right else ("end", -9)
        marks.append(
            f'<text x="{x + shift:.1f}" y="{y - 7:.1f}" text-anchor="{anchor}">{escape(_short(point.name))}</text>'
        )
    words = "; ".join(f"{point.name}: {point.y:.4g} at {point.x:.4g}" for point in points)
    words += f". On the front: {', '.join(point.name for point in front)}"
    return _figure(title, words, scale.axes(x_label, y_label) + "".join(marks), "")


def pareto_front(points: Sequence[Point]) -> list[Point]:
    """Return the points that no other one beats, by x: none has at most their x and more y, or less x and as much y."""
    front: list[Point] = []
    for point in sorted(points, key=lambda point: (point.x, -point.y)):
        if not front or point.y > front[-1].y:
            front.append(point)
    return front


class _Scale:
    """From values to the drawing's coordinates."""

    def __init__(self, x: tuple[float, float], y: tuple[float, float]) -> None:
        self._x, self._y = x, y

    def x(self, value: float) -> float:
        low, high = self._x
        return LEFT + (value - low) / (high - low) * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        low, high = self._y
        return HEIGHT - BOTTOM - (value - low) / (high - low) * (HEIGHT - TOP - BOTTOM)

    def axes(self, x_label: str, y_label: str = "") -> str:
        parts = []
        for value in _ticks(*self._y):
            y = self.y(value)
            parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
            parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{_tick(value)}</text>')
        for value in _ticks(*self._x):
            x = self.x(value)
            parts.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 17}" text-anchor="middle">{_tick(value)}</text>')
        middle = (LEFT + WIDTH - RIGHT) / 2
        parts.append(f'<text x="{middle}" y="{HEIGHT - 7}" text-anchor="middle">{escape(x_label)}</text>')
        if y_label:
            parts.append(f'<text x="{LEFT + 4}" y="{TOP + 2}" dominant-baseline="hanging">{escape(y_label)}</text>')
        return "".join(parts)


def _span(values: np.ndarray, from_zero: bool = False, pad: float = 0.04) -> tuple[float, float]:
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


def _tick(value: float) -> str:
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


def _legend(lines: Sequence[Line]) -> str:
    if len(lines) < 2:
        return ""
    entries = "".join(
        f'<li><svg viewBox="0 0 36 12" aria-hidden="true"><path d="M0 6H36" stroke="{_colour(number)}" '
        f'stroke-width="3" stroke-dasharray="{_dashes(number)}"/></svg>{escape(line.name)}</li>'
        for number, line in enumerate(lines)
    )
    return f'<ul class="legend">{entries}</ul>'


def _figure(title: str, words: str, drawing: str, legend: str) -> str:
    return (
        f'<figure class="chart"><h3>{escape(title)}</h3>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(f"{title}. {words}")}">{drawing}</svg>'
        f"{legend}</figure>"
    )


def _colour(number: int) -> str:
    return f"var(--s{number % COLOURS + 1})"


def _dashes(number: int) -> str:
    return DASHES[number // COLOURS % len(DASHES)] if number >= COLOURS else DASHES[number % len(DASHES)]


def _short(text: str, length: int = 28) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"
