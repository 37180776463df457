"""What must hold between an image, its mask and the label set, between the names in a split, and of what is chosen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from ..errors import ConfigError, DataError, did_you_mean
from .wording import first_few


def check_pair(image: np.ndarray, mask: np.ndarray, image_path: str | Path, mask_path: str | Path) -> None:
    """Refuse a mask `(H, W)` of another size than its image; the paths are for the message."""
    if image.shape[:2] == mask.shape:
        return
    (image_height, image_width), (height, width) = image.shape[:2], mask.shape
    turned = (
        " One is turned against the other: look at their EXIF orientation." if image.shape[1::-1] == mask.shape else ""
    )
    raise DataError(
        f"A mask must have the size of its image: {image_path} is {image_width}x{image_height}, "
        f"{mask_path} is {width}x{height} (width x height).{turned} Check that they belong together, and resize with "
        f"nearest neighbour if one of them was scaled.",
        kind="size",
    )


def check_labels(
    mask: np.ndarray, num_classes: int, ignore_index: int, path: str | Path, remedy: str | None = None
) -> None:
    """Refuse a mask with values that are neither a class nor ignored; on a GPU they would end in an assert.

    A black and white {0, 255} mask is legal where 255 is the ignore index, and then trains on background alone: this
    check cannot tell it from a VOC mask without objects. Where 255 is not ignored, the message names the fix.

    Args:
        mask: `(H, W)` uint8.
        num_classes: Ids 0..`num_classes`-1 are legal.
        ignore_index: One further legal value.
        path: Where `mask` comes from, for the message.
        remedy: What to do about it where more is known than the values tell.
    """
    illegal = np.ones(256, np.uint8)
    illegal[:num_classes] = 0
    if 0 <= ignore_index < 256:
        illegal[ignore_index] = 0
    if not cv2.LUT(mask, illegal).any():  # 0.05 ms on 513x513; a count would take six times as long
        return
    counts = np.bincount(mask.ravel(), minlength=256)
    wrong = np.flatnonzero(illegal & (counts > 0)).tolist()
    named = first_few((f"{value} ({counts[value]} pixels)" for value in wrong), 10)
    if remedy is None:
        remedy = _guessed_remedy(set(np.flatnonzero(counts).tolist()), wrong, ignore_index)
    raise DataError(
        f"Mask {path} holds labels out of range: {named}. Allowed are the classes 0..{num_classes - 1} and "
        f"{ignore_index} (ignored). {remedy}",
        kind="black_white" if not counts[1:255].any() else "labels",
    )


def _guessed_remedy(values: set[int], wrong: list[int], ignore_index: int) -> str:
    if values <= {0, 255}:
        return "The mask is black and white: its 255 means foreground, not void. Write 1 in place of 255."
    if wrong == [255]:
        return "If 255 marks void, set ignore_index to 255."
    return f"If these are classes, name all {wrong[-1] + 1} in class_names; if not, write {ignore_index}."


def check_unique(sample_ids: Sequence[str], what: str, list_file: str | Path) -> None:
    """Refuse names of `what` (data set and split) that stand in `list_file` twice."""
    repeated = [name for name, count in Counter(sample_ids).items() if count > 1]
    if repeated:
        raise DataError(
            f"{what}: {len(repeated)} names are listed more than once, such as {repeated[0]}. "
            f"Results are kept by name: remove the repetitions from {list_file}."
        )


def check_choice(value: str, choices: Sequence[str], what: str) -> None:
    """Refuse a value that is none of `choices`, naming the nearest; `what` is such as "CamVid has no split"."""
    if value not in choices:
        listed = f"{', '.join(choices[:-1])} or {choices[-1]}"
        raise ConfigError(f"{what} {value!r}: choose {listed}.{did_you_mean(value, choices)}")
