"""One black and white mask for each object or class, several of an image.

    ID/images/ID.png, ID/masks/*.png                          a folder an image (Kaggle's Data Science Bowl 2018)
    images/NAME.jpg, masks/NAME_mask_0.png, NAME_car_1.png    behind the image's name a number, or class and number
    NAME.png, NAME_mask.png, NAME_mask_1.png                  the same in one folder (BUSI)
    images/NAME.jpg, masks/crack/NAME.png                     a folder a class

Classes are the folders of the last form, or the words between name and number, if these are not `mask`, `object` and
the like; else all objects are of one class, which the user names. What is not 0 in a mask belongs to its object. Masks
say nothing of what lies above: smaller objects are drawn over larger ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from ...errors import DataError
from ..files.images import read_mask
from ..files.regions import Region
from ..forms.outlines import AnnotatedImage, Annotations, Outlined, OutlinesDataModule
from ..pairing.finding import IMAGE_SUFFIXES, images_below
from ..pairing.named_images import IMAGES_NAMED, short_names, split_of_path
from ..pairing.splitting import split_called
from ..wording import composed, first_few

MASKS_NAMED = ("masks", "mask", "labels", "label", "annotations", "gt", "segmentation", "segmentations", "objects")
"""Folders of masks, in small letters; those of images are `IMAGES_NAMED`."""
NAMELESS = "object"
_NO_CLASS = ("mask", "masks", "object", "obj", "instance", "inst", "seg", "segmentation", "label", "gt", "id", "no")
"""Words behind an image's name that are no class."""
_WORDS = re.compile(r"[^\W\d_]+(?:[ -][^\W\d_]+)*")
_SEPARATORS = "_-. "
ENOUGH = 10
"""Masks that are opened before a folder is taken for this form."""

Found = dict[Path, list[tuple[str, Path]]]
"""Image -> class and file of each of its masks."""


class ObjectMasksDataModule(OutlinesDataModule):
    """The user's own images, with a mask of its own for each object or class."""

    layout = "a mask for each object or class (ID/images and ID/masks, NAME_mask_0.png, or masks/CLASS/NAME.png)"
    generality = 0

    @classmethod
    def is_form(cls, root: Path) -> bool:
        """Look for an image with several masks, or masks in folders of classes, all of two values."""
        for _, found in _forms(root):
            masks = [path for held in found.values() for _, path in held][:ENOUGH]
            if masks and all(_is_binary(path) for path in masks):
                return True
        return False

    @classmethod
    def read(cls, root: Path) -> Annotations:
        """Find the masks of all images."""
        form, masks = next(((form, held) for form, held in _forms(root) if held), ("", {}))
        if not masks:
            return Annotations()
        found = Annotations()
        names = short_names(masks)
        if form == "folder an image":
            names = {path: path.parent.parent.relative_to(root).as_posix() for path in masks}
        for image, held in masks.items():
            entry = AnnotatedImage(image, held[0][1] if held else image, larger_first=True)
            entry.split = split_of_path(PurePosixPath(names[image]))
            entry.objects = [Outlined(label, MaskFile(path), str(path)) for label, path in held]
            found.add(names[image], entry)
        found.labels = sorted({label for held in masks.values() for label, _ in held})
        found.nameless = found.labels == [NAMELESS]
        if found.nameless:
            found.remarks.append("Masks are of objects without class: all are of one. Name it.")
        found.whole_classes = form == "folder a class"
        if not (found.nameless or found.whole_classes):
            found.remarks.append(f"Classes are the words in the masks' names: {first_few(found.labels)}.")
        empty = [path.name for path, held in masks.items() if not held]
        if empty:
            found.remarks.append(
                f"{len(empty)} images have no mask, and are read as background: {first_few(empty, 3)}. Take out those "
                f"that were not annotated."
            )
        return found


@dataclass(frozen=True)
class MaskFile(Region):
    """What is not 0 in a file.

    Attributes:
        path: The file, a mask of two values.
    """

    path: Path

    def area(self, height: int, width: int) -> np.ndarray:
        """Read it."""
        values = read_mask(self.path)
        if values.shape != (height, width):
            raise DataError(
                f"Mask {self.path} is {values.shape[1]}x{values.shape[0]}, its image {width}x{height} (width x "
                f"height).",
                kind="size",
            )
        held = np.unique(values)
        if len(held) > 2 or (len(held) == 2 and held[0] != 0):
            raise DataError(
                f"Mask {self.path} of one object holds the values {first_few(map(str, held))}; expected 0 and one "
                f"other. Save it in black and white, without soft edges.",
                kind="labels",
            )
        return values > 0


def _is_binary(path: Path) -> bool:
    try:
        held = np.unique(read_mask(path))
    except DataError:
        return False
    return len(held) < 2 or (len(held) == 2 and held[0] == 0)


def _forms(root: Path) -> Iterable[tuple[str, Found]]:
    """Give what each of the forms finds in a folder; nothing where it is not that form."""
    yield "folder an image", _in_folders(root)
    images, masks = _folder(root, IMAGES_NAMED), _folder(root, MASKS_NAMED)
    if images is not None and masks is not None and images != masks:
        yield "folder a class", _by_class(images, masks)
        yield "names", _by_name(_plain(images), _plain(masks))
    groups = [_beside(folder) for folder in [root, *sorted(path for path in root.glob("*/") if not _hidden(path))]]
    yield "names", {image: held for group in groups for image, held in group.items()}


def _in_folders(root: Path) -> Found:
    """Find folders that hold `images/` with one image of the folder's name, and `masks/`."""
    found: Found = {}
    folders = [path for path in sorted(root.iterdir()) if path.is_dir() and not _hidden(path)]
    folders += [
        inner for path in folders if split_called(path.name) for inner in sorted(path.iterdir()) if inner.is_dir()
    ]
    for folder in folders:
        images, masks = folder / "images", folder / "masks"
        if images.is_dir() and masks.is_dir():
            held = _plain(images)
            if len(held) == 1 and composed(held[0].stem) == composed(folder.name):
                found[held[0]] = [(NAMELESS, path) for path in _plain(masks)]
    return found


def _by_class(images: Path, masks: Path) -> Found:
    """Find masks in folders of classes, called after images that lie in none of these folders."""
    by_stem = {composed(path.relative_to(images).with_suffix("").as_posix()): path for path in images_below(images)}
    classes = [path for path in sorted(masks.iterdir()) if path.is_dir() and not _hidden(path)]
    if not classes or _plain(masks) or any((images / one.name).is_dir() or split_called(one.name) for one in classes):
        return {}
    found: Found = {path: [] for path in by_stem.values()}
    for one in classes:
        for path in images_below(one):
            image = by_stem.get(composed(path.relative_to(one).with_suffix("").as_posix()))
            if image is None:
                return {}
            found[image].append((one.name, path))
    return found if any(found.values()) else {}


def _by_name(images: Iterable[Path], masks: Iterable[Path]) -> Found:
    """Find masks that are called after images and something more, several of one image at least once."""
    found: Found = {path: [] for path in images}
    stems = sorted(((composed(path.stem), path) for path in found), key=lambda one: -len(one[0]))
    for mask in masks:
        stem = composed(mask.stem)
        match = next(((name, path) for name, path in stems if stem.startswith(name) and stem != name), None)
        if match is None or stem[len(match[0])] not in _SEPARATORS:
            return {}
        found[match[1]].append((_label(stem[len(match[0]) :]), mask))
    return found if any(len(held) > 1 for held in found.values()) else {}


def _label(rest: str) -> str:
    """Return the class in what stands behind an image's name; `NAMELESS` if it has none."""
    words = [word for word in _WORDS.findall(rest.replace("_", "  ")) if word.strip(" -").casefold() not in _NO_CLASS]
    return "_".join(word.strip(" -") for word in words) or NAMELESS


def _beside(folder: Path) -> Found:
    """Find images with masks beside them that are called NAME_mask, NAME_mask_1 and so on."""
    is_mask = re.compile(r"_mask(_\d+)?$", re.IGNORECASE)
    files = _plain(folder)
    masks = [path for path in files if is_mask.search(path.stem)]
    images = [path for path in files if not is_mask.search(path.stem)]
    return _by_name(images, masks) if images and masks else {}


def _plain(folder: Path) -> list[Path]:
    """Return the images in a folder, not in the folders in it."""
    return [path for path in sorted(folder.iterdir()) if path.suffix.lower() in IMAGE_SUFFIXES and not _hidden(path)]


def _folder(root: Path, names: Iterable[str]) -> Path | None:
    held = {path.name.casefold(): path for path in root.iterdir() if path.is_dir()}
    return next((held[name] for name in names if name in held), None)


def _hidden(path: Path) -> bool:
    return path.name.startswith(".")
