"""Files that lie beside those of the splits, and that no split uses: forgotten pairs, and halves without the other."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

from ..data.finding import IMAGE_SUFFIXES
from ..data.wording import composed
from .findings import Finding, Severity, about_files, counted

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
        tails[image.parent, mask.parent].add(_tails(composed(image.stem), composed(mask.stem)))
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
        beside = {other: {composed(path.name): path for path in _files(other)} for other in others}
        for path in images:
            partners = [
                beside[other][f"{stem}{mask_tail}{ending}"]
                for other, (image_tail, mask_tail) in _named(tails, folder)
                for stem in [composed(path.stem).removesuffix(image_tail)]
                if composed(path.stem).endswith(image_tail)
                for ending in sorted(mask_endings[other])
                if f"{stem}{mask_tail}{ending}" in beside[other]
            ]
            claimed.update(partners)
            if path not in known:
                (forgotten if partners else alone).append(path)
        for other in others:
            its_tails = [mask_tail for named, (_, mask_tail) in _named(tails, folder) if named == other]
            for path in sorted(_files(other)):
                if path.suffix in mask_endings[other] and any(composed(path.stem).endswith(tail) for tail in its_tails):
                    masks[path] = None
    orphans = [path for path in masks if path not in known and path not in claimed]
    # Where most images of a folder are unused, that is by design.
    usual: Severity = "note" if len(forgotten) + len(alone) > of_images / 2 else "warning"
    unused: tuple[tuple[list[Path], Severity, str, str, str, str], ...] = (
        (forgotten, usual, "unlisted_pair", "image", " with a mask", "add them to train.txt (or val.txt), or"),
        (alone, usual, "extra_image", "image", " without a mask", "nothing reads them: annotate them, or"),
        (orphans, "warning", "extra_mask", "mask", " without an image", "nothing reads them: add their images, or"),
    )
    return [
        one
        for paths, severity, kind, noun, how, remedy in unused
        for one in about_files(
            paths, severity, kind, f"No split uses {counted(len(paths), noun)}{how}.", f"{remedy} move them away"
        )
    ]


def _named(tails: dict[tuple[Path, Path], set[Tails]], folder: Path) -> list[tuple[Path, Tails]]:
    """Return the mask folders of an image folder, each with every way in which its pairs are named."""
    return [(other, pair) for (own, other), pairs in tails.items() if own == folder for pair in sorted(pairs)]


def _is_mask(path: Path, mask_tails: set[str], endings: set[str]) -> bool:
    """Whether a file in a folder that holds images and masks side by side is named as its masks are."""
    return any(composed(path.stem).endswith(tail) and tail for tail in mask_tails) and path.suffix in endings


def _files(folder: Path) -> list[Path]:
    return [Path(entry.path) for entry in os.scandir(folder) if entry.is_file() and not entry.name.startswith(".")]


def _tails(image: str, mask: str) -> Tails:
    differ = (place for place, (one, other) in enumerate(zip(image, mask, strict=False)) if one != other)
    shared = next(differ, min(len(image), len(mask)))
    return image[shared:], mask[shared:]
