"""Files that lie beside those of the splits, and that no split uses: forgotten pairs, and halves without the other."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

from ..data.finding import IMAGE_SUFFIXES
from .findings import Finding, Severity, counted, finding

Tails = tuple[str, str]
"""How the names of an image and of its mask go on after what they share, such as `("_leftImg8bit", "_gtFine")`."""


def leftovers(used: Sequence[tuple[Path, ...]]) -> list[Finding]:
    """Compare the folders of a data set with the files its splits use.

    How images and masks are named is taken from the pairs in use, so that other files (`..._color.png` of Cityscapes)
    are left alone. Where most images of a folder are unused (VOC annotates a sixth of them), that is a note.

    Args:
        used: The files of every image of all splits: the image's, then its mask's.
    """
    pairs = [(files[0], files[-1]) for files in used if len(files) > 1]
    known = {path for files in used for path in files}
    mask_folders: dict[Path, Counter[Path]] = defaultdict(Counter)
    tails: dict[tuple[Path, Path], set[Tails]] = defaultdict(set)
    mask_endings: dict[Path, set[str]] = defaultdict(set)
    for image, mask in pairs:
        mask_folders[image.parent][mask.parent] += 1
        tails[image.parent, mask.parent].add(_tails(image.stem, mask.stem))
        mask_endings[mask.parent].add(mask.suffix)

    forgotten: list[Path] = []
    alone: list[Path] = []
    masks: dict[Path, None] = {}
    of_images = 0
    claimed: set[Path] = set()
    for folder, others in mask_folders.items():
        files = sorted(path for path in _files(folder) if path.suffix.lower() in IMAGE_SUFFIXES)
        own_masks = {tail for other, (_, tail) in _named(tails, folder) if other == folder}
        images = [path for path in files if not _is_mask(path, own_masks, mask_endings.get(folder, set()))]
        of_images += len(images)
        beside = {other: {path.name for path in _files(other)} for other in others}
        for path in images:
            partners = [
                other / f"{stem}{mask_tail}{ending}"
                for other, (image_tail, mask_tail) in _named(tails, folder)
                for stem in [path.stem.removesuffix(image_tail)]
                if path.stem.endswith(image_tail)
                for ending in sorted(mask_endings[other])
                if f"{stem}{mask_tail}{ending}" in beside[other]
            ]
            claimed.update(partners)
            if path not in known:
                (forgotten if partners else alone).append(path)
        for other in others:
            its_tails = [mask_tail for named, (_, mask_tail) in _named(tails, folder) if named == other]
            for path in sorted(_files(other)):
                if path.suffix in mask_endings[other] and any(path.stem.endswith(tail) for tail in its_tails):
                    masks[path] = None
    orphans = [path for path in masks if path not in known and path not in claimed]
    by_design = len(forgotten) + len(alone) > of_images / 2
    return [
        *_forgotten(forgotten, by_design),
        *_halves(alone, "extra_image", f"{counted(len(alone), 'image')} without a mask", by_design),
        *_halves(orphans, "extra_mask", f"{counted(len(orphans), 'mask')} without an image", False),
    ]


def _forgotten(paths: list[Path], by_design: bool) -> list[Finding]:
    if not paths:
        return []
    severity: Severity = "note" if by_design else "warning"
    what = f"No split uses {counted(len(paths), 'image')} with a mask."
    return [finding(severity, "unlisted_pair", what, "add them to train.txt (or val.txt), or move them away", paths)]


def _halves(paths: list[Path], kind: str, what: str, by_design: bool) -> list[Finding]:
    if not paths:
        return []
    severity: Severity = "note" if by_design else "warning"
    remedy = "nothing reads them: annotate them, or move them away" if kind == "extra_image" else (
        "nothing reads them: add their images, or move them away"
    )  # fmt: skip
    return [finding(severity, kind, f"No split uses {what}.", remedy, paths)]


def _named(tails: dict[tuple[Path, Path], set[Tails]], folder: Path) -> list[tuple[Path, Tails]]:
    """Return the mask folders of an image folder, each with every way in which its pairs are named."""
    return [(other, pair) for (own, other), pairs in tails.items() if own == folder for pair in sorted(pairs)]


def _is_mask(path: Path, mask_tails: set[str], endings: set[str]) -> bool:
    """Whether a file in a folder that holds images and masks side by side is named as its masks are."""
    return any(path.stem.endswith(tail) and tail for tail in mask_tails) and path.suffix in endings


def _files(folder: Path) -> list[Path]:
    return [Path(entry.path) for entry in os.scandir(folder) if entry.is_file() and not entry.name.startswith(".")]


def _tails(image: str, mask: str) -> Tails:
    differ = (place for place, (one, other) in enumerate(zip(image, mask, strict=False)) if one != other)
    shared = next(differ, min(len(image), len(mask)))
    return image[shared:], mask[shared:]
