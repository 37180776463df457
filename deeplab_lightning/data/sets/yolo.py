"""Annotations in the form of YOLO for segmentation: a text file for each image, a line for each object.

As Ultralytics, Roboflow, CVAT and Label Studio write it:

    data.yaml                  `names`, a list or numbers with names; `train`, `val`, `test`: folders of images, text
                               files that list images, or several of them, below `path`
    images/train/NAME.jpg      or train/images/NAME.jpg
    labels/train/NAME.txt      the same path with labels in place of images; or beside the image

A line is `class x y x y x y ...`: the class's number, and a polygon's points as shares of the image's width and height.
A line of `class x y width height` is a box, which is no outline. An image without a file of labels, or with an empty
one, shows background alone.

Without data.yaml the folders tell the splits, and classes.txt (a name a line) the classes; without that, too, classes
are class_0, class_1 and so on until the user names them in `data.class_names`, in the order of their numbers.

Objects are drawn larger first, as the order of the lines says nothing. A pixel is an object's if its centre lies
inside. `path` and all others are looked for below the root alone: they are often those of the machine that wrote them.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import yaml

from ...errors import DataError
from ...files import open_file, read_text
from ..files.regions import Polygon, Region
from ..forms.outlines import AnnotatedImage, Annotations, Outlined, OutlinesDataModule
from ..pairing.finding import IMAGE_SUFFIXES, images_below
from ..pairing.layout import lines_of, names_in_file
from ..pairing.named_images import NamedImages, name_of, split_in, split_of_path
from ..pairing.spellings import split_called
from ..wording import first_few

FARTHEST_OUTSIDE = 0.1
"""Share of the image by which a point may lie outside of it."""
LARGEST_YAML = 1_000_000
"""Bytes of a data.yaml."""
LOOKED_AT = 20
"""Text files by which the form is recognised where there is no data.yaml."""
_REMEDY = "Export it again as YOLO segmentation."


@dataclass(frozen=True)
class Shares(Region):
    """A polygon whose points are shares of the image's width and height.

    Attributes:
        points: `(N, 2)` float64 of x and y, 0..1.
    """

    points: np.ndarray

    def area(self, height: int, width: int) -> np.ndarray:
        """Draw it as large as the image is."""
        return Polygon((self.points * (width, height),)).area(height, width)


class YOLODataModule(OutlinesDataModule):
    """The user's own images with text files of polygons, in the form of YOLO segmentation."""

    layout = "YOLO segmentation (data.yaml, images/ and labels/NAME.txt)"
    lists_divide = False

    @classmethod
    def is_form(cls, root: Path) -> bool:
        """Look for a data.yaml with names and splits, or for text files of numbers beside images."""
        try:
            if _description(root) is not None:
                return True
        except DataError:
            return True
        texts = [
            path for image in _usual_images(root)[: 50 * LOOKED_AT] if (path := _label_file(image, root)) is not None
        ]
        return any(map(_looks_like_labels, texts[:LOOKED_AT]))

    @classmethod
    def read(cls, root: Path, names: Sequence[str] | None = None) -> Annotations:
        """Read all label files; `names` are the classes' if no file names them."""
        found = Annotations()
        described = _description(root)
        stated = _names(*described) if described else _names_of_file(root)
        if described:
            _add_described(found, root, *described)
        else:
            if (root / "data.yaml").exists():
                found.remarks.append("data.yaml is not read: it names no classes with splits, or is damaged.")
            for path in _usual_images(root):
                folder = _label_folder(path, root)
                if _label_file(path, root) or (folder is not None and folder.is_dir()):
                    _add(found, root, path, split_of_path(path, root))
        _leave_unlabelled_splits_out(found)
        called = stated if stated is not None else names
        numbers: Counter[int] = Counter()
        for image in found.images.values():
            if image.annotation != image.image:
                _read_objects(found, image, called, numbers)
        if stated is None:
            called = called or [f"class_{number}" for number in range(max(numbers, default=-1) + 1)]
            found.remarks.append(
                "No file names the classes: name them in class_names, behind the background and in the order of their "
                "numbers."
            )
            found.comments["class_names"] = "name them"
        found.labels = list(called or ())
        found.remarks += _left_over(found, root)
        return found

    def read_as_configured(self) -> Annotations:
        """Read the root, with the user's names where no file has any."""
        return self.read(self.root, self.options.class_names[1:])


def _left_over(found: Annotations, root: Path) -> list[str]:
    """Say which images are empty, and which images and label files are left out."""
    images = found.images.values()
    without = sum(image.annotation == image.image for image in images)
    unused = len(images_below(root)) - len(images)
    held = {image.annotation for image in images}
    folders = {image.annotation.parent for image in images if image.annotation.parent.name.casefold() == "labels"}
    folders |= {folder for image in images if (folder := _label_folder(image.image, root)) is not None}
    texts = [path for folder in folders for path in folder.glob("*.txt") if path not in held]
    lonely = [path.name for path in sorted(texts) if path.stem not in ("classes", "labels", "train", "val", "test")]
    said = [
        (without, f"{without} images have no label file, and are taken for background."),
        (unused, f"{unused} images are in no split or have no labels, and are left out."),
        (len(lonely), f"{len(lonely)} label files have no image, and are left out: {first_few(lonely, 3)}."),
    ]
    return [words for count, words in said if count]


Description = tuple[Path, dict[str, Any]]
"""A data.yaml, and what it holds; all scalars as text."""


def _description(root: Path) -> Description | None:
    """Return the file that names classes and splits; None if there is none.

    Raises:
        DataError: It is damaged, or there are several.
    """
    found: list[Description] = []
    for path in sorted([*root.glob("*.yaml"), *root.glob("*.yml")]):
        content = _yaml(path)
        if isinstance(content, dict) and "names" in content and {"train", "val", "valid", "test"} & set(content):
            found.append((path, content))
    usual = [one for one in found if one[0].stem in ("data", "dataset")]
    if len(usual or found) > 1:
        names = first_few(one[0].name for one in usual or found)
        raise DataError(f"{root} holds several descriptions of YOLO data: {names}. Keep one of them.")
    return next(iter(usual or found), None)


def _yaml(path: Path) -> object:
    """Read a YAML file with all scalars as text, so that a class may be called `no`; None for one that is none."""
    try:
        if path.stat().st_size > LARGEST_YAML:
            return None
        return yaml.load(read_text(path), Loader=yaml.BaseLoader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError, ValueError):
        return None


def _names(path: Path, content: dict[str, Any]) -> list[str]:
    """Return the names of classes in the order of their numbers."""
    names = content["names"]
    if isinstance(names, dict):
        numbers = [str(number) for number in range(len(names))]
        if set(names) != set(numbers):
            raise DataError(f"{path}: names are numbered {first_few(map(str, names))}, expected 0 to {len(names) - 1}.")
        names = [names[number] for number in numbers]
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise DataError(f"{path}: its names are no list of words. Write names: [crack, spall].")
    if "kpt_shape" in content:
        raise DataError(f"{path} describes poses (kpt_shape), whose key points are no outlines. {_REMEDY}")
    count = content.get("nc")
    if isinstance(count, str) and count.isdecimal() and int(count) != len(names):
        raise DataError(f"{path} says nc: {count}, but names {len(names)} classes. Mend the one that is wrong.")
    return [name.strip() for name in names]


def _names_of_file(root: Path) -> list[str] | None:
    found = names_in_file(root) or next(
        (names for path in sorted(root.glob("*.names")) if (names := lines_of(path))), []
    )
    return found or None


def _add_described(found: Annotations, root: Path, path: Path, content: dict[str, Any]) -> None:
    """Add the images of the splits that a data.yaml names."""
    files = NamedImages(root)
    base = content.get("path")
    by_split: dict[str, list[Path]] = {}
    for key, value in content.items():
        split = split_called(str(key))
        if split is None or not value:
            continue
        images: list[Path] = []
        for place in [value] if isinstance(value, str) else value:
            where = _place(root, base if isinstance(base, str) else "", place) if isinstance(place, str) else None
            if where is None and split == "train":
                raise DataError(
                    f"{path}: {key} is {str(place)[:200]!r}, which is not below {root}. Put {path.name} into the "
                    f"folder of the data, and write the path from there."
                )
            if where is None:
                found.remarks.append(
                    f"{path.name} names {str(place)[:200]!r} for {split}, which is not there: left out."
                )
            elif where.is_dir():
                images += images_below(where)
            else:
                listed = [(line, files.find(line, split)) for line in lines_of(where)]
                images += [image for _, image in listed if image is not None]
                found.missing += [f"{line} of {where}, below {root}." for line, image in listed if image is None]
        by_split.setdefault(split, []).extend(dict.fromkeys(images))
    if "val" in by_split and set(by_split["val"]) == set(by_split.get("train", ())):
        found.remarks.append(
            f"{path.name} names the same images for train and val: they are divided by chance instead."
        )
        del by_split["val"]
    for split, images in by_split.items():
        for image in images:
            _add(found, root, image, split)


def _place(root: Path, base: str, place: str) -> Path | None:
    """Return a folder or list below the root that a data.yaml means: as it says, or the end of what it says."""
    parts = PurePosixPath(place.replace("\\", "/")).parts
    parts = tuple(part for part in parts if part not in ("..", ".", "/") and not part.endswith(":"))
    whole = [PurePosixPath(base.replace("\\", "/"), *parts), PurePosixPath(*parts)]
    ends = [PurePosixPath(*parts[start:]) for start in range(1, max(1, len(parts) - 1))]
    for candidate in [*whole, *ends]:
        path = Path(os.path.normpath(root / candidate))
        if path.is_relative_to(os.path.normpath(root)) and (
            path.is_dir() or (path.is_file() and path.suffix.lower() == ".txt")
        ):
            return path
    return None


def _add(found: Annotations, root: Path, image: Path, split: str | None) -> None:
    """Add an image without its objects; one without a label file is its own annotation."""
    found.add(
        name_of(image, root), AnnotatedImage(image, _label_file(image, root) or image, split=split, larger_first=True)
    )


def _usual_images(root: Path) -> list[Path]:
    """Return the images that lie in the root itself, in its images/, or in folders of splits."""
    folders = [path for path in sorted(root.iterdir()) if path.is_dir()]
    held = [path for path in folders if path.name.casefold() == "images" or split_in(path.name)]
    beside = [path for path in sorted(root.iterdir()) if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()]
    return beside + [image for folder in held for image in images_below(folder)]


def _label_folder(image: Path, root: Path) -> Path | None:
    """Return the folder of an image's labels: the last `images` of its path is `labels` there; None if it has none."""
    parts = list(image.relative_to(root).parent.parts)
    places = [place for place, part in enumerate(parts) if part.casefold() == "images"]
    if not places:
        return None
    parts[places[-1]] = "labels"
    return root.joinpath(*parts)


def _label_file(image: Path, root: Path) -> Path | None:
    """Return an image's label file, in its folder of labels or beside it; None if it has none."""
    candidates = [folder / f"{image.stem}.txt" for folder in (_label_folder(image, root), image.parent) if folder]
    return next((path for path in candidates if path.is_file()), None)


def _leave_unlabelled_splits_out(found: Annotations) -> None:
    """Take out splits of which no image has labels: they are unknown, not background."""
    for split in dict.fromkeys(image.split for image in found.images.values()):
        names = [name for name, image in found.images.items() if image.split == split]
        if all(found.images[name].annotation == found.images[name].image for name in names):
            called = f" for {split}" if split else ""
            found.remarks.append(f"The {len(names)} images{called} have no label files, and are left out.")
            for name in names:
                del found.images[name]


def _looks_like_labels(path: Path) -> bool:
    """Tell whether a file's first lines are a class's number and shares."""
    with open_file(path) as file:
        fields = file.read(4096).splitlines()[:1]
    try:
        numbers = [float(field) for line in fields for field in line.split()]
    except ValueError:
        return False
    return len(numbers) >= 5 and numbers[0].is_integer() and all(-0.5 <= number <= 1.5 for number in numbers[1:5])


def _read_objects(
    found: Annotations, image: AnnotatedImage, names: Sequence[str] | None, numbers: Counter[int]
) -> None:
    """Read an image's label file."""
    for where, fields in _lines(image.annotation):
        number = _class_number(fields[0], where)
        numbers[number] += 1
        if names is not None and number >= len(names):
            raise DataError(
                f"{where} is of class {number}, but only 0 to {len(names) - 1} are named: {first_few(names)}. Add the "
                f"missing names, or take the line out."
            )
        label = f"class_{number}" if names is None else names[number]
        try:
            region, is_box = _region(fields[1:], where)
        except DataError as error:
            found.left_out.append(str(error))
            continue
        if is_box:
            found.left_out.append(f"{where} is a box, no outline: boxes do not tell the classes of pixels. {_REMEDY}")
        image.objects.append(Outlined(label, region, where, ignored=is_box))


def _lines(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield the place and the fields of each line that is not empty."""
    try:
        text = read_text(path)
    except OSError as error:
        raise DataError(f"Cannot read {path}: {error.strerror}. {_REMEDY}") from error
    for number, line in enumerate(text.splitlines(), start=1):
        fields = line.split()
        if fields:
            yield f"{path}, line {number}", fields


def _class_number(field: str, where: str) -> int:
    try:
        number = float(field)
        if number.is_integer() and 0 <= number < 10_000:
            return int(number)
    except ValueError:
        pass
    raise DataError(f"{where} begins with {field[:40]!r}, expected the number of a class. {_REMEDY}")


def _region(fields: Sequence[str], where: str) -> tuple[Region, bool]:
    """Return what a line's numbers cover, and whether they are a box.

    Raises:
        DataError: They are neither a polygon nor a box.
    """
    try:
        numbers = np.array(fields, np.float64)
    except ValueError as error:
        raise DataError(f"{where} holds what is no number: {error}. {_REMEDY}") from error
    if len(numbers) == 4:
        x, y, width, height = numbers
        left, top, right, bottom = x - width / 2, y - height / 2, x + width / 2, y + height / 2
        numbers = np.array([left, top, right, top, right, bottom, left, bottom])
        is_box = True
    else:
        is_box = False
    if len(numbers) < 6 or len(numbers) % 2:
        raise DataError(
            f"{where} holds {len(numbers)} numbers behind the class, expected x and y of 3 points or more. {_REMEDY}"
        )
    if not (np.abs(numbers - 0.5) <= 0.5 + FARTHEST_OUTSIDE).all():  # NaN is not either
        raise DataError(
            f"{where} holds numbers from {numbers.min():g} to {numbers.max():g}, expected shares of the image's width "
            f"and height, 0..1. {_REMEDY}"
        )
    return Shares(numbers.reshape(-1, 2)), is_box
