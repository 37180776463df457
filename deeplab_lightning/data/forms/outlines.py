"""What annotation files of all tools share: images with outlined objects of named classes, drawn into masks.

A form is a file in `sets/`: it finds its files, and says of each image which regions it holds (`AnnotatedImage`).
Objects are drawn on background in the order given, later over earlier, or larger first where the form's order says
nothing. Labels are compared without the spaces around them and, where none fits exactly, without regard to capitals.

Each region is an object with a number of its own, where its class is one of the things; several of one label and group
are one object. What is ignored has none: in COCO's form, that is a crowd.

Splits are those of the lists in the root, else those that the form's files or folders state, else of chance. What is
stated for the test is never trained on, and whatever is left out or was decided is said.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn

from ...errors import ConfigError, DataError, did_you_mean
from ...labels import LabelSet, own_labels
from ...types import MapName
from ..datamodule import Split
from ..dataset import SegmentationDataset
from ..files.annotations import check_declared_size, parsing
from ..files.images import read_image
from ..files.regions import Region
from ..pairing.layout import Recognised
from ..pairing.splitting import SPLITS, fraction_split, names_of, split_lists, split_names
from ..wording import first_few
from .own_images import OwnImagesDataModule, OwnImagesOptions

_REMEDY = "Export it again, or take it out of the data."
BACKGROUNDS = ("background", "_background_", "__background__", "bg")
"""Names that tools and people give to class 0, in small letters."""
MOST_LEFT_OUT = 0.25
"""Share of all objects that may have no outline: boxes where outlines are expected, lines, points, damaged polygons."""
BOXES_ALONE = (
    "All {} objects are rectangles, and are drawn filled. If they are boxes around objects, as for detection, they do "
    "not tell the classes of pixels: draw outlines."
)
MOST_CLASSES = 255
"""Background included; 255 is what is ignored."""
MOST_MISSING = 0.25
"""Share of all annotated images whose file may be missing."""


@dataclass
class Outlined:
    """An object.

    Attributes:
        label: Name of its class.
        region: Where it is.
        where: File and number, for messages.
        ignored: Whether its pixels are to be ignored, such as those of a box in which an object lies somewhere.
        is_box: Whether it was drawn as a rectangle, in which an object may lie somewhere, and is to be filled.
        group: Regions of one label and group are one object; None for a region that is one by itself.
    """

    label: str
    region: Region
    where: str
    ignored: bool = False
    is_box: bool = False
    group: object = None


@dataclass
class AnnotatedImage:
    """What an annotation says of an image.

    Attributes:
        image: The image's file.
        annotation: The file that says it.
        height: Of the image that was annotated, in pixels; None where it is not said.
        width: Likewise.
        objects: In the order in which they are drawn.
        split: For which the form's files say it is; None if they say nothing.
        larger_first: Whether objects are drawn by their size instead, ignored ones below all others.
    """

    image: Path
    annotation: Path
    height: int | None = None
    width: int | None = None
    objects: list[Outlined] = field(default_factory=list)
    split: str | None = None
    larger_first: bool = False


@dataclass
class Annotations:
    """What all annotation files of a root say.

    Attributes:
        images: Name (unique; below a folder of its split where there are such) -> image.
        labels: Names of classes in the order that the files give them; those of the objects, sorted, if they give none.
        left_out: What is said of each object that has no outline.
        missing: What is said of each annotated image without a file.
        remarks: What else the user should know.
        options: What a configuration needs beside root and class names.
        comments: Option -> a remark that stands behind it in YAML.
        nameless: Whether the labels are numbers of the file's, or one for all objects: the user's class names are
            theirs in their order.
        whole_classes: Whether a region is all that an image shows of a class, so that objects are not told apart.
    """

    images: dict[str, AnnotatedImage] = field(default_factory=dict)
    labels: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)
    comments: dict[str, str] = field(default_factory=dict)
    nameless: bool = False
    whole_classes: bool = False

    def add(self, name: str, image: AnnotatedImage) -> None:
        """Add an image.

        Raises:
            DataError: It is there already.
        """
        if name in self.images:
            other = self.images[name]
            splits = {image.split, other.split}
            both = f"for {' and for '.join(sorted(map(str, splits)))}" if len(splits) > 1 else "twice"
            raise DataError(
                f"{image.image} is annotated {both}, in {other.annotation} and {image.annotation}. Take it out of one.",
                kind="leak" if len(splits) > 1 else "",
            )
        self.images[name] = image


def spelled_alike(label: str) -> str:
    """Return what spellings of one label share."""
    return " ".join(label.split()).casefold()


class LabelIds:
    """Looks up the class ids of labels.

    Args:
        labels: The classes, of which the first is the background.
        ignored: Labels whose pixels are ignored.
        known: All labels that the files have, for messages.

    Raises:
        ConfigError: A label is a class and ignored.
    """

    def __init__(self, labels: LabelSet, ignored: Sequence[str] = (), known: Sequence[str] = ()) -> None:
        self._known = known
        both = [name for name in ignored if name in labels.class_names]
        if both:
            raise ConfigError(
                f"{first_few(both)}: a class in data.class_names and ignored by data.ignored_labels. Take it out of "
                f"one of them; pixels that are to be ignored are no class."
            )
        self._ids = dict.fromkeys(BACKGROUNDS, 0) | {name: index for index, name in enumerate(labels.class_names)}
        self._ids |= dict.fromkeys(ignored, labels.ignore_index)
        loosely: dict[str, set[int]] = {}
        for name, value in self._ids.items():
            loosely.setdefault(spelled_alike(name), set()).add(value)
        self._loosely = {key: values.pop() for key, values in loosely.items() if len(values) == 1}

    def __call__(self, label: object, where: str) -> int:
        """Return the id of a label.

        Raises:
            DataError: It was not declared.
        """
        found = None
        if isinstance(label, str):
            found = self._ids.get(label, self._ids.get(label.strip(), self._loosely.get(spelled_alike(label))))
        if found is None:
            raise DataError(
                f"{where} has the label {label!r}, which was not declared.{did_you_mean(str(label), self._ids)} "
                f"Add it to data.class_names, or to data.ignored_labels where its pixels should not count."
                + (f" The labels there are: {first_few(self._known, 30)}." if self._known else "")
            )
        return found


class OutlinedImages(SegmentationDataset):
    """Some of the annotated images.

    Args:
        annotations: Name -> image.
        names: Which to read.
        labels: The first class is the background.
        ignored: Labels whose pixels are ignored.
        known: All labels that the files have, for messages.
        whole_classes: See `Annotations`.

    Raises:
        ConfigError: A label is a class and ignored.
        DataError: A label was not declared, or nothing but ignored objects would be left.
    """

    def __init__(
        self,
        annotations: Mapping[str, AnnotatedImage],
        names: Sequence[str],
        labels: LabelSet,
        ignored: Sequence[str] = (),
        known: Sequence[str] = (),
        whole_classes: bool = False,
    ) -> None:
        self.labels, self._whole_classes = labels, whole_classes
        self._names = list(names)
        self._images = [annotations[name] for name in names]
        self._id_of = LabelIds(labels, ignored, known)
        drawn = {self._value(one) for image in self._images for one in image.objects}
        if drawn == {labels.ignore_index}:
            raise DataError(
                f"Every object of these {len(names)} images is ignored, as those of {self._images[0].annotation}: "
                f"there is nothing to learn. Take their labels out of data.ignored_labels, or export single objects."
            )

    def __len__(self) -> int:
        return len(self._images)

    def sample_id(self, index: int) -> str:
        """Return the image's name."""
        return self._names[index]

    def files(self, index: int) -> tuple[Path, ...]:
        """Return the image's file and its annotation's."""
        return self._images[index].image, self._images[index].annotation

    def load(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Read image `index`, and draw its mask of class ids and the ignored value.

        Raises:
            DataError: The image is unreadable or of another size than its annotation says, or a region is of another.
        """
        entry = self._images[index]
        image = read_image(entry.image)
        check_declared_size(image, entry.height, entry.width, entry.image, entry.annotation)
        return image, self._drawn(index, image.shape[:2], [self._value(one) for one in entry.objects], np.uint8)

    @property
    def maps(self) -> tuple[MapName, ...]:
        """The numbers of objects, if regions are objects and some classes are things."""
        return ("instances",) if self.labels.things and not self._whole_classes else ()

    def read_map(self, name: MapName, index: int) -> np.ndarray:
        """Draw the numbers of the objects as their mask is drawn: the place of the first region in the list, from 1."""
        entry = self._images[index]
        size = entry.height, entry.width
        height, width = size if size[0] and size[1] else read_image(entry.image).shape[:2]
        values = [self._value(one) for one in entry.objects]
        return self._drawn(index, (height, width), numbers_of_objects(entry.objects, values, self.labels), np.int32)

    def _drawn(self, index: int, size: tuple[int, int], values: Sequence[int], dtype: type[np.generic]) -> np.ndarray:
        """Draw an image's regions, each with its value, later over earlier."""
        entry = self._images[index]
        drawn = [
            (value, one, *_trimmed(one.region.area(*size))) for value, one in zip(values, entry.objects, strict=True)
        ]
        if entry.larger_first:
            drawn.sort(key=lambda each: (self._value(each[1]) != self.labels.ignore_index, -int(each[3].sum())))
        canvas = np.zeros(size, dtype)
        for value, _, place, area in drawn:
            canvas[place][area] = value
        return canvas

    def _value(self, one: Outlined) -> int:
        """Return what an object's pixels become; the label of an ignored one must be known, too."""
        value = self._id_of(one.label, one.where)
        return self.labels.ignore_index if one.ignored else value


def numbers_of_objects(objects: Sequence[Outlined], values: Sequence[int], labels: LabelSet) -> list[int]:
    """Return the number of each region's object, from 1; 0 for regions that are no things.

    Args:
        objects: The regions of an image.
        values: What their pixels are in the mask.
        labels: Tells the things.
    """
    first: dict[tuple[int, object], int] = {}
    numbers = []
    for place, (one, value) in enumerate(zip(objects, values, strict=True), start=1):
        number = place if one.group is None else first.setdefault((value, one.group), place)
        numbers.append(number if value in labels.thing_ids else 0)
    return numbers


def _trimmed(area: np.ndarray) -> tuple[tuple[slice, slice], np.ndarray]:
    """Return the part of `(H, W)` bool that is not empty, and where it lies: many objects of a large image are held."""
    rows, columns = np.flatnonzero(area.any(axis=1)), np.flatnonzero(area.any(axis=0))
    if not len(rows):
        return (slice(0, 0), slice(0, 0)), area[:0, :0]
    place = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    return place, area[place].copy()


@dataclass(frozen=True, kw_only=True)
class OutlinesOptions(OwnImagesOptions):
    """What must be said where objects are outlined one by one."""

    ignored_labels: tuple[str, ...] = ("__ignore__",)
    """Labels of objects whose pixels are ignored."""
    things: tuple[str, ...] | None = None
    """Classes whose objects are told apart, where the model asks for objects; null takes all but the background, []
    none."""

    @property
    def labels(self) -> LabelSet:
        """What the numbers in masks mean."""
        labels = own_labels(self.class_names)
        return replace(labels, things=labels.class_names[1:] if self.things is None else self.things)


class OutlinesDataModule(OwnImagesDataModule, ABC):
    """Base of the forms: one of them reads its files (`read`), and says which folders have it (`is_form`)."""

    Options = OutlinesOptions
    options: OutlinesOptions
    generality = 2
    lists_divide: ClassVar[bool] = True
    """Whether train.txt and such in the root are lists of the user's; some forms have files of that name themselves."""

    @classmethod
    def label_set(cls, options: OutlinesOptions) -> LabelSet:
        """Say what the numbers in masks mean."""
        return options.labels

    @classmethod
    @abstractmethod
    def is_form(cls, root: Path) -> bool:
        """Tell whether a folder, which exists, has this form. Cheap, and never an error."""

    @classmethod
    @abstractmethod
    def read(cls, root: Path) -> Annotations:
        """Read all annotations below a folder.

        Raises:
            DataError: A file is damaged or of another form.
        """

    @classmethod
    def recognise(cls, root: Path) -> Recognised | None:
        """Recognise this form; classes are background and the labels.

        Raises:
            DataError: It has this form, and cannot be read.
        """
        if not cls.is_form(root):
            return None
        with parsing(root, _REMEDY):
            return cls.recognised(root.resolve(), cls.read(root.resolve()))

    @classmethod
    def recognised(cls, root: Path, found: Annotations) -> Recognised:
        """Say how a root is read that holds these annotations.

        Raises:
            DataError: They cannot be used.
        """
        remarks = checked(found, root, cls.layout)
        names, said = class_names_of(found.labels)
        comments = dict(found.comments)
        if found.nameless:
            names, said = ["background", *map(class_called, found.labels)], []
            comments["class_names"] = f"name them, in this order: the file has only {first_few(found.labels)}"
        if not 2 <= len(names) <= MOST_CLASSES:
            raise DataError(
                f"{root} names {len(names) - 1} labels, expected 1 to {MOST_CLASSES - 1}: masks of classes hold no "
                f"more. Give fewer of them to the objects, or export those that you need."
            )
        if not any(image.objects for image in found.images.values()):
            raise DataError(
                f"None of the {len(found.images)} annotated images of {root} has an outlined object: there is nothing "
                f"to learn. Tags of whole images are none."
            )
        options = cls.Options(root=str(root), class_names=names)
        splits, rule = cls.divided_as_stated(options, root, found)
        return Recognised(
            str(cls.layout).partition(" (")[0],
            {"root": options.root, "class_names": names, **found.options},
            [found.images[name].image for name in splits["train"]],
            len(splits["train"]),
            comments=comments,
            remarks=[*remarks, *said, *rule],
        )

    @cached_property
    def annotations(self) -> Annotations:
        """All that the root holds; what is left out is said once.

        Raises:
            DataError: There is nothing, too many objects have no outline, or too many images are missing.
        """
        found = self.read_as_configured()
        for remark in checked(found, self.root, self.layout):
            say = rank_zero_warn if "left out" in remark else rank_zero_info
            say(f"{self.root}: {remark}")
        if found.nameless:
            name_as_told(found, self.labels, self.root)
        return found

    def read_as_configured(self) -> Annotations:
        """Read what the options say."""
        with parsing(self.root, _REMEDY):
            return self.read(self.root)

    @cached_property
    def splits(self) -> dict[str, list[str]]:
        """Split -> names of its images. How they were divided is said when they are first asked for."""
        splits, remarks = self.divided_as_stated(self.options, self.root, self.annotations)
        for remark in remarks:
            rank_zero_info(f"{self.root}: {remark}")
        return self.folded(splits)

    @classmethod
    def divided_as_stated(
        cls, options: OwnImagesOptions, root: Path, found: Annotations
    ) -> tuple[dict[str, list[str]], list[str]]:
        """Return the names of each split, and what is to be said of them."""
        stated = {name: image.split for name, image in found.images.items()}
        if (cls.lists_divide and split_lists(root)) or not any(stated.values()):
            fractions = (options.val_fraction, options.test_fraction, options.split_seed)
            return split_names(root, list(stated), *fractions), []
        return splits_of(stated, options, root)

    def build_dataset(self, split: Split) -> OutlinedImages:
        """Open a split."""
        found, names = self.annotations, names_of(self.splits, split)
        ignored = self.options.ignored_labels
        return OutlinedImages(found.images, names, self.labels, ignored, found.labels, found.whole_classes)


def class_called(label: str) -> str:
    """Return a class name to begin with for a label that is none."""
    return f"class_{label}" if label.isdigit() else label


def name_as_told(found: Annotations, labels: LabelSet, path: Path) -> None:
    """Give nameless objects the user's class names, in the order of the labels.

    Raises:
        DataError: They are not as many.
    """
    names = labels.class_names[1:]
    if len(names) != len(found.labels):
        raise DataError(
            f"{path} has {len(found.labels)} kinds of objects ({', '.join(found.labels)}) without names, but "
            f"data.class_names has {len(names)} behind the background: name each of them, in this order."
        )
    named = dict(zip(found.labels, names, strict=True))
    for image in found.images.values():
        for one in image.objects:
            one.label = named[one.label]
    found.labels = list(names)


def splits_of(
    stated: Mapping[str, str | None], options: OwnImagesOptions, root: Path
) -> tuple[dict[str, list[str]], list[str]]:
    """Divide images of which some are stated to be of a split: what is missing is taken from train by chance.

    Args:
        stated: Name of each image -> its split; None for none.
        options: Shares and seed.
        root: For messages.

    Returns:
        Split -> names, train first; and what is to be said.

    Raises:
        DataError: All are for the test, or too few to divide.
    """
    splits: dict[str, list[str]] = {}
    for name, split in stated.items():
        splits.setdefault(split or "", []).append(name)
    said: list[str] = []
    others = splits.pop("", [])
    if others and "train" not in splits:
        said.append(f"{len(others)} images are stated for no split, and no others for training: they are trained on.")
        splits["train"] = others
    elif others:
        said.append(f"{len(others)} images are stated for no split, and left out: {first_few(others, 3)}.")
    if "train" not in splits and "val" in splits:
        said.append("There are images for validation alone (val): they are divided for training, too.")
        splits["train"] = splits.pop("val")
    if "train" not in splits:
        raise DataError(
            f"The {len(splits['test'])} annotated images of {root} are all for the test, which is never trained on. "
            f"Add those for training, or, if these are, name their folder or file train."
        )
    shares = {"val": options.val_fraction, "test": options.test_fraction}
    shares = {split: share for split, share in shares.items() if share and split not in splits}
    if shares:
        splits |= fraction_split(splits["train"], shares, options.split_seed)
        taken = " and ".join(f"{len(splits[split])} for {split}" for split in shares)
        said.append(f"None are stated for {' or '.join(shares)}: {taken} were taken from train by chance.")
    splits = {split: splits[split] for split in SPLITS if split in splits}
    sizes = ", ".join(f"{len(names)} {split}" for split, names in splits.items())
    return splits, [*said, f"Images are divided as their folders or files say: {sizes}."]


def checked(found: Annotations, root: Path, layout: str | None) -> list[str]:
    """Return what is to be said of annotations.

    Raises:
        DataError: There are none, or too many objects have no outline, or too many images no file.
    """
    everything = len(found.images) + len(found.missing)
    if len(found.missing) > MOST_MISSING * everything:
        raise DataError(
            f"{root}: {len(found.missing)} of {everything} annotated images are missing. The first: {found.missing[0]} "
            f"Put them below the folder in which they are looked for.",
            kind="missing_files",
        )
    if not found.images:
        raise DataError(f"{root} holds no annotated images; expected {layout}.")
    objects = sum(not one.ignored for image in found.images.values() for one in image.objects)
    check_left_out(found.left_out, objects, root)
    drawn = [one for image in found.images.values() for one in image.objects if not one.ignored]
    _check_not_shares(drawn)
    said = list(found.remarks)
    if drawn and all(one.is_box for one in drawn):
        said.append(BOXES_ALONE.format(len(drawn)))
    empty = sum(not image.objects for image in found.images.values())
    if empty:
        said.append(f"{empty} of {len(found.images)} images have no objects, and show background alone.")
    if found.missing:
        said.append(
            f"{len(found.missing)} of {everything} annotated images are missing, and left out. The first: "
            f"{found.missing[0]}"
        )
    if found.left_out:
        said.append(
            f"{len(found.left_out)} of {objects + len(found.left_out)} objects are left out; where they have a box, it "
            f"is ignored. The first: {found.left_out[0]}"
        )
    return said


def _check_not_shares(objects: Sequence[Outlined]) -> None:
    """Refuse outlines of which many lie within the first pixel, as shares of an image's size do.

    Raises:
        DataError: They are more than `MOST_LEFT_OUT` of all.
    """
    tiny = [one for one in objects if one.region.is_within_a_pixel]
    if len(tiny) > MOST_LEFT_OUT * len(objects):
        raise DataError(
            f"{len(tiny)} of {len(objects)} outlines have points from 0 to 1 alone, such as {tiny[0].where}: shares of "
            f"the image's size, it seems. Expected pixels: multiply x by the width and y by the height."
        )


def check_left_out(left_out: Sequence[str], drawn: int, path: Path) -> None:
    """Refuse data of which many objects have no outline.

    Raises:
        DataError: They are more than `MOST_LEFT_OUT` of all.
    """
    everything = drawn + len(left_out)
    if len(left_out) > MOST_LEFT_OUT * everything:
        raise DataError(f"{path}: {len(left_out)} of {everything} objects have no outline. The first: {left_out[0]}")


def class_names_of(labels: Iterable[str], special: Sequence[str] = ("__ignore__",)) -> tuple[list[str], list[str]]:
    """Return class names for labels: background first, each once; and what is to be said of them.

    Of several spellings the first is kept.
    """
    by_spelling: dict[str, list[str]] = {}
    for label in labels:
        known = by_spelling.setdefault(spelled_alike(label), [])
        if label not in known:
            known.append(label)
    backgrounds = {spelled_alike(name) for name in BACKGROUNDS}
    ignored = {spelled_alike(name) for name in special}
    names = ["background"]
    names += [" ".join(one[0].split()) for key, one in by_spelling.items() if key and key not in backgrounds | ignored]
    said = [
        f"Spellings taken for one class: {', '.join(map(repr, one))}." for one in by_spelling.values() if len(one) > 1
    ]
    called = [one[0] for key, one in by_spelling.items() if key in backgrounds]
    if called:
        said.append(f"Objects labelled {' or '.join(map(repr, called))} are the background: where they lie, class 0.")
    return names, said
