"""Decoding of objects: equal to a loop over pixels, whatever the maps hold."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deeplab_lightning.errors import ConfigError
from deeplab_lightning.inference.options import EvaluationOptions, ObjectOptions
from deeplab_lightning.inference.panoptic import decode, nearest_of, peaks
from deeplab_lightning.losses.instances import instance_targets

VOID, THINGS = 255, torch.tensor([2, 3])
OPTIONS = ObjectOptions(centre_window=5, min_stuff_area=0)


def decoded_by_a_loop(
    classes: np.ndarray, sureness: np.ndarray, centres: np.ndarray, offsets: np.ndarray, options: ObjectOptions
) -> tuple[np.ndarray, np.ndarray, list[int], list[float]]:
    """Decode as the paper says, a pixel at a time."""
    height, width = classes.shape
    reach, found = options.centre_window // 2, []
    for i in range(height):
        for j in range(width):
            window = centres[max(0, i - reach) : i + reach + 1, max(0, j - reach) : j + reach + 1]
            if centres[i, j] > options.centre_threshold and centres[i, j] == window.max():
                found.append((-centres[i, j], i, j))
    places = [(i, j) for _, i, j in sorted(found)[: options.max_objects]]
    out, numbers = classes.copy(), np.zeros((height, width), int)
    nearest = np.full((height, width), -1)
    for i in range(height):
        for j in range(width):
            if classes[i, j] in THINGS and places:
                row, column = i + offsets[0, i, j], j + offsets[1, i, j]
                nearest[i, j] = np.argmin([(row - r) ** 2 + (column - c) ** 2 for r, c in places])
    object_classes, scores = [], []
    for index, (r, c) in enumerate(places):
        if (mine := nearest == index).any():
            object_classes.append(int(np.bincount(classes[mine]).argmax()))
            scores.append(float(centres[r, c] * sureness[mine].mean()))
            numbers[mine], out[mine] = len(object_classes), object_classes[-1]
    out[np.isin(classes, THINGS) & (nearest < 0)] = VOID
    for stuff in set(np.unique(classes)) - {2, 3}:
        if (classes == stuff).sum() < options.min_stuff_area:
            out[classes == stuff] = VOID
    return out, numbers, object_classes, scores


@pytest.mark.parametrize(
    ("threshold", "most", "stuff"), [(0.1, 400, 0), (0.6, 400, 0), (0.1, 3, 90), (1.0, 400, 0)], ids=str
)
def test_equals_a_loop_over_pixels(threshold: float, most: int, stuff: int) -> None:
    options = ObjectOptions(centre_threshold=threshold, centre_window=5, max_objects=most, min_stuff_area=stuff)
    drawn = np.random.default_rng(0)
    classes = np.repeat(np.repeat(drawn.integers(0, 4, (5, 7)), 6, 0), 6, 1).astype(np.uint8)
    sureness, centres = drawn.random((2, *classes.shape)).astype(np.float32)
    offsets = drawn.normal(0, 8, (2, *classes.shape)).astype(np.float32)
    given = [torch.from_numpy(each) for each in (classes, sureness, centres, offsets)]
    found = decode(*given, THINGS, VOID, options)
    out, numbers, object_classes, scores = decoded_by_a_loop(classes, sureness, centres, offsets, options)
    np.testing.assert_array_equal(found.classes, out)
    np.testing.assert_array_equal(found.numbers, numbers)
    assert found.object_classes.tolist() == object_classes
    np.testing.assert_allclose(found.scores, scores, rtol=1e-5)
    assert torch.equal(given[0], torch.from_numpy(classes))


def test_true_maps_give_back_the_objects() -> None:
    mask, numbers = torch.zeros(1, 60, 90, dtype=torch.uint8), torch.zeros(1, 60, 90, dtype=torch.int32)
    for number, (rows, columns) in enumerate([((5, 20), (4, 30)), ((12, 40), (30, 70)), ((45, 58), (60, 88))], 1):
        box = np.s_[0, rows[0] : rows[1], columns[0] : columns[1]]
        mask[box], numbers[box] = 2 + number % 2, number
    targets = instance_targets(numbers, mask, THINGS, VOID, 8.0)
    found = decode(mask[0], torch.ones(60, 90), 1.2 * targets.centres[0], targets.offsets[0], THINGS, VOID, OPTIONS)
    assert torch.equal(found.classes, mask[0])
    pairs = torch.stack([found.numbers.flatten().long(), numbers.flatten().long()]).unique(dim=1)
    assert pairs.shape[1] == 4  # nothing, and one of ours for each of theirs
    assert (found.scores == 1).all()


@pytest.mark.parametrize("spread", [30.0, 3000.0])
@pytest.mark.parametrize("count", [1, 2, 300])
def test_the_nearest_place_is_found(count: int, spread: float) -> None:
    """Scattered places and dense ones, points among them, far away and nowhere."""
    torch.manual_seed(0)
    places = torch.cat([torch.randint(0, 1000, (count, 2)), torch.randint(500, 520, (count // 2, 2))])
    points = torch.cat([torch.randn(2, 3000) * spread + 500, torch.tensor([[1e8, -1e8, 500.0], [0.0, 1e8, 1e30]])], 1)
    found = nearest_of(points, places)
    distances = (points.double().T[:, None] - places).square().sum(2)
    chosen = distances.gather(1, found[:, None])[:, 0]
    assert (chosen <= distances.amin(1) * (1 + 1e-5) + 1e-3).all()
    exact = (points.round().double().T[:, None] - places).square().sum(2)[:3000]
    assert torch.equal(nearest_of(points.round(), places)[:3000], exact.argmin(1))  # the first of equals
    nowhere = nearest_of(torch.tensor([[torch.nan, 1.0], [1.0, torch.inf]]), places)
    assert ((nowhere >= 0) & (nowhere < len(places))).all()


def test_no_points_have_no_place() -> None:
    assert nearest_of(torch.zeros(2, 0), torch.tensor([[1, 2]])).shape == (0,)


def test_the_highest_peaks_come_first_and_a_plateau_is_one() -> None:
    centres = torch.zeros(40, 50)
    centres[3, 4], centres[20, 30], centres[39, 49], centres[21, 33] = 0.5, 0.9, 0.7, 0.8
    centres[10:12, 43:45] = 0.3
    places, values = peaks(centres, ObjectOptions(centre_window=13))
    assert places.tolist()[:3] == [[20, 30], [39, 49], [3, 4]]  # (21, 33) lies in the window of (20, 30)
    assert values.tolist() == pytest.approx([0.9, 0.7, 0.5, 0.3])
    assert len(peaks(centres, ObjectOptions(max_objects=2))[0]) == 2
    assert len(peaks(torch.full((9, 9), torch.nan), OPTIONS)[0]) == 0


def test_constants_are_options() -> None:
    options = EvaluationOptions.of({"objects": {"centre_threshold": 0.3, "centre_window": 7}})
    assert options.object_options == ObjectOptions(centre_threshold=0.3, centre_window=7)
    assert EvaluationOptions.of(options.plain()) == options
    assert EvaluationOptions().object_options == ObjectOptions()
    with pytest.raises(ConfigError, match="take 11 or 13"):
        ObjectOptions(centre_window=12)
    with pytest.raises(ConfigError, match=r"evaluation\.objects\.center_threshold.*centre_threshold"):
        EvaluationOptions.of({"objects": {"center_threshold": 0.3}})
