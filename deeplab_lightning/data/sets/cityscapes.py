"""Cityscapes: street scenes of 2048x1024 from 50 cities, 19 evaluated classes.

Cordts et al.: "The Cityscapes Dataset for Semantic Urban Scene Understanding", CVPR 2016. Nothing is downloaded.
Layout:

    leftImg8bit/SPLIT/CITY/CITY_SEQ_FRAME_leftImg8bit.png
    gtFine/SPLIT/CITY/CITY_SEQ_FRAME_gtFine_labelIds.png           train, val; in test all is void
    gtFine/SPLIT/CITY/CITY_SEQ_FRAME_gtFine_instanceIds.png        likewise
    gtCoarse/SPLIT/CITY/CITY_SEQ_FRAME_gtCoarse_labelIds.png       train, train_extra, val

Where `..._labelTrainIds.png` lie beside them (cityscapesScripts makes them), those are read; otherwise label ids are
mapped to train ids as they are loaded: annotation files hold label ids 0..33, of which 19 are evaluated, networks learn
train ids 0..18 and ignore the rest as 255, and the benchmark's server wants label ids back.

Objects are told apart in `..._instanceIds.png`, where these lie beside all masks: 1000 times the label id and a running
number for each of the eight kinds of things, the bare label id for a group of things that nobody parted, and for stuff.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, get_args

import numpy as np

from ...errors import ConfigError, DataError
from ...labels import LabelSet
from ...options import at_least
from ...types import MapName
from .. import datamodule
from ..checks import check_choice, check_labels
from ..classes.mask_samples import hold_only
from ..datamodule import DataOptions, SegmentationDataModule
from ..files.images import read_mask
from ..files.object_numbers import read_numbers
from ..forms.paired_files import PairedFiles
from ..pairing.finding import files_by_stem, locate
from ..pairing.layout import Recognised
from ..wording import composed, first_few, found_instead

_CLASSES = {
    "road": (7, (128, 64, 128)),
    "sidewalk": (8, (244, 35, 232)),
    "building": (11, (70, 70, 70)),
    "wall": (12, (102, 102, 156)),
    "fence": (13, (190, 153, 153)),
    "pole": (17, (153, 153, 153)),
    "traffic light": (19, (250, 170, 30)),
    "traffic sign": (20, (220, 220, 0)),
    "vegetation": (21, (107, 142, 35)),
    "terrain": (22, (152, 251, 152)),
    "sky": (23, (70, 130, 180)),
    "person": (24, (220, 20, 60)),
    "rider": (25, (255, 0, 0)),
    "car": (26, (0, 0, 142)),
    "truck": (27, (0, 0, 70)),
    "bus": (28, (0, 60, 100)),
    "train": (31, (0, 80, 100)),
    "motorcycle": (32, (0, 0, 230)),
    "bicycle": (33, (119, 11, 32)),
}
"""Class, in the order of train ids -> its label id and its colour."""

THINGS = ("person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle")
"""Classes whose objects are told apart, and evaluated one by one."""

CITYSCAPES = LabelSet(
    tuple(_CLASSES),
    tuple(colour for _, colour in _CLASSES.values()),
    ignore_index=255,
    void_colour=(0, 0, 0),
    things=THINGS,
)

LABEL_IDS = tuple(label_id for label_id, _ in _CLASSES.values())
"""Label id of each train id."""

LABEL_ID_COUNT = 34
"""Label ids are 0..33, and -1 (licence plate), which bytes hold as 255."""

OBJECTS_OF_A_CLASS = 1000
"""Instance ids from here on are of single objects: the label id times this, and the object's number."""

UNLABELLED = 0
"""The label id that stands for "none of these" in what is written back."""

_TO_TRAIN_ID = np.full(256, CITYSCAPES.ignore_index, np.uint8)
_TO_TRAIN_ID[list(LABEL_IDS)] = np.arange(len(LABEL_IDS))
_TO_LABEL_ID = np.full(256, UNLABELLED, np.uint8)
_TO_LABEL_ID[: len(LABEL_IDS)] = LABEL_IDS

Split = Literal["train", "val", "test", "train_extra"]
Annotations = Literal["fine", "coarse"]

ANNOTATED: dict[Annotations, tuple[Split, ...]] = {
    "fine": ("train", "val", "test"),
    "coarse": ("train", "train_extra", "val"),
}
"""Splits of each kind of annotation."""

_CITIES = (
    "aachen bochum bremen cologne darmstadt dusseldorf erfurt hamburg hanover jena krefeld monchengladbach strasbourg "
    "stuttgart tubingen ulm weimar zurich frankfurt lindau munster berlin bielefeld bonn leverkusen mainz munich "
    "augsburg bad-honnef bamberg bayreuth dortmund dresden duisburg erlangen freiburg heidelberg heilbronn karlsruhe "
    "konigswinter konstanz mannheim muhlheim-ruhr nuremberg oberhausen saarbrucken schweinfurt troisdorf wuppertal "
    "wurzburg"
)
CITIES = frozenset(_CITIES.split())
"""All 50 cities, whose names are the folders'."""
_SOME_IDS = ", ".join(f"{label_id} {name}" for name, (label_id, _) in list(_CLASSES.items())[:3])

SOURCE = "https://www.cityscapes-dataset.com (free registration)"
PACKAGES: dict[Annotations, str] = {
    "fine": "leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip",
    "coarse": "leftImg8bit_trainvaltest.zip, leftImg8bit_trainextra.zip and gtCoarse.zip",
}


class Cityscapes(PairedFiles):
    """One split of Cityscapes.

    Args:
        root: The folder that holds `leftImg8bit/` and `gtFine/` or `gtCoarse/`.
        split: Which part to read. The truth of `test` is not public: its masks come out as void.
        annotations: `fine` polygons, or the `coarse` ones, which alone cover `train_extra`.

    Raises:
        ConfigError: There is no such split, or not with these annotations.
        DataError: A folder is missing or laid out otherwise, or an image lacks its mask.
    """

    labels = CITYSCAPES

    def __init__(self, root: str | Path, split: Split, annotations: Annotations = "fine") -> None:
        check_choice(split, get_args(Split), "Cityscapes has no split")
        check_choice(annotations, get_args(Annotations), "Cityscapes has no annotations")
        if split not in ANNOTATED[annotations]:
            other = next(kind for kind, splits in ANNOTATED.items() if split in splits)
            raise ConfigError(
                f"Cityscapes has no {annotations} annotations of {split}: they cover "
                f"{', '.join(ANNOTATED[annotations])}. Set annotations to {other}."
            )
        root = Path(root).expanduser()
        images = _images(root, split, annotations)
        masks = [] if split == "test" else _masks(images, root, split, annotations)
        super().__init__([_base_name(image) for image in images], images, masks)
        self._instances = _instances(masks)

    @property
    def maps(self) -> tuple[MapName, ...]:
        """The numbers of objects, if all masks have them beside them."""
        return ("instances",) if self._instances else ()

    def map_files(self, index: int) -> tuple[Path, ...]:
        """Return the file of the image's instance ids, if there is one."""
        return (self._instances[index],) if self._instances else ()

    def read_map(self, name: MapName, index: int) -> np.ndarray:
        """Read the instance ids of single things that are evaluated, such as 26003 for a car; 0 for all else."""
        ids = read_numbers(self._instances[index])
        is_thing = np.isin(ids // OBJECTS_OF_A_CLASS, [LABEL_IDS[train_id] for train_id in self.labels.thing_ids])
        return np.where(is_thing, ids, 0)

    def read_labels(self, path: Path) -> np.ndarray:
        """Read a mask of train ids or of label ids, by its name, as train ids 0..18, and 255 for all else."""
        mask = read_mask(path)
        if path.stem.endswith("_labelTrainIds"):
            remedy = (
                "Make it anew with cityscapesScripts, or delete all labelTrainIds: labelIds are read in their place."
            )
            check_labels(mask, CITYSCAPES.num_classes, CITYSCAPES.ignore_index, path, remedy)
            return mask
        remedy = f"Cityscapes has no such label ids: unpack the annotations again, from {SOURCE}."
        check_labels(mask, LABEL_ID_COUNT, CITYSCAPES.ignore_index, path, remedy)
        return to_train_ids(mask)


@dataclass(frozen=True)
class CityscapesOptions(DataOptions):
    """Cityscapes' own options."""

    root: str = "data/cityscapes"
    """Folder that holds leftImg8bit/ and gtFine/ or gtCoarse/."""
    train_split: Literal["train", "train_extra"] = "train"
    """Images to train on: train, or the 20,000 images of train_extra, which have coarse annotations only."""
    annotations: Annotations = "fine"
    """Annotations of the training images; validation is always scored on the fine ones."""
    crop_size: Annotated[int, at_least(1)] = 769
    """Side of the square training window in pixels; 769 = 16 * 48 + 1 in the DeepLab papers."""


class CityscapesDataModule(SegmentationDataModule):
    """Cityscapes street scenes: 19 classes, 2048x1024, 2,975 training and 500 validation images."""

    Options = CityscapesOptions
    options: CityscapesOptions
    labels = CITYSCAPES
    layout = "Cityscapes (leftImg8bit/, gtFine/)"
    known_by_number = True

    @classmethod
    def recognise(cls, root: Path) -> Recognised | None:
        """Recognise the folder of `leftImg8bit/` by its masks' names and values, and say so where cities are others."""
        if not (root / "leftImg8bit").is_dir() or not ((root / "gtFine").is_dir() or (root / "gtCoarse").is_dir()):
            return None
        masks = sorted(root.glob("gt[FC]*/train*/*/*_label*Ids.png"))
        ids = [mask for mask in masks if mask.stem.endswith("_labelIds")]
        if not masks or not hold_only(ids, (*range(LABEL_ID_COUNT), CITYSCAPES.ignore_index)):
            return None
        options = {"root": str(root.resolve())}
        if not (root / "gtFine" / "train").is_dir():
            options["annotations"] = "coarse"
        images = sorted((root / "leftImg8bit" / "train").glob("*/*_leftImg8bit.*"))
        remark = f"{CITYSCAPES.num_classes} classes; label ids are mapped to train ids as they are read."
        found = Recognised("Cityscapes", options, images, len(images), remarks=[remark])
        others = sorted({mask.parent.name for mask in masks} - CITIES)
        if others:
            found.remarks.append(
                f"Cityscapes has no {first_few(others)}: check that the label ids are its own ({_SOME_IDS}, ...). If "
                f"they are not, put images into images/ and masks into masks/, which are read as name: Folder."
            )
        return found

    def build_dataset(self, split: datamodule.Split) -> Cityscapes:
        """Open a split."""
        if split == "test":
            raise ConfigError(
                "The truth of Cityscapes' test images is not public: score val with `validate`, or segment the "
                "images with `predict --label_ids` and upload the masks."
            )
        if split == "train":
            return Cityscapes(self.options.root, self.options.train_split, self.options.annotations)
        return Cityscapes(self.options.root, "val")


def to_train_ids(label_ids: np.ndarray) -> np.ndarray:
    """Map label ids `(H, W)` uint8 to train ids `(H, W)` uint8: 0..18, and 255 for all that is not evaluated.

    Values that are no label ids become 255 too: check for them beforehand (`LABEL_ID_COUNT`).
    """
    return _TO_TRAIN_ID[label_ids]


def to_label_ids(train_ids: np.ndarray) -> np.ndarray:
    """Map train ids `(H, W)` uint8 to label ids `(H, W)` uint8; whatever is no train id becomes 0, unlabelled."""
    return _TO_LABEL_ID[train_ids]


def label_id_colours() -> np.ndarray:
    """Return the `(256, 3)` uint8 table that paints label ids; ids that are not evaluated are black."""
    return CITYSCAPES.colour_table()[_TO_TRAIN_ID]


def _images(root: Path, split: Split, annotations: Annotations) -> list[Path]:
    """List the images of a split, city by city."""
    folder = root / "leftImg8bit" / split
    found = "" if folder.is_dir() else found_instead(root, f"leftImg8bit/{split}")
    cities = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    images = [
        path for city in cities for stem, path in sorted(files_by_stem(city).items()) if stem.endswith("_leftImg8bit")
    ]
    if not images:
        found = found or f"{folder} holds no CITY/CITY_SEQ_FRAME_leftImg8bit.png."
        raise DataError(
            f"Cityscapes {split} was not found: {found} Expected leftImg8bit/{split}/CITY/ and "
            f"gt{annotations.title()}/{split}/CITY/. Get {PACKAGES[annotations]} from {SOURCE}, and set data.root to "
            f"the folder that holds leftImg8bit/."
        )
    return images


def _masks(images: list[Path], root: Path, split: Split, annotations: Annotations) -> list[Path]:
    """Find the mask of each image: train ids where they are at hand, label ids elsewhere."""
    kind = f"gt{annotations.title()}"
    train_ids = {
        (composed(city.name), stem): path
        for city in {image.parent for image in images}
        for stem, path in files_by_stem(root / kind / split / city.name).items()
    }
    names = []
    for image in images:
        city, base = composed(image.parent.name), f"{_base_name(image)}_{kind}"
        ids = "labelTrainIds" if (city, f"{base}_labelTrainIds") in train_ids else "labelIds"
        names.append(f"{kind}/{split}/{city}/{base}_{ids}")
    what = f"Cityscapes {split}, {annotations} annotations"
    return locate(names, root, what, f"Unpack {kind} again, from {SOURCE}.")


def _instances(masks: list[Path]) -> list[Path]:
    """Return the file of instance ids beside each mask; none where one is missing."""
    kinds = re.compile(r"_label(Train)?Ids$")
    found = [mask.with_name(f"{kinds.sub('', mask.stem)}_instanceIds.png") for mask in masks]
    return found if all(path.is_file() for path in found) else []


def _base_name(image: Path) -> str:
    return composed(image.stem).removesuffix("_leftImg8bit")
