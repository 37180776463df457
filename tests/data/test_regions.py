"""Pixels that outlines cover, beside matplotlib's test of points in polygons."""

from __future__ import annotations

import math

import numpy as np
import pytest
from matplotlib.path import Path as Outline

from deeplab_lightning.data.files.regions import Bitmap, Ellipse, Polygon, box, ring
from deeplab_lightning.errors import DataError


def centres(height: int, width: int) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width]
    return np.stack([columns.ravel() + 0.5, rows.ravel() + 0.5], axis=1)


@pytest.mark.parametrize("seed", range(20))
def test_polygons_hold_the_pixels_whose_centre_lies_inside(seed: int) -> None:
    rng = np.random.default_rng(seed)
    angles = np.sort(rng.uniform(0, 2 * math.pi, rng.integers(3, 12)))
    radii = rng.uniform(3, 25, len(angles))
    points = np.stack([20 + radii * np.cos(angles), 15 + radii * np.sin(angles)], axis=1)  # a star, partly outside
    expected = Outline(points).contains_points(centres(30, 40)).reshape(30, 40)
    found = Polygon((points,)).area(30, 40)
    assert found.any()
    assert np.array_equal(found, expected)
    assert np.array_equal(Polygon((points[::-1],)).area(30, 40), expected)  # the other way round


def test_rings_in_one_another_are_holes_and_rectangles_exact() -> None:
    outer = box(1, 1, 9, 7, "a", "").rings[0]
    inner = box(3, 3, 5, 5, "a", "").rings[0]
    expected = np.zeros((8, 10), bool)
    expected[1:7, 1:9] = True
    expected[3:5, 3:5] = False
    assert np.array_equal(Polygon((outer, inner)).area(8, 10), expected)


def test_bitmaps_are_cut_off_at_the_border() -> None:
    block = np.array([[True, False], [True, True]])
    assert Bitmap(block, left=1, top=2).area(4, 4)[2:, 1:3].tolist() == block.tolist()
    assert Bitmap(block, left=-1, top=-1).area(2, 2).tolist() == [[True, False], [False, False]]
    assert not Bitmap(block, left=9).area(2, 2).any()


def test_ellipses_hold_the_pixels_whose_centre_lies_inside() -> None:
    disc = Ellipse(5, 5, 3, 3).area(10, 10)
    distance = np.hypot(*(centres(10, 10) - 5).T).reshape(10, 10)
    assert np.array_equal(disc, distance <= 3)
    upright = Ellipse(10, 10, 2, 8).area(20, 20)
    assert np.array_equal(Ellipse(10, 10, 8, 2, math.pi / 2).area(20, 20), upright)


@pytest.mark.parametrize(
    ("points", "words"),
    [
        ([[1, 2], [3, 4]], "3 points or more"),
        ([[1, 2], [3, 4], [5]], "no list of x and y"),
        ([[1, 2], [3, 4], [math.nan, 5]], "nowhere near"),
        ([[1, 2], [3, 4], [3e7, 5]], "nowhere near"),
        ("abc", "no list"),
    ],
)
def test_what_is_no_polygon_is_refused(points: object, words: str) -> None:
    with pytest.raises(DataError, match=words):
        ring(points, "a.json, object 1", "Export it again.")  # type: ignore[arg-type]
