"""Maps of segments drawn for tests: stuff, rectangles as things, crowds, void, and predictions much like them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

NAMES = ("road", "sky", "car", "person", "bus")
THINGS = (2, 3, 4)
VOID = 255

Pair = tuple[torch.Tensor, torch.Tensor]


def drawn(rng: np.random.Generator, size: tuple[int, int], crowds: bool, next_number: int = 1) -> Pair:
    """Return a map of `size` with a few objects, numbered from `next_number` on."""
    height, width = size
    classes, numbers = np.zeros(size, np.uint8), np.zeros(size, np.int32)
    classes[: rng.integers(0, height)] = 1
    for number in range(next_number, next_number + int(rng.integers(0, 9))):
        window = _window(rng, height, width)
        classes[window], numbers[window] = rng.choice(THINGS), number
        if crowds and rng.random() < 0.2:
            numbers[window] = 0
    if rng.random() < 0.7:
        window = _window(rng, height, width)
        classes[window], numbers[window] = VOID, 0
    return torch.from_numpy(classes), torch.from_numpy(numbers)


def perturbed(rng: np.random.Generator, pair: Pair) -> Pair:
    """Return a prediction that is much like a truth: moved, with some windows of others, renumbered."""
    shift = tuple(int(by) for by in rng.integers(-2, 3, 2))
    classes, numbers = (entry.roll(shift, (0, 1)).clone() for entry in pair)
    other_classes, other_numbers = drawn(rng, tuple(classes.shape), crowds=False, next_number=100)
    for _ in range(int(rng.integers(0, 4))):
        window = _window(rng, *classes.shape)
        classes[window], numbers[window] = other_classes[window], other_numbers[window]
    is_thing = torch.isin(classes, torch.tensor(THINGS))
    classes[is_thing & (numbers == 0)] = VOID  # crowds are not predicted
    return classes, torch.where(numbers > 0, 7 * numbers + 3, 0).to(torch.int32)


def pairs(count: int, seed: int = 0, crowds: bool = True) -> Iterator[tuple[Pair, Pair]]:
    """Yield predictions and truths, small ones."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        truth = drawn(rng, (int(rng.integers(8, 40)), int(rng.integers(8, 40))), crowds)
        yield perturbed(rng, truth), truth


def _window(rng: np.random.Generator, height: int, width: int) -> tuple[slice, slice]:
    top, left = int(rng.integers(0, height)), int(rng.integers(0, width))
    return slice(top, top + int(rng.integers(1, 1 + height // 2))), slice(
        left, left + int(rng.integers(1, 1 + width // 2))
    )


# --- real ones --------------------------------------------------------------------------------------------------------

CITYSCAPES = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
"""Ids of the 19 classes, by train id."""
CITYSCAPES_NAMES = (
    *("road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation"),
    *("terrain", "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle"),
)
CITYSCAPES_THINGS = tuple(range(11, 19))


def cityscapes_files() -> list[Path]:
    """Return the files of `gtFine` with instance ids; skips the test where there is no shared data."""
    files = sorted(Path(os.environ.get("DEEPLAB_SHARED_DATA", "-"), "cityscapes8", "gtFine").rglob("*_instanceIds.png"))
    if not files:
        pytest.skip("needs the folder DEEPLAB_SHARED_DATA with cityscapes8")
    return files


def cityscapes_pair(path: Path) -> Pair:
    """Read ids, `class` or `1000 class + object`, as classes and numbers."""
    ids = np.asarray(Image.open(path)).astype(np.int64)
    table = np.full(256, VOID, np.uint8)
    table[list(CITYSCAPES)] = np.arange(19)
    classes = table[np.where(ids < 1000, ids, ids // 1000)]
    numbers = np.where(ids < 1000, 0, ids % 1000 + 1).astype(np.int32)
    return torch.from_numpy(classes), torch.from_numpy(numbers)


def moved(pair: Pair, number: int) -> Pair:
    """Return a prediction of a real truth: moved by some pixels, every third object cut in two, every fifth gone."""
    classes, numbers = (entry.roll((1, 2 + number % 2), (0, 1)).clone() for entry in pair)
    for place, found in enumerate(numbers.unique().tolist()):
        inside = numbers == found
        if found and place % 3 == 0:
            middle = int(inside.nonzero()[:, 1].float().mean())
            inside[:, :middle] = False
            numbers[inside] = found + 1000
        elif found and place % 5 == 0:
            classes[inside], numbers[inside] = 0, 0
    classes[torch.isin(classes, torch.tensor(CITYSCAPES_THINGS)) & (numbers == 0)] = VOID
    return classes, numbers
