from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from deeplab_lightning.__main__ import main
from deeplab_lightning.data.forms.outlines import OutlinedImages
from deeplab_lightning.data.pairing.layout import Recognised
from deeplab_lightning.data.sets.coco import COCODataModule
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


def module(root: Path, **options: Any) -> COCODataModule:
    settings = {"class_names": CLASSES, "batch_size": 2, "crop_size": 33, "num_workers": 0, **options}
    return COCODataModule(root=str(root), **settings)


def opened(root: Path, *annotations: dict[str, Any], **fields: Any) -> OutlinedImages:
    """A data set of one black image with these objects."""
    Image.new("RGB", (50, 40)).save(root / "a.jpg")
    write_annotations(root / "all.json", [image_entry(1, "a.jpg")], list(annotations), **fields)
    return read(root)


def read(root: Path) -> OutlinedImages:
    """All images of a folder, whatever their split."""
    found = module(root, annotations=["all.json"]).annotations
    return OutlinedImages(found.images, list(found.images), LABELS, known=found.labels)


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
    assert "Of person there are outlines with iscrowd 1 alone" in caplog.text


def test_few_objects_without_an_outline_are_left_out(tmp_path: Path) -> None:
    good = [thing(1, 3, [SQUARE])] * 3
    with pytest.warns(UserWarning, match=r"1 of 4 objects are left out.* The first: .* a polygon holds 4 numbers"):
        found = mask_of(tmp_path, *good, thing(1, 1, [[1, 1, 5, 5]]))
    np.testing.assert_array_equal(found, np.where(block(10, 5, 30, 25), 2, 0))
    with pytest.raises(DataError, match=r"1 of 3 objects have no outline.* a polygon holds 4 numbers"):
        mask_of(tmp_path, *good[:2], thing(1, 1, [[1, 1, 5, 5]]))


def test_the_box_of_an_object_without_outline_is_ignored_below_all_others(tmp_path: Path) -> None:
    good = [thing(1, 3, [SQUARE])] * 3
    with pytest.warns(UserWarning, match="where they have a box, it is ignored"):
        found = mask_of(tmp_path, *good, thing(1, 1, []) | {"bbox": [5, 20, 10, 12]})
    expected = np.where(block(5, 20, 15, 32), 255, 0)
    np.testing.assert_array_equal(found, np.where(block(10, 5, 30, 25), 2, expected))


def test_slivers_beside_a_polygon_are_passed_over(tmp_path: Path) -> None:
    expected = block(10, 5, 30, 25)
    np.testing.assert_array_equal(mask_of(tmp_path, thing(1, 1, [[1, 1, 5, 5], SQUARE])), expected)
    np.testing.assert_array_equal(mask_of(tmp_path, thing(1, 1, SQUARE)), expected)  # no brackets around it


def test_an_image_without_objects_is_background(tmp_path: Path) -> None:
    assert (mask_of(tmp_path) == 0).all()


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        ([], "has no outline, only a box at most"),
        (None, "has no outline"),
        ([[1, 1, 5, 5]], "a polygon holds 4 numbers, expected x, y of 3 points"),  # pycocotools takes it for a box
        ([SQUARE, [1, 2, 3, 4, 5, 6, 7]], "a polygon holds 7 numbers"),
        ([[1, 1, 5, 5, float("nan"), 7]], "its points lie nowhere near an image"),
        ([[1, 1, 5, 5, float("inf"), 7]], "its points lie nowhere near an image"),
        ([[1, 1, 3e7, 5, 4, 7]], "its points lie nowhere near an image"),  # pycocotools crashes
        ([[1, 1, -3e7, 5, 4, 7]], "its points lie nowhere near an image"),
        ([[0, 0, 90_000, 0, 90_000, 90_000] * 20], "its outline of 60 points is longer than any object's"),
        ([["a", 1, 5, 5, 4, 7]], "a polygon is no list of numbers"),
        ("SQUARE", "has no outline"),
        ({"counts": [2000]}, "run lengths need size and counts, found counts"),
        ({"size": [50, 40], "counts": [2000]}, r"of an image of \[50, 40\], the image is \[40, 50\]"),
        ({"size": [40, 50], "counts": [1999]}, "run lengths are damaged: they cover 1999 of 2000 pixels"),
        ({"size": [40, 50], "counts": [-1, 2001]}, "run lengths are damaged"),
        ({"size": [40, 50], "counts": "~~~~"}, "run lengths are damaged: '~' is no character"),
        ({"size": [40, 50], "counts": "0RR"}, "run lengths are damaged: they end within a number"),
        ({"size": [40, 50], "counts": "05"}, "run lengths are damaged: they cover 5 of 2000 pixels"),
        ({"size": [40, 50], "counts": 7}, "run lengths are damaged"),
        ({"size": [40, 50], "counts": [2**63, 2**63, 2000]}, "run lengths are damaged: they cover 1.8"),
        ({"size": [40, 50], "counts": [2**32 + 2000]}, "run lengths are damaged: they cover 4.29"),
        ({"size": [40, 50], "counts": "o" * 1000}, "run lengths are damaged: a number has more than 64 bits"),
        ({"size": [40, 50], "counts": [1.5, 1998.5]}, "run lengths are damaged: they are no list of whole"),
        ({"size": [40, 50], "counts": [[2000]]}, "run lengths are damaged: they are no list of whole"),
        ({"size": [40, 50], "counts": []}, "run lengths are damaged: they cover 0"),
        ({"size": 3, "counts": [2000]}, r"have the size 3, expected \[height, width\]"),
        ({"size": [40, -50], "counts": [2000]}, r"have the size \[40, -50\]"),
        ({"size": ["40", 50], "counts": [2000]}, "have the size"),
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
    message = (
        r"annotation 1 has the label 'Cars', .*Did you mean 'car'\?.* The labels there are: person, car, Cars, dog,"
    )
    with pytest.raises(DataError, match=message):
        opened(tmp_path, thing(1, 4, [SQUARE]), thing(1, 1, [SQUARE]), categories=animals)
    with pytest.raises(DataError, match="annotation 1 has category 8, which is not among the file's"):
        opened(tmp_path, thing(1, 8, [SQUARE]))


def test_a_category_called_background_is_class_0(tmp_path: Path) -> None:
    categories = [{"id": 1, "name": "Background"}, {"id": 2, "name": "person"}]
    opened(tmp_path, thing(1, 2, [SQUARE]), thing(1, 1, runs(block(12, 7, 16, 20))), categories=categories)
    recognised, data = read_back(four_times(tmp_path))
    assert recognised.options["class_names"] == ["background", "person"]
    assert "Objects labelled 'Background' are the background: where they lie, class 0." in recognised.remarks
    dataset = OutlinedImages(data.annotations.images, ["a"], data.labels)
    np.testing.assert_array_equal(dataset.load(0)[1], block(10, 5, 30, 25) & ~block(12, 7, 16, 20))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"images": None}, "is no annotation file in the form of COCO: it holds info, images, annotations, categories"),
        ({"images": [{"id": 1}]}, "image 1 has no file_name, only id. Give each image the name of its file."),
        ({"images": ["a.jpg"]}, "is not in the form of COCO: TypeError"),
        ({"images": [image_entry(1, "a.jpg"), image_entry(2, "a.png")]}, "a.jpg is annotated twice, in"),
        ({"categories": [{"id": 1}]}, "KeyError: 'name'"),
        ({"annotations": [{"image_id": 1}]}, "KeyError: 'category_id'"),
        ({"annotations": [{"id": 5, **thing(9, 1, [SQUARE])}]}, "annotation 5 belongs to image 9, which is not in"),
    ],
)
def test_files_of_another_form(tmp_path: Path, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        opened(tmp_path, **fields)
    assert "all.json" in str(caught.value)


def test_a_file_of_no_images(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no annotated images; expected COCO"):
        opened(tmp_path, images=[])


def test_files_that_are_damaged(tmp_path: Path) -> None:
    (tmp_path / "all.json").write_text('{"images": [')
    with pytest.raises(DataError, match=r"all.json is damaged at line 1: .*Export the annotations again"):
        read(tmp_path)
    (tmp_path / "all.json").write_text(f'{{"images": [{"9" * 5000}]}}')
    with pytest.raises(DataError, match=r"all.json holds a number that is none: Exceeds the limit"):
        read(tmp_path)
    (tmp_path / "all.json").unlink()
    with pytest.raises(DataError, match=r"Cannot read .*all.json: No such file"):
        read(tmp_path)


def test_images_that_are_missing_or_others(tmp_path: Path) -> None:
    dataset = opened(tmp_path, thing(1, 1, [SQUARE]))
    assert dataset.files(0) == (tmp_path / "a.jpg", tmp_path / "all.json")
    Image.new("RGB", (40, 50)).save(tmp_path / "a.jpg")
    with pytest.raises(DataError, match=r"a.jpg is 40x50, but .*all.json was drawn on an image of 50x40 .*turned"):
        dataset.load(0)
    (tmp_path / "a.jpg").unlink()
    with pytest.raises(DataError, match=r"1 of 1 annotated images are missing. The first: a.jpg of .*all.json, below"):
        read(tmp_path)


def test_without_pycocotools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_coco(tmp_path)
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    monkeypatch.setitem(sys.modules, "pycocotools.mask", None)
    with pytest.raises(ConfigError, match=r"pycocotools.*pip install 'deeplab-lightning\[coco\]'"):
        module(root).build_dataset("train")


# ----------------------------------------------------------------------------------------------------- the datamodule


def ids(dataset: OutlinedImages) -> tuple[str, ...]:
    return tuple(dataset.sample_id(index) for index in range(len(dataset)))


def test_two_files(tmp_path: Path) -> None:
    data = module(write_coco(tmp_path))
    for split, (folder, names) in zip(("train", "val"), NAMES.items(), strict=True):
        dataset = data.dataset(split)  # type: ignore[arg-type]
        assert ids(dataset) == tuple(f"{folder}/{name}" for name in names)  # type: ignore[arg-type]
        for index in range(len(dataset)):
            found = set(np.unique(dataset.load(index)[1]))
            assert found == ({0} if index == len(dataset) - 1 else {0, 1, 3, 255})
    with pytest.raises(ConfigError, match="There is no test split"):
        data.dataset("test")
    batch = next(iter(data.train_dataloader()))
    assert batch["mask"].shape == (2, 33, 33)


def test_one_file_is_divided(tmp_path: Path) -> None:
    write_coco(tmp_path)
    images = [image_entry(number, f"{name}.jpg") for number, name in enumerate(NAMES["train2017"])]
    shutil.rmtree(tmp_path / "val2017")
    shutil.rmtree(tmp_path / "annotations")
    (tmp_path / "train2017").rename(tmp_path / "pictures")
    write_annotations(tmp_path / "annotations.json", images, [])
    data = module(tmp_path, annotations=["annotations.json"], val_fraction=0.3)
    train, val = ids(data.build_dataset("train")), ids(data.build_dataset("val"))
    assert (len(train), len(val)) == (2, 1)
    assert sorted((*train, *val)) == sorted(f"pictures/{name}" for name in NAMES["train2017"])


def test_folders_in_file_names_may_divide(tmp_path: Path) -> None:
    write_coco(tmp_path)
    images = [
        image_entry(int(name), f"{folder}\\{name}.jpg" if folder == "train2017" else f"/home/me/{folder}/{name}.jpg")
        for folder, names in NAMES.items()
        for name in names
    ]
    write_annotations(tmp_path / "annotations.json", images, [])
    data = module(tmp_path, annotations=["annotations.json"])
    assert ids(data.build_dataset("val")) == tuple(f"val2017/{name}" for name in NAMES["val2017"])
    (tmp_path / "train.txt").write_text("\n".join(NAMES["val2017"]))  # the user's own word
    (tmp_path / "val.txt").write_text("\n".join(f"{name}.jpg" for name in NAMES["train2017"]))
    data = module(tmp_path, annotations=["annotations.json"])
    assert ids(data.build_dataset("val")) == tuple(f"train2017/{name}" for name in NAMES["train2017"])
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
        assert sorted(scores["sample_ids"]) == sorted(f"val2017/{name}" for name in NAMES["val2017"])


# ---------------------------------------------------------------------------------------------- folders as tools write


def squares(path: Path, names: list[str], categories: list[dict[str, Any]] | None = None, category: int = 1) -> Path:
    """Write a file of images with a square each."""
    path.parent.mkdir(parents=True, exist_ok=True)
    entries = [image_entry(number, name) for number, name in enumerate(names, start=1)]
    things = [thing(number, category, [SQUARE]) for number, _ in enumerate(names, start=1)]
    return write_annotations(path, entries, things, categories=categories or CATEGORIES)


def pictures(folder: Path, names: list[str], grey: int = 0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.new("RGB", (50, 40), (grey, grey, grey)).save(folder / name)


def four_times(root: Path) -> Path:
    """Copy the one annotated image of a root, so that it can be divided."""
    content = json.loads((root / "all.json").read_text())
    for number in (2, 3, 4):
        shutil.copy(root / "a.jpg", root / f"{number}.jpg")
        content["images"].append(image_entry(number, f"{number}.jpg"))
    (root / "all.json").write_text(json.dumps(content))
    return root


def read_back(root: Path) -> tuple[Recognised, COCODataModule]:
    """Recognise a folder, and open what was recognised."""
    found = COCODataModule.recognise(root)
    assert found is not None
    return found, COCODataModule(**found.options, batch_size=1, crop_size=33, num_workers=0)


def all_ids(data: COCODataModule) -> dict[str, list[str]]:
    return {split: list(ids(data.build_dataset(split))) for split in data.splits}  # type: ignore[arg-type]


def test_roboflows_folders(tmp_path: Path) -> None:
    categories = [
        {"id": 0, "name": "cracks", "supercategory": "none"},
        {"id": 1, "name": "crack", "supercategory": "cracks"},
        {"id": 2, "name": "spall", "supercategory": "cracks"},
    ]
    for grey, (split, names) in enumerate({"train": "abc", "valid": "a", "test": "ab"}.items()):
        files = [f"{name}_jpg.rf.0123.jpg" for name in names]  # the same names in each split
        pictures(tmp_path / split, files, 10 * grey)
        squares(tmp_path / split / "_annotations.coco.json", files, categories, category=2)
    found, data = read_back(tmp_path)
    assert found.options["class_names"] == ["background", "crack", "spall"]
    assert any("No class, since it only heads others: cracks" in line for line in found.remarks)
    assert any("3 train, 1 val, 2 test" in line for line in found.remarks)
    assert found.train_size == 3
    assert {split: len(names) for split, names in all_ids(data).items()} == {"train": 3, "val": 1, "test": 2}
    for grey, split in enumerate(data.splits):
        image, mask = data.dataset(split).load(0)  # type: ignore[arg-type]
        assert abs(int(image.max()) - 10 * grey) < 3
        np.testing.assert_array_equal(mask, 2 * block(10, 5, 30, 25))


@pytest.mark.parametrize(
    ("files", "sizes", "words"),
    [
        ({"train": 4, "test": 2}, {"train": 3, "val": 1, "test": 2}, "None are stated for val: 1 for val were taken"),
        ({"train": 4, "valid": 2}, {"train": 4, "val": 2}, "4 train, 2 val"),
        ({"valid": 5}, {"train": 4, "val": 1}, "for validation alone"),
    ],
)
def test_the_test_is_never_trained_on(tmp_path: Path, files: dict[str, int], sizes: dict[str, int], words: str) -> None:
    for split, count in files.items():
        names = [f"{number}.jpg" for number in range(count)]
        pictures(tmp_path / split, names)
        squares(tmp_path / split / "_annotations.coco.json", names)
    found, data = read_back(tmp_path)
    split_names = all_ids(data)
    assert {split: len(names) for split, names in split_names.items()} == sizes
    assert any(words in line for line in found.remarks)
    assert all(name.startswith("test/") for name in split_names.get("test", []))
    assert not any(name.startswith("test/") for name in split_names["train"] + split_names["val"])


def test_images_for_the_test_alone_are_refused(tmp_path: Path) -> None:
    pictures(tmp_path / "test", ["1.jpg", "2.jpg"])
    squares(tmp_path / "test" / "_annotations.coco.json", ["1.jpg", "2.jpg"])
    with pytest.raises(DataError, match=r"2 annotated images of .* are all for the test, which is never trained on"):
        COCODataModule.recognise(tmp_path)


@pytest.mark.parametrize(
    ("train", "val"),
    [
        ("annotations/instances_train2017.json", "annotations/instances_val2017.json"),
        ("train.json", "valid.json"),
        ("Annotations/Training.json", "Annotations/Validation.json"),
        ("annotations/train_annotations.json", "annotations/val_annotations.json"),
        ("annotations_train.json", "annotations_dev_val.json"),
        ("train/annotations.json", "val/annotations.json"),
    ],
)
@pytest.mark.parametrize("folders", [("train2017", "val2017"), ("images/Train", "images/Val"), ("imgs", "imgs")])
def test_a_file_for_each_split(tmp_path: Path, train: str, val: str, folders: tuple[str, str]) -> None:
    names = (["1.jpg", "2.jpg"], ["3.jpg"] if folders[0] == folders[1] else ["1.jpg"])
    for grey, (file, folder, inside) in enumerate(zip((train, val), folders, names, strict=True)):
        pictures(tmp_path / folder, inside, 10 * grey)
        squares(tmp_path / file, inside)
    found, data = read_back(tmp_path)
    assert set(found.options["annotations"]) == {train, val}
    assert {split: len(inside) for split, inside in all_ids(data).items()} == {"train": 2, "val": 1}
    assert abs(int(data.dataset("val").load(0)[0].max()) - 10) < 3


def test_images_of_another_split_are_not_taken(tmp_path: Path) -> None:
    names = [f"{number}.jpg" for number in range(5)]
    pictures(tmp_path / "train2017", names)
    pictures(tmp_path / "val2017", names[:4], 10)
    squares(tmp_path / "annotations" / "instances_train2017.json", names)
    squares(tmp_path / "annotations" / "instances_val2017.json", names)
    found, data = read_back(tmp_path)
    assert len(data.splits["val"]) == 4
    assert any(
        "1 of 10 annotated images are missing, and left out. The first: 4.jpg" in line
        and "train2017/4.jpg is of another split" in line
        for line in found.remarks
    )
    shutil.rmtree(tmp_path / "val2017")
    with pytest.raises(DataError, match="5 of 10 annotated images are missing"):
        COCODataModule.recognise(tmp_path)


def test_datumaros_folders_and_other_tasks(tmp_path: Path) -> None:
    names = ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]
    pictures(tmp_path / "images" / "default", names)
    pictures(tmp_path / "annotations" / "panoptic_default", [name.replace("jpg", "png") for name in names])
    squares(tmp_path / "annotations" / "instances_default.json", names)
    for other in ("person_keypoints", "stuff"):
        squares(tmp_path / "annotations" / f"{other}_default.json", names, category=3)
    labels = [thing(number, 3, []) for number in (1, 2, 3, 4)]
    for other in ("labels", "captions", "image_info", "panoptic"):
        write_annotations(
            tmp_path / "annotations" / f"{other}_default.json",
            [image_entry(number, name) for number, name in enumerate(names, start=1)],
            labels if other == "labels" else [],
        )
    found, data = read_back(tmp_path)
    assert found.options["annotations"] == ["annotations/instances_default.json"]
    assert sum("is left out: it is about images of annotations/instances" in line for line in found.remarks) == 2
    assert not any("have no annotation" in line for line in found.remarks)  # panoptic masks are no images
    pictures(tmp_path / "images" / "more", ["e.jpg"])
    assert "1 images have no annotation, and are left out: images/more/e.jpg." in read_back(tmp_path)[0].remarks
    assert data.dataset("train").load(0)[1].max() == 1
    assert sorted(all_ids(data)["train"] + all_ids(data)["val"]) == [f"images/default/{name[0]}" for name in names]


def test_datumaros_stuff_is_drawn_by_a_brush(tmp_path: Path) -> None:
    names = ["a.jpg", "b.jpg"]
    pictures(tmp_path / "images" / "train", names)
    things = [thing(number, 3, runs(block(12, 7, 16, 30)), iscrowd=1) for number in (1, 2)]
    (tmp_path / "annotations").mkdir()
    images = [image_entry(number, name) for number, name in enumerate(names, start=1)]
    write_annotations(tmp_path / "annotations" / "stuff_train.json", images, things)
    _, data = read_back(tmp_path)
    np.testing.assert_array_equal(data.dataset("train").load(0)[1], 2 * block(12, 7, 16, 30))


def test_ids_may_be_words_and_names_paths_of_another_machine(tmp_path: Path) -> None:
    pictures(tmp_path / "images" / "day1", ["1.jpg", "2.jpg"])
    pictures(tmp_path / "images" / "day2", ["1.jpg"], 10)
    names = ["C:\\data\\day1\\1.jpg", "/home/me/day1/2.jpg", "../day2/1.jpg"]
    images = [image_entry(number, name) | {"id": f"im{number}"} for number, name in enumerate(names)]
    things = [thing(0, 0, [SQUARE]) | {"image_id": f"im{number}", "category_id": "c1"} for number in range(3)]
    write_annotations(tmp_path / "a.json", images, things, categories=[{"id": "c1", "name": "person"}])
    _, data = read_back(tmp_path)
    everything = all_ids(data)
    assert sorted(everything["train"] + everything["val"]) == ["images/day1/1", "images/day1/2", "images/day2/1"]
    assert data.annotations.images["images/day2/1"].objects[0].where.endswith("annotation 3")


def test_one_name_below_several_supercategories_is_several_classes(tmp_path: Path) -> None:
    categories = [
        {"id": 1, "name": "other", "supercategory": "vehicle"},
        {"id": 2, "name": "other", "supercategory": "animal"},
        {"id": 3, "name": "car", "supercategory": "vehicle"},
    ]
    pictures(tmp_path, ["1.jpg", "2.jpg"])
    squares(tmp_path / "a.json", ["1.jpg", "2.jpg"], categories, category=2)
    found, data = read_back(tmp_path)
    assert found.options["class_names"] == ["background", "vehicle other", "animal other", "car"]
    assert data.dataset("train").load(0)[1].max() == 2


def test_two_spellings_are_one_class(tmp_path: Path) -> None:
    pictures(tmp_path / "train", ["1.jpg"])
    pictures(tmp_path / "val", ["2.jpg"])
    squares(tmp_path / "train.json", ["1.jpg"], [{"id": 1, "name": "car"}])
    squares(tmp_path / "val.json", ["2.jpg"], [{"id": 1, "name": "Car "}])
    found, data = read_back(tmp_path)
    assert found.options["class_names"] == ["background", "car"]
    assert any("Spellings taken for one class: 'car', 'Car '" in line for line in found.remarks)
    np.testing.assert_array_equal(data.dataset("val").load(0)[1], block(10, 5, 30, 25))


def test_an_image_in_two_splits_is_refused(tmp_path: Path) -> None:
    pictures(tmp_path / "images", ["1.jpg", "2.jpg"])
    squares(tmp_path / "train.json", ["1.jpg", "2.jpg"])
    squares(tmp_path / "val.json", ["2.jpg"])
    with pytest.raises(DataError, match=r"2.jpg is annotated for train and for val, in .*train.json and .*val.json"):
        COCODataModule.recognise(tmp_path)


def test_boxes_alone_are_refused_and_masks_that_lie_ready_go_first(tmp_path: Path) -> None:
    pictures(tmp_path / "images", ["1.jpg"])
    write_annotations(tmp_path / "a.json", [image_entry(1, "1.jpg")], [thing(1, 1, []) | {"bbox": [1, 1, 5, 5]}])
    with pytest.raises(DataError, match=r"1 of 1 objects have no outline. .* boxes do not tell the classes of pixels"):
        COCODataModule.recognise(tmp_path)
    pictures(tmp_path / "masks", ["1.png"])
    assert COCODataModule.recognise(tmp_path) is None


def test_coordinates_that_are_shares_of_the_size(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"1 of 1 outlines have points from 0 to 1 alone.*multiply x by the width"):
        opened(tmp_path, thing(1, 1, [[0.1, 0.1, 0.9, 0.1, 0.9, 0.8]]))


@pytest.mark.parametrize("key", ["coco_url", "url", "path"])
def test_an_image_without_file_name_is_called_as_its_address_ends(tmp_path: Path, key: str) -> None:
    pictures(tmp_path / "images", ["1 a.jpg", "2.jpg"])
    entries = [image_entry(1, "1 a.jpg"), image_entry(2, "2.jpg")]
    for entry, name in zip(entries, ("1%20a.jpg", "2.jpg"), strict=True):
        del entry["file_name"]
        entry[key] = f"http://images.cocodataset.org/val2017/{name}?x=1"
    objects = [thing(1, 1, [[5, 5, 15, 5, 15, 15, 5, 15]])]
    write_annotations(tmp_path / "a.json", entries, objects)
    found = COCODataModule.read(tmp_path.resolve())
    assert {name: len(one.objects) for name, one in found.images.items()} == {"images/1 a": 1, "images/2": 0}
    del entries[1][key]
    write_annotations(tmp_path / "a.json", entries, objects)
    with pytest.raises(DataError, match="image 2 has no file_name, only id, width, height"):
        COCODataModule.recognise(tmp_path)
