"""What annotation files of all tools share: images with outlined objects of named classes, drawn into masks.

A form is a file in `sets/`: it finds its files, and says of each image which regions it holds (`AnnotatedImage`).
Objects are drawn in the order given, later over earlier, on background. Labels are compared without the spaces around
them and, where none fits exactly, without regard to capitals.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn

from ..errors import ConfigError, DataError, did_you_mean
from ..labels import LabelSet
from .annotations import check_declared_size
from .datamodule import Split
from .dataset import SegmentationDataset
from .images import read_image
from .layout import Recognised
from .own_images import OwnImagesDataModule, OwnImagesOptions
from .regions import Region
from .splitting import names_of
from .wording import first_few

BACKGROUNDS = ("background", "_background_", "__background__", "bg")
"""Names that tools and people give to class 0, in small letters."""
MOST_LEFT_OUT = 0.05
"""Share of all objects that may have no area: boxes where outlines are expected, lines, points, damaged polygons."""


@dataclass
class Outlined:
    """An object.

    Attributes:
        label: Name of its class.
        region: Where it is.
        where: File and number, for messages.
    """

    label: str
    region: Region
    where: str


@dataclass
class AnnotatedImage:
    """What an annotation says of an image.

    Attributes:
        image: The image's file.
        annotation: The file that says it.
        height: Of the image that was annotated, in pixels; None where it is not said.
        width: Likewise.
        objects: In the order in which they are drawn.
    """

    image: Path
    annotation: Path
    height: int | None = None
    width: int | None = None
    objects: list[Outlined] = field(default_factory=list)


@dataclass
class Annotations:
    """What all annotation files of a root say.

    Attributes:
        images: Name (unique; below a folder of its split where there are such) -> image.
        labels: Names of classes in the order that the files give them; those of the objects, sorted, if they give none.
        left_out: What is said of each object that cannot be drawn.
        remarks: What else must be said of what was read, a line each.
        nameless: Whether the labels are numbers of the file's, or one for all objects: the user's class names are
            theirs in their order.
    """

    images: dict[str, AnnotatedImage] = field(default_factory=dict)
    labels: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    nameless: bool = False


def spelled_alike(label: str) -> str:
    """Return what spellings of one label share."""
    return " ".join(label.split()).casefold()


class LabelIds:
    """Looks up the class ids of labels.

    Args:
        labels: The classes, of which the first is the background.
        ignored: Labels whose pixels are ignored.

    Raises:
        ConfigError: A label is a class and ignored.
    """

    def __init__(self, labels: LabelSet, ignored: Sequence[str] = ()) -> None:
        both = [name for name in ignored if name in labels.class_names]
        if both:
            raise ConfigError(
                f"{first_few(both)}: a class in data.class_names and ignored by data.ignored_labels. Take it out of "
                f"one of them; pixels that are to be ignored are no class."
            )
        self._ids = dict.fromkeys(BACKGROUNDS, 0) | {name: index for index, name in enumerate(labels.class_names)}
        self._ids |= dict.fromkeys(ignored, labels.ignore_index)
        alike = Counter(spelled_alike(name) for name in self._ids)
        self._loosely = {
            spelled_alike(name): value for name, value in self._ids.items() if alike[spelled_alike(name)] == 1
        }

    def __call__(self, label: object, where: str) -> int:
        """Return the id of a label.

        Raises:
            DataError: It was not declared.
        """
        found = None
        if isinstance(label, str):
            found = self._ids.get(label.strip(), self._loosely.get(spelled_alike(label)))
        if found is None:
            raise DataError(
                f"{where} has the label {label!r}, which was not declared.{did_you_mean(str(label), self._ids)} "
                f"Add it to data.class_names, or to data.ignored_labels where its pixels should not count."
            )
        return found


class OutlinedImages(SegmentationDataset):
    """Some of the annotated images.

    Args:
        annotations: Name -> image.
        names: Which to read.
        labels: The first class is the background.
        ignored: Labels whose pixels are ignored.

    Raises:
        ConfigError: A label is a class and ignored.
        DataError: A label was not declared.
    """

    def __init__(
        self,
        annotations: Mapping[str, AnnotatedImage],
        names: Sequence[str],
        labels: LabelSet,
        ignored: Sequence[str] = (),
    ) -> None:
        self.labels = labels
        self._names = list(names)
        self._images = [annotations[name] for name in names]
        self._id_of = LabelIds(labels, ignored)
        for image in self._images:
            for one in image.objects:
                self._id_of(one.label, one.where)

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
        mask = np.zeros(image.shape[:2], np.uint8)
        for one in entry.objects:
            mask[one.region.area(*image.shape[:2])] = self._id_of(one.label, one.where)
        return image, mask


@dataclass(frozen=True, kw_only=True)
class OutlinesOptions(OwnImagesOptions):
    """What is to be read of annotations."""

    ignored_labels: tuple[str, ...] = ("__ignore__",)
    """Labels of objects whose pixels are ignored."""


class OutlinesDataModule(OwnImagesDataModule, ABC):
    """Base of the forms: one of them reads its files (`read`), and says which folders have it (`is_form`)."""

    Options = OutlinesOptions
    options: OutlinesOptions
    generality = 2

    @classmethod
    @abstractmethod
    def is_form(cls, root: Path) -> bool:
        """Tell whether a folder, which exists, has this form. Cheap, and never an error."""

    @classmethod
    @abstractmethod
    def read(cls, root: Path) -> Annotations:
        """Read all annotations below a folder.

        Raises:
            DataError: A file is damaged or of another form, or its image is missing.
        """

    @classmethod
    def recognise(cls, root: Path) -> Recognised | None:
        """Recognise this form; classes are background and the labels."""
        if not cls.is_form(root):
            return None
        return cls.recognised(root, cls.read(root))

    @classmethod
    def recognised(cls, root: Path, found: Annotations) -> Recognised:
        """Return how a root is read that holds these annotations."""
        names, merged = class_names_of(found.labels)
        if found.nameless:
            names, merged = ["background", *[class_called(label) for label in found.labels]], []
        recognised = Recognised(
            str(cls.layout),
            {"root": str(root.resolve()), "class_names": names},
            [one.image for one in found.images.values()],
            max(1, int(0.8 * len(found.images))),
            remarks=list(found.remarks),
        )
        if found.nameless:
            recognised.comments["class_names"] = (
                f"name them: in the order of {', '.join(found.labels)}, which the file has no names for"
            )
        if merged:
            recognised.remarks.append(
                f"Spellings taken for one class: {'; '.join(', '.join(map(repr, one)) for one in merged)}."
            )
        if found.left_out:
            recognised.remarks.append(f"{len(found.left_out)} objects cannot be drawn. The first: {found.left_out[0]}")
        return recognised

    @cached_property
    def annotations(self) -> Annotations:
        """All that the root holds; how many objects are left out is said once.

        Raises:
            DataError: There is nothing, or too many objects cannot be drawn.
        """
        found = self.read_as_configured()
        if not found.images:
            raise DataError(f"{self.root} holds no annotations of this form: expected {self.layout}.")
        check_left_out(found.left_out, sum(len(one.objects) for one in found.images.values()), self.root)
        for remark in found.remarks:
            rank_zero_info(f"{self.root}: {remark}")
        if found.nameless:
            name_as_told(found, self.labels, self.root)
        return found

    def read_as_configured(self) -> Annotations:
        """Read what the options say."""
        return self.read(self.root)

    @cached_property
    def splits(self) -> dict[str, list[str]]:
        """Split -> names of its images."""
        return self.divided(list(self.annotations.images))

    def build_dataset(self, split: Split) -> OutlinedImages:
        """Open a split."""
        names = names_of(self.splits, split)
        return OutlinedImages(self.annotations.images, names, self.labels, self.options.ignored_labels)


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


def check_left_out(left_out: Sequence[str], drawn: int, path: Path) -> None:
    """Say how many objects have no area, or refuse the data where they are many.

    Raises:
        DataError: They are more than `MOST_LEFT_OUT` of all.
    """
    everything = drawn + len(left_out)
    if len(left_out) > MOST_LEFT_OUT * everything:
        raise DataError(f"{path}: {len(left_out)} of {everything} objects cannot be drawn. The first: {left_out[0]}")
    if left_out:
        rank_zero_warn(f"{path}: {len(left_out)} of {everything} objects are left out. The first: {left_out[0]}")


def class_names_of(
    labels: Iterable[str], special: Sequence[str] = ("__ignore__",)
) -> tuple[list[str], list[list[str]]]:
    """Return class names for labels: background first, each once; and the spellings that were taken for one.

    The spelling that comes first is kept.
    """
    by_spelling: dict[str, list[str]] = {}
    for label in labels:
        known = by_spelling.setdefault(spelled_alike(label), [])
        if label not in known:
            known.append(label)
    taken = {spelled_alike(name) for name in (*BACKGROUNDS, *special)}
    names = ["background", *[spellings[0].strip() for key, spellings in by_spelling.items() if key not in taken]]
    return names, [spellings for spellings in by_spelling.values() if len(spellings) > 1]
