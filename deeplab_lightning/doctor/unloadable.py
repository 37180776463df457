"""Why images cannot be loaded: sorted by what has to be done about it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..data.dataset import SegmentationDataset
from ..errors import DataError
from .findings import Finding, finding
from .images import Look, files_of

OF_IMAGES = ("unreadable_image", "unfit_image")
"""Kinds of error that are about the image; all others name its mask, or its annotation."""

BLACK_WHITE_REMEDY = "data: {name: Folder, label_map: {0: 0, 255: 1}}, or write 1 in place of 255"

KINDS = {
    "unreadable_image": (
        "images cannot be read",
        "copy or download these files again, or take them out of the split's list",
    ),
    "unreadable_mask": ("masks cannot be read", "make these masks anew, or take their images out of the split's list"),
    "lossy_mask": (
        "masks are compressed with loss",
        "export the masks anew as PNG from the annotations: a JPEG changes ids near every edge, for good",
    ),
    "colour_mask": (
        "masks hold colours, not ids",
        "data: {name: Folder, palette: [[r, g, b], ...]}, one colour for each class, or write one id per pixel into "
        "the masks",
    ),
    "size": (
        "masks have another size than their images",
        "resize neither by hand: find the pair that belongs together, and scale masks by nearest neighbour only",
    ),
    "black_white": ("masks are black and white, and their 255 is no class", BLACK_WHITE_REMEDY),
    "labels": (
        "masks hold labels out of range",
        "data: {name: Folder, label_map: {VALUE: ID, ...}}, or name the missing classes in class_names",
    ),
}
"""Kind -> what is true of the images, and the remedy."""


def unloadable(dataset: SegmentationDataset, split: str, looks: Sequence[Look]) -> list[Finding]:
    """Return one error for each kind of trouble among the images that could not be loaded."""
    found: dict[str, list[tuple[Path | str, DataError]]] = {}
    for look in looks:
        if look.error is not None:
            files = files_of(dataset, look.index) or (look.sample_id,)
            kind: str = look.error.kind if look.error.kind in KINDS else "unloadable"
            found.setdefault(kind, []).append((files[0 if look.error.kind in OF_IMAGES else -1], look.error))
    findings = []
    for kind, cases in found.items():
        meaning, remedy = KINDS.get(kind, ("images cannot be loaded", "see the message"))
        what = f"{len(cases)} of {len(looks)} {split} {meaning}. {cases[0][1]}"
        findings.append(finding("error", kind, what, remedy, [path for path, _ in cases]))
    return findings
