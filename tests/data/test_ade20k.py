from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deeplab_lightning.data.sets.ade20k import ADE20K, LABEL_MAP, ADE20KDataModule, ADE20KScenes
from deeplab_lightning.errors import ConfigError, DataError
from tests.fakes.ade20k import write_ade20k
from tests.fakes.folder import draw


def test_the_classes_are_the_benchmarks() -> None:
    """Spot checks all along the list, so that a slipped line would show."""
    assert ADE20K.num_classes == 150
    numbered = {1: "wall", 9: "windowpane", 32: "seat", 45: "chest of drawers", 77: "boat", 90: "television"}
    numbered |= {100: "buffet", 117: "minibike", 128: "bicycle", 139: "ashcan", 150: "flag"}
    assert {number: ADE20K.class_names[number - 1] for number in numbered} == numbered
    colours = {1: (120, 120, 120), 24: (11, 102, 255), 76: (10, 0, 255), 86: (0, 31, 255), 150: (92, 0, 255)}
    assert {number: ADE20K.palette[number - 1] for number in colours} == colours
    assert all(0 <= value <= 255 for colour in ADE20K.palette for value in colour)


def test_the_label_map_is_explicit() -> None:
    assert LABEL_MAP[0] == LABEL_MAP[255] == 255
    assert [LABEL_MAP[value] for value in range(1, 151)] == list(range(150))
    assert len(LABEL_MAP) == 152


def test_reads_both_splits(tmp_path: Path) -> None:
    write_ade20k(tmp_path)
    for split, count, name in (("train", 5, "ADE_train_00000002"), ("val", 3, "ADE_val_00000002")):
        dataset = ADE20KScenes(tmp_path, split)  # type: ignore[arg-type]
        assert len(dataset) == count
        assert dataset.sample_id(1) == name
        assert [path.name for path in dataset.files(1)] == [f"{name}.jpg", f"{name}.png"]
        image, mask = dataset.load(1)
        assert image.shape == (40, 52, 3)
        np.testing.assert_array_equal(mask, np.array([255, 0, 1, 149], np.uint8)[draw(1, 4)[0]])
        assert mask.dtype == np.uint8


def test_what_cannot_be_read(tmp_path: Path) -> None:
    write_ade20k(tmp_path / "ADEChallengeData2016")
    with pytest.raises(DataError, match=r"Did you mean '.*ADEChallengeData2016'\? Expected images/training/"):
        ADE20KScenes(tmp_path, "train")
    with pytest.raises(ConfigError, match="ADE20K has no split 'valid'"):
        ADE20KScenes(tmp_path, "valid")  # type: ignore[arg-type]
    root = tmp_path / "ADEChallengeData2016"
    mask = root / "annotations" / "validation" / "ADE_val_00000001.png"
    Image.fromarray(np.full((40, 52), 151, np.uint8)).save(mask)
    with pytest.raises(DataError, match=r"ADE_val_00000001\.png holds values .*: 151 \(2080 pixels\)"):
        ADE20KScenes(root, "val").load(0)
    Image.fromarray(np.zeros((40, 51), np.uint8)).save(mask)
    with pytest.raises(DataError, match=r"is 52x40, .* is 51x40"):
        ADE20KScenes(root, "val").load(0)
    mask.unlink()
    with pytest.raises(DataError, match=r"1 of 3 files are missing .*ADE_val_00000001"):
        ADE20KScenes(root, "val")


def test_the_datamodule(tmp_path: Path) -> None:
    data = ADE20KDataModule(root=str(write_ade20k(tmp_path)), num_workers=0)
    data.setup("fit")
    assert (len(data.dataset("train")), len(data.dataset("val"))) == (5, 3)
    assert ADE20KDataModule.describe(ADE20KDataModule.Options(root="/nowhere"))["class_names"] == list(
        ADE20K.class_names
    )
    with pytest.raises(ConfigError, match="not public"):
        data.dataset("test")
