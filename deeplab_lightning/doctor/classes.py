"""What masks hold: classes that do not occur, masks without any, black and white ones, images of one colour."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..data.wording import first_few
from ..labels import LabelSet
from .findings import Finding, about_files, finding
from .images import Look, class_counts

FOREGROUND_SHARE = 0.1
"""A mask of nothing but 0 and 255 with more 255 than this is taken for black and white; VOC's borders are 5%."""


def empty_classes(split: str, looks: Sequence[Look], labels: LabelSet) -> list[Finding]:
    """Return a warning if there are classes without a pixel in a split."""
    pixels, _ = class_counts(looks, labels.num_classes)
    names = [name for name, count in zip(labels.class_names, pixels, strict=True) if count == 0]
    if not names or not pixels.any():
        return []
    what = f"{len(names)} of {labels.num_classes} classes have no pixel in {split}: {first_few(names, 10)}."
    then = {
        "train": "they cannot be learned: add images of them, or merge them with another class",
        "val": "their IoU shows as '-' and enters no mean: move images of them from train to val",
    }
    return [finding("warning", "empty_class", what, then.get(split, then["val"]))]


def strange_masks(split: str, looks: Sequence[Look], labels: LabelSet, sample_files: Sequence[str]) -> list[Finding]:
    """Return masks without a class, masks that are black and white, and images of a single colour.

    Args:
        split: Its name.
        looks: What was seen of it.
        labels: What values mean.
        sample_files: What to call each look's mask.
    """
    void, black_white, blank = [], [], []
    readable = [(look, name) for look, name in zip(looks, sample_files, strict=True) if look.error is None]
    for look, name in readable:
        if not look.counts[: labels.num_classes].any():
            void.append(name)
        if (
            labels.ignore_index == 255
            and np.flatnonzero(look.counts).tolist() == [0, 255]
            and look.counts[255] > FOREGROUND_SHARE * look.counts.sum()
        ):
            black_white.append(name)
        if np.all(look.channel_squares * (look.size[0] * look.size[1]) == look.channel_sums**2):
            blank.append(look.sample_id)
    return [
        *about_files(
            void,
            "warning",
            "all_void",
            f"{len(void)} of {len(looks)} {split} masks hold no class, only {labels.ignore_index} (ignored).",
            "take these images out of the list: they teach and score nothing",
        ),
        *about_files(
            black_white,
            "error" if len(black_white) == len(readable) else "warning",
            "black_white",
            f"{len(black_white)} of {len(looks)} {split} masks hold nothing but 0 and 255: black and white, it seems. "
            f"255 is ignored, so that only {labels.class_names[0]!r} would be learned from them.",
            "data: {name: Folder, label_map: {0: 0, 255: 1}}, or write 1 in place of 255",
        ),
        *about_files(
            blank,
            "warning",
            "blank_image",
            f"{len(blank)} of {len(looks)} {split} images are of one single colour.",
            "look at them, and take them out of the list",
        ),
    ]
