"""Outlines that objects are put together from: polygons in an object's own units, x to the right, y upwards."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np


class Fill(IntEnum):
    """Which of an object's materials a part takes."""

    MAIN = 0
    SECOND = 1
    DETAIL = 2


@dataclass(frozen=True)
class Part:
    """One filled polygon of an object.

    Attributes:
        outline: `(points, 2)` float array of x, y.
        fill: Which of the object's materials it takes.
        rounded: Shade it like a ball instead of a board.
    """

    outline: np.ndarray
    fill: Fill = Fill.MAIN
    rounded: bool = False


def polygon(*points: tuple[float, float]) -> np.ndarray:
    """Return the outline through `points`."""
    return np.array(points, np.float64)


def box(left: float, bottom: float, right: float, top: float) -> np.ndarray:
    """Return an upright rectangle."""
    return polygon((left, bottom), (right, bottom), (right, top), (left, top))


def soft_box(left: float, bottom: float, right: float, top: float, radius: float) -> np.ndarray:
    """Return an upright rectangle with rounded corners."""
    angle = np.linspace(0, np.pi / 2, 5)
    corners = [
        (right - radius, top - radius, 0.0),
        (left + radius, top - radius, np.pi / 2),
        (left + radius, bottom + radius, np.pi),
        (right - radius, bottom + radius, 1.5 * np.pi),
    ]
    arcs = [
        np.stack([x + radius * np.cos(angle + turn), y + radius * np.sin(angle + turn)], axis=1)
        for x, y, turn in corners
    ]
    return np.concatenate(arcs)


def ellipse(x: float, y: float, radius_x: float, radius_y: float | None = None) -> np.ndarray:
    """Return an ellipse, or a disc when `radius_y` is left out."""
    return np.array([x, y]) + _CIRCLE * [radius_x, radius_x if radius_y is None else radius_y]


def arc(x: float, y: float, radius_x: float, radius_y: float, start: float, stop: float) -> np.ndarray:
    """Return the points of an ellipse between two angles in radians."""
    angle = np.linspace(start, stop, 12)
    return np.stack([x + radius_x * np.cos(angle), y + radius_y * np.sin(angle)], axis=1)


def lobed(rng: np.random.Generator, x: float, y: float, radius_x: float, radius_y: float) -> np.ndarray:
    """Return an ellipse with bulges, like the crown of a tree."""
    lobes, phase = int(rng.integers(6, 10)), rng.uniform(0, 2 * np.pi)
    reach = 0.88 + 0.16 * np.abs(np.sin(_LOBE_ANGLES * lobes / 2 + phase))
    return np.stack([x + radius_x * reach * np.cos(_LOBE_ANGLES), y + radius_y * reach * np.sin(_LOBE_ANGLES)], axis=1)


def line(points: np.ndarray, width: float) -> np.ndarray:
    """Return the outline of a line of `width` through `points`, `(points, 2)`."""
    along = np.gradient(points, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    aside = np.stack([-along[:, 1], along[:, 0]], axis=1) * (width / 2)
    return np.concatenate([points + aside, (points - aside)[::-1]])


def _unit_circle(points: int) -> np.ndarray:
    angle = np.linspace(0, 2 * np.pi, points, endpoint=False)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


_CIRCLE = _unit_circle(36)
_LOBE_ANGLES = np.linspace(0, 2 * np.pi, 72, endpoint=False)
