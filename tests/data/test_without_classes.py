"""Masks that do not name their classes: Segment Anything's, and LabelMe's exported folders with names beside each."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deeplab_lightning.data.sets.labelme_exports import LabelMeExportsDataModule
from deeplab_lightning.data.sets.segment_anything import SegmentAnythingDataModule
from deeplab_lightning.doctor.layouts import propose
from deeplab_lightning.errors import DataError

from ..fakes.object_masks import HEIGHT, LARGE, SMALL, WIDTH, image


def counts_of(area: np.ndarray) -> list[int]:
    """Return COCO's plain run lengths: outside and inside by turns, down the columns."""
    pixels = area.T.ravel()
    borders = np.flatnonzero(pixels[1:] != pixels[:-1]) + 1
    return [0] * int(pixels[0]) + np.diff([0, *borders.tolist(), pixels.size]).tolist()


def test_segment_anything(tmp_path: Path) -> None:
    for number in range(4):
        image(tmp_path / f"sa_{number}.jpg", number)
        annotations = [
            {
                "id": 1,
                "area": 9,
                "bbox": [0, 0, 1, 1],
                "segmentation": {"size": [HEIGHT, WIDTH], "counts": counts_of(one)},
            }
            for one in (LARGE, SMALL)
        ]
        said = {"image_id": number, "width": WIDTH, "height": HEIGHT, "file_name": f"sa_{number}.jpg"}
        (tmp_path / f"sa_{number}.json").write_text(json.dumps({"image": said, "annotations": annotations}))
    found = propose(tmp_path)
    assert (found.name, found.options["class_names"]) == ("SegmentAnything", ["background", "object"])
    assert any("no classes" in remark for remark in found.remarks)
    data = SegmentAnythingDataModule(root=str(tmp_path), class_names=["ground", "thing"], num_workers=0)
    assert np.array_equal(data.dataset("train").load(0)[1], LARGE | SMALL)


def write_export(folder: Path, names: list[str], values: np.ndarray) -> None:
    image(folder / "img.png")
    mask = Image.fromarray(values.astype(np.uint8))
    mask.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
    mask.save(folder / "label.png")
    (folder / "label_names.txt").write_text("\n".join(names) + "\n")


def test_values_of_exported_folders_are_brought_together_by_name(tmp_path: Path) -> None:
    values = np.where(SMALL, 2, np.where(LARGE, 1, 0))
    write_export(tmp_path / "a_json", ["_background_", "road", "car"], values)
    write_export(tmp_path / "b_json", ["_background_", "car", "road"], values)
    write_export(tmp_path / "c_json", ["_background_", "road", "car"], values)
    found = propose(tmp_path)
    assert (found.name, found.options["class_names"]) == ("LabelMeExports", ["background", "car", "road"])
    data = LabelMeExportsDataModule(root=str(tmp_path), class_names=["background", "road", "car"], num_workers=0)
    sets = [data.dataset("train"), data.dataset("val")]
    masks = {one.sample_id(index): one.load(index)[1] for one in sets for index in range(len(one))}
    assert np.array_equal(masks["a"], values)
    assert np.array_equal(masks["b"], np.array([0, 2, 1])[values])
    (tmp_path / "a.json").touch()  # what was exported lies beside: the whole of it is read instead
    assert not LabelMeExportsDataModule.is_form(tmp_path)
    write_export(tmp_path / "b_json", ["_background_", "car"], values)
    data = LabelMeExportsDataModule(root=str(tmp_path), class_names=["background", "road", "car"], num_workers=0)
    sets = [data.dataset("train"), data.dataset("val")]
    with pytest.raises(DataError, match=r"b_json/label.png holds 2, for which label_names.txt has no line"):
        [one.load(index) for one in sets for index in range(len(one))]
