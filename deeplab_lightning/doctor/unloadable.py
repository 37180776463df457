"""Why images cannot be loaded: sorted by what has to be done about it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from ..data.dataset import SegmentationDataset
from ..data.images import IMAGE_SUFFIXES, read_image, read_mask
from ..errors import DataError
from .findings import Finding, finding
from .images import Look, files_of

LOSSY_FORMATS = ("JPEG", "MPO", "WEBP", "JPEG2000", "AVIF")
WITH_COLOURS = ("RGB", "RGBA", "LA", "CMYK", "YCbCr")

REMEDIES = {
    "unreadable_image": "copy or download these files again, or take them out of the split's list",
    "unreadable_mask": "make these masks anew, or take their images out of the split's list",
    "lossy_mask": "export the masks anew as PNG from the annotations: a JPEG changes ids near every edge, for good",
    "colour_mask": "data: {class_path: FolderDataModule, init_args: {palette: [[r, g, b], ...]}}, one colour for each "
    "class, or write one id per pixel into the masks",
    "size": "resize neither by hand: find the pair that belongs together, and scale masks by nearest neighbour only",
    "black_white": "data: {class_path: FolderDataModule, init_args: {label_map: {0: 0, 255: 1}}}, or write 1 in place "
    "of 255",
    "labels": "data: {class_path: FolderDataModule, init_args: {label_map: {VALUE: ID, ...}}}, or name the missing "
    "classes in class_names",
    "unloadable": "see the message",
}
MEANING = {
    "unreadable_image": "images cannot be read",
    "unreadable_mask": "masks cannot be read",
    "lossy_mask": "masks are compressed with loss",
    "colour_mask": "masks hold colours, not ids",
    "size": "masks have another size than their images",
    "black_white": "masks are black and white, and their 255 is no class",
    "labels": "masks hold labels out of range",
    "unloadable": "images cannot be loaded",
}


def unloadable(dataset: SegmentationDataset, split: str, looks: Sequence[Look]) -> list[Finding]:
    """Return one error for each kind of trouble among the images that could not be loaded."""
    found: dict[str, list[tuple[Path | str, DataError]]] = {}
    for look in looks:
        if look.error is not None:
            kind, path = _kind(files_of(dataset, look.index), look.sample_id, str(look.error))
            found.setdefault(kind, []).append((path, look.error))
    return [
        finding(
            "error",
            kind,
            f"{len(cases)} of {len(looks)} {split} {MEANING[kind]}. {cases[0][1]}",
            REMEDIES[kind],
            [path for path, _ in cases],
        )
        for kind, cases in found.items()
    ]


def unreadable_files(paths: Sequence[Path]) -> list[Path]:
    """Return which of these images and masks cannot be decoded, whatever split they are for."""
    bad = []
    for path in paths:
        if path.suffix.lower() in IMAGE_SUFFIXES:
            try:
                read_image(path)
            except DataError:
                bad.append(path)
    return bad


def _kind(files: Sequence[Path], sample_id: str, message: str) -> tuple[str, Path | str]:
    """Return what is wrong with an image and its mask, and which file to name for it."""
    if not files:
        return "unloadable", sample_id
    image_path, mask_path = files[0], files[-1]
    try:
        image = read_image(image_path)
    except DataError:  # of an image of another kind, such as five channels, that is not what the message is about
        return ("unreadable_image" if str(image_path) in message else "unloadable"), image_path
    if mask_path.suffix.lower() not in IMAGE_SUFFIXES or len(files) == 1:
        return "unloadable", mask_path
    try:
        mask = read_mask(mask_path)
    except DataError:
        return _kind_of_unreadable(mask_path), mask_path
    if mask.shape != image.shape[:2]:
        return "size", mask_path
    return ("black_white" if set(np.unique(mask).tolist()) <= {0, 255} else "labels"), mask_path


def _kind_of_unreadable(mask_path: Path) -> str:
    try:
        with Image.open(mask_path) as image:
            image.load()
            if image.format in LOSSY_FORMATS:
                return "lossy_mask"
            return "colour_mask" if image.mode in WITH_COLOURS else "unreadable_mask"
    except Exception:  # Pillow's decoders raise half a dozen kinds
        return "unreadable_mask"
