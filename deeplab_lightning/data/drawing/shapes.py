"""Outlines that objects are put together from: polygons in an object's own units, x to the right, y upwards."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

MAIN, SECOND, DETAIL = range(3)
"""An object's materials."""


class Part(NamedTuple):
    """One filled polygon of an object.

    Attributes:
        outline: `(points, 2)` float array of x, y.
        fill: Which of the object's materials it takes.
        rounded: Shade it like a ball instead of a board.
    """

    outline: np.ndarray
    fill: int = MAIN
    rounded: bool = False


def polygon(*points: tuple[float, float]) -> np.ndarray:
    """Return the outline through `points`."""
    return np.array(points, np.float64)


def box(left: float, bottom: float, right: float, top: float) -> np.ndarray:
    """Return an upright rectangle."""
    return polygon((left, bottom), (right, bottom), (right, top), (left, top))


def soft_box(left: float, bottom: float, right: float, top: float, radius: float) -> np.ndarray:
    """Return an upright rectangle with rounded corners."""
    quarter = np.linspace(0, np.pi / 2, 5)
    left, bottom, right, top = left + radius, bottom + radius, right - radius, top - radius
    corners = (right, top), (left, top), (left, bottom), (right, bottom)
    arcs = [_around(x, y, radius, radius, quarter + turn * np.pi / 2) for turn, (x, y) in enumerate(corners)]
    return np.concatenate(arcs)


def ellipse(x: float, y: float, radius_x: float, radius_y: float | None = None) -> np.ndarray:
    """Return an ellipse, or a disc when `radius_y` is left out."""
    angle = np.linspace(0, 2 * np.pi, 36, endpoint=False)
    return _around(x, y, radius_x, radius_x if radius_y is None else radius_y, angle)


def arc(x: float, y: float, radius_x: float, radius_y: float, start: float, stop: float) -> np.ndarray:
    """Return the points of an ellipse between two angles in radians."""
    return _around(x, y, radius_x, radius_y, np.linspace(start, stop, 12))


def lobed(rng: np.random.Generator, x: float, y: float, radius_x: float, radius_y: float) -> np.ndarray:
    """Return an ellipse with bulges, like the crown of a tree."""
    lobes, phase = int(rng.integers(6, 10)), rng.uniform(0, 2 * np.pi)
    angle = np.linspace(0, 2 * np.pi, 72, endpoint=False)
    reach = 0.88 + 0.16 * np.abs(np.sin(angle * lobes / 2 + phase))
    return _around(x, y, radius_x * reach, radius_y * reach, angle)


def line(points: np.ndarray, width: float) -> np.ndarray:
    """Return the outline of a line of `width` through `points`, `(points, 2)`."""
    along = np.gradient(points, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    aside = np.stack([-along[:, 1], along[:, 0]], axis=1) * (width / 2)
    return np.concatenate([points + aside, (points - aside)[::-1]])


def _around(
    x: float, y: float, radius_x: float | np.ndarray, radius_y: float | np.ndarray, angle: np.ndarray
) -> np.ndarray:
    return np.stack([x + radius_x * np.cos(angle), y + radius_y * np.sin(angle)], axis=1)
