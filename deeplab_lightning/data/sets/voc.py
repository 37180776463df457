"""PASCAL VOC 2012 with the extra annotations of SBD: 20 classes of things and background, images of many sizes.

Everingham et al.: "The PASCAL Visual Object Classes Challenge: A Retrospective", IJCV 111(1), 2015. Hariharan et al.:
"Semantic Contours from Inverse Detectors", ICCV 2011 (SBD). Nothing is downloaded unasked. Layout, below
`VOCdevkit/VOC2012`:

    JPEGImages/ID.jpg
    SegmentationClass/ID.png              palette PNG; 255 = void, on the border of things
    SegmentationClassAug/ID.png           VOC's and SBD's masks in one form, for train_aug (made by others)
    ImageSets/Segmentation/SPLIT.txt      one ID a line, or "/JPEGImages/ID.jpg /SegmentationClassAug/ID.png"
    ImageSets/SegmentationAug/SPLIT.txt   likewise, for train_aug

train_aug, on which DeepLab is trained, is VOC train and all of SBD without VOC val. SBD names its own training images
after another division, and many of them are in VOC val: whoever adds them trains on what is scored. So the list is
computed where SBD itself is given, and checked where a list is.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal, get_args

import numpy as np
from lightning.pytorch.utilities import rank_zero_only, rank_zero_warn

from ...errors import ConfigError, DataError
from ...labels import LabelSet, voc_palette
from .. import datamodule
from ..checks import check_choice, check_labels, check_unique
from ..classes.mask_samples import hold_only
from ..classes.stated_classes import states_others
from ..datamodule import DataOptions, SegmentationDataModule
from ..download import Archive, fetch_and_unpack
from ..files.arrays import read_mat
from ..forms.paired_files import PairedFiles
from ..pairing.finding import files_by_stem, locate
from ..pairing.layout import Recognised, lines_of
from ..pairing.lists import read_list
from ..wording import first_few, found_instead

_NAMES = (
    "background aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike person "
    "pottedplant sheep sofa train tvmonitor"
)
VOC = LabelSet(tuple(_NAMES.split()), voc_palette(21), ignore_index=255)
"""20 classes and background in VOC's own order and colours; 255 is void."""

Split = Literal["train", "val", "trainval", "test", "train_aug", "trainval_aug"]

LISTS: dict[Split, tuple[str, ...]] = {
    "train": ("Segmentation/train.txt",),
    "val": ("Segmentation/val.txt",),
    "trainval": ("Segmentation/trainval.txt",),
    "test": ("Segmentation/test.txt",),
    "train_aug": ("SegmentationAug/train_aug.txt", "Segmentation/train_aug.txt", "Segmentation/trainaug.txt"),
    "trainval_aug": (
        "SegmentationAug/trainval_aug.txt",
        "Segmentation/trainval_aug.txt",
        "Segmentation/trainvalaug.txt",
    ),
}
"""Where the list of a split is looked for, below `ImageSets/`; the names under which people pass them on."""

COUNT_OF_TRAIN, COUNTS_OF_2007 = 1464, (209, 422)
"""Images in VOC's own train.txt of 2012, and those of 2007, with and without val."""
_ID, _ID_OF_2007 = re.compile(r"20(0[5-9]|1[0-2])_\d{6}"), re.compile(r"00\d{4}")

VOC_SOURCE = "http://host.robots.ox.ac.uk/pascal/VOC/voc2012/ (VOCtrainval_11-May-2012.tar)"
SBD_SOURCE = "http://home.bharathh.info/pubs/codes/SBD/download.html (benchmark.tgz)"

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


class PascalVOC(PairedFiles):
    """One split of PASCAL VOC 2012.

    A mask is VOC's own wherever VOC has one, being finer and with a void border; the augmentation's elsewhere.

    Args:
        root: The folder that holds `JPEGImages/`, `SegmentationClass/` and `ImageSets/`.
        split: Which part to read. `test` has no masks: they come out as void.
        sbd_root: For `train_aug` and `trainval_aug`, SBD's folder that holds `cls/`, `train.txt` and `val.txt`, from
            which the split is computed; if not given, its list and `SegmentationClassAug/` are read.

    Raises:
        ConfigError: There is no such split.
        DataError: A folder is missing or laid out otherwise, a listed file is missing, a name repeats, or a split for
            training (`train`, `train_aug`) names images of VOC val.
    """

    labels = VOC

    def __init__(self, root: str | Path, split: Split, sbd_root: str | Path | None = None) -> None:
        check_choice(split, get_args(Split), "PASCAL VOC has no split")
        root = Path(root).expanduser()
        if not (root / "JPEGImages").is_dir() or not (root / "ImageSets" / "Segmentation").is_dir():
            raise DataError(
                f"PASCAL VOC was not found: {found_instead(root, 'ImageSets/Segmentation')} Expected JPEGImages/, "
                f"SegmentationClass/ and ImageSets/Segmentation/. Set data.root to the folder that holds JPEGImages/ "
                f"(VOCdevkit/VOC2012), or get the data: --data.download true, or by hand from {VOC_SOURCE}."
            )
        what = f"PASCAL VOC {split}"
        remedy = f"Unpack {VOC_SOURCE} again."
        sbd = Path(sbd_root).expanduser() if sbd_root is not None and split.endswith("_aug") else None
        ids = _ids_with_sbd(root, split, sbd) if sbd else _listed_ids(root, split)
        if split in ("train", "train_aug"):
            leaked = sorted(set(ids) & set(_listed_ids(root, "val")))
            if leaked:
                raise DataError(
                    f"PASCAL VOC {split}: {len(leaked)} of {len(ids)} images are in VOC val too: {first_few(leaked)}. "
                    f"Scores on val would be worth nothing. Take them out of the list of {split} in "
                    f"{root / 'ImageSets'}, or, for the test server, use split trainval or trainval_aug.",
                    kind="leak",
                )

        images = locate([f"JPEGImages/{name}" for name in ids], root, what, remedy)
        masks: list[Path] = []
        if split.endswith("_aug"):
            masks = _masks_with_augmentation(ids, root, sbd, what)
        elif split != "test":
            masks = locate([f"SegmentationClass/{name}" for name in ids], root, what, remedy)
        super().__init__(ids, images, masks)

    def read_labels(self, path: Path) -> np.ndarray:
        """Read a mask of VOC's, or one of SBD's own, as 0..20, and 255 for void."""
        if path.suffix != ".mat":
            return super().read_labels(path)
        mask = _read_sbd_mask(path)
        check_labels(mask, self.labels.num_classes, self.labels.ignore_index, path)
        return mask


@dataclass(frozen=True)
class VOCOptions(DataOptions):
    """PASCAL VOC's own options. The defaults of all others are the papers' for this data set."""

    root: str = "data/VOCdevkit/VOC2012"
    """Folder that holds JPEGImages/, SegmentationClass/ and ImageSets/."""
    train_split: Literal["train", "train_aug", "trainval", "trainval_aug"] = "train_aug"
    """Images to train on: train_aug as in the papers, train without SBD; trainval and trainval_aug for the test
    server."""
    val_split: Literal["train", "val", "trainval"] = "val"
    """Images to score in validation."""
    sbd_root: str | None = None
    """SBD's folder that holds cls/, from which train_aug is computed; null reads the list of train_aug and
    SegmentationClassAug/ from the root."""
    download: bool = False
    """Get VOC, and SBD if train_split needs it, where they are missing: 3.4 GB, twice that until the archives are
    deleted. SBD goes to sbd_root, or to SBD beside the root."""


class VOCDataModule(SegmentationDataModule):
    """PASCAL VOC 2012: 20 classes and background, 10,582 training (train_aug) and 1,449 validation images."""

    Options = VOCOptions
    options: VOCOptions
    labels = VOC
    layout = "VOC2012 (JPEGImages/, SegmentationClass/, ImageSets/)"
    known_by_number = True

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.prepare_data_per_node = False  # the processes of all nodes read one folder
        self.root = Path(self.options.root).expanduser()
        self.sbd_root, train_split = self.options.sbd_root, self.options.train_split
        listed = any((self.root / "ImageSets" / name).is_file() for name in LISTS[train_split])
        if self.options.download and self.sbd_root is None and train_split.endswith("_aug") and not listed:
            self.sbd_root = str(self.root.parent / "SBD")
        # What a checkpoint keeps: it finds SBD where it was put, and asks for no download.
        self.hparams.update(sbd_root=self.sbd_root, download=False)

    @classmethod
    def recognise(cls, root: Path) -> Recognised | None:
        """Recognise `VOC2012/`, not other classes in its folders: by its images' names, values, palette and count."""
        lists = root / "ImageSets" / "Segmentation"
        if not (root / "JPEGImages").is_dir() or not lists.is_dir() or states_others(root, VOC.class_names):
            return None
        listed, masks = lines_of(lists / "train.txt"), files_by_stem(root / "SegmentationClass")
        of_2007 = len(listed) in COUNTS_OF_2007 and all(map(_ID_OF_2007.fullmatch, masks))
        if masks and not of_2007 and not all(map(_ID.fullmatch, masks)):
            return None
        colours = dict(enumerate(voc_palette()))
        if not hold_only(list(masks.values()), (*range(VOC.num_classes), VOC.ignore_index), colours):
            return None
        augmented = any((root / "ImageSets").glob("Segmentation*/train*aug.txt"))
        found = Recognised(
            "PASCAL VOC 2012",
            {"root": str(root.resolve()), "train_split": "train_aug" if augmented else "train"},
            list(files_by_stem(root / "JPEGImages").values()),
            len(listed),
        )
        if not of_2007 and len(listed) != COUNT_OF_TRAIN:
            found.remarks.append(
                f"Folders, names and colours are as PASCAL VOC 2012's, but train.txt lists {len(listed)} images, where "
                f"VOC has {COUNT_OF_TRAIN}. If the classes are your own, read them as name: Folder, with images: "
                f"JPEGImages and masks: SegmentationClass."
            )
        if not augmented:
            found.comments["train_split"] = "there is no list for train_aug (SBD's annotations)"
        return found

    def prepare_data(self) -> None:
        """Get what is missing, if asked to; in the first process only."""
        if not self.options.download:
            return
        for archive, inner, target, sign in self._needed():
            if not (target / sign).exists():
                fetch_and_unpack(archive, inner, target)

    def build_dataset(self, split: datamodule.Split) -> PascalVOC:
        """Open a split."""
        if split == "test":
            raise ConfigError(
                "The truth of PASCAL VOC's test images is not public: score val with `validate`, or segment the "
                "images with `predict` and upload the masks."
            )
        chosen = self.options.train_split if split == "train" else self.options.val_split
        return PascalVOC(self.root, chosen, self.sbd_root)

    def setup(self, stage: str) -> None:
        """Open what a stage needs; say so where images are scored that were trained on."""
        # The command line opens the data before there is a Trainer that would call prepare_data.
        if getattr(rank_zero_only, "rank", 0) == 0:
            self.prepare_data()
        elif self.options.download:
            self._wait_for_the_first_process()
        super().setup(stage)
        if stage == "fit":
            train, val, options = self._ids("train"), self._ids("val"), self.options
            if train & val:
                rank_zero_warn(
                    f"{len(train & val)} of {len(val)} validation images ({options.val_split}) are trained on, being "
                    f"in {options.train_split} too: their scores tell nothing of other images."
                )

    def _needed(self) -> list[tuple[Archive, str, Path, str]]:
        """Return each archive, the folder in it, where that goes, and by what it is recognised."""
        needed = [(VOC_ARCHIVE, "VOCdevkit/VOC2012", self.root, "ImageSets/Segmentation")]
        if self.sbd_root and self.options.train_split.endswith("_aug"):
            needed.append((SBD_ARCHIVE, "benchmark_RELEASE/dataset", Path(self.sbd_root).expanduser(), "cls"))
        return needed

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

    def _ids(self, split: datamodule.Split) -> set[str]:
        dataset = self.dataset(split)
        return {dataset.sample_id(index) for index in range(len(dataset))}


def _listed_ids(root: Path, split: Split) -> list[str]:
    """Read the list of a split."""
    list_file = next((path for name in LISTS[split] if (path := root / "ImageSets" / name).is_file()), None)
    if list_file is None:
        remedy = ""
        if split.endswith("_aug"):
            remedy = f" Or set sbd_root to SBD's folder that holds cls/, from {SBD_SOURCE}, or take split train."
        elif split == "test":
            remedy = " The test images are a download of their own, behind a registration."
        raise DataError(
            f"PASCAL VOC {split} has no list: {found_instead(root / 'ImageSets' / 'Segmentation', f'{split}.txt')} "
            f"Expected ImageSets/{' or ImageSets/'.join(LISTS[split])}.{remedy}"
        )
    ids: list[str] = []
    for words in read_list(list_file, "ID", "image mask"):
        stems = {PurePosixPath(word).stem for word in words}
        if len(stems) > 1:
            raise DataError(
                f"{list_file} pairs an image with the mask of another: {' '.join(words)!r}. "
                f"Expected the same name twice."
            )
        ids += stems
    if not ids:
        raise DataError(f"{list_file} is empty. Unpack {VOC_SOURCE} again.")
    check_unique(ids, f"PASCAL VOC {split}", list_file)
    return ids


def _ids_with_sbd(root: Path, split: Split, sbd: Path) -> list[str]:
    """Compute train_aug, (VOC train + SBD train and val) - VOC val, or that with VOC val, in alphabetical order."""
    lists = [sbd / "train.txt", sbd / "val.txt"]
    if not (sbd / "cls").is_dir() or not all(path.is_file() for path in lists):
        raise DataError(
            f"SBD was not found: {found_instead(sbd, 'cls')} Expected cls/, train.txt and val.txt. Get it from "
            f"{SBD_SOURCE}, and set data.sbd_root to the folder that holds cls/ (benchmark_RELEASE/dataset)."
        )
    val = set(_listed_ids(root, "val"))
    extra = {word for path in lists for (word,) in read_list(path, "ID")}
    train_aug = (set(_listed_ids(root, "train")) | extra) - val
    return sorted(train_aug if split == "train_aug" else train_aug | val)


def _masks_with_augmentation(ids: list[str], root: Path, sbd: Path | None, what: str) -> list[Path]:
    """Find VOC's own masks, and the augmentation's for the images that VOC itself left without."""
    masks = files_by_stem(root / "SegmentationClass")
    others = [name for name in ids if name not in masks]
    if sbd:
        found = locate([f"cls/{name}" for name in others], sbd, what, f"Unpack {SBD_SOURCE} again.", (".mat",))
    elif not (root / "SegmentationClassAug").is_dir():
        raise DataError(
            f"{what}: {found_instead(root, 'SegmentationClassAug')} Expected SegmentationClassAug/, the masks of the "
            f"augmentation. Or set sbd_root to SBD's folder that holds cls/, from {SBD_SOURCE}."
        )
    else:
        remedy = "The list and SegmentationClassAug/ do not belong together."
        found = locate([f"SegmentationClassAug/{name}" for name in others], root, what, remedy)
    masks.update(zip(others, found, strict=True))
    return [masks[name] for name in ids]


def _read_sbd_mask(path: Path) -> np.ndarray:
    """Read the class ids `(H, W)` uint8 of an SBD annotation, MATLAB's `GTcls.Segmentation`."""
    try:
        mask = np.asarray(read_mat(path)["GTcls"]["Segmentation"])
    except Exception as error:  # of a damaged file scipy raises half a dozen kinds
        raise DataError(
            f"Cannot read GTcls.Segmentation in {path}: {error}. Unpack {SBD_SOURCE} again, or take it out of the data."
        ) from error
    if mask.ndim != 2 or mask.dtype != np.uint8:
        raise DataError(f"GTcls.Segmentation in {path} is {mask.dtype} of shape {mask.shape}, expected uint8 (H, W).")
    return mask
