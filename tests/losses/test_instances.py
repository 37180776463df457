"""Targets and losses of objects: made once more by a loop over the objects, and figures written out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from deeplab_lightning.losses.base import LossContext
from deeplab_lightning.losses.hard_pixels import HardPixels
from deeplab_lightning.losses.instances import InstanceTargets, centre_loss, instance_targets, offset_loss

VOID, THINGS = 255, torch.tensor([2, 3])


def redrawn(
    numbers: np.ndarray, mask: np.ndarray, sigma: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Draw the targets of one image, an object and a pixel at a time."""
    height, width = mask.shape
    centres, offsets = np.zeros((height, width)), np.zeros((2, height, width))
    areas, scored = np.zeros((height, width), int), mask != VOID
    scored &= ~(np.isin(mask, THINGS) & (numbers == 0))
    for number in np.unique(numbers[np.isin(mask, THINGS) & (numbers > 0)]):
        rows, columns = np.nonzero((numbers == number) & np.isin(mask, THINGS))
        row, column = round(rows.mean()), round(columns.mean())
        reach = int(3 * sigma) + 1
        for i in range(height):
            for j in range(width):
                if abs(i - row) <= reach and abs(j - column) <= reach:
                    value = math.exp(-((i - row) ** 2 + (j - column) ** 2) / (2 * sigma**2))
                    centres[i, j] = max(centres[i, j], value)
        offsets[:, rows, columns] = row - rows, column - columns
        areas[rows, columns] = len(rows)
    return centres, offsets, areas, scored


def test_targets_equal_those_drawn_by_a_loop() -> None:
    drawn = np.random.default_rng(0)
    numbers, mask = np.zeros((3, 23, 31), np.int32), drawn.choice([0, 1], (3, 23, 31)).astype(np.uint8)
    for image in range(2):  # the third has no object
        for number in (7, 3, 70_000):
            top, left = drawn.integers(0, 15, 2)
            box = np.s_[image, top : top + drawn.integers(3, 9), left : left + drawn.integers(3, 12)]
            numbers[box], mask[box] = number, 2 + number % 2
    mask[0, :4], mask[1, -3:] = VOID, VOID  # an object's number under void counts for nothing
    mask[1, :3, :5], numbers[1, :3, :5] = 3, 0  # a crowd
    numbers[0, 10:12, :3] = 9  # a number on stuff is no object
    mask[0, 10:12, :3] = 1
    found = instance_targets(torch.from_numpy(numbers), torch.from_numpy(mask), THINGS, VOID, 2.0)
    for image in range(3):
        centres, offsets, areas, scored = redrawn(numbers[image], mask[image], 2.0)
        np.testing.assert_allclose(found.centres[image], centres, atol=1e-6)
        np.testing.assert_array_equal(found.offsets[image], offsets)
        np.testing.assert_array_equal(found.areas[image], areas)
        np.testing.assert_array_equal(found.scored[image], scored)
    assert found.centres[:2].amax() == 1
    assert found.centres[2].amax() == 0


def test_a_gaussian_ends_and_neighbours_merge_by_the_maximum() -> None:
    numbers = torch.zeros(1, 1, 80, dtype=torch.int32)
    numbers[0, 0, 10], numbers[0, 0, 14] = 1, 2
    centres = instance_targets(numbers, (numbers > 0) * 2, THINGS, VOID, 8.0).centres[0, 0]
    assert centres[10] == centres[14] == 1
    assert centres[12] == pytest.approx(math.exp(-4 / 128))
    assert centres[39] == pytest.approx(math.exp(-(25**2) / 128))  # 3 sigma + 1 from the second
    assert centres[40] == 0


def test_losses_by_hand() -> None:
    targets = InstanceTargets(
        centres=torch.tensor([[[1.0, 0.5, 0.0, 0.0]]]),
        offsets=torch.tensor([[[[0.0, 0.0, 0.0, 0.0]], [[0.0, -1.0, 0.0, 0.0]]]]),
        areas=torch.tensor([[[2, 2, 0, 0]]]),
        scored=torch.tensor([[[True, True, True, False]]]),
    )
    centres = torch.tensor([[[0.0, 0.5, 2.0, 9.0]]])
    assert centre_loss(centres, targets).item() == pytest.approx((1 + 0 + 4) / 3)
    offsets = torch.tensor([[[[1.0, 0.0, 7.0, 7.0]], [[0.0, 2.0, 7.0, 7.0]]]])
    assert offset_loss(offsets, targets).item() == pytest.approx((1 + 3) / 2)
    nothing = targets._replace(areas=torch.zeros(1, 1, 4, dtype=torch.long), scored=torch.zeros(1, 1, 4).bool())
    assert centre_loss(centres, nothing) == offset_loss(offsets, nothing) == 0


def test_small_objects_are_among_the_hardest() -> None:
    logits, mask = torch.zeros(1, 2, 1, 4), torch.tensor([[[0, 0, 0, 1]]])
    logits[0, 0, 0, 0] = -3.0  # the hardest by itself
    weights = torch.tensor([[[1.0, 1.0, 1.0, 9.0]]])
    hardest = HardPixels(share=0.25)
    assert hardest(logits, mask, LossContext(VOID)).item() == pytest.approx(math.log(1 + math.exp(3)))
    assert hardest(logits, mask, LossContext(VOID, pixel_weights=weights)).item() == pytest.approx(9 * math.log(2))
