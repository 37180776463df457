"""Images that their EXIF orientation turns, while their masks have none: which way up these were drawn is not said."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..data.dataset import SegmentationDataset
from ..data.files.limits import opened_image
from ..data.pairing.finding import IMAGE_SUFFIXES
from .findings import Finding, finding
from .images import Look, files_of

ORIENTATION = 0x0112
"""The EXIF tag."""
UPRIGHT = 1
QUARTER_TURNS = (5, 6, 7, 8)
"""Orientations that exchange height and width, so that sizes tell a mask that was not turned with its image."""


def turned(split: str, dataset: SegmentationDataset, looks: Sequence[Look]) -> list[Finding]:
    """Return a warning if images are turned as they are read, and sizes do not tell whether their masks should be."""
    names = []
    for look in (look for look in looks if look.error is None):
        files = files_of(dataset, look.index)
        if len(files) < 2 or files[-1].suffix.lower() not in IMAGE_SUFFIXES:
            continue
        orientation = orientation_of(files[0])
        told_by_size = orientation in QUARTER_TURNS and look.size[0] != look.size[1]
        if orientation != UPRIGHT and not told_by_size and orientation_of(files[-1]) == UPRIGHT:
            names.append(str(files[0]))
    if not names:
        return []
    what = (
        f"{len(names)} of {len(looks)} {split} images are turned or mirrored by their EXIF orientation as they are "
        f"read, and their masks have none: whether these were drawn on the turned image is not said."
    )
    remedy = "look at them in overview.png; where a mask lies upside down, save image and mask without orientation"
    return [finding("warning", "orientation", what, remedy, names)]


def orientation_of(path: Path) -> int:
    """Return a file's EXIF orientation, 1 to 8; 1 where there is none."""
    try:
        with opened_image(path) as image:
            found = int(image.getexif().get(ORIENTATION, UPRIGHT))
    except Exception:  # no image file, or one that Pillow does not know
        return UPRIGHT
    return found if 1 <= found <= 8 else UPRIGHT
