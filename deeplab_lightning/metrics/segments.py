"""Which segments of a prediction and of a truth meet, and on how many pixels: what all scores of objects start from.

A map of segments is a pair: `classes (H, W)`, train ids with `ignore_index` for void, and `numbers (H, W)`, the
object's number within the image, or within the film. A segment is one pair of class and number; the numbers of stuff
and of void mean nothing. Pixels of a thing class with number 0 are, in a truth, a crowd: objects that were not told
apart. In a prediction they are a segment like any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any, NamedTuple

import numpy as np
import torch

from ..errors import ConfigError, DataError

VOID = -1
"""Stands for the class of what is none."""
HIGHEST = 1 << 31
"""Numbers are below."""
_BITS = 32


class Overlaps(NamedTuple):
    """The segments of two maps of one image, and the pixels that they share. Void is a segment of class `VOID`."""

    truth_classes: np.ndarray
    """`(t,)` int64 train ids of the truth's segments."""
    truth_numbers: np.ndarray
    """`(t,)` int64, 0 for stuff, void and crowd."""
    pred_classes: np.ndarray
    """`(p,)` int64 train ids of the prediction's segments."""
    pred_numbers: np.ndarray
    """`(p,)` int64, 0 for stuff and void."""
    pixels: np.ndarray
    """`(t, p)` int64: how many pixels are of both. No row and no column is empty."""

    @property
    def void_pixels(self) -> np.ndarray:
        """`(p,)` int64: pixels of each predicted segment on which the truth is void."""
        return self.pixels[self.truth_classes == VOID].sum(axis=0)

    def crowd(self, things: Sequence[int]) -> np.ndarray:
        """Return which segments of the truth are crowds of these thing classes, `(t,)` bool."""
        return np.isin(self.truth_classes, things) & (self.truth_numbers == 0)


def overlaps(pred: Any, truth: Any, num_classes: int, things: Sequence[int], ignore_index: int) -> Overlaps:
    """Count the pixels that segments share.

    Maps are piecewise constant: pixels are looked at only to find where a map changes along its rows, on the maps' own
    device, and what is counted are the stretches in between, which are some hundred times fewer.

    Args:
        pred: Pair of `(H, W)` integer tensors or arrays, classes and numbers from 0 to 2^31 - 1, on one device.
        truth: Likewise.
        num_classes: Train ids are below.
        things: Train ids of the classes whose numbers mean something.
        ignore_index: Train id of void, in both.

    Raises:
        DataError: Maps are of different sizes or no integers, or hold what is no class or no number.
    """
    maps = [torch.as_tensor(entry) for entry in (*truth, *pred)]
    if len({entry.shape for entry in maps}) != 1 or any(entry.is_floating_point() for entry in maps):
        found = ", ".join(f"{tuple(entry.shape)} of {str(entry.dtype).removeprefix('torch.')}" for entry in maps)
        raise DataError(
            f"Classes and numbers of the truth, then of the prediction, are {found}: expected integers of one shape."
        )
    flat = [entry.flatten() for entry in maps]
    changes = reduce(torch.logical_or, (entry[1:] != entry[:-1] for entry in flat))
    starts = torch.nn.functional.pad(changes.nonzero()[:, 0] + 1, (1, 0))
    stretches = torch.stack([entry[starts].long() for entry in flat] + [starts]).cpu().numpy()
    lengths = np.diff(stretches[4], append=flat[0].numel())
    (truth_classes, truth_numbers), rows = _segments(stretches[:2], num_classes, things, ignore_index, "truth")
    (pred_classes, pred_numbers), columns = _segments(stretches[2:4], num_classes, things, ignore_index, "prediction")
    shape = len(truth_classes), len(pred_classes)
    pixels = np.bincount(rows * shape[1] + columns, lengths, shape[0] * shape[1])  # float64 holds them exactly
    return Overlaps(*(truth_classes, truth_numbers, pred_classes, pred_numbers), pixels.astype(np.int64).reshape(shape))


def checked_things(things: Sequence[int], class_names: Sequence[str]) -> tuple[int, ...]:
    """Return the train ids of things, growing.

    Raises:
        ConfigError: One is no class.
    """
    wrong = sorted(set(things) - set(range(len(class_names))))
    if wrong:
        raise ConfigError(
            f"Things are train ids of classes, 0 to {len(class_names) - 1}; {', '.join(map(str, wrong))} is none."
        )
    return tuple(sorted(set(map(int, things))))


def _segments(
    stretches: np.ndarray, num_classes: int, things: Sequence[int], ignore_index: int, which: str
) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
    """Return class and number of each segment, and which segment each of the stretches, classes and numbers, is of."""
    classes, numbers = stretches
    void = classes == ignore_index
    wrong = ~void & ((classes < 0) | (classes >= num_classes))
    if wrong.any():
        raise DataError(
            f"The {which} has a pixel of class {classes[wrong][0]}: expected 0 to {num_classes - 1}, or {ignore_index} "
            "where nothing counts."
        )
    numbers = np.where(np.isin(classes, things) & ~void, numbers, 0)
    wrong = (numbers < 0) | (numbers >= HIGHEST)
    if wrong.any():
        raise DataError(f"The {which} has an object of number {numbers[wrong][0]}: expected 0 to {HIGHEST - 1}.")
    keys, places = np.unique((np.where(void, VOID, classes) << _BITS) + numbers, return_inverse=True)
    return (keys >> _BITS, keys & ((1 << _BITS) - 1)), places
