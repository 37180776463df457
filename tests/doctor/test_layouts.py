"""Which layout a folder has, and that the configuration written for it reads it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from deeplab_lightning.data.classes.mask_samples import look_at_masks
from deeplab_lightning.data.datamodule import SegmentationDataModule
from deeplab_lightning.data.sets import datamodule_named
from deeplab_lightning.doctor.advice import fitting_crop
from deeplab_lightning.doctor.layouts import propose
from deeplab_lightning.doctor.mask_classes import meaning_of
from deeplab_lightning.doctor.unrecognised import describe
from deeplab_lightning.errors import ConfigError

from ..fakes.ade20k import write_ade20k
from ..fakes.camvid import write_camvid
from ..fakes.camvid32 import write_camvid32
from ..fakes.cityscapes import write_cityscapes
from ..fakes.coco import write_coco
from ..fakes.coco_panoptic import write_coco_panoptic
from ..fakes.cvat import write_cvat
from ..fakes.datumaro import write_datumaro
from ..fakes.folder import write_folder
from ..fakes.labelme import write_labelme
from ..fakes.voc import write_voc
from ..fakes.yolo import write_yolo


def read_back(folder: Path) -> SegmentationDataModule:
    """Build the datamodule of the written configuration."""
    data = yaml.safe_load(propose(folder).as_yaml("title"))["data"]
    return datamodule_named(data.pop("name"))(**data, num_workers=0)


@pytest.mark.parametrize(
    ("write", "name"),
    [
        (write_voc, "VOC"),
        (write_cityscapes, "Cityscapes"),
        (write_camvid, "CamVid"),
        (write_camvid32, "CamVid32"),
        (write_ade20k, "ADE20K"),
        (write_labelme, "LabelMe"),
        (write_coco, "COCO"),
        (write_coco_panoptic, "COCOPanoptic"),
        (write_yolo, "YOLO"),
        (write_cvat, "CVAT"),
        (write_datumaro, "Datumaro"),
        (write_folder, "Folder"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_layouts_are_recognised_and_read(tmp_path: Path, write: Callable[[Path], Path], name: str) -> None:
    root = write(tmp_path / "outer" / "data")
    for place in (root, root.parent):  # a folder above will do
        found = propose(place)
        assert found.name == name
        assert Path(found.options["root"]) == (place if name == "LabelMe" else root).resolve()
    datamodule = read_back(root)
    for split in ("train", "val"):
        image, mask = datamodule.dataset(split).load(0)  # type: ignore[arg-type]
        assert image.shape[:2] == mask.shape


def test_voc_with_its_augmentation(tmp_path: Path) -> None:
    assert propose(write_voc(tmp_path / "a", aug=True)).options["train_split"] == "train_aug"
    plain = propose(write_voc(tmp_path / "b", aug=False))
    assert plain.options["train_split"] == "train"
    assert "train_split: train  # there is no list for train_aug" in plain.as_yaml("title")


@pytest.mark.parametrize(("images", "masks"), [("Imgs", "Labels"), ("JPEGImages", "annotations")])
def test_folders_may_have_other_names(tmp_path: Path, images: str, masks: str) -> None:
    arguments = propose(write_folder(tmp_path, images=images, masks=masks, mask_suffix="_seg")).options
    assert (arguments["images"], arguments["masks"]) == (images, f"{masks}/{{name}}_seg")
    assert len(read_back(tmp_path).dataset("train")) == 5


@pytest.mark.parametrize("splits", [("train", "val"), ("train", "valid"), ("Training", "Validation")])
def test_splits_may_be_the_outer_folders(tmp_path: Path, splits: tuple[str, str]) -> None:
    for split in splits:
        write_folder(tmp_path / split)
    assert len(read_back(tmp_path).dataset("train")) == len(read_back(tmp_path).dataset("val")) == 6


def test_class_names_come_from_a_file_if_there_are_enough(tmp_path: Path) -> None:
    write_folder(tmp_path, classes=3)
    assert propose(tmp_path).options["class_names"] == ["class_0", "class_1", "class_2"]
    assert "# name them" in propose(tmp_path).as_yaml("title")
    (tmp_path / "classes.txt").write_text("ground\nwater\n")
    assert any("names 2 classes (ground, water), but its masks hold 3" in line for line in propose(tmp_path).remarks)
    (tmp_path / "classes.txt").write_text("ground\nwater\nroof\n")
    assert propose(tmp_path).options["class_names"] == ["ground", "water", "roof"]


def test_black_and_white_masks_get_a_map(tmp_path: Path) -> None:
    write_folder(tmp_path, mask_of=lambda mask: mask * np.uint8(255))
    assert propose(tmp_path).options["label_map"] == {0: 0, 255: 1}
    dataset = read_back(tmp_path).dataset("train")
    assert set(np.unique(dataset.load(0)[1]).tolist()) == {0, 1}


def test_colour_masks_get_a_palette(tmp_path: Path) -> None:
    colours = np.array([(0, 0, 0), (192, 0, 128), (224, 224, 192)], np.uint8)
    write_folder(tmp_path, classes=3, mask_of=lambda mask: colours[mask])
    arguments = propose(tmp_path).options
    assert arguments["palette"] == [[0, 0, 0], [192, 0, 128]]
    assert arguments["void_colours"] == [[224, 224, 192]]
    assert arguments["class_names"] == ["class_0", "class_1"]
    assert set(np.unique(read_back(tmp_path).dataset("train").load(0)[1]).tolist()) == {0, 1, 255}


def test_images_with_five_channels_get_their_mean(tmp_path: Path) -> None:
    five = lambda image: np.repeat(image[..., :1], 5, axis=2).astype(np.uint16) * 16  # noqa: E731
    write_folder(tmp_path, suffix=".npy", image_of=five)
    arguments = propose(tmp_path).options
    assert len(arguments["mean"]) == len(arguments["std"]) == 5
    assert arguments["pixel_range"] == 4095
    assert read_back(tmp_path).dataset("train").load(0)[0].shape[-1] == 5


def test_void_is_no_class(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(np.array([[0, 1, 255]], np.uint8)).save(path)
    found = look_at_masks([path])
    assert (dict(found.values), found.colours) == ({0: 1, 1: 1, 255: 1}, {})
    assert meaning_of(found, []).options == {"class_names": ["class_0", "class_1"]}


@pytest.mark.parametrize(("sides", "crop"), [([360], 353), ([129], 129), ([128], 113), ([20], 33), ([2000], 769)])
def test_crops_are_16k_and_1(sides: list[int], crop: int) -> None:
    assert fitting_crop(sides) == crop


def test_an_unknown_layout_says_what_is_known(tmp_path: Path) -> None:
    (tmp_path / "stuff").mkdir()
    with pytest.raises(ConfigError, match=r"holds no files\..*Known are: .*VOC2012"):
        propose(tmp_path)
    with pytest.raises(ConfigError, match="does not exist"):
        propose(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("day.json", '{"frames": [], "version": 1}', "day.json is JSON with the fields frames, version"),
        ("day.json", '{"images": [], "annotations": [], "categories": []}', "has the lists of COCO, but no outlines"),
        ("day.json", '[{"url": "a", "tags": []}]', "is a list of objects with the fields url, tags"),
        ("day.json", "{", "is no JSON, or damaged"),
        ("a.xml", "<annotation><object><bndbox></bndbox></object></annotation>", "boxes do not tell the classes"),
        ("a.txt", "0 0.5 0.5 0.25 0.25\n", "YOLO's form of detection"),
        ("masks.zip", "PK", "Unpack masks.zip"),
        ("train.tfrecord", "x", "train.tfrecord is TensorFlow records, which is not read"),
        ("b.png", None, "If one of these folders holds masks, say so"),
    ],
    ids=lambda value: str(value)[:12],
)
def test_of_an_unknown_layout_its_folders_and_what_comes_nearest_are_said(
    tmp_path: Path, name: str, content: str | None, words: str
) -> None:
    (tmp_path / "day 1").mkdir()
    pixels = np.random.default_rng(0).integers(0, 255, (9, 9, 3), np.uint8)
    for index in range(3):
        Image.fromarray(pixels).save(tmp_path / "day 1" / f"{index}.png")
    if content is not None:
        (tmp_path / name).write_text(content)
    found = describe(tmp_path)
    assert found.startswith(f"{tmp_path} holds day 1/ (3 .png)")
    assert words in found


def test_a_second_data_set_in_a_folder_is_said_to_be_left_out(tmp_path: Path) -> None:
    write_folder(tmp_path / "a")
    write_coco(tmp_path / "b")
    found = propose(tmp_path)
    assert Path(found.options["root"]) == (tmp_path / "a").resolve()
    assert found.remarks == [f"Left out: {tmp_path / 'b'} (COCO). To read it: doctor {tmp_path / 'b'}"]


def test_image_and_mask_in_one_file_are_told(tmp_path: Path) -> None:
    for number in range(3):
        Image.fromarray(np.zeros((20, 40, 3), np.uint8)).save(tmp_path / f"{number}.jpg")
    with pytest.raises(ConfigError, match=r"twice as wide as high, .*cut each into two files"):
        propose(tmp_path)


@pytest.mark.parametrize(
    ("images", "masks", "numbers", "expected"),
    [
        ("images", "masks", "instances/{}.png", "instances"),
        ("train/images", "train/masks", "train/instances/{}.png", "{split}/instances"),
        ("images/train", "labels/train", "inst/train/{}.tif", "inst/{split}"),
        (".", ".", "{}_instance.png", "pic{name}_instance"),
    ],
)
def test_numbers_of_objects_are_found_and_their_classes_proposed(
    tmp_path: Path, images: str, masks: str, numbers: str, expected: str
) -> None:
    suffixes = {"mask_suffix": "_mask", "suffix": ".jpg"} if images == "." else {}
    splits = ("train", "val") if "train" in images else ("",)
    for split in splits:
        of_split = lambda text, split=split: text.replace("train", split)  # noqa: E731
        write_folder(tmp_path, images=of_split(images), masks=of_split(masks), classes=3, **suffixes)
        for path in sorted((tmp_path / of_split(masks)).glob("*.png")):
            mask = np.array(Image.open(path))
            file = tmp_path / of_split(numbers).format(path.stem.removesuffix("_mask"))
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.where(mask == 2, 500, 0).astype(np.uint16)).save(file)
    found = propose(tmp_path)
    assert found.name == "Folder"
    assert (found.options["instances"], found.options["things"]) == (expected, ["class_2"])
    assert "things: [class_2]  # classes with numbers there" in found.as_yaml("title")
    dataset = read_back(tmp_path).dataset("train")
    assert np.array_equal(dataset.instances(0) == 500, dataset.load(0)[1] == 2)


def test_a_folder_without_numbers_for_all_images_gets_none(tmp_path: Path) -> None:
    write_folder(tmp_path, classes=3)
    assert "instances" not in propose(tmp_path).options
    (tmp_path / "instances").mkdir()
    Image.fromarray(np.ones((40, 52), np.uint16)).save(tmp_path / "instances" / "pic0.png")
    assert "instances" not in propose(tmp_path).options
    for path in sorted((tmp_path / "masks").iterdir()):
        Image.fromarray(np.ones((40, 51), np.uint16)).save(tmp_path / "instances" / path.name)
    found = propose(tmp_path)
    assert "instances" not in found.options
    assert "instances seems to number objects, and cannot be used: A mask must have the size" in found.remarks[-1]
