from __future__ import annotations

import builtins
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from deeplab_lightning.__main__ import main
from deeplab_lightning.data.sets.coco import COCO, COCODataModule, read_annotations
from deeplab_lightning.errors import ConfigError, DataError
from deeplab_lightning.labels import own_labels

from ..conftest import REPOSITORY, SMALL, V3PLUS
from ..fakes.coco import CATEGORIES, NAMES, image_entry, runs, thing, write_annotations, write_coco

coco_mask = pytest.importorskip("pycocotools.mask")

CLASSES = ["background", "person", "car", "toothbrush"]
LABELS = own_labels(CLASSES)
SQUARE = [10, 5, 30, 5, 30, 25, 10, 25]
"""The polygon around the pixels of columns 10..29 and rows 5..24."""


def block(left: int, top: int, right: int, bottom: int) -> np.ndarray:
    mask = np.zeros((40, 50), np.uint8)
    mask[top:bottom, left:right] = 1
    return mask


def opened(root: Path, *annotations: dict[str, Any], **fields: Any) -> COCO:
    """A data set of one black image with these objects."""
    Image.new("RGB", (50, 40)).save(root / "a.jpg")
    path = write_annotations(root / "all.json", [image_entry(1, "a.jpg")], list(annotations), **fields)
    return COCO(path, list(read_annotations(path, LABELS).values()), root, LABELS)


def mask_of(root: Path, *annotations: dict[str, Any]) -> np.ndarray:
    return opened(root, *annotations).load(0)[1]


# --------------------------------------------------------------------------------------------------- outlines to masks


def test_polygons(tmp_path: Path) -> None:
    np.testing.assert_array_equal(mask_of(tmp_path, thing(1, 1, [SQUARE])), block(10, 5, 30, 25))
    two_parts = [SQUARE, [40, 30, 45, 30, 45, 40, 40, 40]]
    expected = 3 * (block(10, 5, 30, 25) | block(40, 30, 45, 40))
    np.testing.assert_array_equal(mask_of(tmp_path, thing(1, 90, two_parts)), expected)
    beyond = [[-20, -20, 70, -20, 70, 60, -20, 60]]
    assert (mask_of(tmp_path, thing(1, 3, beyond)) == 2).all()


def test_run_lengths(tmp_path: Path) -> None:
    shape = np.random.default_rng(0).integers(0, 2, (40, 50), dtype=np.uint8)
    for first in (0, 1):
        shape[0, 0] = first  # the first run is of zeros, and may be empty
        plain = runs(shape)
        np.testing.assert_array_equal(mask_of(tmp_path, thing(1, 1, plain)), shape)
        compressed = coco_mask.frPyObjects(plain, 40, 50)
        as_text = {"size": [40, 50], "counts": compressed["counts"].decode()}
        np.testing.assert_array_equal(mask_of(tmp_path, thing(1, 1, as_text)), shape)


def test_run_lengths_go_down_the_columns(tmp_path: Path) -> None:
    mask = mask_of(tmp_path, thing(1, 1, {"size": [40, 50], "counts": [40, 3, 1957]}))
    np.testing.assert_array_equal(np.argwhere(mask), [[0, 1], [1, 1], [2, 1]])


def test_smaller_objects_lie_over_larger_ones(tmp_path: Path) -> None:
    large, small = thing(1, 1, [SQUARE]), thing(1, 90, runs(block(15, 10, 20, 35)))
    expected = np.where(block(15, 10, 20, 35), 3, block(10, 5, 30, 25))
    for order in ((large, small), (small, large)):
        np.testing.assert_array_equal(mask_of(tmp_path, *order), expected)


def test_of_equal_objects_the_later_one_is_seen(tmp_path: Path) -> None:
    one, other = thing(1, 1, [SQUARE]), thing(1, 90, [SQUARE])
    assert mask_of(tmp_path, one, other).max() == 3
    assert mask_of(tmp_path, other, one).max() == 1


def test_crowds_are_ignored_and_lie_below_objects(tmp_path: Path) -> None:
    crowd = thing(1, 1, runs(block(12, 7, 16, 30)), iscrowd=1)  # smaller than the object on it
    person = thing(1, 1, runs(block(36, 40, 39, 45)))
    expected = np.where(block(10, 5, 30, 25), 2, np.where(block(12, 7, 16, 30), 255, 0))
    expected = np.where(block(36, 40, 39, 45), 1, expected)
    np.testing.assert_array_equal(mask_of(tmp_path, thing(1, 3, [SQUARE]), crowd, person), expected)


def test_a_class_of_crowds_alone_was_drawn_by_a_brush(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    brush = thing(1, 1, runs(block(12, 7, 16, 30)), iscrowd=1)
    with caplog.at_level("INFO"):
        found = mask_of(tmp_path, thing(1, 3, [SQUARE]), brush)
    np.testing.assert_array_equal(found, np.where(block(12, 7, 16, 30), 1, np.where(block(10, 5, 30, 25), 2, 0)))
    assert "of person it has outlines with iscrowd 1 alone" in caplog.text


def test_few_objects_without_an_outline_are_left_out(tmp_path: Path) -> None:
    good = [thing(1, 3, [SQUARE])] * 19
    with pytest.warns(UserWarning, match=r"1 of 20 objects are left out\. The first: .* a polygon holds 4 numbers"):
        found = mask_of(tmp_path, *good, thing(1, 1, [[1, 1, 5, 5]]))
    np.testing.assert_array_equal(found, np.where(block(10, 5, 30, 25), 2, 0))
    with pytest.raises(DataError, match="a polygon holds 4 numbers"):
        mask_of(tmp_path, *good[:18], thing(1, 1, [[1, 1, 5, 5]]))


def test_an_image_without_objects_is_background(tmp_path: Path) -> None:
    assert (mask_of(tmp_path) == 0).all()


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        ([], "has no outline, only a box at most"),
        (None, "has no outline"),
        ([[1, 1, 5, 5]], "a polygon holds 4 numbers, expected x, y of 3 points"),  # pycocotools takes it for a box
        ([SQUARE, [1, 2, 3, 4, 5, 6, 7]], "a polygon holds 7 numbers"),
        ([[1, 1, 5, 5, float("nan"), 7]], "a polygon holds 6 numbers, .* finite"),
        ({"counts": [2000]}, "run lengths need size and counts, found counts"),
        ({"size": [50, 40], "counts": [2000]}, r"of an image of \[50, 40\], the image is \[40, 50\]"),
        ({"size": [40, 50], "counts": [1999]}, "run lengths are damaged: they cover 1999 of 2000 pixels"),
        ({"size": [40, 50], "counts": [-1, 2001]}, "run lengths are damaged"),
        ({"size": [40, 50], "counts": "~~~~"}, "run lengths are damaged: '~' is no character"),
        ({"size": [40, 50], "counts": "0RR"}, "run lengths are damaged: they end within a number"),
        ({"size": [40, 50], "counts": "05"}, "run lengths are damaged: they cover 5 of 2000 pixels"),
        ({"size": [40, 50], "counts": 7}, "run lengths are damaged"),
    ],
)
def test_outlines_that_cannot_be_drawn(tmp_path: Path, segmentation: Any, message: str) -> None:
    with pytest.raises(DataError, match=rf"all.json, annotation 1.*{message}"):
        mask_of(tmp_path, thing(1, 1, segmentation))


# --------------------------------------------------------------------------------------------------------- whole files


def test_categories_are_found_by_name(tmp_path: Path) -> None:
    numbered_otherwise = [{"id": 7, "name": "car"}, {"id": 8, "name": "person"}, {"id": 0, "name": "unused"}]
    dataset = opened(tmp_path, thing(1, 8, [SQUARE]), categories=numbered_otherwise)
    assert dataset.load(0)[1].max() == CLASSES.index("person")


def test_categories_that_are_no_class(tmp_path: Path) -> None:
    animals = [*CATEGORIES, {"id": 4, "name": "Cars"}, {"id": 5, "name": "dog"}]
    message = r"category 'Cars' \(id 4\) is not in data.class_names\. Did you mean 'car'\? The file's own are "
    with pytest.raises(DataError, match=message + r"class_names: \[background, person, Cars\]"):
        opened(tmp_path, thing(1, 4, [SQUARE]), thing(1, 1, [SQUARE]), categories=animals)
    with pytest.raises(DataError, match="uses category 8, which is not among its categories"):
        opened(tmp_path, thing(1, 8, [SQUARE]))
    with pytest.raises(DataError, match=r"category 'background' \(id 1\) is not in data.class_names"):
        opened(tmp_path, thing(1, 1, [SQUARE]), categories=[{"id": 1, "name": "background"}])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"images": None}, "is no annotation file in the form of COCO: it holds info, images, annotations, categories"),
        ({"images": []}, "names no images"),
        ({"images": [{"id": 1}]}, "is not in the form of COCO: KeyError: 'file_name'"),
        ({"images": ["a.jpg"]}, "is not in the form of COCO: TypeError"),
        ({"images": [image_entry(1, "a.jpg"), image_entry(2, "a.png")]}, "listed more than once, such as a"),
        ({"categories": [{"id": 1}]}, "KeyError: 'name'"),
        ({"annotations": [{"image_id": 1}]}, "KeyError: 'category_id'"),
        ({"annotations": [{"id": 5, **thing(9, 1, [SQUARE])}]}, "annotation 5 belongs to image 9, which is not in"),
    ],
)
def test_files_of_another_form(tmp_path: Path, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        opened(tmp_path, **fields)
    assert "all.json" in str(caught.value)


def test_files_that_are_damaged(tmp_path: Path) -> None:
    (tmp_path / "all.json").write_text('{"images": [')
    with pytest.raises(DataError, match=r"all.json is damaged at line 1: .*Export the annotations again"):
        read_annotations(tmp_path / "all.json", LABELS)
    with pytest.raises(DataError, match=r"Cannot read .*none.json: No such file"):
        read_annotations(tmp_path / "none.json", LABELS)


def test_images_that_are_missing_or_others(tmp_path: Path) -> None:
    dataset = opened(tmp_path, thing(1, 1, [SQUARE]))
    assert dataset.files(0) == (tmp_path / "a.jpg", tmp_path / "all.json")
    Image.new("RGB", (40, 50)).save(tmp_path / "a.jpg")
    with pytest.raises(DataError, match=r"a.jpg is 40x50, but .*all.json was drawn on an image of 50x40 .*turned"):
        dataset.load(0)
    (tmp_path / "a.jpg").unlink()
    images = list(read_annotations(tmp_path / "all.json", LABELS).values())
    with pytest.raises(DataError, match=r"Images of .*all.json: 1 of 1 files are missing .*: ./a\. Set data.images"):
        COCO(tmp_path / "all.json", images, tmp_path, LABELS)


def test_without_pycocotools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened(tmp_path)
    images = list(read_annotations(tmp_path / "all.json", LABELS).values())
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    monkeypatch.setitem(sys.modules, "pycocotools.mask", None)
    with pytest.raises(ConfigError, match=r"pycocotools.*pip install 'deeplab-lightning\[coco\]'"):
        COCO(tmp_path / "all.json", images, tmp_path, LABELS)


# ----------------------------------------------------------------------------------------------------- the datamodule


def ids(dataset: COCO) -> tuple[str, ...]:
    return tuple(dataset.sample_id(index) for index in range(len(dataset)))


def module(root: Path, **options: Any) -> COCODataModule:
    settings = {"class_names": CLASSES, "batch_size": 2, "crop_size": 33, "num_workers": 0, **options}
    return COCODataModule(root=str(root), **settings)


def test_two_files(tmp_path: Path) -> None:
    files = [f"annotations/instances_{split}.json" for split in NAMES]
    options = {"annotations": files[0], "images": "train2017", "val_annotations": files[1], "val_images": "val2017"}
    data = module(write_coco(tmp_path), **options)
    assert (ids(data.build_dataset("train")), ids(data.build_dataset("val"))) == tuple(NAMES.values())
    for split in ("train", "val"):
        dataset = data.dataset(split)  # type: ignore[arg-type]
        for index in range(len(dataset)):
            found = set(np.unique(dataset.load(index)[1]))
            assert found == ({0} if index == len(dataset) - 1 else {0, 1, 3, 255})
    with pytest.raises(ConfigError, match="There is no test split"):
        data.dataset("test")
    batch = next(iter(data.train_dataloader()))
    assert batch["mask"].shape == (2, 33, 33)


def test_one_file_is_divided_and_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_coco(tmp_path)
    images = [image_entry(number, f"{name}.jpg") for number, name in enumerate(NAMES["train2017"])]
    write_annotations(tmp_path / "annotations.json", images, [])
    data = module(tmp_path, images="train2017", val_fraction=0.3)
    train = ids(data.build_dataset("train"))
    monkeypatch.setattr(builtins, "open", None)
    (tmp_path / "annotations.json").unlink()
    val = ids(data.build_dataset("val"))
    assert (len(train), len(val)) == (2, 1)
    assert sorted((*train, *val)) == sorted(NAMES["train2017"])


def test_folders_in_file_names_may_divide(tmp_path: Path) -> None:
    write_coco(tmp_path)
    images = [
        image_entry(int(name), f"{folder}\\{name}.jpg" if folder == "train2017" else f"{folder}/{name}.jpg")
        for folder, names in NAMES.items()
        for name in names
    ]
    write_annotations(tmp_path / "annotations.json", images, [])
    (tmp_path / "train.txt").write_text("\n".join(NAMES["train2017"]))
    (tmp_path / "val.txt").write_text("\n".join(f"{name}.jpg" for name in NAMES["val2017"]))
    data = module(tmp_path)
    assert ids(data.build_dataset("val")) == tuple(f"val2017/{name}" for name in NAMES["val2017"])
    assert data.dataset("train").load(0)[0].shape == (40, 50, 3)


def test_the_configuration_names_cocos_80_classes() -> None:
    config = yaml.safe_load((REPOSITORY / "configs" / "data" / "coco.yaml").read_text())["data"]
    names = config["class_names"]
    assert len(names) == 81
    assert (names[0], names[1], names[2], names[80]) == ("background", "person", "bicycle", "toothbrush")
    assert names[11:15] == ["fire hydrant", "stop sign", "parking meter", "bench"]  # ids 11, 13, 14, 15 in the file


def test_it_trains_from_the_command_line(tmp_path: Path) -> None:
    root = write_coco(tmp_path / "data")
    overlay = str(REPOSITORY / "configs" / "data" / "coco.yaml")
    options = ["--data.root", str(root), "--run.folder", str(tmp_path / "runs"), "--data.eval_batch_size", "2"]
    options += ["--trainer.max_steps", "1", "--trainer.val_check_interval", "1"]
    assert main(["fit", "-c", str(V3PLUS), "-c", overlay, *SMALL, *options]) == 0
    with np.load(tmp_path / "runs" / "v3plus" / "version_0" / "per_image.npz") as scores:
        assert sorted(scores["sample_ids"]) == sorted(NAMES["val2017"])
