"""Images and masks called as public data sets and tools call them: small trees, with the truth of each image."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from .folder import draw

SIDE = 24


@dataclass
class Tree:
    """What a tree holds, by paths below its root.

    Attributes:
        pairs: Image -> mask.
        images: Images that have no mask.
        others: Files that look like masks and are not the ones to learn.
    """

    pairs: dict[str, str]
    images: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)


def write_named(root: Path, tree: Tree) -> dict[Path, np.ndarray]:
    """Write a tree, and return the mask `(H, W)` uint8 of every image that has one, by the image's path."""
    truth = {}
    for number, (image, mask) in enumerate(tree.pairs.items()):
        ids, pixels = draw(number, 3, SIDE, SIDE)
        _save(root / image, pixels)
        _save(root / mask, ids)
        truth[root / image] = ids
    for number, path in enumerate(tree.images):
        _save(root / path, draw(100 + number, 3, SIDE, SIDE)[1])
    for number, path in enumerate(tree.others):
        _save(root / path, draw(200 + number, 2, SIDE, SIDE)[0])
    return truth


def _save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def _pairs(image: str, mask: str, count: int = 4, start: int = 0, **words: str) -> dict[str, str]:
    """Number a path of images and one of masks; `i` is the number."""
    return {image.format(i=i, **words): mask.format(i=i, **words) for i in range(start, start + count)}


def _of_splits(image: str, mask: str, *splits: str) -> dict[str, str]:
    """Number them in each split, where `s` is its name; no number is there twice."""
    return {k: v for at, s in enumerate(splits) for k, v in _pairs(image, mask, start=10 * at, s=s).items()}


def _numbered(path: str, count: int = 4, start: int = 0, **words: str) -> list[str]:
    return [path.format(i=i, **words) for i in range(start, start + count)]


def roboflow() -> Tree:
    """Roboflow's semantic PNG: image and mask in one folder."""
    name = "{s}/IMG_{i}_jpg.rf.8a7b6c5d4e3f2a1b0c9d{i}"
    return Tree(_of_splits(name + ".jpg", name + "_mask.png", "train", "valid", "test"))


def cvat_masks() -> Tree:
    """CVAT's segmentation mask 1.1."""
    return Tree(
        _pairs("JPEGImages/frame_{i:06d}.jpg", "SegmentationClass/frame_{i:06d}.png"),
        others=_numbered("SegmentationObject/frame_{i:06d}.png"),
    )


def carvana() -> Tree:
    """Kaggle's Carvana, whose masks are GIF."""
    return Tree(
        _pairs("train/0cdf5b5d0ce1_{i:02d}.jpg", "train_masks/0cdf5b5d0ce1_{i:02d}_mask.gif"),
        _numbered("test/aaaa5b5d0ce1_{i:02d}.jpg"),
    )


def camvid_kaggle() -> Tree:
    """CamVid as Kaggle has it."""
    return Tree(_of_splits("{s}/0001TP_{i:06d}.png", "{s}_labels/0001TP_{i:06d}_L.png", "train", "val", "test"))


def img_dir() -> Tree:
    """OpenMMLab's folders."""
    return Tree(_of_splits("img_dir/{s}/{i}.jpg", "ann_dir/{s}/{i}.png", "train", "val"))


def vessels() -> Tree:
    """DRIVE as OpenMMLab converts it: names keep the split that they had."""
    return Tree(
        _pairs("images/training/2{i}_training.png", "annotations/training/2{i}_manual1.png")
        | _pairs("images/validation/0{i}_test.png", "annotations/validation/0{i}_manual1.png")
    )


def deepglobe() -> Tree:
    """DeepGlobe's roads and land cover: only training has masks."""
    return Tree(
        _pairs("train/{i}00034_sat.jpg", "train/{i}00034_mask.png"),
        [*_numbered("valid/{i}00712_sat.jpg"), *_numbered("test/{i}00833_sat.jpg")],
    )


def kitti() -> Tree:
    """KITTI's semantic benchmark."""
    name = "{i:06d}_10.png"
    return Tree(
        _pairs(f"training/image_2/{name}", f"training/semantic/{name}"),
        _numbered(f"testing/image_2/{name}"),
        _numbered(f"training/semantic_rgb/{name}") + _numbered(f"training/instance/{name}"),
    )


def floodnet() -> Tree:
    """FloodNet."""
    return Tree(_of_splits("{s}/{s}-org-img/{i}336.jpg", "{s}/{s}-label-img/{i}336_lab.png", "train", "val", "test"))


def potsdam() -> Tree:
    """ISPRS Potsdam: three kinds of images, and heights."""
    return Tree(
        _pairs("2_Ortho_RGB/top_potsdam_2_1{i}_RGB.tif", "5_Labels_all/top_potsdam_2_1{i}_label.tif"),
        _numbered("1_DSM/dsm_potsdam_02_1{i}.tif"),
    )


def vaihingen() -> Tree:
    """ISPRS Vaihingen: no word says which folder holds the images."""
    return Tree(
        _pairs("top/top_mosaic_09cm_area{i}.tif", "gts_for_participants/top_mosaic_09cm_area{i}.tif"),
        _numbered("dsm/dsm_09cm_matching_area{i}.tif"),
    )


def inria() -> Tree:
    """Inria's aerial images."""
    return Tree(
        _pairs("train/images/austin{i}.tif", "train/gt/austin{i}.tif"), _numbered("test/images/bellingham{i}.tif")
    )


def loveda() -> Tree:
    """LoveDA: two kinds of places in each split, whose numbers are the same."""
    return Tree(
        {
            image: mask
            for place in ("Rural", "Urban")
            for image, mask in _of_splits(
                f"{{s}}/{place}/images_png/{{i}}.png", f"{{s}}/{place}/masks_png/{{i}}.png", "Train", "Val"
            ).items()
        },
        _numbered("Test/Rural/images_png/{i}.png"),
    )


def uavid() -> Tree:
    """UAVid: sequences in each split, whose frames are called alike."""
    return Tree(
        {
            f"uavid_{split}/{seq}/Images/{i:06d}.png": f"uavid_{split}/{seq}/Labels/{i:06d}.png"
            for split, seqs in {"train": ("seq1", "seq2"), "val": ("seq16", "seq17")}.items()
            for seq in seqs
            for i in (0, 100, 200)
        },
        _numbered("uavid_test/seq21/Images/{i:06d}.png"),
    )


def isic() -> Tree:
    """ISIC 2018, task 1."""
    return Tree(
        _of_splits(
            "ISIC2018_Task1-2_{s}_Input/ISIC_00{i:05d}.jpg",
            "ISIC2018_Task1_{s}_GroundTruth/ISIC_00{i:05d}_segmentation.png",
            "Training",
            "Validation",
        ),
        _numbered("ISIC2018_Task1-2_Test_Input/ISIC_99{i:05d}.jpg"),
    )


def cwfid() -> Tree:
    """CWFID: annotations of crop and weed, and masks of all that grows."""
    return Tree(
        _pairs("images/{i:03d}_image.png", "annotations/{i:03d}_annotation.png"),
        others=_numbered("masks/{i:03d}_mask.png"),
    )


def side_by_side() -> Tree:
    """All in one folder, and something behind both names."""
    return Tree(_pairs("{i:03d}_image.png", "{i:03d}_annotation.png"))


def drive() -> Tree:
    """DRIVE: the first observer's vessels, and a mask that is the camera's field of view."""
    return Tree(
        _of_splits("{s}/images/{i:02d}_{s}.tif", "{s}/1st_manual/{i:02d}_manual1.gif", "training", "test"),
        others=_numbered("training/mask/{i:02d}_training_mask.gif")
        + _numbered("test/mask/{i:02d}_test_mask.gif", start=10),
    )


def chase() -> Tree:
    """CHASE_DB1: two observers of each image; no word says what their files are."""
    return Tree(
        {f"Image_{i:02d}{eye}.jpg": f"Image_{i:02d}{eye}_1stHO.png" for i in range(1, 4) for eye in "LR"},
        others=[f"Image_{i:02d}{eye}_2ndHO.png" for i in range(1, 4) for eye in "LR"],
    )


def masks_and_labels() -> Tree:
    """Two folders that could be the masks."""
    return Tree(_pairs("images/{i}.jpg", "labels/{i}.png"), others=_numbered("masks/{i}.png"))


def coco_stuff() -> Tree:
    """COCO-Stuff as image synthesis keeps it."""
    return Tree(
        _of_splits("{s}_img/{i:012d}.jpg", "{s}_label/{i:012d}.png", "train", "val"),
        others=_numbered("train_inst/{i:012d}.png") + _numbered("val_inst/{i:012d}.png", start=10),
    )


def davis() -> Tree:
    """DAVIS: videos, whose frames are called alike."""
    return Tree(
        {
            f"JPEGImages/480p/{video}/{i:05d}.jpg": f"Annotations/480p/{video}/{i:05d}.png"
            for video in ("bear", "bus")
            for i in range(4)
        }
    )


def other_capitals() -> Tree:
    """A camera's names, and a tool's."""
    return Tree(_pairs("images/IMG_{i}A.JPG", "masks/img_{i}a.png"))


def endings_twice() -> Tree:
    """Tools that put an ending behind the image's whole name."""
    return Tree(_pairs("images/a{i}.png", "masks/a{i}.png.png") | _pairs("images/b{i}.jpg", "masks/b{i}.jpg.png"))


def prefixes() -> Tree:
    """Datumaro's common semantic segmentation with prefixes."""
    return Tree(_pairs("image_dir/image_{i}.png", "mask_dir/label_{i}.png"))


def penn_fudan() -> Tree:
    """Penn-Fudan's pedestrians."""
    return Tree(_pairs("PNGImages/FudanPed{i:05d}.png", "PedMasks/FudanPed{i:05d}_mask.png"))


def modality() -> Tree:
    """A channel's number behind the image's name, as nnU-Net has it."""
    return Tree(
        _pairs("imagesTr/la_{i:03d}_0000.png", "labelsTr/la_{i:03d}.png"), _numbered("imagesTs/la_9{i:02d}_0000.png")
    )


def bdd100k() -> Tree:
    """BDD100K: folders within folders, and other masks beside the ones of classes."""
    return Tree(
        _of_splits("images/10k/{s}/0000f77c-{i}.jpg", "labels/sem_seg/masks/{s}/0000f77c-{i}.png", "train", "val"),
        _numbered("images/10k/test/ffff-{i}.jpg"),
        _numbered("labels/sem_seg/colormaps/train/0000f77c-{i}.png"),
    )


def patients() -> Tree:
    """A number before the saying word of a folder, and frames called alike."""
    return Tree(
        {
            f"case_{case}_images/slice{i}.png": f"case_{case}_masks/slice{i}.png"
            for case in ("001", "002", "003")
            for i in range(3)
        }
    )


def lgg() -> Tree:
    """Kaggle's LGG: a folder for each patient, with images and masks side by side."""
    return Tree(
        {
            f"{case}/{case}_{i}.tif": f"{case}/{case}_{i}_mask.tif"
            for case in ("TCGA_CS_4941_19960909", "TCGA_DU_5849_19950405")
            for i in range(1, 4)
        }
    )


def magnetic_tiles() -> Tree:
    """Magnetic tiles: JPEG and PNG of one name; a folder for each kind of defect."""
    return Tree(
        {
            f"MT_{kind}/Imgs/exp1_num_{i}.jpg": f"MT_{kind}/Imgs/exp1_num_{i}.png"
            for kind in ("Blowhole", "Crack", "Fray")
            for i in range(3)
        }
    )


def drones() -> Tree:
    """Kaggle's semantic drone data set."""
    return Tree(
        _pairs("original_images/{i:03d}.jpg", "label_images_semantic/{i:03d}.png"),
        others=_numbered("RGB_color_image_masks/{i:03d}.png"),
    )


def clinic() -> Tree:
    """CVC-ClinicDB, in one of its two formats."""
    return Tree(_pairs("PNG/Original/{i}.png", "PNG/Ground Truth/{i}.png"))


def trees() -> Iterator[Callable[[], Tree]]:
    """Yield the functions above that make a tree."""
    for value in list(globals().values()):
        if callable(value) and getattr(value, "__annotations__", {}) == {"return": "Tree"}:
            yield value
