"""Files that lie beside those of the splits, and that no split uses: forgotten pairs, and halves without the other."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

from ..data.finding import IMAGE_SUFFIXES
from ..data.wording import composed
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
    known = {path for files in used for path in files}
    mask_folders: dict[Path, Counter[Path]] = defaultdict(Counter)
    tails: dict[tuple[Path, Path], set[Tails]] = defaultdict(set)
    mask_endings: dict[Path, set[str]] = defaultdict(set)
    for image, mask in [(files[0], files[-1]) for files in used if len(files) > 1]:
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
        named = [(other, pair) for (own, other), pairs in tails.items() if own == folder for pair in sorted(pairs)]
        # Where images and masks lie side by side, those named as masks are none.
        own_masks = tuple({tail for other, (_, tail) in named if other == folder and tail})
        endings = mask_endings.get(folder, set())
        images = [path for path in files if not (composed(path.stem).endswith(own_masks) and path.suffix in endings)]
        of_images += len(images)
        beside = {other: {composed(path.name): path for path in _files(other)} for other in others}
        for path in images:
            partners = [
                beside[other][f"{stem}{mask_tail}{ending}"]
                for other, (image_tail, mask_tail) in named
                for stem in [composed(path.stem).removesuffix(image_tail)]
                if composed(path.stem).endswith(image_tail)
                for ending in sorted(mask_endings[other])
                if f"{stem}{mask_tail}{ending}" in beside[other]
            ]
            claimed.update(partners)
            if path not in known:
                (forgotten if partners else alone).append(path)
        for other in others:
            its_tails = tuple(tail for folder_of_masks, (_, tail) in named if folder_of_masks == other)
            for path in sorted(_files(other)):
                if path.suffix in mask_endings[other] and composed(path.stem).endswith(its_tails):
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


def _tails(image: str, mask: str) -> Tails:
    differ = (place for place, (one, other) in enumerate(zip(image, mask, strict=False)) if one != other)
    shared = next(differ, min(len(image), len(mask)))
    return image[shared:], mask[shared:]
