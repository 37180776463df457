"""Numbers of objects from files: grey of 8, 16 or 32 bits, the indices of a palette, or colours."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...errors import DataError
from ...labels import LabelSet
from .images import read_mask_as_stored

NUMBER_SUFFIXES = (".png", ".tif", ".tiff", ".bmp", ".gif")
LARGEST = 2**31 - 1
"""Numbers have 31 bits."""


def read_numbers(path: Path) -> np.ndarray:
    """Read the number of the object at each pixel.

    Colours are numbers too, one for each colour: red + 256 green + 65536 blue, as COCO's panoptic files have it.

    Returns:
        `(H, W)` int32, 0 and more.

    Raises:
        DataError: The file is unreadable or lossy, or holds a number below 0 or of more than 31 bits.
    """
    stored = read_mask_as_stored(path)
    if stored.ndim == 3:
        return stored.astype(np.int32) @ np.array([1, 1 << 8, 1 << 16], np.int32)
    smallest, largest = int(stored.min()), int(stored.max())
    if smallest < 0 or largest > LARGEST:
        raise DataError(
            f"{path} holds numbers from {smallest} to {largest}; numbers of objects are 1 to {LARGEST}, and 0 where "
            f"there is none.",
            kind="labels",
        )
    return stored.astype(np.int32)


def numbers_of_things(numbers: np.ndarray, mask: np.ndarray, labels: LabelSet, where: str | Path) -> np.ndarray:
    """Return the objects' numbers where a mask shows a thing, and 0 elsewhere, each number of one class alone.

    Many files count the objects of each class from 1. So the class is part of the number: its place among the things
    stands in the highest bits, as few as suffice. With one kind of thing, and for the first, numbers are the file's.

    Args:
        numbers: `(H, W)` int32, 0 and more, as stored.
        mask: `(H, W)` uint8 train ids.
        labels: Tells the things.
        where: The file, for the message.

    Raises:
        DataError: A thing's number takes the bits of the class.
    """
    things = labels.thing_ids
    bits = LARGEST.bit_length() - max(len(things) - 1, 0).bit_length()
    places = np.full(256, -1, np.int32)
    places[list(things)] = np.arange(len(things), dtype=np.int32)
    of_mask = places[mask]
    found = np.where(of_mask >= 0, numbers, 0)
    if found.max(initial=0) >= 1 << bits:
        raise DataError(
            f"{where} numbers an object {found.max()}; beside {len(things)} kinds of things numbers below {1 << bits} "
            f"have room. Count the objects from 1.",
            kind="labels",
        )
    return np.where(found > 0, found | (np.maximum(of_mask, 0) << bits), 0).astype(np.int32)
