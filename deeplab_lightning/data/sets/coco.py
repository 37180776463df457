"""Annotations in the form of COCO: JSON files for many images each, with outlines of objects drawn into masks.

Lin et al.: "Microsoft COCO: Common Objects in Context", ECCV 2014. A file holds

    images        `id`, `file_name`, `height`, `width`
    categories    `id`, `name`, `supercategory`
    annotations   `image_id`, `category_id`, `iscrowd`, and `segmentation`: polygons [[x, y, x, y, ...], ...], or run
                  lengths {size: [height, width], counts: a list, or a string when compressed}

There is one file, or one for each split, which its name or folder tells:

    annotations/instances_train2017.json    train2017/              COCO's own
    train/_annotations.coco.json            train/                  Roboflow's
    annotations/instances_default.json      images/default/         Datumaro's, CVAT's

Images are found below the root by what the files call them (`data/pairing/named_images.py`).

Masks of classes are made from objects that overlap. Larger objects are drawn first, so that what is smaller lies on
top: the order of the file says nothing, and a cup drawn before its table would vanish. Of equal ones the later in the
file lies on top. Groups that were outlined as one (`iscrowd`) are ignored, and lie below all objects, since those
within them that have an outline of their own are certain. What no outline covers is background.

Brushes of annotation tools (CVAT, Datumaro) write every object as run lengths with `iscrowd` 1. So a class of which the
files have such groups alone has objects, not groups. Of objects without an outline that can be drawn the box is
ignored; they are counted, and an error where they are many.

Polygons are drawn by `pycocotools`, COCO's own code, so that masks have the areas that COCO counts.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np

from ...errors import DataError
from ...extras import need
from ...files import read_bytes
from ..datamodule import Split
from ..files.annotations import read_json
from ..files.regions import Bitmap, Polygon, Region, box, ring, runs_of
from ..forms.outlines import AnnotatedImage, Annotations, Outlined, OutlinedImages, OutlinesDataModule, OutlinesOptions
from ..pairing.named_images import NamedImages, name_of, split_in, split_of_path
from ..pairing.spellings import split_called
from ..wording import first_few

PURPOSE = "Drawing outlines in the form of COCO"
ANNOTATIONS_NAMED = ("annotations", "annotation", "annots", "labels", "json", "coco")
"""Folders below the root in which annotation files lie, in small letters; beside them, the root's and its splits'."""
_LISTS = ("images", "categories", "annotations")
_OTHER_TASKS = re.compile(r"keypoints|stuff|panoptic|labels|captions|image_info", re.I)
_REMEDY = "Export the annotations again."
NOWHERE = Bitmap(np.zeros((0, 0), bool))


@dataclass(frozen=True)
class DrawnByCOCO(Polygon):
    """Polygons whose pixels are those of `pycocotools`: what any ring covers is inside."""

    def area(self, height: int, width: int) -> np.ndarray:
        """Let `pycocotools` draw them."""
        coco_mask = need("pycocotools.mask", "coco", PURPOSE)
        flat = [one.ravel() for one in self.rings]
        return coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(flat, height, width))).astype(bool)


@dataclass(frozen=True, kw_only=True)
class COCOOptions(OutlinesOptions):
    """What is to be read of annotations in the form of COCO."""

    annotations: tuple[str, ...] = ()
    """Files of annotations below the root; the name or folder of each may tell its split (instances_train2017.json,
    valid/_annotations.coco.json). Empty looks for them in the root, in annotations/ and in folders of splits."""
    images: str = "."
    """Folder below the root, in which the images lie at any depth."""


class COCODataModule(OutlinesDataModule):
    """COCO itself, or the user's own images with annotations in its form: polygons or run lengths in JSON."""

    Options = COCOOptions
    options: COCOOptions
    layout = "COCO (JSON files with images, annotations and categories)"
    generality = 0

    @classmethod
    def is_form(cls, root: Path) -> bool:
        """Look for the form's words in JSON files, and for outlines in them if masks lie ready beside the images."""
        files = [path for path in _json_files(root) if _has_its_words(path)]
        return bool(files) and (not _has_masks(root) or any(map(_holds_outlines, files)))

    @classmethod
    def read(cls, root: Path, files: Sequence[str] = (), images: str = ".") -> Annotations:
        """Read some files, or those that are found."""
        left_out: list[str] = []
        if files:
            contents = {root / file: _content(root / file) for file in files}
        else:
            candidates = {path: _content(path) for path in _json_files(root) if _has_its_words(path)}
            contents, left_out = _chosen(candidates, root)
        named = NamedImages(root / images)
        found = _read(contents, root, named)
        found.remarks += left_out + named.left_out(one.image for one in found.images.values())
        found.options["annotations"] = [path.relative_to(root).as_posix() for path in contents]
        return found

    def read_as_configured(self) -> Annotations:
        """Read the files that the options name."""
        return self.read(self.root, self.options.annotations, self.options.images)

    def build_dataset(self, split: Split) -> OutlinedImages:
        """Open a split.

        Raises:
            ConfigError: `pycocotools` is not installed.
        """
        need("pycocotools.mask", "coco", PURPOSE)
        return super().build_dataset(split)


def _json_files(root: Path) -> list[Path]:
    """Return the JSON files in the root, and in folders of annotations and of splits."""
    folders = [path for path in sorted(root.iterdir()) if path.is_dir()]
    held = [one for one in folders if one.name.casefold() in ANNOTATIONS_NAMED or split_called(one.name)]
    files = [path for folder in (root, *held) for path in sorted(folder.iterdir())]
    return [path for path in files if path.suffix.lower() == ".json" and path.name[0] != "." and path.is_file()]


def _has_its_words(path: Path) -> bool:
    try:
        text = read_bytes(path)
    except OSError:
        return False
    return all(f'"{word}"'.encode() in text for word in (*_LISTS, "segmentation"))


def _holds_outlines(path: Path) -> bool:
    """Tell whether a file has an outline; a damaged one may have some."""
    try:
        return any(map(_has_outline, _content(path)["annotations"]))
    except DataError:
        return True


def _has_masks(root: Path) -> bool:
    """Tell whether there is a folder of masks, one file for each image: these need not be drawn."""
    folders = [path for path in root.iterdir() if path.is_dir() and path.name.casefold() in ("masks", "mask")]
    return any(len(NamedImages(folder)) for folder in folders)


def _content(path: Path) -> dict[str, Any]:
    content = read_json(path, _REMEDY)
    if not all(isinstance(content.get(key), list) for key in _LISTS):
        raise DataError(
            f"{path} is no annotation file in the form of COCO: it holds {first_few(content) or 'nothing'}, expected "
            f"lists images, categories and annotations. Set data.annotations to the files of instances."
        )
    return content


def _split_of_file(path: Path, root: Path) -> str | None:
    return (split_called(path.parent.name) if path.parent != root else None) or split_in(path.stem)


def _chosen(candidates: dict[Path, dict[str, Any]], root: Path) -> tuple[dict[Path, dict[str, Any]], list[str]]:
    """Choose among the files of a folder: instances before other tasks, and each image from one file alone.

    Returns:
        The files' contents, and what is said of the others.
    """
    with_outlines = {path for path, content in candidates.items() if any(map(_has_outline, content["annotations"]))}
    order = sorted(
        candidates,
        key=lambda path: (
            "instances" not in path.stem.casefold(),
            bool(_OTHER_TASKS.search(path.stem)),
            _split_of_file(path, root) is None,
            path,
        ),
    )
    taken: dict[Path, dict[str, Any]] = {}
    said: list[str] = []
    names: dict[str | None, dict[str, Path]] = {}
    for path in order:
        split, shown = _split_of_file(path, root), path.relative_to(root).as_posix()
        if with_outlines and path not in with_outlines:
            said.append(f"{shown} is left out: it has no outlines.")
            continue
        entries = [entry for entry in candidates[path]["images"] if isinstance(entry, dict)]
        own = [name for entry in entries if (name := _image_name(entry))]
        rivals = [held for other, held in names.items() if other == split or None in (other, split)]
        rival = next((held[name] for name in own for held in rivals if name in held), None)
        if rival is not None:
            said.append(
                f"{shown} is left out: it is about images of {rival.relative_to(root).as_posix()}. To read it instead, "
                f"set data.annotations."
            )
            continue
        taken[path] = candidates[path]
        names.setdefault(split, {}).update(dict.fromkeys(own, path))
    return taken, said


def _has_outline(entry: object) -> bool:
    return isinstance(entry, dict) and bool(entry.get("segmentation"))


def _read(contents: dict[Path, dict[str, Any]], root: Path, files: NamedImages) -> Annotations:
    """Read annotation files together: a category is the same in all of them if its name is."""
    for path, content in contents.items():
        with _form(path):
            _check_categories(content, path)
    named = _labels(contents)
    used, single = set[str](), set[str]()
    for path, content in contents.items():
        with _form(path):
            for entry in content["annotations"]:
                label = _label(named, path, entry)
                used.add(label)
                single |= set() if entry.get("iscrowd") else {label}
    found, groups = Annotations(), Counter[str]()
    for path, content in contents.items():
        with _form(path):
            images = _add_images(found, path, content["images"], root, files)
            for entry in content["annotations"]:
                label = _label(named, path, entry)
                group = bool(entry.get("iscrowd")) and label in single
                _add_object(found, images, entry, Outlined(label, NOWHERE, _where(path, entry), ignored=group))
                groups.update([label] if group else [])
    headings = {label for label in named.values() if label not in used and _is_heading(label, contents)}
    found.labels = [label for label in dict.fromkeys(named.values()) if label not in headings]
    if headings:
        found.remarks.append(f"No class, since it only heads others: {first_few(sorted(headings))}.")
    if used - single:
        found.remarks.append(
            f"Of {first_few(sorted(used - single))} there are outlines with iscrowd 1 alone, as brushes of annotation "
            f"tools write them: they are read as objects, not as groups to be ignored."
        )
    if groups:
        counts = first_few(f"{count} of {label}" for label, count in groups.most_common())
        found.remarks.append(
            f"Groups (iscrowd 1) are ignored, as there are single objects beside them: {counts}. If a brush drew "
            f"single objects there, set their iscrowd to 0."
        )
    return found


@contextmanager
def _form(path: Path) -> Iterator[None]:
    """Name the file whose parts are missing or of other kinds."""
    try:
        yield
    except DataError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} is not in the form of COCO: {type(error).__name__}: {error}. {_REMEDY}") from error


def _where(path: Path, entry: dict[str, Any]) -> str:
    return f"{path}, annotation {entry.get('id')}"


def _label(named: dict[tuple[Path, str], str], path: Path, entry: dict[str, Any]) -> str:
    label = named.get((path, _key(entry["category_id"])))
    if label is None:
        raise DataError(
            f"{_where(path, entry)} has category {entry['category_id']}, which is not among the file's. {_REMEDY}"
        )
    return label


def _check_categories(content: dict[str, Any], path: Path) -> None:
    names: dict[str, str] = {}
    for entry in content["categories"]:
        number, name = _key(entry["id"]), str(entry["name"])
        if names.setdefault(number, name) != name:
            raise DataError(f"{path} gives category {number} two names, {names[number]!r} and {name!r}. {_REMEDY}")


def _labels(contents: dict[Path, dict[str, Any]]) -> dict[tuple[Path, str], str]:
    """Return the label of each category, by file and id.

    It is the category's name. Where a file has the name below several supercategories, they are several classes, and
    the supercategory stands before the name.
    """
    several: set[str] = set()
    for content in contents.values():
        above: dict[str, set[str]] = {}
        for entry in content["categories"]:
            above.setdefault(str(entry["name"]), set()).add(str(entry.get("supercategory")))
        several |= {name for name, headings in above.items() if len(headings) > 1}
    labels = {}
    for path, content in contents.items():
        entries = content["categories"]
        if all(_key(entry["id"]).isdecimal() for entry in entries):
            entries = sorted(entries, key=lambda entry: int(_key(entry["id"])))
        for entry in entries:
            name = str(entry["name"])
            label = f"{entry.get('supercategory')} {name}" if name in several else name
            labels[path, _key(entry["id"])] = label
    return labels


def _is_heading(label: str, contents: dict[Path, dict[str, Any]]) -> bool:
    """Tell whether a category is the supercategory of others, as the first one of Roboflow's files is."""
    return any(
        str(entry.get("supercategory")) == label and str(entry["name"]) != label
        for content in contents.values()
        for entry in content["categories"]
    )


def _image_name(entry: dict[str, Any]) -> str | None:
    """Return what an image's file is called: as it says, or as its address ends; None for neither."""
    said = entry.get("file_name")
    if said:
        return str(said)
    addresses = (entry.get(key) for key in ("path", "coco_url", "flickr_url", "url"))
    last = (unquote(urlsplit(str(one)).path).rpartition("/")[2] for one in addresses if one)
    return next((name for name in last if name), None)


def _add_images(
    found: Annotations, path: Path, entries: list[dict[str, Any]], root: Path, files: NamedImages
) -> dict[str, AnnotatedImage | None]:
    """Add a file's images, and return them by id; None for those without a file."""
    split = _split_of_file(path, root)
    images: dict[str, AnnotatedImage | None] = {}
    for entry in entries:
        number, name = _key(entry["id"]), _image_name(entry)
        if name is None:
            raise DataError(
                f"{path}: image {number} has no file_name, only {first_few(map(str, entry))}. Give each image the name "
                f"of its file."
            )
        if number in images:
            raise DataError(f"{path} has two images of id {number}. {_REMEDY}")
        file = files.find(name, split, path.parent)
        if file is None:
            found.missing.append(f"{name} of {path}, below {files.root}{_elsewhere(files, name, split)}.")
            images[number] = None
            continue
        height, width = _size(entry.get("height")), _size(entry.get("width"))
        image = AnnotatedImage(
            file, path, height, width, split=split or split_of_path(file, files.root), larger_first=True
        )
        found.add(name_of(file, files.root), image)
        images[number] = image
    return images


def _add_object(
    found: Annotations, images: dict[str, AnnotatedImage | None], entry: dict[str, Any], one: Outlined
) -> None:
    """Give an object its region, and to its image."""
    number = _key(entry["image_id"])
    if number not in images:
        raise DataError(f"{one.where} belongs to image {number}, which is not in the file. {_REMEDY}")
    image = images[number]
    if image is None:
        return
    try:
        one.region = _outline(entry.get("segmentation"), one.where)
    except DataError as error:
        found.left_out.append(str(error))
        region = _box(entry.get("bbox"), one.where)
        if region is None:
            return
        one.region, one.ignored = region, True
    image.objects.append(one)


def _elsewhere(files: NamedImages, name: str, split: str | None) -> str:
    """Say where a missing image lies among those of another split."""
    try:
        other = None if split is None else files.find(Path(name.replace("\\", "/")).name)
    except DataError:
        return ""
    return "" if other is None else f" ({other} is of another split)"


def _key(value: object) -> str:
    """Return an id as text: exporters write numbers, numbers as text, or names.

    Raises:
        TypeError: It is none of these.
    """
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise TypeError(f"an id is {str(value)[:40]!r}, expected a number or a name")
    return str(value)


def _size(value: object) -> int | None:
    """Return a height or width; None where it is not said, as 0."""
    if isinstance(value, str) and value.isdecimal():
        return int(value) or None
    if isinstance(value, int | float) and math.isfinite(value):
        return int(value) or None
    return None


def _box(bbox: object, where: str) -> Region | None:
    """Return the box of an object without outline; None if it has none."""
    try:
        left, top, width, height = map(float, bbox)  # type: ignore[call-overload]
        return box(left, top, left + width, top + height, where, _REMEDY) if width > 0 and height > 0 else None
    except (TypeError, ValueError, OverflowError):  # a DataError is a ValueError
        return None


def _outline(segmentation: object, where: str) -> Region:
    """Return an object's outline, once it is safe to draw.

    Raises:
        DataError: It cannot be drawn.
    """
    if isinstance(segmentation, dict):
        if not {"size", "counts"} <= set(segmentation):
            raise DataError(f"{where}: run lengths need size and counts, found {first_few(segmentation)}. {_REMEDY}")
        size = segmentation["size"]
        if not isinstance(size, list) or len(size) != 2 or not all(type(side) is int and side > 0 for side in size):
            raise DataError(
                f"{where}: its run lengths have the size {str(size)[:40]}, expected [height, width]. {_REMEDY}"
            )
        return runs_of(segmentation["counts"], size[0], size[1], where, _REMEDY, by_columns=True)
    if not isinstance(segmentation, list) or not segmentation:
        raise DataError(
            f"{where} has no outline, only a box at most. Annotate with polygons or masks: boxes do not tell the "
            f"classes of pixels."
        )
    if all(isinstance(number, int | float) for number in segmentation):
        segmentation = [segmentation]  # one polygon, without the brackets around it
    rings = []
    for polygon in segmentation:
        try:
            numbers = np.asarray(polygon, np.float64)
        except (TypeError, ValueError, OverflowError) as error:
            raise DataError(f"{where}: a polygon is no list of numbers ({error}). {_REMEDY}") from error
        if numbers.ndim != 1 or numbers.size % 2:
            raise DataError(
                f"{where}: a polygon holds {numbers.size} numbers, expected x, y of 3 points or more. {_REMEDY}"
            )
        if numbers.size >= 6:
            rings.append(ring(numbers.reshape(-1, 2), where, _REMEDY))
    if not rings:  # fewer points enclose nothing: beside others they are passed over
        raise DataError(
            f"{where}: a polygon holds {numbers.size} numbers, expected x, y of 3 points or more. {_REMEDY}"
        )
    return DrawnByCOCO(tuple(rings))
