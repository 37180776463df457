"""PASCAL VOC 2012 with the extra annotations of SBD."""

from __future__ import annotations

from typing import Any, Literal

from lightning.pytorch.utilities import rank_zero_warn

from ...errors import ConfigError
from ...labels import VOC
from ..datasets.voc import PascalVOC
from .base import SegmentationDataModule, Split


class VOCDataModule(SegmentationDataModule):
    """PASCAL VOC 2012: 20 classes and background, 10,582 training (train_aug) and 1,449 validation pictures.

    The defaults of the base are the papers' for this data set: crops of 513 in batches of 16, scales 0.5 to 2.

    Args:
        root: Folder that holds `JPEGImages/`, `SegmentationClass/` and `ImageSets/`.
        train_split: `train_aug` as in the papers, `train` without SBD; `trainval` and `trainval_aug` for the test
            server.
        val_split: What is scored.
        sbd_root: SBD's folder that holds `cls/`, from which train_aug is computed; otherwise its list and
            `SegmentationClassAug/` are read.
        kwargs: Loaders and augmentation, see `SegmentationDataModule`.
    """

    labels = VOC

    def __init__(
        self,
        root: str = "data/VOCdevkit/VOC2012",
        train_split: Literal["train", "train_aug", "trainval", "trainval_aug"] = "train_aug",
        val_split: Literal["train", "val", "trainval"] = "val",
        sbd_root: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.root, self.sbd_root = root, sbd_root
        self.train_split, self.val_split = train_split, val_split

    def build_dataset(self, split: Split) -> PascalVOC:
        """Open a split."""
        if split == "test":
            raise ConfigError(
                "The truth of PASCAL VOC's test pictures is not public: score val with `validate`, or segment the "
                "pictures with `predict` and upload the masks."
            )
        chosen = self.train_split if split == "train" else self.val_split
        return PascalVOC(self.root, chosen, self.sbd_root)

    def setup(self, stage: str) -> None:
        """Open what a stage needs; say so where pictures are scored that were trained on."""
        super().setup(stage)
        if stage == "fit":
            train, val = self._ids("train"), self._ids("val")
            if train & val:
                rank_zero_warn(
                    f"{len(train & val)} of {len(val)} validation pictures ({self.val_split}) are trained on, being in "
                    f"{self.train_split} too: their scores tell nothing of other pictures."
                )

    def _ids(self, split: Split) -> set[str]:
        dataset = self.dataset(split)
        return {dataset.sample_id(index) for index in range(len(dataset))}
