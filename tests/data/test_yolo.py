"""YOLO segmentation: which files belong together, what lines mean, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.path import Path as Outline

from deeplab_lightning.data.datamodule import Split
from deeplab_lightning.data.pairing.layout import Recognised
from deeplab_lightning.data.sets.yolo import YOLODataModule
from deeplab_lightning.errors import DataError

from ..fakes.yolo import HEIGHT, WIDTH, box, rectangle, write_image, write_yolo

SQUARE = rectangle(0, 10, 5, 30, 25)


def block(left: int, top: int, right: int, bottom: int) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[top:bottom, left:right] = 1
    return mask


def read_back(root: Path) -> tuple[Recognised, YOLODataModule]:
    """Recognise a folder, and open what was recognised."""
    assert YOLODataModule.is_form(root)
    found = YOLODataModule.recognise(root)
    assert found is not None
    return found, YOLODataModule(**found.options, batch_size=1, crop_size=33, num_workers=0)


def sizes(data: YOLODataModule) -> dict[str, int]:
    return {split: len(names) for split, names in data.splits.items()}


def greys(data: YOLODataModule, split: Split) -> set[int]:
    dataset = data.dataset(split)
    return {int(dataset.load(index)[0].max()) for index in range(len(dataset))}


def mask_of(root: Path, *lines: str, names: str = "[crack, spall]") -> np.ndarray:
    """The mask of an image with these lines, beside another one."""
    for split in ("train", "val"):
        write_image(root / "images" / split, root / "labels" / split, "a", lines)
    (root / "data.yaml").write_text(f"train: images/train\nval: images/val\nnames: {names}\n")
    return read_back(root)[1].dataset("train").load(0)[1]


# ---------------------------------------------------------------------------------------------------- lines to masks


@pytest.mark.parametrize("seed", range(5))
def test_polygons_cover_the_pixels_whose_centre_lies_inside(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    angles = np.sort(rng.uniform(0, 2 * np.pi, 7))
    points = 0.5 + rng.uniform(0.1, 0.49, 7)[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    columns, rows = np.meshgrid(np.arange(WIDTH) + 0.5, np.arange(HEIGHT) + 0.5)
    centres = np.stack([columns.ravel() / WIDTH, rows.ravel() / HEIGHT], axis=1)
    expected = Outline(points).contains_points(centres).reshape(HEIGHT, WIDTH)
    found = mask_of(tmp_path, "1 " + " ".join(f"{number:.9f}" for number in points.ravel()))
    np.testing.assert_array_equal(found, 2 * expected)


def test_larger_objects_are_drawn_first(tmp_path: Path) -> None:
    small = rectangle(1, 12, 8, 20, 12)
    expected = np.where(block(12, 8, 20, 12), 2, block(10, 5, 30, 25))
    np.testing.assert_array_equal(mask_of(tmp_path, small, SQUARE), expected)
    np.testing.assert_array_equal(mask_of(tmp_path, SQUARE, "", small, ""), expected)


def test_the_box_of_an_object_is_ignored_below_outlines(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="2 of 8 objects are left out; where they have a box, it is ignored"):
        found = mask_of(tmp_path, SQUARE, SQUARE, SQUARE, box(1, 5, 20, 15, 32))
    np.testing.assert_array_equal(found, np.where(block(10, 5, 30, 25), 1, 255 * block(5, 20, 15, 32)))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (box(0, 5, 5, 9, 9), "2 of 2 objects have no outline.* line 1 is a box, no outline"),
        ("0 0.1 0.1 0.5 0.1 0.5 0.5 0.9", "holds 7 numbers behind the class, expected x and y of 3 points"),
        ("0 0.1 0.1 0.5", "holds 3 numbers behind the class"),
        ("0 5 5 30 5 30 25", "holds numbers from 5 to 30, expected shares"),
        ("0 0.1 0.1 nan 0.1 0.5 0.5", "holds numbers from nan to nan"),
        ("0 0.1 0.1 0.5 0.1 0.5 x", "holds what is no number"),
        ("crack 0.1 0.1 0.5 0.1 0.5 0.5", "begins with 'crack', expected the number of a class"),
        ("-1 0.1 0.1 0.5 0.1 0.5 0.5", "begins with '-1'"),
        ("2 0.1 0.1 0.5 0.1 0.5 0.5", "is of class 2, but only 0 to 1 are named: crack, spall"),
    ],
)
def test_lines_that_are_no_outline(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        mask_of(tmp_path, line)


# ------------------------------------------------------------------------------------------------------ data.yaml


def test_images_beside_labels(tmp_path: Path) -> None:
    found, data = read_back(write_yolo(tmp_path))
    assert found.options["class_names"] == ["background", "crack", "spall"]
    assert (sizes(data), found.train_size) == ({"train": 4, "val": 2}, 4)
    expected = np.where(block(12, 8, 20, 12), 2, block(10, 5, 30, 25))
    np.testing.assert_array_equal(data.dataset("val").load(1)[1], expected)


@pytest.mark.parametrize(
    "text",
    [
        "train: ../train/images\nval: ../valid/images\ntest: ../test/images\n",  # as Roboflow writes it
        "train: train/images\nval: valid/images\ntest: test/images\n",
        "path: .\ntrain: [train/images]\nval: valid/images/\ntest: ./test/images\n",
        "path: ../datasets/mine\ntrain: train/images\nval: valid/images\ntest: test/images\n",
        "train: /content/mine/train/images\nval: /content/mine/valid/images\ntest: C:\\\\mine\\\\test\\\\images\n",
    ],
)
def test_roboflows_folders_whatever_data_yaml_calls_them(tmp_path: Path, text: str) -> None:
    root = tmp_path / "mine"
    for grey, (split, count) in enumerate({"train": 3, "valid": 2, "test": 1}.items()):
        for number in range(count):
            place = root / split
            write_image(place / "images", place / "labels", f"{number}", [SQUARE], 10 * grey)
        write_image(tmp_path / split / "images", tmp_path / split / "labels", "other", [SQUARE], 99)  # beside the root
    (root / "data.yaml").write_text(text.replace("\\\\", "\\") + "nc: 2\nnames: ['no', '2']\n")
    found, data = read_back(root)
    assert found.options["class_names"] == ["background", "no", "2"]
    assert sizes(data) == {"train": 3, "val": 2, "test": 1}
    assert (greys(data, "train"), greys(data, "val"), greys(data, "test")) == ({0}, {10}, {20})


def test_cvats_lists_and_numbered_names(tmp_path: Path) -> None:
    for number in range(4):
        write_image(tmp_path / "images" / "train", tmp_path / "labels" / "train", f"{number}", [SQUARE])
    (tmp_path / "train.txt").write_text("".join(f"data/images/train/{number}.png\n" for number in range(3)))
    (tmp_path / "data.yaml").write_text("path: ./\ntrain: train.txt\nnames:\n  1: spall\n  0: crack\n")
    found, data = read_back(tmp_path)
    assert found.options["class_names"] == ["background", "crack", "spall"]
    assert sizes(data) == {"train": 2, "val": 1}
    assert any("None are stated for val" in line for line in found.remarks)
    assert "1 images are in no split or have no labels, and are left out." in found.remarks


def test_val_that_is_train_is_divided(tmp_path: Path) -> None:
    write_yolo(tmp_path)
    (tmp_path / "data.yaml").write_text("train: images/train\nval: images/train\nnames: [crack, spall]\n")
    found, data = read_back(tmp_path)
    assert sizes(data) == {"train": 3, "val": 1}
    assert any("names the same images for train and val" in line for line in found.remarks)
    (tmp_path / "train.txt").write_text("images/train/0.png\nimages/train/1.png\n")
    (tmp_path / "data.yaml").write_text("train: train.txt\nval: images/train\nnames: [crack, spall]\n")
    with pytest.raises(DataError, match=r"0\.png is annotated for train and for val") as caught:
        YOLODataModule.recognise(tmp_path)
    assert caught.value.kind == "leak"


def test_what_is_empty_missing_or_left_over_is_said(tmp_path: Path) -> None:
    write_yolo(tmp_path)
    write_image(tmp_path / "images" / "train", tmp_path / "labels" / "train", "empty", [])
    write_image(tmp_path / "images" / "train", tmp_path / "labels" / "train", "without", None)
    write_image(tmp_path / "images" / "extra", tmp_path / "labels" / "extra", "unused", [SQUARE])
    (tmp_path / "labels" / "train" / "lonely.txt").write_text(SQUARE)
    found, data = read_back(tmp_path)
    assert "2 of 8 images have no objects, and show background alone." in found.remarks
    assert "1 images have no label file, and are taken for background." in found.remarks
    assert "1 images are in no split or have no labels, and are left out." in found.remarks
    assert "1 label files have no image, and are left out: lonely.txt." in found.remarks
    dataset = data.dataset("train")
    by_name = {dataset.sample_id(index): dataset.load(index)[1] for index in range(len(dataset))}
    assert not by_name["images/train/empty"].any()
    assert not by_name["images/train/without"].any()
    assert by_name["images/train/0"].any()


def test_a_split_without_labels_is_no_background(tmp_path: Path) -> None:
    write_yolo(tmp_path)
    write_image(tmp_path / "images" / "test", tmp_path / "labels" / "test", "a", None)
    with (tmp_path / "data.yaml").open("a") as file:
        file.write("test: images/test\n")
    found, data = read_back(tmp_path)
    assert sizes(data) == {"train": 4, "val": 2}
    assert "The 1 images for test have no label files, and are left out." in found.remarks


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train: pictures\nval: images/val\nnames: [a]", r"data.yaml: train is 'pictures', which is not below"),
        ("train: ../../elsewhere/x\nval: images/val\nnames: [a]", "which is not below"),
        ("train: images/train\nval: images/val\nnames: a.names", "its names are no list of words"),
        ("train: images/train\nval: images/val\nnames: [[a]]", "its names are no list of words"),
        ("train: images/train\nval: images/val\nnames: {1: a, 2: b}", "names are numbered 1, 2, expected 0 to 1"),
        ("train: images/train\nval: images/val\nnames: [a]\nnc: 2", "says nc: 2, but names 1 classes"),
        ("train: images/train\nval: images/val\nnames: [a, b]\nkpt_shape: [17, 3]", r"describes poses"),
    ],
)
def test_descriptions_that_cannot_be_used(tmp_path: Path, text: str, message: str) -> None:
    write_yolo(tmp_path)
    (tmp_path / "data.yaml").write_text(text)
    with pytest.raises(DataError, match=message):
        YOLODataModule.recognise(tmp_path)


# -------------------------------------------------------------------------------------------------- without data.yaml


def test_folders_tell_the_splits_and_a_file_the_classes(tmp_path: Path) -> None:
    write_yolo(tmp_path)
    (tmp_path / "data.yaml").unlink()
    (tmp_path / "classes.txt").write_text("crack\nspall\n")
    found, data = read_back(tmp_path)
    assert found.options["class_names"] == ["background", "crack", "spall"]
    assert sizes(data) == {"train": 4, "val": 2}


def test_unnamed_classes_are_numbered_until_the_user_names_them(tmp_path: Path) -> None:
    for number in range(3):
        write_image(tmp_path, tmp_path, f"{number}", [rectangle(1, 10, 5, 30, 25)])
    found, data = read_back(tmp_path)
    assert found.options["class_names"] == ["background", "class_0", "class_1"]
    assert found.comments["class_names"] == "name them"
    assert sizes(data) == {"train": 2, "val": 1}
    named = YOLODataModule(root=str(tmp_path), class_names=["ground", "crack", "spall"], crop_size=33)
    for one in (data, named):
        np.testing.assert_array_equal(one.dataset("train").load(0)[1], 2 * block(10, 5, 30, 25))


def test_other_folders_are_not_taken(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "a.yaml").write_text("data: {name: YOLO}")
    (tmp_path / "images" / "a.txt").write_text("a word")
    write_image(tmp_path / "images", tmp_path / "labels", "a", ["a caption of a picture"])
    assert YOLODataModule.recognise(tmp_path) is None
