"""Objects from a checkpoint: in Python, and in files that readers of the field take."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import deeplab_lightning
from deeplab_lightning.__main__ import main
from deeplab_lightning.commands.object_files import ObjectFiles
from deeplab_lightning.data.files.regions import Bitmap
from deeplab_lightning.data.sets.cityscapes import CITYSCAPES, LABEL_IDS
from deeplab_lightning.data.sets.drawn_scenes import DRAWN_SCENES, DrawnScenes
from deeplab_lightning.errors import DataError
from deeplab_lightning.inference.found_objects import FoundObject, PanopticImage

SMALL = [
    *("--model.backbone", "mobilenetv2_035", "--model.aspp_channels", "8", "--model.semantic_channels", "8"),
    *("--model.semantic_low_level_channels", "[8,4]", "--model.instance_channels", "8"),
    *("--model.instance_low_level_channels", "[4,2]", "--model.instance_head_channels", "4"),
    *("--data.crop_size", "65", "--data.batch_size", "2", "--data.num_workers", "0", "--data.train_size", "4"),
    *("--data.height", "64", "--data.width", "80", "--data.val_size", "2", "--trainer.accelerator", "cpu"),
    *("--trainer.max_steps", "2", "--trainer.val_check_interval", "2", "--trainer.num_sanity_val_steps", "0"),
    # Behind two steps centres are low: as many as there are, so that there is something to write.
    *("--evaluation.objects", "{centre_threshold: 0.0, centre_window: 9, min_stuff_area: 0}"),
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    assert main(["fit", "--model", "PanopticDeepLab", *SMALL, "--run.folder", str(folder), "--run.name", "small"]) == 0
    return folder / "small" / "version_0"


def drawn(labels: Any) -> PanopticImage:
    """Two objects of one class, one of them in two parts with a hole, one of another class, stuff and void."""
    car, person = 3, 5
    classes, numbers = np.zeros((20, 30), np.uint8), np.zeros((20, 30), np.int32)
    classes[:, :3] = labels.ignore_index
    objects = []
    boxes = {1: (car, [np.s_[2:9, 4:12], np.s_[2:6, 14:16]]), 2: (person, [np.s_[10:18, 5:9]]),
             3: (car, [np.s_[12:19, 20:29]])}  # fmt: skip
    for number, (class_id, parts) in boxes.items():
        for part in parts:
            classes[part], numbers[part] = class_id, number
    classes[4:6, 6:8], numbers[4:6, 6:8] = 0, 0
    for number, (class_id, _) in boxes.items():
        rows, columns = np.nonzero(numbers == number)
        box = np.s_[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        pixels = Bitmap(numbers[box] == number, int(columns.min()), int(rows.min()))
        objects.append(FoundObject(number, class_id, labels.class_names[class_id], 1 - number / 10, pixels))
    return PanopticImage(classes, numbers, tuple(objects))


def decoded(counts: list[int], height: int, width: int) -> np.ndarray:
    """Draw run lengths, down the columns, beginning outside."""
    values = np.arange(len(counts)) % 2
    return np.repeat(values, counts).reshape(width, height).T.astype(bool)


def test_files_say_what_was_found(tmp_path: Path) -> None:
    found = drawn(DRAWN_SCENES)
    files = ObjectFiles(tmp_path, DRAWN_SCENES, DRAWN_SCENES.thing_ids)
    files.add("a", found)
    files.add("deeper/b", found)
    files.finish()
    assert files.count == 6
    segments = json.loads((tmp_path / "panoptic.json").read_text())
    coded = np.array(Image.open(tmp_path / "panoptic" / "deeper" / "b.png")).astype(int) @ [1, 256, 65536]
    entry = segments["annotations"][1]
    assert entry["file_name"] == "deeper/b.png"
    known = {one["id"]: one for one in segments["categories"]}
    assert [known[i + 1]["name"] for i in range(len(known))] == list(DRAWN_SCENES.class_names)
    assert sorted(one["id"] for one in entry["segments_info"]) == sorted(set(np.unique(coded)) - {0})
    assert (coded[:, :3] == 0).all()
    for one in entry["segments_info"]:
        assert one["area"] == (coded == one["id"]).sum()
        assert set(found.classes[coded == one["id"]]) == {one["category_id"] - 1}
        assert known[one["category_id"]]["isthing"] == int("score" in one)
    objects = json.loads((tmp_path / "objects.json").read_text())["annotations"]
    for one, number in zip(objects[3:], (1, 2, 3), strict=True):
        mask = decoded(one["segmentation"]["counts"], *one["segmentation"]["size"])
        np.testing.assert_array_equal(mask, found.numbers == number)
        left, top, width, height = one["bbox"]
        assert mask[top : top + height, left : left + width].sum() == mask.sum() == one["area"]
        assert one["image_id"] == 2
    rows = list(csv.DictReader((tmp_path / "objects.csv").open()))
    assert rows[3] == {
        "image": "deeper/b", "number": "1", "class": DRAWN_SCENES.class_names[3], "score": "0.9", "left": "4",
        "top": "2", "width": "12", "height": "7", "area": str(7 * 8 - 4 + 8),
    }  # fmt: skip
    assert not (tmp_path / "instance_ids").exists()


def test_cityscapes_ids(tmp_path: Path) -> None:
    labels = CITYSCAPES
    found = drawn(labels)
    shifted = np.where((found.classes > 0) & (found.classes < 19), found.classes + 8, found.classes).astype(np.uint8)
    moved = [FoundObject(o.number, o.class_id + 8, labels.class_names[o.class_id + 8], o.score, o.pixels)
             for o in found.objects]  # fmt: skip
    files = ObjectFiles(tmp_path, labels, labels.thing_ids, LABEL_IDS)
    files.add("a", PanopticImage(shifted, found.numbers, tuple(moved)))
    ids = np.array(Image.open(tmp_path / "instance_ids" / "a.png"))
    person, car = LABEL_IDS[11], LABEL_IDS[13]
    for number, expected in ((1, person * 1000), (2, car * 1000), (3, person * 1000 + 1)):
        assert (ids[found.numbers == number] == expected).all()
    assert set(ids[found.numbers == 0]) == {LABEL_IDS[0], 0}


def test_outlines_of_objects(tmp_path: Path) -> None:
    one = drawn(DRAWN_SCENES).objects[0]
    large, small = one.polygons
    assert [large.min(0).tolist(), large.max(0).tolist()] == [[4, 2], [12, 9]]
    assert [small.min(0).tolist(), small.max(0).tolist()] == [[14, 2], [16, 6]]


def test_a_checkpoint_finds_objects_by_itself(run: Path, tmp_path: Path) -> None:
    image = DrawnScenes("val", 2, 64, 80).load(1)[0]
    objects = {"centre_threshold": 0.0, "centre_window": 9, "min_stuff_area": 0}
    model = deeplab_lightning.load(run, "cpu")
    result = model.predict(image, objects=objects)
    assert result.panoptic is not None
    assert [one.number for one in result.objects] == list(range(1, len(result.objects) + 1))
    assert 0 < len(result.objects) == result.panoptic.numbers.max()
    for one in result.objects:
        np.testing.assert_array_equal(one.pixels.area(64, 80), result.panoptic.numbers == one.number)
        assert set(result.panoptic.classes[result.panoptic.numbers == one.number]) == {one.class_id}
        assert 0 <= one.score <= 1
    things = np.isin(result.mask, model.things)
    assert ((result.panoptic.numbers > 0) == things).all()
    assert (result.panoptic.classes[~things] == result.mask[~things]).all()

    Image.fromarray(image).save(tmp_path / "a.png")
    words = ["--ckpt_path", str(run), "--output", str(tmp_path / "out"), "--device", "cpu"]
    words += ["--evaluation.objects", "{centre_threshold: 0.0, centre_window: 9, min_stuff_area: 0}"]
    assert main(["predict", str(tmp_path / "a.png"), *words]) == 0
    assert np.array_equal(Image.open(tmp_path / "out" / "masks" / "a.png"), result.mask)
    assert np.array_equal(Image.open(tmp_path / "out" / "overlays" / "a.png"), result.overlay())
    rows = list(csv.DictReader((tmp_path / "out" / "objects.csv").open()))
    assert [int(row["area"]) for row in rows] == [one.area for one in result.objects]


def test_a_network_of_classes_alone_has_none(checkpoint: Path) -> None:
    result = deeplab_lightning.load(checkpoint, "cpu").predict(DrawnScenes("val", 1, 64, 64).load(0)[0])
    with pytest.raises(DataError, match=r"tells no objects apart.*PanopticDeepLab"):
        _ = result.objects
