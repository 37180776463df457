"""Cityscapes with fine or coarse annotations."""

from __future__ import annotations

from typing import Any, Literal

from ...errors import ConfigError
from ...labels import CITYSCAPES
from ..datasets.cityscapes import Annotations, Cityscapes
from .base import SegmentationDataModule, Split


class CityscapesDataModule(SegmentationDataModule):
    """Cityscapes street scenes: 19 classes, 2048x1024, 2,975 training and 500 validation images.

    Args:
        root: Folder that holds `leftImg8bit/` and `gtFine/` or `gtCoarse/`.
        train_split: `train`, or the 20,000 images of `train_extra`, which have coarse annotations only.
        annotations: Of the training images. Validation is always scored on the fine ones.
        crop_size: Side of the training window in pixels (the papers: 769).
        kwargs: Loaders and augmentation, see `SegmentationDataModule`.
    """

    labels = CITYSCAPES

    def __init__(
        self,
        root: str = "data/cityscapes",
        train_split: Literal["train", "train_extra"] = "train",
        annotations: Annotations = "fine",
        crop_size: int = 769,
        **kwargs: Any,
    ) -> None:
        super().__init__(crop_size=crop_size, **kwargs)
        self.root = root
        self.train_split, self.annotations = train_split, annotations

    def build_dataset(self, split: Split) -> Cityscapes:
        """Open a split."""
        if split == "test":
            raise ConfigError(
                "The truth of Cityscapes' test images is not public: score val with `validate`, or segment the "
                "images with `predict --label_ids` and upload the masks."
            )
        if split == "train":
            return Cityscapes(self.root, self.train_split, self.annotations)
        return Cityscapes(self.root, "val")
