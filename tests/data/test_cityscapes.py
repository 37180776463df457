from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from deeplab_lightning.__main__ import main
from deeplab_lightning.data.sets.cityscapes import (
    CITYSCAPES,
    LABEL_IDS,
    Cityscapes,
    CityscapesDataModule,
    label_id_colours,
    to_label_ids,
    to_train_ids,
)
from deeplab_lightning.errors import ConfigError, DataError

from ..conftest import REPOSITORY, SMALL, V3PLUS
from ..fakes.cityscapes import HEIGHT, WIDTH, write_cityscapes

TRAIN = ["aachen_000000_000019", "aachen_000001_000019", "bochum_000000_000019", "bochum_000001_000019"]
VOID_IDS = [0, 1, 2, 3, 4, 5, 6, 9, 10, 14, 15, 16, 18, 29, 30, 255]
"""Label ids that are not evaluated; 255 is -1 in a byte."""


def ids(dataset: Cityscapes) -> list[str]:
    return [dataset.sample_id(index) for index in range(len(dataset))]


# ---------------------------------------------------------------------------------------------------------- the labels


def test_every_label_id_has_its_train_id() -> None:
    assert dict(zip(CITYSCAPES.class_names, LABEL_IDS, strict=True)) == {
        "road": 7,
        "sidewalk": 8,
        "building": 11,
        "wall": 12,
        "fence": 13,
        "pole": 17,
        "traffic light": 19,
        "traffic sign": 20,
        "vegetation": 21,
        "terrain": 22,
        "sky": 23,
        "person": 24,
        "rider": 25,
        "car": 26,
        "truck": 27,
        "bus": 28,
        "train": 31,
        "motorcycle": 32,
        "bicycle": 33,
    }
    label_ids = np.arange(256, dtype=np.uint8)
    train_ids = to_train_ids(label_ids)
    assert train_ids.dtype == np.uint8
    assert train_ids[list(LABEL_IDS)].tolist() == list(range(19))
    assert np.all(train_ids[VOID_IDS] == 255)
    assert sorted([*LABEL_IDS, *VOID_IDS]) == [*range(34), 255]


def test_train_ids_go_back_to_label_ids() -> None:
    train_ids = np.array([[0, 10, 18], [255, 19, 254]], np.uint8)
    label_ids = to_label_ids(train_ids)
    assert label_ids.dtype == np.uint8
    assert label_ids.tolist() == [[7, 23, 33], [0, 0, 0]]
    everything = np.arange(19, dtype=np.uint8)
    np.testing.assert_array_equal(to_train_ids(to_label_ids(everything)), everything)


def test_colours() -> None:
    colours = dict(zip(CITYSCAPES.class_names, CITYSCAPES.palette, strict=True))
    assert colours["road"] == (128, 64, 128)
    assert colours["sky"] == (70, 130, 180)
    assert colours["car"] == (0, 0, 142)
    assert colours["bicycle"] == (119, 11, 32)
    assert label_id_colours()[[7, 26, 0, 255]].tolist() == [[128, 64, 128], [0, 0, 142], [0, 0, 0], [0, 0, 0]]


# --------------------------------------------------------------------------------------------------------- the data set


@pytest.mark.parametrize("annotations", ["fine", "coarse"])
def test_label_ids_are_mapped_as_they_are_loaded(tmp_path: Path, annotations: str) -> None:
    dataset = Cityscapes(write_cityscapes(tmp_path), "train", annotations)  # type: ignore[arg-type]
    assert ids(dataset) == TRAIN
    for index in range(len(dataset)):
        image, mask = dataset.load(index)
        assert image.shape == (HEIGHT, WIDTH, 3)
        assert mask.dtype == np.uint8
        assert annotations == "coarse" or set(np.unique(mask)) == {*range(19), 255}
        assert [path.name.removeprefix(dataset.sample_id(index)) for path in dataset.files(index)] == [
            "_leftImg8bit.png",
            f"_gt{annotations.title()}_labelIds.png",
        ]
        labelled = slice(HEIGHT // 2 if annotations == "coarse" else 0, None)
        np.testing.assert_array_equal(CITYSCAPES.colour_table()[mask][labelled], image[labelled])
        assert annotations == "fine" or np.all(mask[: HEIGHT // 2] == 255)


def test_every_split(tmp_path: Path) -> None:
    root = write_cityscapes(tmp_path)
    (root / "leftImg8bit" / "val" / "lindau" / "thumbnail.png").write_bytes(b"")
    (root / "leftImg8bit" / "val" / "index.html").write_text("")
    assert ids(Cityscapes(root, "val")) == ["lindau_000000_000019", "lindau_000001_000019"]
    assert ids(Cityscapes(root, "train_extra", "coarse")) == ["erlangen_000000_000019", "erlangen_000001_000019"]
    test = Cityscapes(root, "test")
    assert ids(test) == ["berlin_000000_000019", "berlin_000001_000019"]
    image, mask = test.load(0)
    assert mask.shape == image.shape[:2]
    assert np.all(mask == 255)


def test_train_ids_are_read_where_they_are_present(tmp_path: Path) -> None:
    city = write_cityscapes(tmp_path) / "gtFine" / "train" / "aachen"
    cv2.imwrite(str(city / f"{TRAIN[1]}_gtFine_labelTrainIds.png"), np.full((HEIGHT, WIDTH), 18, np.uint8))
    (city / f"{TRAIN[1]}_gtFine_labelIds.png").unlink()
    dataset = Cityscapes(tmp_path, "train")
    assert np.all(dataset.load(1)[1] == 18)
    assert set(np.unique(dataset.load(0)[1])) == {*range(19), 255}


def test_labels_that_do_not_exist_are_named(tmp_path: Path) -> None:
    city = write_cityscapes(tmp_path) / "gtFine" / "train" / "aachen"
    label_ids = np.full((HEIGHT, WIDTH), 255, np.uint8)  # licence plates: -1 in a byte
    label_ids[0] = 34
    label_ids[1] = 200
    cv2.imwrite(str(city / f"{TRAIN[0]}_gtFine_labelIds.png"), label_ids)
    cv2.imwrite(str(city / f"{TRAIN[1]}_gtFine_labelTrainIds.png"), np.full((HEIGHT, WIDTH), 33, np.uint8))
    dataset = Cityscapes(tmp_path, "train")
    with pytest.raises(DataError, match=r"34 \(96 pixels\), 200 \(96 pixels\).*0\.\.33 and 255.*no such label ids"):
        dataset.load(0)
    with pytest.raises(DataError, match=r"labelTrainIds.png .*33 \(4608 pixels\).*0\.\.18 and 255.*delete all label"):
        dataset.load(1)
    cv2.imwrite(str(city / f"{TRAIN[0]}_gtFine_labelIds.png"), np.where(label_ids == 255, label_ids, 7))
    assert set(np.unique(dataset.load(0)[1])) == {0, 255}


def test_sizes_are_checked(tmp_path: Path) -> None:
    city = write_cityscapes(tmp_path) / "gtFine" / "val" / "lindau"
    cv2.imwrite(str(city / "lindau_000000_000019_gtFine_labelIds.png"), np.zeros((WIDTH, HEIGHT), np.uint8))
    with pytest.raises(DataError, match=r"is 96x48, .*labelIds.png is 48x96"):
        Cityscapes(tmp_path, "val").load(0)


def test_missing_layouts_say_what_is_there(tmp_path: Path) -> None:
    root = write_cityscapes(tmp_path / "data" / "cityscapes")
    for wrong in (tmp_path / "data", root / "leftImg8bit", tmp_path):
        with pytest.raises(DataError, match=rf"Did you mean '{root}'\? Expected leftImg8bit/val/CITY/ and gtFine/val"):
            Cityscapes(wrong, "val")
    with pytest.raises(DataError, match=r"does not exist.*Did you mean 'cityscapes'.*gtFine_trainvaltest.zip"):
        Cityscapes(root.with_name("citiscapes"), "train")
    (root / "leftImg8bit" / "train_extra").rename(root / "extra")
    with pytest.raises(DataError, match=r"holds extra/, gtCoarse/, gtFine/, leftImg8bit/\. Expected .*trainextra.zip"):
        Cityscapes(root, "train_extra", "coarse")
    (root / "leftImg8bit" / "train_extra" / "erlangen").mkdir(parents=True)
    with pytest.raises(DataError, match=r"train_extra holds no CITY/CITY_SEQ_FRAME_leftImg8bit.png"):
        Cityscapes(root, "train_extra", "coarse")


def test_missing_masks_are_listed_at_once(tmp_path: Path) -> None:
    root = write_cityscapes(tmp_path)
    for name in TRAIN[:3]:
        (root / "gtFine" / "train" / name[:6] / f"{name}_gtFine_labelIds.png").unlink()
    expected = r"3 of 4 files are missing .*gtFine/train/aachen/aachen_000000_000019_gtFine_labelIds, .*Unpack gtFine"
    with pytest.raises(DataError, match=expected):
        Cityscapes(root, "train")


def test_combinations_that_do_not_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no fine annotations of train_extra: .*Set annotations to coarse\."):
        Cityscapes(tmp_path, "train_extra")
    with pytest.raises(ConfigError, match=r"no coarse annotations of test: .*Set annotations to fine\."):
        Cityscapes(tmp_path, "test", "coarse")
    with pytest.raises(ConfigError, match=r"no split 'valid'.*Did you mean 'val'"):
        Cityscapes(tmp_path, "valid")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"no annotations 'corse': choose fine or coarse\. Did you mean 'coarse'"):
        Cityscapes(tmp_path, "val", "corse")  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------------------- the datamodule


def test_the_datamodule_trains_on_either_and_scores_fine_ones(tmp_path: Path) -> None:
    root = str(write_cityscapes(tmp_path))
    data = CityscapesDataModule(
        root=root, train_split="train_extra", annotations="coarse", crop_size=33, batch_size=2, num_workers=0
    )
    data.setup("fit")
    assert data.dataset("train").sample_id(0).startswith("erlangen")
    assert np.any(data.dataset("val").load(0)[1][: HEIGHT // 2] != 255)
    (batch,) = data.train_dataloader()
    assert batch["image"].shape == (2, 3, 33, 33)
    assert next(iter(data.val_dataloader()))["image"][0].shape == (3, HEIGHT, WIDTH)
    with pytest.raises(ConfigError, match=r"not public.*--label_ids"):
        data.setup("test")


def test_defaults_are_the_papers() -> None:
    data = CityscapesDataModule(root="/nowhere")
    assert (data.options.crop_size, data.options.batch_size, data.options.scale_range) == (769, 16, (0.5, 2.0))


def test_from_training_to_masks_for_the_server(tmp_path: Path) -> None:
    """One step of training, a validation, and the test images segmented as train ids and as label ids."""
    root = write_cityscapes(tmp_path / "data")
    options = ["--data.root", str(root), "--run.folder", str(tmp_path / "runs")]
    once = ["--trainer.max_steps", "1", "--trainer.val_check_interval", "1"]
    overlay = str(REPOSITORY / "configs" / "data" / "cityscapes.yaml")
    assert main(["fit", "-c", str(V3PLUS), "-c", overlay, *SMALL, *once, *options]) == 0
    written: dict[bool, np.ndarray] = {}
    for as_label_ids in (False, True):
        output = tmp_path / f"out_{as_label_ids}"
        words = ["predict", str(root / "leftImg8bit" / "test"), "--ckpt_path", str(tmp_path / "runs" / "v3plus")]
        assert main([*words, "--output", str(output), "--device", "cpu", *["--label_ids"] * as_label_ids]) == 0
        file = output / "masks" / "berlin_000000_000019_leftImg8bit.png"
        written[as_label_ids] = np.array(Image.open(file))
        colours = np.array(Image.open(file).convert("RGB"))
        np.testing.assert_array_equal(
            colours, (label_id_colours() if as_label_ids else CITYSCAPES.colour_table())[written[as_label_ids]]
        )
        first = (output / "classes.csv").read_text().splitlines()[1]
        assert first == f"{7 if as_label_ids else 0},road,128,64,128"
    np.testing.assert_array_equal(written[True], np.array(LABEL_IDS)[written[False]])


def test_label_ids_are_for_cityscapes_alone(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("RGB", (40, 40)).save(tmp_path / "a.png")
    words = ["--ckpt_path", str(checkpoint), "--output", str(tmp_path / "out"), "--device", "cpu", "--label_ids"]
    assert main(["predict", str(tmp_path), *words]) == 2
    assert "--label_ids is for the 19 classes of Cityscapes" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
