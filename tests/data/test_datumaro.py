"""Datumaro's form: each kind's pixels, their order, subsets, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deeplab_lightning.data.pairing.layout import Recognised
from deeplab_lightning.data.sets.coco import COCODataModule
from deeplab_lightning.data.sets.datumaro import DatumaroDataModule
from deeplab_lightning.errors import DataError

from ..fakes.datumaro import HEIGHT, WIDTH, polygon, write_datumaro, write_subset

coco_mask = pytest.importorskip("pycocotools.mask")

SQUARE = polygon(0, 10, 5, 30, 25)


def block(left: int, top: int, right: int, bottom: int) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[top:bottom, left:right] = 1
    return mask


def read_back(root: Path) -> tuple[Recognised, DatumaroDataModule]:
    found = DatumaroDataModule.recognise(root)
    assert found is not None
    return found, DatumaroDataModule(**found.options, batch_size=1, crop_size=33, num_workers=0)


def mask_of(root: Path, *objects: dict[str, Any]) -> np.ndarray:
    """The mask of these objects, of which two images have all."""
    write_subset(root, "default", {"a.png": list(objects), "b.png": list(objects)})
    return read_back(root)[1].dataset("train").load(0)[1]


def test_subsets_are_splits(tmp_path: Path) -> None:
    write_datumaro(tmp_path)
    found, data = read_back(tmp_path)
    assert found.options["class_names"] == ["background", "crack", "spall"]
    assert data.splits == {"train": [f"images/train/{number}" for number in range(3)], "val": ["images/val/0"]}
    expected = np.where(block(12, 8, 20, 12), 2, block(10, 5, 30, 25))
    np.testing.assert_array_equal(data.dataset("val").load(0)[1], expected)
    assert not COCODataModule.is_form(tmp_path)


def test_masks_are_cocos_run_lengths(tmp_path: Path) -> None:
    shape = np.random.default_rng(0).integers(0, 2, (HEIGHT, WIDTH), dtype=np.uint8)
    runs = coco_mask.encode(np.asfortranarray(shape))
    entry = {"type": "mask", "label_id": 1, "rle": {"counts": runs["counts"].decode(), "size": runs["size"]}}
    np.testing.assert_array_equal(mask_of(tmp_path, entry), 2 * shape)


def test_ellipses_lie_within_their_corners(tmp_path: Path) -> None:
    rows, columns = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    expected = ((columns - 20) / 15) ** 2 + ((rows - 15) / 10) ** 2 <= 1
    np.testing.assert_array_equal(
        mask_of(tmp_path, {"type": "ellipse", "label_id": 0, "points": [5.0, 5.0, 35.0, 25.0]}), expected
    )


def test_of_boxes_the_inside_is_ignored_and_classes_of_images_are_passed_over(tmp_path: Path) -> None:
    box = {"type": "bbox", "label_id": 1, "bbox": [5, 20, 10, 12], "z_order": 2}
    objects = [SQUARE, SQUARE, SQUARE, box, {"type": "label", "label_id": 1}, {"type": "caption", "caption": "a"}]
    with pytest.warns(UserWarning, match=r"2 of 8 objects are left out.* is a box, no outline"):
        found = mask_of(tmp_path, *objects)
    np.testing.assert_array_equal(found, np.where(block(5, 20, 15, 32), 255, block(10, 5, 30, 25)))


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"type": "bbox", "label_id": 0, "bbox": [1, 1, 5, 5]}, "2 of 2 objects have no outline.* is a box"),
        ({"type": "polyline", "label_id": 0, "points": [1, 1, 5, 5]}, "is a polyline, which has no area"),
        ({"type": "polygon", "label_id": 0, "points": [1, 1, 5, 5]}, "expected x and y of 3 points"),
        ({"type": "polygon", "label_id": 0, "points": [1, 1, 5, 5, 3e7, 8]}, "nowhere near an image"),
        ({"type": "polygon", "label_id": 0, "points": [1, 1, 5]}, "holds 3 numbers"),
        ({"type": "polygon", "label_id": 0, "points": [1, 1, 5, 5, "a", 8]}, "no list of numbers"),
        (
            {"type": "polygon", "label_id": 2, "points": [1, 1, 5, 5, 5, 8]},
            "has label_id 2; default.json has the labels",
        ),
        ({"type": "polygon", "label_id": None, "points": [1, 1, 5, 5, 5, 8]}, "has label_id None"),
        ({"type": "mask", "label_id": 0, "rle": {"counts": "oooooooo", "size": [40, 50]}}, "run lengths are damaged"),
        ({"type": "mask", "label_id": 0, "rle": {"counts": "0", "size": 3}}, "the size 3"),
        ({"type": "mask", "label_id": 0, "rle": {"counts": [2200], "size": [44, 50]}}, "of an image of"),
        ({"label_id": 0}, "is not in Datumaro's form: KeyError: 'type'"),
    ],
)
def test_objects_that_cannot_be_drawn(tmp_path: Path, entry: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        mask_of(tmp_path, entry)


def test_files_of_another_form(tmp_path: Path) -> None:
    path = write_subset(tmp_path, "default", {"a.png": [SQUARE]})
    for text, message in (
        ('{"items": 5, "categories": {"label": {"labels": []}}}', "is not in Datumaro's form: TypeError"),
        ('{"items": [], "categories": {"label": {"labels": []}}}', "holds no annotated images; expected Datumaro"),
        ('{"items": [], "categories": "labels"', "is damaged at line 1"),
        (
            '{"items": [{"id": "b", "annotations": []}], "categories": {"label": {"labels": []}}}',
            "1 of 1 annotated images",
        ),
    ):
        path.write_text(text)
        with pytest.raises(DataError, match=message):
            DatumaroDataModule.recognise(tmp_path)
