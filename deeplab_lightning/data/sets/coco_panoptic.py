"""Panoptic annotations in COCO's form: for each image a PNG of segments, and JSON that says what each segment is.

Kirillov et al.: "Panoptic Segmentation", CVPR 2019. A JSON file holds

    images        `id`, `file_name`, `height`, `width`
    categories    `id`, `name`, `isthing`
    annotations   `image_id`, `file_name` of the PNG, and `segments_info`: `id`, `category_id`, `iscrowd` of each

and beside it lies a folder of its own name with the PNGs, whose colours are the segments' ids: red + 256 green + 65536
blue; 0 is void. There is one file, or one for each split, which its name or folder tells:

    annotations/panoptic_train2017.json       annotations/panoptic_train2017/       train2017/               COCO's own
    gtFine/cityscapes_panoptic_train.json     gtFine/cityscapes_panoptic_train/     leftImg8bit/train/       Cityscapes'

A segment of a thing is an object with the segment's id for its number. A crowd has its class and no number.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn

from ...errors import ConfigError, DataError, did_you_mean
from ...files import read_bytes
from ...labels import LabelSet, own_labels
from ...types import MapName
from ..checks import check_pair
from ..datamodule import Split
from ..dataset import SegmentationDataset
from ..files.annotations import parsing, read_json
from ..files.images import read_image
from ..files.object_numbers import read_numbers
from ..forms.outlines import MOST_MISSING, splits_of
from ..forms.own_images import OwnImagesDataModule, OwnImagesOptions
from ..pairing.layout import Recognised, head_of
from ..pairing.named_images import NamedImages, name_of, split_in, split_of_path
from ..pairing.splitting import names_of, split_called, split_lists
from ..wording import first_few

_LISTS = ("images", "categories", "annotations")
_REMEDY = "Download it or export it again."
VOID = 0
"""Id of what is no segment."""


@dataclass
class SegmentedImage:
    """An image, and what its segments are.

    Attributes:
        image: The image's file.
        segments: The file of the segments' ids.
        labels: Id of each segment -> name of its class.
        crowds: Ids of segments that are groups of objects.
        split: Which its files tell; None if they tell none.
    """

    image: Path
    segments: Path
    labels: dict[int, str]
    crowds: frozenset[int]
    split: str | None


@dataclass
class PanopticAnnotations:
    """What all files of a root say.

    Attributes:
        images: Name -> image.
        class_names: In the order of the categories' ids.
        things: Those of them that are things.
        files: Of annotations.
        missing: What is said of each annotated image without a file.
    """

    images: dict[str, SegmentedImage] = field(default_factory=dict)
    class_names: list[str] = field(default_factory=list)
    things: list[str] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


class PanopticImages(SegmentationDataset):
    """Some of the annotated images.

    Args:
        images: Name -> image.
        names: Which to read.
        labels: The classes, and which of them are things.
        ignored: Classes whose pixels are ignored.

    Raises:
        ConfigError: A class is ignored and one of `labels`.
    """

    def __init__(
        self,
        images: Mapping[str, SegmentedImage],
        names: Sequence[str],
        labels: LabelSet,
        ignored: Sequence[str] = (),
    ) -> None:
        both = [name for name in ignored if name in labels.class_names]
        if both:
            raise ConfigError(f"{first_few(both)}: in data.class_names and in data.ignored_labels. Take it out of one.")
        self.labels = labels
        self._names, self._images = list(names), [images[name] for name in names]
        self._ids = {name: index for index, name in enumerate(labels.class_names)}
        self._ids |= dict.fromkeys(ignored, labels.ignore_index)

    def __len__(self) -> int:
        return len(self._images)

    def sample_id(self, index: int) -> str:
        """Return the image's path without ending."""
        return self._names[index]

    def files(self, index: int) -> tuple[Path, ...]:
        """Return the image's file and that of its segments."""
        return self._images[index].image, self._images[index].segments

    def load(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Read image `index`, and its mask of class ids and the ignored value.

        Raises:
            DataError: A file is unreadable, sizes differ, a segment is not described, or its class was not declared.
        """
        entry = self._images[index]
        image = read_image(entry.image)
        values = {number: self._value(label, entry) for number, label in entry.labels.items()}
        mask = self._replaced(entry, values, self.labels.ignore_index).astype(np.uint8)
        check_pair(image, mask, entry.image, entry.segments)
        return image, mask

    @property
    def maps(self) -> tuple[MapName, ...]:
        """The numbers of objects, if some classes are things."""
        return ("instances",) if self.labels.things else ()

    def read_map(self, name: MapName, index: int) -> np.ndarray:
        """Read the ids of those segments that are single things; 0 for all else."""
        entry = self._images[index]
        objects = {
            number: number if label in self.labels.things and number not in entry.crowds else 0
            for number, label in entry.labels.items()
        }
        return self._replaced(entry, objects, 0)

    def _value(self, label: str, entry: SegmentedImage) -> int:
        if label not in self._ids:
            raise DataError(
                f"{entry.segments} has a segment of class {label!r}, which was not declared."
                f"{did_you_mean(label, self._ids)} Add it to data.class_names, or to data.ignored_labels."
            )
        return self._ids[label]

    def _replaced(self, entry: SegmentedImage, values: Mapping[int, int], void: int) -> np.ndarray:
        """Read the segments' ids, and return `(H, W)` int32 of what each one becomes."""
        ids = read_numbers(entry.segments)
        table = dict(sorted({**values, VOID: void}.items()))
        known = np.array(list(table), np.int32)
        places = np.minimum(np.searchsorted(known, ids), len(known) - 1)
        strange = known[places] != ids
        if strange.any():
            raise DataError(
                f"{entry.segments} holds segment {ids[strange][0]}, of which the annotations say nothing. {_REMEDY}"
            )
        return np.array(list(table.values()), np.int32)[places]


@dataclass(frozen=True, kw_only=True)
class COCOPanopticOptions(OwnImagesOptions):
    """What is to be read of panoptic annotations."""

    things: tuple[str, ...] = ()
    """Classes whose objects are told apart, as isthing says in the files; all others are stuff."""
    ignored_labels: tuple[str, ...] = ()
    """Classes whose pixels are ignored."""
    annotations: tuple[str, ...] = ()
    """JSON files below the root; the name or folder of each may tell its split (panoptic_train2017.json). Empty looks
    for them in the root and in the folders in it."""
    images: str = "."
    """Folder below the root, in which the images lie at any depth."""


class COCOPanopticDataModule(OwnImagesDataModule):
    """COCO's panoptic annotations, or the user's own images with annotations in their form: PNG of ids, and JSON."""

    Options = COCOPanopticOptions
    options: COCOPanopticOptions
    layout = "COCO panoptic (JSON files with segments_info, and folders of PNG beside them)"
    generality = 1

    @classmethod
    def label_set(cls, options: COCOPanopticOptions) -> LabelSet:
        """Say what the numbers in masks mean."""
        return replace(own_labels(options.class_names), things=options.things)

    @classmethod
    def recognise(cls, root: Path) -> Recognised | None:
        """Recognise panoptic JSON files with their folders; they tell classes and things.

        Raises:
            DataError: There are some, and they cannot be read.
        """
        files = list(_panoptic_files(root))
        if not files:
            return None
        found = read_panoptic(root, files, root)
        _check_missing(found, root)
        options = {
            "root": str(root.resolve()),
            "class_names": found.class_names,
            "things": found.things,
            "annotations": [path.relative_to(root).as_posix() for path in found.files],
        }
        said = f"{len(found.things)} of {len(found.class_names)} classes are things; all others are stuff."
        splits = {image.split for image in found.images.values()}
        training = [one.image for one in found.images.values() if one.split in (None, "train") or "train" not in splits]
        return Recognised("COCO panoptic", options, training, max(1, len(training)), remarks=[said])

    @cached_property
    def annotations(self) -> PanopticAnnotations:
        """All that the files say; what is missing is said once.

        Raises:
            DataError: There is none, or too many images are missing.
        """
        files = [self.root / name for name in self.options.annotations] or list(_panoptic_files(self.root))
        if not files:
            raise DataError(f"{self.root} holds no panoptic annotations; expected {self.layout}.")
        found = read_panoptic(self.root, files, self.root / self.options.images)
        _check_missing(found, self.root)
        if found.missing:
            rank_zero_warn(f"{self.root}: {len(found.missing)} images are left out. The first: {found.missing[0]}")
        return found

    @cached_property
    def splits(self) -> dict[str, list[str]]:
        """Split -> names of its images. How they were divided is said when they are first asked for."""
        stated = {name: image.split for name, image in self.annotations.images.items()}
        if split_lists(self.root) or not any(stated.values()):
            return self.divided(list(stated))
        splits, remarks = splits_of(stated, self.options, self.root)
        for remark in remarks:
            rank_zero_info(f"{self.root}: {remark}")
        return self.folded(splits)

    def build_dataset(self, split: Split) -> PanopticImages:
        """Open a split."""
        names = names_of(self.splits, split)
        return PanopticImages(self.annotations.images, names, self.labels, self.options.ignored_labels)


def read_panoptic(root: Path, files: Sequence[Path], images: Path) -> PanopticAnnotations:
    """Read annotation files together: a class is the same in all of them if its name is.

    Args:
        root: Folder of the data.
        files: The JSON files.
        images: Folder in which the images lie at any depth.

    Raises:
        DataError: A file is damaged or of another form, an image is there twice, or segments have no file.
    """
    found, named = PanopticAnnotations(files=list(files)), NamedImages(images)
    things: dict[str, bool] = {}
    for path in files:
        content = read_json(path, _REMEDY)
        with parsing(path, _REMEDY):
            _add(found, things, path, content, root, named)
    found.class_names = list(things)
    found.things = [name for name, is_thing in things.items() if is_thing]
    return found


def _add(
    found: PanopticAnnotations,
    things: dict[str, bool],
    path: Path,
    content: dict[str, Any],
    root: Path,
    named: NamedImages,
) -> None:
    """Add what one file says."""
    categories = {int(entry["id"]): entry for entry in content["categories"]}
    for _, entry in sorted(categories.items()):
        name, is_thing = str(entry["name"]), bool(entry["isthing"])
        if things.setdefault(name, is_thing) != is_thing:
            raise DataError(f"{path} has {name!r} as {'a thing' if is_thing else 'stuff'}, and another place not.")
    split = (split_called(path.parent.name) if path.parent != root else None) or split_in(path.stem)
    pictures = {entry["id"]: entry for entry in content["images"]}
    folder = _folder_of(path, root)
    for entry in content["annotations"]:
        file_name = str(pictures[entry["image_id"]]["file_name"])
        image = named.find(file_name, split, path.parent)
        if image is None or image.is_relative_to(folder):
            found.missing.append(f"{file_name} of {path}, below {named.root}.")
            continue
        name = name_of(image, named.root)
        if name in found.images:
            raise DataError(f"{image} is annotated twice, the second time in {path}. Take it out of one.", kind="leak")
        segments = entry["segments_info"]
        found.images[name] = SegmentedImage(
            image,
            folder / str(entry["file_name"]),
            {int(one["id"]): str(categories[one["category_id"]]["name"]) for one in segments},
            frozenset(int(one["id"]) for one in segments if one.get("iscrowd")),
            split or split_of_path(image, named.root),
        )


def _folder_of(path: Path, root: Path) -> Path:
    """Return the folder of the segments' files: of the name of the JSON file, beside it or in the root."""
    places = [path.with_suffix(""), root / path.stem]
    folder = next((place for place in places if place.is_dir()), None)
    if folder is None:
        raise DataError(
            f"{path} has no folder of segments: neither {places[0]} nor {places[1]} is there. Unpack its PNG files "
            f"into {places[0]}.",
            kind="missing_files",
        )
    return folder


def _check_missing(found: PanopticAnnotations, root: Path) -> None:
    everything = len(found.images) + len(found.missing)
    if len(found.missing) > MOST_MISSING * everything:
        raise DataError(
            f"{root}: {len(found.missing)} of {everything} annotated images are missing. The first: {found.missing[0]} "
            f"Put them below the folder in which they are looked for.",
            kind="missing_files",
        )
    if not found.images:
        raise DataError(f"{root} holds no annotated images; expected {COCOPanopticDataModule.layout}.")


def _panoptic_files(root: Path) -> Iterator[Path]:
    """Give the JSON files with panoptic annotations in a folder and the folders in it, none hidden."""
    for folder in (root, *sorted(path for path in root.iterdir() if path.is_dir() and path.name[0] != ".")):
        for path in sorted(folder.glob("*.json")):
            if path.name[0] != "." and path.is_file() and head_of(path).startswith(b"{") and _has_its_words(path):
                yield path


def _has_its_words(path: Path) -> bool:
    text = read_bytes(path)
    return all(f'"{word}"'.encode() in text for word in (*_LISTS, "segments_info"))
