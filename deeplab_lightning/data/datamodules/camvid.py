"""CamVid in the form of the SegNet tutorial."""

from __future__ import annotations

from typing import Any

from ...labels import CAMVID
from ..datasets.camvid import CamVid
from .base import SegmentationDataModule, Split


class CamVidDataModule(SegmentationDataModule):
    """CamVid road scenes: 11 classes, 480x360, 367 training and 101 validation images.

    Args:
        root: Folder that holds `train/`, `trainannot/`, `train.txt` and so on.
        kwargs: Loaders and augmentation, see `SegmentationDataModule`.
    """

    labels = CAMVID

    def __init__(self, root: str = "data/CamVid", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.root = root

    def build_dataset(self, split: Split) -> CamVid:
        """Open a split."""
        return CamVid(self.root, split)
