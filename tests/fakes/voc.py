"""A tiny PASCAL VOC with its augmentation: the real layouts, with drawn blocks for images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from scipy.io import savemat

from deeplab_lightning.data.sets.voc import VOC

TRAIN = ("2007_000001", "2007_000002", "2007_000003", "2008_000004")
VAL = ("2007_000011", "2007_000012", "2008_000013")
TEST = ("2008_000021",)
SBD_TRAIN = ("2008_000031", "2007_000002", "2008_000013", "2008_000032")
"""Two of its own, one of VOC train, and one of VOC val: the leak."""
SBD_VAL = ("2008_000033", "2007_000011")
TRAIN_AUG = (*TRAIN, "2008_000031", "2008_000032", "2008_000033")

SIZES = ((50, 40), (40, 50), (50, 34), (37, 50))
"""Width and height of the images, by turns."""


def write_voc(root: Path, *, aug: bool = True, seed: int = 0) -> Path:
    """Write a `VOC2012` folder, and return it.

    Args:
        root: Where `JPEGImages/` and so on are put.
        aug: Whether to write `SegmentationClassAug/` and its list, in the form of "/JPEGImages/X.jpg ..." pairs.
        seed: Decides the content.
    """
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (root / folder).mkdir(parents=True)
    for number, name in enumerate(sorted({*TRAIN, *VAL, *TEST, *SBD_TRAIN, *SBD_VAL})):
        mask = _mask(number, seed)
        image = VOC.colour_table()[mask]
        image[0] = image[-1] = 128
        cv2.imwrite(str(root / "JPEGImages" / f"{name}.jpg"), image[..., ::-1])
        if name in (*TRAIN, *VAL):
            write_palette_mask(root / "SegmentationClass" / f"{name}.png", mask)
        if aug and name in (*TRAIN, *VAL, *SBD_TRAIN, *SBD_VAL):
            (root / "SegmentationClassAug").mkdir(exist_ok=True)
            without_border = np.where(mask == 255, 0, mask)
            cv2.imwrite(str(root / "SegmentationClassAug" / f"{name}.png"), without_border)
    lists = {"train": TRAIN, "val": VAL, "trainval": sorted((*TRAIN, *VAL)), "test": TEST}
    for split, names in lists.items():
        _write_list(root / "ImageSets" / "Segmentation" / f"{split}.txt", names)
    if aug:
        (root / "ImageSets" / "SegmentationAug").mkdir()
        pairs = [f"/JPEGImages/{name}.jpg /SegmentationClassAug/{name}.png" for name in TRAIN_AUG]
        _write_list(root / "ImageSets" / "SegmentationAug" / "train_aug.txt", pairs)
    return root


def write_sbd(root: Path, *, seed: int = 0) -> Path:
    """Write SBD's `dataset` folder for the images of `write_voc`, and return it.

    All things are of class 20, void border included, unlike in VOC's own masks: so it shows which were read.
    """
    (root / "cls").mkdir(parents=True)
    numbers = {name: number for number, name in enumerate(sorted({*TRAIN, *VAL, *TEST, *SBD_TRAIN, *SBD_VAL}))}
    for name in (*SBD_TRAIN, *SBD_VAL):
        mask = np.where(_mask(numbers[name], seed) == 0, np.uint8(0), np.uint8(20))
        struct = {"Segmentation": mask, "Boundaries": np.zeros((20, 1)), "CategoriesPresent": np.uint8(20)}
        savemat(root / "cls" / f"{name}.mat", {"GTcls": struct}, do_compression=True)
    _write_list(root / "train.txt", SBD_TRAIN)
    _write_list(root / "val.txt", SBD_VAL)
    return root


def write_palette_mask(path: Path, mask: np.ndarray) -> None:
    """Write ids with VOC's colours for a palette, as VOC's own masks are."""
    image = Image.fromarray(mask)
    image.putpalette(VOC.colour_table().tobytes())
    image.save(path)


def _mask(number: int, seed: int) -> np.ndarray:
    """Draw blocks of classes in the background, with a void border around each block."""
    width, height = SIZES[number % len(SIZES)]
    rng = np.random.default_rng([seed, number])
    mask = np.zeros((height, width), np.uint8)
    for left in range(3, width - 12, 15):
        top = int(rng.integers(2, height - 14))
        mask[top : top + 12, left : left + 12] = 255
        mask[top + 1 : top + 11, left + 1 : left + 11] = rng.integers(1, 21)
    return mask


def _write_list(path: Path, lines: Sequence[str]) -> None:
    path.write_text("\n".join(lines) + "\n")
