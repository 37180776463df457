"""Post-processing class maps, step by step, each against scipy on random masks."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from scipy import ndimage

from deeplab_lightning.errors import ConfigError
from deeplab_lightning.inference.morphology import Morphology

SQUARE, CROSS = np.ones((3, 3)), ndimage.generate_binary_structure(2, 1)


def disc(radius: int) -> np.ndarray:
    rows, columns = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    return rows**2 + columns**2 <= radius**2


def random_mask(seed: int, classes: int = 4, shape: tuple[int, int] = (41, 53), smooth: float = 1.5) -> np.ndarray:
    """Return `(H, W)` uint8 of ragged regions with specks and holes."""
    draw = np.random.default_rng(seed)
    fields = [cv2.GaussianBlur(draw.normal(size=shape), (0, 0), smooth) for _ in range(classes)]
    return np.argmax(fields, axis=0).astype(np.uint8)


def random_probs(seed: int) -> np.ndarray:
    """Return `(4, 41, 53)` float32."""
    draw = np.random.default_rng(seed)
    scores = np.stack([cv2.GaussianBlur(draw.normal(size=(41, 53)), (0, 0), 1.2) for _ in range(4)])
    scores = np.exp(8 * scores)
    return (scores / scores.sum(0)).astype(np.float32)


def second_best(probs: np.ndarray) -> np.ndarray:
    return np.argsort(-probs, axis=0, kind="stable")[1]


SEEDS = pytest.mark.parametrize("seed", range(4))


@SEEDS
@pytest.mark.parametrize("radius", [1, 2, 3])
def test_opening(seed: int, radius: int) -> None:
    probs = random_probs(seed)
    pred = probs.argmax(0).astype(np.uint8)
    for index in range(4):
        eroded = ndimage.binary_erosion(pred == index, disc(radius), border_value=1)
        kept = ndimage.binary_dilation(eroded, disc(radius))
        expected = np.where((pred == index) & ~kept, second_best(probs), pred)
        assert (expected != pred).any()
        assert np.array_equal(Morphology(opening=radius, classes=(index,)).apply(pred, probs), expected)
        without_probs = Morphology(opening=radius, classes=(index,)).apply(pred)
        assert np.array_equal(without_probs == index, (pred == index) & kept)  # none goes back to the class it left


@SEEDS
@pytest.mark.parametrize("radius", [1, 2, 3])
def test_closing(seed: int, radius: int) -> None:
    pred = random_mask(seed)
    for index in range(4):
        padded = np.pad(pred == index, 2 * radius)
        closed = ndimage.binary_closing(padded, disc(radius))[2 * radius : -2 * radius, 2 * radius : -2 * radius]
        assert closed.sum() > (pred == index).sum()
        expected = np.where(closed, index, pred)
        assert np.array_equal(Morphology(closing=radius, classes=(index,)).apply(pred), expected)


def components_below(inside: np.ndarray, area: int) -> np.ndarray:
    labels, count = ndimage.label(inside, SQUARE)
    small = [label for label in range(1, count + 1) if (labels == label).sum() < area]
    return np.isin(labels, small)


@SEEDS
@pytest.mark.parametrize("area", [2, 15, 100])
def test_small_components_with_probabilities(seed: int, area: int) -> None:
    probs = random_probs(seed)
    pred = probs.argmax(0).astype(np.uint8)
    lost = components_below(pred == 2, area)
    expected = np.where(lost, second_best(probs), pred)
    assert np.array_equal(Morphology(min_area=area, classes=(2,)).apply(pred, probs), expected)


@SEEDS
def test_small_components_without_probabilities_go_to_the_nearest_class(seed: int) -> None:
    pred = random_mask(seed)
    lost = components_below(pred == 1, 40)
    processed = Morphology(min_area=40, classes=(1,)).apply(pred)
    assert np.array_equal(processed[~lost], pred[~lost])
    distances = {
        index: ndimage.distance_transform_edt((pred != index) | (pred == 1)) for index in range(4) if index != 1
    }
    nearest = np.min(list(distances.values()), axis=0)
    for row, column in np.argwhere(lost):
        assert distances[processed[row, column]][row, column] <= 1.02 * nearest[row, column]


@SEEDS
def test_the_largest_component_stays(seed: int) -> None:
    pred = random_mask(seed)
    labels, count = ndimage.label(pred == 3, SQUARE)
    assert count > 2
    largest = labels == 1 + np.argmax([(labels == label).sum() for label in range(1, count + 1)])
    processed = Morphology(largest=(3,)).apply(pred)
    assert np.array_equal(processed == 3, largest)
    assert np.array_equal(processed[pred != 3], pred[pred != 3])


@SEEDS
@pytest.mark.parametrize("area", [4, 12, 10_000])
def test_holes(seed: int, area: int) -> None:
    pred = random_mask(seed, classes=2, smooth=1.0)
    inside = pred == 0
    holes = ndimage.binary_fill_holes(inside, CROSS) & ~inside
    labels, count = ndimage.label(holes, CROSS)
    small = [label for label in range(1, count + 1) if (labels == label).sum() <= area]
    assert small
    expected = np.where(np.isin(labels, small), 0, pred)
    assert np.array_equal(Morphology(fill_holes=area, classes=(0,)).apply(pred), expected)


@SEEDS
def test_the_threshold(seed: int) -> None:
    probs = random_probs(seed)
    pred = probs.argmax(0).astype(np.uint8)
    expected = np.where(probs.max(0) < 0.6, 255, pred)
    assert np.array_equal(Morphology(threshold=0.6).apply(pred, probs), expected)
    assert np.array_equal(Morphology(threshold=0.6, unsure=1).apply(pred, probs), np.where(expected == 255, 1, pred))
    with pytest.raises(ConfigError, match="needs the probabilities"):
        Morphology(threshold=0.6).apply(pred)


def test_all_steps_leave_no_small_component_of_the_first_class_worked_on() -> None:
    pred = random_mask(0)
    before = pred.copy()
    steps = Morphology(opening=1, closing=1, min_area=20, fill_holes=10, largest=(0,))
    processed = steps.apply(pred)
    assert np.array_equal(pred, before)
    assert ndimage.label(processed == 0, SQUARE)[1] == 1
    pieces = [sum(ndimage.label(mask == index, SQUARE)[1] for index in range(4)) for mask in (pred, processed)]
    assert pieces[1] < pieces[0] / 3


def test_unsure_pixels_are_not_worked_on() -> None:
    pred = np.zeros((20, 20), np.uint8)
    pred[5, 5] = 255  # a speck of unsure pixels stays, as it is no class's
    probs = np.full((2, 20, 20), 0.5, np.float32)
    probs[0] = 0.9
    probs[:, 5, 5] = 0.5
    steps = Morphology(threshold=0.8, min_area=10, opening=1)
    assert steps.apply(np.zeros_like(pred), probs)[5, 5] == 255


@pytest.mark.parametrize("probs", [None, np.ones((1, 9, 9), np.float32)])
def test_an_image_of_one_class_stays(probs: np.ndarray | None) -> None:
    pred = np.zeros((9, 9), np.uint8)
    assert np.array_equal(Morphology(opening=20, min_area=1000, largest=(0, 5)).apply(pred, probs), pred)


def test_the_protocol() -> None:
    assert not Morphology()
    assert str(Morphology()) == ""
    assert Morphology(largest=(1,))
    assert str(Morphology(0.5, 255, 2, 1, (3, 4), 100, 50)) == (
        "threshold 0.5 (else 255), opening 2, closing 1, largest of 3 4, min area 100, fill holes 50"
    )
    assert str(Morphology(min_area=9, classes=(0, 2))) == "min area 9 of classes 0 2"


def test_settings_that_make_no_sense() -> None:
    for wrong in ({"threshold": 1.5}, {"unsure": 256}, {"opening": -1}, {"min_area": -1}):
        with pytest.raises(ConfigError):
            Morphology(**wrong)  # type: ignore[arg-type]
