"""Files that lie beside those of the splits, and that no split uses: forgotten pairs, and halves without the other."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from difflib import SequenceMatcher
from pathlib import Path

from ..data.pairing.finding import IMAGE_SUFFIXES
from ..data.wording import composed
from .findings import Finding, Severity, counted, finding

Around = tuple[str, str]
"""What a name has before and behind what an image and its mask share: `("", "_leftImg8bit")`."""
RARE = 0.1
"""Share of a folder's pairs below which what stands around their names is an accident."""


def leftovers(used: Sequence[tuple[Path, ...]]) -> list[Finding]:
    """Compare the folders of a data set with the files its splits use.

    How images and masks are named is taken from the pairs in use, so that other files (`..._color.png` of Cityscapes)
    are left alone. Where most images of a folder are unused (VOC annotates a sixth of them), that is a note.

    Args:
        used: The files of every image of all splits: the image's, then its mask's.
    """
    known = {path for files in used for path in files}
    mask_folders: dict[Path, Counter[Path]] = defaultdict(Counter)
    around: dict[tuple[Path, Path], Counter[tuple[Around, Around]]] = defaultdict(Counter)
    mask_endings: dict[Path, set[str]] = defaultdict(set)
    for image, mask in [(files[0], files[-1]) for files in used if len(files) > 1]:
        mask_folders[image.parent][mask.parent] += 1
        around[image.parent, mask.parent][_around(composed(image.stem), composed(mask.stem))] += 1
        mask_endings[mask.parent].add(mask.suffix)

    forgotten: list[Path] = []
    alone: list[Path] = []
    masks: dict[Path, None] = {}
    of_images = 0
    claimed: set[Path] = set()
    for folder, others in mask_folders.items():
        files = sorted(path for path in _files(folder) if path.suffix.lower() in IMAGE_SUFFIXES)
        named = [
            (other, *both)
            for (own, other), votes in around.items()
            if own == folder
            for both, count in sorted(votes.items())
            if count >= RARE * votes.total()
        ]
        # Where images and masks lie side by side, those named as masks are none.
        own_masks = [mask for other, image, mask in named if other == folder and mask != image]
        endings = mask_endings.get(folder, set())
        images = [
            path
            for path in files
            if not (path.suffix in endings and any(_core(path, mask) is not None for mask in own_masks))
        ]
        of_images += len(images)
        beside = {other: {composed(path.name).casefold(): path for path in _files(other)} for other in others}
        for path in images:
            wanted = [
                (other, f"{mask[0]}{core}{mask[1]}{ending}".casefold())
                for other, image, mask in named
                if (core := _core(path, image)) is not None
                for ending in sorted(mask_endings[other])
            ]
            held = [beside[other][name] for other, name in wanted if name in beside[other]]
            partners = [partner for partner in held if partner != path]
            claimed.update(partners)
            if path not in known and path not in claimed:
                (forgotten if partners else alone).append(path)
        for other in others:
            its_names = [mask for folder_of_masks, _, mask in named if folder_of_masks == other]
            for path in sorted(_files(other)):
                if path.suffix in mask_endings[other] and any(_core(path, mask) is not None for mask in its_names):
                    masks[path] = None
    orphans = [path for path in masks if path not in known and path not in claimed]
    severity: Severity = "note" if len(forgotten) + len(alone) > of_images / 2 else "warning"
    found = []
    if forgotten:
        what = f"No split uses {counted(len(forgotten), 'image')} with a mask."
        remedy = "add them to train.txt (or val.txt), or move them away"
        found.append(finding(severity, "unlisted_pair", what, remedy, forgotten))
    if alone:
        what = f"No split uses {counted(len(alone), 'image')} without a mask."
        remedy = "nothing reads them: annotate them, or move them away"
        found.append(finding(severity, "extra_image", what, remedy, alone))
    if orphans:
        what = f"No split uses {counted(len(orphans), 'mask')} without an image."
        remedy = "nothing reads them: add their images, or move them away"
        found.append(finding("warning", "extra_mask", what, remedy, orphans))
    return found


def _files(folder: Path) -> list[Path]:
    return [Path(entry.path) for entry in os.scandir(folder) if entry.is_file() and not entry.name.startswith(".")]


def _around(image: str, mask: str) -> tuple[Around, Around]:
    """Return what stands around the longest piece that two names share, in letters of any case."""
    one, other = image.casefold(), mask.casefold()
    shared = SequenceMatcher(None, one, other, autojunk=False).find_longest_match()
    first, second, size = shared.a, shared.b, shared.size
    return (one[:first], one[first + size :]), (other[:second], other[second + size :])


def _core(path: Path, around: Around) -> str | None:
    """Return what a file's name has between these; None if it has others."""
    stem, (head, tail) = composed(path.stem).casefold(), around
    fits = stem.startswith(head) and stem.endswith(tail) and len(stem) > len(head) + len(tail)
    return stem[len(head) : len(stem) - len(tail)] if fits else None
