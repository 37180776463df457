"""ISAT's files, beside masks that were made otherwise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from deeplab_lightning.data.sets.isat import ISATDataModule
from deeplab_lightning.doctor.layouts import propose
from deeplab_lightning.errors import DataError

WIDTH, HEIGHT = 50, 40


def thing(category: str, left: int, top: int, right: int, bottom: int, layer: float) -> dict[str, Any]:
    return {
        "category": category,
        "group": 1,
        "segmentation": [[left, top], [right, top], [right, bottom], [left, bottom]],
        "area": 1.0,
        "layer": layer,
        "bbox": [left, top, right, bottom],
        "iscrowd": False,
        "note": "",
    }


def write_isat(root: Path, objects: list[dict[str, Any]], count: int = 5, labels: str = "labels") -> Path:
    for folder in ("images", labels):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for number in range(count):
        Image.new("RGB", (WIDTH, HEIGHT)).save(root / "images" / f"p{number}.jpg")
        info = {
            "description": "ISAT",
            "folder": "/home/me/images",
            "name": f"p{number}.jpg",
            "width": WIDTH,
            "height": HEIGHT,
            "depth": 3,
            "note": "",
        }
        (root / labels / f"p{number}.json").write_text(json.dumps({"info": info, "objects": objects}))
    return root


@pytest.mark.parametrize("labels", ["labels", "images"])
def test_layers_say_what_lies_on_top(tmp_path: Path, labels: str) -> None:
    objects = [
        thing("dog", 10, 10, 30, 30, 3.0),
        thing("cat", 5, 5, 20, 20, 1.0),
        thing("__background__", 12, 12, 14, 14, 4.0),
    ]
    found = propose(write_isat(tmp_path, objects, labels=labels))
    assert (found.name, found.options["class_names"]) == ("ISAT", ["background", "cat", "dog"])
    truth = np.zeros((HEIGHT, WIDTH), np.uint8)
    truth[5:20, 5:20], truth[10:30, 10:30], truth[12:14, 12:14] = 1, 2, 0
    dataset = ISATDataModule(root=str(tmp_path), class_names=["background", "cat", "dog"], num_workers=0).dataset(
        "train"
    )
    assert len(dataset) == 4
    assert all(np.array_equal(dataset.load(index)[1], truth) for index in range(4))


def test_what_has_no_area_is_counted(tmp_path: Path) -> None:
    objects = [thing("cat", 5, 5, 20, 20, 1.0)] * 4 + [thing("cat", 1, 1, 2, 2, 1.0) | {"segmentation": [[1, 1]]}]
    found = propose(write_isat(tmp_path, objects))
    assert any("5 of 25 objects are left out" in line for line in found.remarks)


def test_damage_is_named(tmp_path: Path) -> None:
    write_isat(tmp_path, [thing("cat", 5, 5, 20, 20, 1.0)])
    (tmp_path / "labels" / "p3.json").write_text('{"info": {"description": "ISAT"}, "objects": []}')
    with pytest.raises(DataError, match=r"p3.json is not in the form expected: 'name' is missing"):
        propose(tmp_path)
