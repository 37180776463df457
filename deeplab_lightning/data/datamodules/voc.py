"""PASCAL VOC 2012 with the extra annotations of SBD."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch.utilities import rank_zero_only, rank_zero_warn

from ...errors import ConfigError, DataError
from ...labels import VOC
from ..datasets.voc import LISTS, PascalVOC
from ..download import Archive, fetch_and_unpack
from .base import SegmentationDataModule, Split

# Addresses and check sums as torchvision 0.29 lists them (datasets/voc.py, datasets/sbd.py); sizes as logs of downloads
# show them. Nobody here has fetched the 3.4 GB to confirm them.
VOC_ARCHIVE = Archive(
    "VOCtrainval_11-May-2012.tar",
    (
        "https://thor.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar",
        "http://host.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar",
    ),
    md5="6cd6e144f989b92b3379bac3b3de84fd",
    size=1_999_639_040,
)
SBD_ARCHIVE = Archive(
    "benchmark.tgz",
    ("https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/semantic_contours/benchmark.tgz",),
    md5="82b4d87ceb2ed10f6038a1cba92111cb",
    size=1_419_539_633,
)

WAIT = 5.0
"""Seconds between looks of the other processes at whether the first has got the data."""
LONGEST_WAIT = 6 * 3600.0
"""Seconds after which they give up."""


class VOCDataModule(SegmentationDataModule):
    """PASCAL VOC 2012: 20 classes and background, 10,582 training (train_aug) and 1,449 validation images.

    The defaults of the base are the papers' for this data set: crops of 513 in batches of 16, scales 0.5 to 2.

    Args:
        root: Folder that holds `JPEGImages/`, `SegmentationClass/` and `ImageSets/`.
        train_split: `train_aug` as in the papers, `train` without SBD; `trainval` and `trainval_aug` for the test
            server.
        val_split: What is scored.
        sbd_root: SBD's folder that holds `cls/`, from which train_aug is computed; otherwise its list and
            `SegmentationClassAug/` are read.
        download: Whether to get VOC, and SBD if `train_split` needs it, where they are missing: 3.4 GB, twice that
            until the archives are deleted. SBD goes to `sbd_root`, or to `SBD` beside the root.
        kwargs: Loaders and augmentation, see `SegmentationDataModule`.
    """

    labels = VOC

    def __init__(
        self,
        root: str = "data/VOCdevkit/VOC2012",
        train_split: Literal["train", "train_aug", "trainval", "trainval_aug"] = "train_aug",
        val_split: Literal["train", "val", "trainval"] = "val",
        sbd_root: str | None = None,
        download: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.prepare_data_per_node = False  # the processes of all nodes read one folder
        self.root, self.sbd_root = root, sbd_root
        self.train_split, self.val_split = train_split, val_split
        self.download = download
        if download and sbd_root is None and train_split.endswith("_aug") and not self._has_list():
            self.sbd_root = str(Path(root).expanduser().parent / "SBD")
        # What a checkpoint keeps: it finds SBD where it was put, and asks for no download.
        self.hparams.update(sbd_root=self.sbd_root, download=False)

    def prepare_data(self) -> None:
        """Get what is missing, if asked to; in the first process only."""
        if not self.download:
            return
        for archive, inner, target, sign in self._needed():
            if not (target / sign).exists():
                fetch_and_unpack(archive, inner, target)

    def build_dataset(self, split: Split) -> PascalVOC:
        """Open a split."""
        if split == "test":
            raise ConfigError(
                "The truth of PASCAL VOC's test images is not public: score val with `validate`, or segment the "
                "images with `predict` and upload the masks."
            )
        chosen = self.train_split if split == "train" else self.val_split
        return PascalVOC(self.root, chosen, self.sbd_root)

    def setup(self, stage: str) -> None:
        """Open what a stage needs; say so where images are scored that were trained on."""
        # The command line opens the data before there is a Trainer that would call prepare_data.
        if getattr(rank_zero_only, "rank", 0) == 0:
            self.prepare_data()
        elif self.download:
            self._wait_for_the_first_process()
        super().setup(stage)
        if stage == "fit":
            train, val = self._ids("train"), self._ids("val")
            if train & val:
                rank_zero_warn(
                    f"{len(train & val)} of {len(val)} validation images ({self.val_split}) are trained on, being in "
                    f"{self.train_split} too: their scores tell nothing of other images."
                )

    def _needed(self) -> list[tuple[Archive, str, Path, str]]:
        """Return each archive, the folder in it, where that goes, and by what it is recognised."""
        needed = [(VOC_ARCHIVE, "VOCdevkit/VOC2012", Path(self.root).expanduser(), "ImageSets/Segmentation")]
        if self.sbd_root and self.train_split.endswith("_aug"):
            needed.append((SBD_ARCHIVE, "benchmark_RELEASE/dataset", Path(self.sbd_root).expanduser(), "cls"))
        return needed

    def _has_list(self) -> bool:
        """Whether others' list of train_aug lies in the root, so that SBD itself is not needed."""
        return any((Path(self.root).expanduser() / "ImageSets" / name).is_file() for name in LISTS[self.train_split])

    def _wait_for_the_first_process(self) -> None:
        """Return when all folders are there: they appear whole."""
        end = time.monotonic() + LONGEST_WAIT
        while missing := [target for _, _, target, sign in self._needed() if not (target / sign).exists()]:
            if time.monotonic() > end:
                raise DataError(
                    f"Waited {LONGEST_WAIT / 3600:g} hours for the first process to download {missing[0]}. Download in "
                    f"one process first; its folder must be seen by all."
                )
            time.sleep(WAIT)

    def _ids(self, split: Split) -> set[str]:
        dataset = self.dataset(split)
        return {dataset.sample_id(index) for index in range(len(dataset))}
