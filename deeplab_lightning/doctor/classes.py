"""What masks hold: classes that do not occur, masks without any, black and white ones, images of one colour."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..data.wording import first_few
from ..labels import LabelSet
from .findings import Finding, Severity, finding
from .images import Look, class_counts
from .unloadable import BLACK_WHITE_REMEDY

FOREGROUND_SHARE = 0.1
"""A mask of nothing but 0 and 255 with more 255 than this is taken for black and white; VOC's borders are 5%."""


def empty_classes(split: str, looks: Sequence[Look], labels: LabelSet) -> list[Finding]:
    """Return a warning if there are classes without a pixel in a split."""
    pixels, _ = class_counts(looks, labels.num_classes)
    names = [name for name, count in zip(labels.class_names, pixels, strict=True) if count == 0]
    if not names or not pixels.any():
        return []
    ignored = sum(int(look.counts[labels.ignore_index]) for look in looks)
    if len(names) == labels.num_classes - 1 and ignored:
        only = next(name for name in labels.class_names if name not in names)
        share = ignored / (ignored + int(pixels.sum()))
        what = (
            f"Of all classes {only!r} alone has pixels in {split}, and {share:.1%} are ignored "
            f"({labels.ignore_index}): any network would seem perfect."
        )
        remedy = "say which class the ignored value or colour is, or why objects are void (crowds, __ignore__)"
        return [finding("error", "empty_class", what, remedy)]
    what = f"{len(names)} of {labels.num_classes} classes have no pixel in {split}: {first_few(names, 10)}."
    remedy = "their IoU shows as '-' and enters no mean: move images of them from train to val"
    if split == "train":
        remedy = "they cannot be learned: add images of them, or merge them with another class"
    return [finding("warning", "empty_class", what, remedy)]


def strange_masks(split: str, looks: Sequence[Look], labels: LabelSet, sample_files: Sequence[str]) -> list[Finding]:
    """Return masks without a class, masks that are black and white, and images of a single colour.

    `sample_files` are what to call each look's mask.
    """
    readable = [(look, name) for look, name in zip(looks, sample_files, strict=True) if look.error is None]
    void = [name for look, name in readable if not look.counts[: labels.num_classes].any()]
    black_white = [name for look, name in readable if labels.ignore_index == 255 and _is_black_and_white(look)]
    blank = [look.sample_id for look, _ in readable if _is_of_one_colour(look)]
    found = []
    if void:
        what = f"{len(void)} of {len(looks)} {split} masks hold no class, only {labels.ignore_index} (ignored)."
        remedy = "take these images out of the list: they teach and score nothing"
        severity: Severity = "warning"
        if len(void) == len(readable):
            severity, remedy = "error", "say which values or colours are classes: nothing can be learned or scored"
        found.append(finding(severity, "all_void", what, remedy, void))
    if black_white:
        severity = "error" if len(black_white) == len(readable) else "warning"
        what = (
            f"{len(black_white)} of {len(looks)} {split} masks hold nothing but 0 and 255: black and white, it "
            f"seems. 255 is ignored, so that only {labels.class_names[0]!r} would be learned from them."
        )
        found.append(finding(severity, "black_white", what, BLACK_WHITE_REMEDY, black_white))
    if blank:
        what = f"{len(blank)} of {len(looks)} {split} images are of one single colour."
        found.append(finding("warning", "blank_image", what, "look at them, and take them out of the list", blank))
    return found


def _is_black_and_white(look: Look) -> bool:
    values = np.flatnonzero(look.counts)
    return values.tolist() == [0, 255] and look.counts[255] > FOREGROUND_SHARE * look.counts.sum()


def _is_of_one_colour(look: Look) -> bool:
    pixels = look.size[0] * look.size[1]
    return bool(np.all(look.channel_squares * pixels - look.channel_sums**2 == 0))
