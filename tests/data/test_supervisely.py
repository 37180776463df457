"""Supervisely's projects, beside masks that were written by hand."""

from __future__ import annotations

import base64
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from deeplab_lightning.data.sets.supervisely import SuperviselyDataModule, bitmap_pixels
from deeplab_lightning.doctor.layouts import propose
from deeplab_lightning.errors import DataError

from ..fakes.supervisely import HEIGHT, WIDTH, bitmap, packed, shape, write_annotation, write_supervisely

NAMES = ["background", "road", "car"]


def module(root: Path, **options: Any) -> SuperviselyDataModule:
    return SuperviselyDataModule(root=str(root), **{"class_names": NAMES, "num_workers": 0, **options})


def mask_of(tmp_path: Path, objects: list[Any]) -> np.ndarray:
    """Return the mask of the first validation image with these objects."""
    root = write_supervisely(tmp_path, datasets=("train", "val"))
    write_annotation(root / "val" / "ann" / "p0.jpg.json", objects)
    return module(root).dataset("val").load(0)[1]


def block(left: int, top: int, right: int, bottom: int, value: int = 1) -> np.ndarray:
    """Return a mask of pixels (left, top) to (right, bottom), both included."""
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[top : bottom + 1, left : right + 1] = value
    return mask


def test_polygons_include_their_outline_and_lose_their_holes(tmp_path: Path) -> None:
    square, hole = [[10, 5], [30, 5], [30, 25], [10, 25]], [[15, 10], [20, 10], [20, 18], [15, 18]]
    mask = mask_of(tmp_path, [shape("polygon", square, "road", [hole])])
    assert np.array_equal(mask, block(10, 5, 30, 25) - block(15, 10, 20, 18))


def test_fractions_are_cut_off(tmp_path: Path) -> None:
    square = [[10.9, 5.2], [30.7, 5.2], [30.7, 25.99], [10.9, 25.99]]
    assert np.array_equal(mask_of(tmp_path, [shape("polygon", square, "road")]), block(10, 5, 30, 25))


@pytest.mark.parametrize("corners", [[[7, 3], [20, 9]], [[20, 9], [7, 3]]])
def test_rectangles_include_both_corners(tmp_path: Path, corners: Any) -> None:
    assert np.array_equal(mask_of(tmp_path, [shape("rectangle", corners, "car")]), block(7, 3, 20, 9, 2))


@pytest.mark.parametrize("options", [{}, {"compress": False}, {"kind": "L"}, {"kind": "RGBA"}])
def test_bitmaps_lie_at_their_origin(tmp_path: Path, options: Any) -> None:
    area = np.random.default_rng(0).random((12, 17)) > 0.5
    expected = np.zeros((HEIGHT, WIDTH), np.uint8)
    expected[8:20, 30:47] = area * 2
    assert np.array_equal(mask_of(tmp_path, [bitmap(area, "car", 30, 8, **options)]), expected)


def test_a_bitmap_of_the_sdk() -> None:
    """The example of the SDK's documentation: a ring of eight pixels."""
    ring = (
        "eJzrDPBz5+WS4mJgYOD19HAJAtLMIMwIInOeqf8BUmwBPiGuQPr///9Lb86/C2QxlgT5BTM4PLuRBuTw"
        "ebo4hlTMSa44sKHhISMDuxpTYrr03F6gDIOnq5/LOqeEJgDM5ht6"
    )
    assert bitmap_pixels(ring, 3, 3).astype(int).tolist() == [[1, 1, 1], [1, 0, 1], [1, 1, 1]]


def test_later_objects_lie_over_earlier_ones(tmp_path: Path) -> None:
    root = write_supervisely(tmp_path)
    mask = module(root).dataset("train").load(0)[1]
    assert np.array_equal(np.unique(mask), [0, 1, 2])
    car = np.ones((6, 8), bool)
    car[2:4, 2:4] = False
    name = module(root).dataset("train").sample_id(0)
    left = 12 + int(name[-1])
    expected = block(10, 10, 40, 30)
    expected[12:18, left : left + 8][car] = 2
    assert np.array_equal(mask, expected)


def test_datasets_called_after_splits_are_splits_and_may_hold_others(tmp_path: Path) -> None:
    root = write_supervisely(tmp_path, datasets=("train", "train/datasets/night", "val"))
    data = module(root)
    assert (len(data.dataset("train")), len(data.dataset("val"))) == (6, 3)
    assert "train/datasets/night/p0" in data.annotations.images


def test_annotations_of_old_exports_have_no_ending_of_the_image(tmp_path: Path) -> None:
    root = write_supervisely(tmp_path, datasets=("ds",))
    for path in (root / "ds" / "ann").iterdir():
        path.rename(path.with_name(path.name.replace(".jpg", "")))
    assert sorted(SuperviselyDataModule.read(root).images) == ["ds/p0", "ds/p1", "ds/p2"]


def test_what_has_no_area_is_counted_and_what_is_not_annotated_is_said(tmp_path: Path) -> None:
    root = write_supervisely(tmp_path, datasets=("ds",))
    objects = [shape("line", [[1, 1], [5, 5]], "car"), shape("point", [[1, 1]], "car"),
               shape("polygon", [[1, 1], [5, 5]], "car")]  # fmt: skip
    write_annotation(root / "ds" / "ann" / "p0.jpg.json", objects, tags=[{"name": "train"}])
    Image.new("RGB", (WIDTH, HEIGHT)).save(root / "ds" / "img" / "new.png")
    found = SuperviselyDataModule.read(root)
    assert [one.rpartition(" ")[2] for one in found.left_out] == ["line", "point", "polygon"]
    assert found.remarks == [
        "1 images have no annotation, and are left out: new.png",
        "Images are tagged train, which is not read: write lists train.txt and val.txt.",
    ]


def test_bombs_take_no_memory() -> None:
    inner = zlib.compress(b"\0" * (1 << 27), 9)
    with pytest.raises(ValueError, match="more than"):
        bitmap_pixels(base64.b64encode(inner).decode(), 40, 50)
    with pytest.raises(ValueError, match="larger than its image"):
        bitmap_pixels(packed(np.ones((41, 50), bool)), 40, 50)


@pytest.mark.parametrize(
    ("data", "words"),
    [("%", "Error"), ("AAAA", "no PNG packed by zlib"), (base64.b64encode(zlib.compress(b"x")).decode(), "no PNG")],
)
def test_damaged_bitmaps(tmp_path: Path, data: str, words: str) -> None:
    one = bitmap(np.ones((2, 2), bool), "car")
    one["bitmap"]["data"] = data
    with pytest.raises(DataError, match=rf"p0.jpg.json, object 1 is not in the form expected: .*{words}"):
        mask_of(tmp_path, [one])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"objects": [{"classTitle": "car", "geometryType": "polygon"}]}, "'points' is missing"),
        ({"objects": [3]}, "AttributeError"),
        ({"size": None}, "TypeError"),
        ({"objects": [shape("polygon", [[1, 2], [1e9, 3], [4, 5]], "car")]}, "nowhere near an image"),
    ],
)
def test_damaged_annotations(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    root = write_supervisely(tmp_path)
    write_annotation(root / "ds0" / "ann" / "p1.jpg.json", **{"objects": [], **change})
    with pytest.raises(DataError, match=f"p1.jpg.json.*{words}"):
        SuperviselyDataModule.read(root)


def test_annotations_without_image(tmp_path: Path) -> None:
    root = write_supervisely(tmp_path)
    (root / "ds0" / "img" / "p0.jpg").unlink()
    found = SuperviselyDataModule.read(root)
    annotation = root / "ds0" / "ann" / "p0.jpg.json"
    assert found.missing == [f"{annotation} has no image: expected it in {root / 'ds0' / 'img'}."]


def test_it_is_recognised_and_nothing_else(tmp_path: Path) -> None:
    found = propose(write_supervisely(tmp_path / "outer" / "data").parent)
    assert (found.name, found.options["class_names"], found.train_size) == ("Supervisely", NAMES, 5)
    root = tmp_path / "outer" / "data"
    for content in [{"classes": {"car": 1}}, {"classes": [1]}, {}, []]:
        (root / "meta.json").write_text(json.dumps(content))
        assert not SuperviselyDataModule.is_form(root)
    assert not SuperviselyDataModule.is_form(root / "ds0")
