"""Panoptic annotations in COCO's form: classes, void, crowds and numbers as the files say."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from deeplab_lightning.data.sets import datamodule_named
from deeplab_lightning.data.sets.coco_panoptic import COCOPanopticDataModule
from deeplab_lightning.doctor.layouts import propose
from deeplab_lightning.errors import ConfigError, DataError

from ..fakes.coco_panoptic import CATEGORIES, SEGMENTS, ids_of, write_coco_panoptic

NAMES = ["person", "dog", "sky"]
"""In the order of the categories' ids."""


def data(root: Path, **options: object) -> COCOPanopticDataModule:
    return COCOPanopticDataModule(**{"root": str(root), "class_names": NAMES, "things": ("person", "dog"), **options})


def test_segments_are_classes_and_objects(tmp_path: Path) -> None:
    module = data(write_coco_panoptic(tmp_path))
    assert module.description["things"] == [0, 1]
    seen = set()
    for split, length in (("train", 2), ("val", 1)):
        dataset = module.dataset(split)  # type: ignore[arg-type]
        assert len(dataset) == length
        assert dataset.has_instances
        for index in range(length):
            ids = ids_of(Path(dataset.sample_id(index)).name)
            mask, numbers = dataset.load(index)[1], dataset.instances(index)
            assert (mask.dtype, numbers.dtype) == (np.uint8, np.int32)
            for one, (category, crowd) in SEGMENTS.items():
                name = next(entry["name"] for entry in CATEGORIES if entry["id"] == category)
                assert (mask[ids == one] == NAMES.index(str(name))).all()
                assert (numbers[ids == one] == (0 if crowd or name == "sky" else one)).all()
            assert (mask[ids == 0] == 255).all()
            assert not numbers[ids == 0].any()
            seen |= set(np.unique(numbers).tolist())
    assert 2**24 - 1 in seen


def test_doctor_writes_what_the_files_say(tmp_path: Path) -> None:
    root = write_coco_panoptic(tmp_path / "a" / "coco")
    found = propose(root.parent)
    assert found.name == "COCOPanoptic"
    written = yaml.safe_load(found.as_yaml("title"))["data"]
    assert (written["class_names"], written["things"]) == (NAMES, ["person", "dog"])
    module = datamodule_named(written.pop("name"))(**written, num_workers=0)
    assert len(module.dataset("train")) == 2
    assert module.dataset("train").has_instances


def test_classes_may_be_ignored_and_must_be_declared(tmp_path: Path) -> None:
    root = write_coco_panoptic(tmp_path)
    with pytest.raises(DataError, match=r"class 'sky', which was not declared"):
        data(root, class_names=NAMES[:2]).dataset("train").load(0)
    dataset = data(root, class_names=NAMES[:2], ignored_labels=("sky",)).dataset("train")
    ids = ids_of(Path(dataset.sample_id(0)).name)
    assert (dataset.load(0)[1][ids == 70_000] == 255).all()
    with pytest.raises(ConfigError, match=r"dog: in data.class_names and in data.ignored_labels"):
        data(root, ignored_labels=("dog",)).dataset("train")
    with pytest.raises(ConfigError, match=r"There is no class 'dogs'\. Did you mean 'dog'"):
        data(root, things=("dogs",))
    assert not data(root, things=()).dataset("train").has_instances


def test_what_the_annotations_do_not_say_is_refused(tmp_path: Path) -> None:
    root = write_coco_panoptic(tmp_path)
    path = root / "annotations" / "panoptic_train2017.json"
    content = json.loads(path.read_text())
    for entry in content["annotations"]:
        entry["segments_info"] = [one for one in entry["segments_info"] if one["id"] != 600]
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"holds segment 600, of which the annotations say nothing"):
        data(root).dataset("train").load(0)
    content["annotations"][0]["segments_info"][0]["category_id"] = 77
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match="not in the form expected: 77 is missing"):
        data(root).dataset("train")
    path.with_suffix("").rename(root / "elsewhere")
    with pytest.raises(DataError, match="has no folder of segments"):
        data(root).dataset("train")
