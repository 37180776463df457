from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deeplab_lightning.data.sets.camvid import CAMVID
from deeplab_lightning.data.sets.camvid32 import CAMVID32, MERGED_CLASSES, CamVid32DataModule
from deeplab_lightning.errors import DataError
from tests.fakes.camvid32 import SPLITS, write_camvid32
from tests.fakes.folder import draw


def test_the_31_classes_and_their_merge() -> None:
    assert CAMVID32.num_classes == 31
    assert "Void" not in CAMVID32.class_names
    assert list(MERGED_CLASSES) == list(CAMVID32.class_names)
    assert set(MERGED_CLASSES.values()) == set(CAMVID.class_names)
    assert len({*CAMVID32.palette, (0, 0, 0)}) == 32
    shared = {"Sky", "Building", "Road", "Tree", "SignSymbol", "Fence", "Car", "Pedestrian", "Bicyclist"}
    for name in shared:  # the tutorial paints its classes in the originals' colours
        assert CAMVID32.palette[CAMVID32.class_names.index(name)] == CAMVID.palette[CAMVID.class_names.index(name)]
    assert CAMVID32.palette[CAMVID32.class_names.index("Column_Pole")] == CAMVID.palette[2]


def test_masks_in_32_colours(tmp_path: Path) -> None:
    data = CamVid32DataModule(root=str(write_camvid32(tmp_path)), num_workers=0)
    for split, count in SPLITS.items():
        assert len(data.dataset(split)) == count  # type: ignore[arg-type]
    dataset = data.dataset("val")
    assert dataset.sample_id(0) == "0001TP_000005"
    expected = draw(5, 32)[0]
    expected[expected == 31] = 255
    image, mask = dataset.load(0)
    np.testing.assert_array_equal(mask, expected)
    assert image.shape == (40, 52, 3)
    assert [path.name for path in dataset.files(0)] == ["0001TP_000005.png", "0001TP_000005_L.png"]


def test_merged_to_the_11_of_the_tutorial(tmp_path: Path) -> None:
    data = CamVid32DataModule(root=str(write_camvid32(tmp_path)), merged=True, num_workers=0)
    assert data.labels == CAMVID
    table = [CAMVID.class_names.index(MERGED_CLASSES[name]) for name in CAMVID32.class_names] + [11]
    expected = np.array(table, np.uint8)[draw(5, 32)[0]]
    np.testing.assert_array_equal(data.dataset("val").load(0)[1], expected)
    assert CamVid32DataModule.describe(CamVid32DataModule.Options(root="/nowhere", merged=True))["ignore_index"] == 11
    assert len(CamVid32DataModule.describe(CamVid32DataModule.Options(root="/nowhere"))["class_names"]) == 31


def test_missing_folders_and_lists(tmp_path: Path) -> None:
    write_camvid32(tmp_path / "full")
    with pytest.raises(DataError, match=r"originals were not found: .*Did you mean '.*full'\?.*mi\.eng\.cam\.ac\.uk"):
        CamVid32DataModule(root=str(tmp_path)).dataset("train")
    (tmp_path / "full" / "val.txt").unlink()
    with pytest.raises(DataError, match=r"val\.txt does not exist\. The originals have no splits: copy .*SegNet-Tut"):
        CamVid32DataModule(root=str(tmp_path / "full")).dataset("val")
