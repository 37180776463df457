"""ADE20K, as the scene parsing benchmark has it."""

from __future__ import annotations

from typing import Any

from ...errors import ConfigError
from ...labels import ADE20K
from ..datasets.ade20k import ADE20KScenes
from .base import SegmentationDataModule, Split


class ADE20KDataModule(SegmentationDataModule):
    """ADE20K scenes: 150 classes, images of many sizes, 20,210 for training and 2,000 for validation.

    Args:
        root: Folder that holds `images/` and `annotations/`.
        kwargs: Loaders and augmentation, see `SegmentationDataModule`.
    """

    labels = ADE20K

    def __init__(self, root: str = "data/ADEChallengeData2016", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.root = root

    def build_dataset(self, split: Split) -> ADE20KScenes:
        """Open a split."""
        if split == "test":
            raise ConfigError(
                "The truth of ADE20K's test images is not public: score val with `validate`, or segment the images "
                "with `predict`."
            )
        return ADE20KScenes(self.root, split)
