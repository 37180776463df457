"""The embedded data set: scenes drawn on the fly, nothing on disk, nothing downloaded."""

from __future__ import annotations

from typing import Any

from ...labels import DRAWN_SCENES
from ..datasets.drawn_scenes import DrawnScenes
from .base import SegmentationDataModule, Split


class DrawnScenesDataModule(SegmentationDataModule):
    """Drawn scenes, ten thousands of images if wanted, from a seed.

    Args:
        height: Of every image, in pixels.
        width: Of every image, in pixels.
        train_size: Training images; drawn anew whenever they are used, so many cost no memory.
        val_size: Validation images.
        test_size: Test images.
        scene_seed: Another one draws other images, in all splits.
        kwargs: Loaders and augmentation, see `SegmentationDataModule`.
    """

    labels = DRAWN_SCENES

    def __init__(
        self,
        height: int = 129,
        width: int = 129,
        train_size: int = 20000,
        val_size: int = 100,
        test_size: int = 200,
        scene_seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.height, self.width = height, width
        self.scene_seed = scene_seed
        self.sizes: dict[Split, int] = {"train": train_size, "val": val_size, "test": test_size}

    def build_dataset(self, split: Split) -> DrawnScenes:
        """Open a split; the splits never share an image."""
        return DrawnScenes(split, self.sizes[split], self.height, self.width, self.scene_seed)
