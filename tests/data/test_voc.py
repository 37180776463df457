from __future__ import annotations

import os
import shutil
import tarfile
import time
import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torchvision.datasets
from lightning.pytorch.utilities import rank_zero_only
from PIL import Image

from deeplab_lightning.__main__ import main
from deeplab_lightning.data import download
from deeplab_lightning.data.download import Archive
from deeplab_lightning.data.sets import voc
from deeplab_lightning.data.sets.voc import LISTS, VOC, PascalVOC, VOCDataModule
from deeplab_lightning.errors import ConfigError, DataError

from ..conftest import REPOSITORY, SMALL, V3PLUS
from ..fakes.voc import SBD_TRAIN, SBD_VAL, TEST, TRAIN, TRAIN_AUG, VAL, write_palette_mask, write_sbd, write_voc


def ids(dataset: PascalVOC) -> tuple[str, ...]:
    return tuple(dataset.sample_id(index) for index in range(len(dataset)))


def test_classes_and_colours_are_vocs() -> None:
    names = "background aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike person"
    assert VOC.class_names == (*names.split(), "pottedplant", "sheep", "sofa", "train", "tvmonitor")
    assert VOC.palette[1:4] == ((128, 0, 0), (0, 128, 0), (128, 128, 0))
    assert VOC.palette[15] == (192, 128, 128)
    assert VOC.palette[20] == (0, 64, 128)
    assert tuple(VOC.colour_table()[255]) == (224, 224, 192)


@pytest.mark.parametrize(("split", "expected"), [("train", TRAIN), ("val", VAL), ("trainval", sorted((*TRAIN, *VAL)))])
def test_vocs_own_splits(tmp_path: Path, split: str, expected: tuple[str, ...]) -> None:
    dataset = PascalVOC(write_voc(tmp_path, aug=False), split)  # type: ignore[arg-type]
    assert ids(dataset) == tuple(expected)
    for index, name in enumerate(ids(dataset)):
        image, mask = dataset.load(index)
        assert image.dtype == mask.dtype == np.uint8
        assert image.shape == (*mask.shape, 3)
        image_file, mask_file = dataset.files(index)
        assert image_file == tmp_path / "JPEGImages" / f"{name}.jpg"
        truth = np.array(Image.open(mask_file))  # of a palette: its indices
        np.testing.assert_array_equal(mask, truth)
        assert 255 in mask
        assert mask[mask < 255].max() in range(1, 21)


def test_test_images_have_no_truth(tmp_path: Path) -> None:
    dataset = PascalVOC(write_voc(tmp_path, aug=False), "test")
    assert ids(dataset) == TEST
    image, mask = dataset.load(0)
    assert mask.shape == image.shape[:2]
    assert np.all(mask == 255)
    assert dataset.files(0) == (tmp_path / "JPEGImages" / f"{TEST[0]}.jpg",)


def test_train_aug_from_a_list(tmp_path: Path) -> None:
    dataset = PascalVOC(write_voc(tmp_path), "train_aug")
    assert ids(dataset) == TRAIN_AUG
    has_border = [255 in dataset.load(index)[1] for index in range(len(dataset))]
    assert has_border == [True] * len(TRAIN) + [False] * 3  # VOC's own masks where there are any


@pytest.mark.parametrize("name", LISTS["train_aug"])
def test_lists_of_train_aug_under_all_their_names(tmp_path: Path, name: str) -> None:
    write_voc(tmp_path)
    (tmp_path / "ImageSets" / "SegmentationAug" / "train_aug.txt").rename(tmp_path / "ImageSets" / name)
    assert ids(PascalVOC(tmp_path, "train_aug")) == TRAIN_AUG
    (tmp_path / "ImageSets" / name).write_text("\n".join(reversed(TRAIN_AUG)))
    dataset = PascalVOC(tmp_path, "train_aug")
    assert ids(dataset) == TRAIN_AUG[::-1]
    for index, sample_id in enumerate(ids(dataset)):
        folder = "SegmentationClass" if sample_id in TRAIN else "SegmentationClassAug"
        truth = np.array(Image.open(tmp_path / folder / f"{sample_id}.png"))
        np.testing.assert_array_equal(dataset.load(index)[1], truth)


def test_train_aug_computed_from_sbd(tmp_path: Path) -> None:
    root, sbd = write_voc(tmp_path / "VOC2012", aug=False), write_sbd(tmp_path / "sbd")
    dataset = PascalVOC(root, "train_aug", sbd)
    assert ids(dataset) == tuple(sorted((set(TRAIN) | set(SBD_TRAIN) | set(SBD_VAL)) - set(VAL))) == TRAIN_AUG
    for index, name in enumerate(TRAIN_AUG):
        image, mask = dataset.load(index)
        assert mask.shape == image.shape[:2]
        assert mask.dtype == np.uint8
        from_sbd = set(np.unique(mask)) == {0, 20}
        assert from_sbd == (name not in TRAIN)  # 2007_000002 is annotated by both: VOC's is the finer one
    both = PascalVOC(root, "trainval_aug", sbd)
    assert ids(both) == tuple(sorted((*TRAIN_AUG, *VAL)))
    assert ids(PascalVOC(root, "val", sbd)) == VAL


def test_sbd_goes_before_a_list(tmp_path: Path) -> None:
    root = write_voc(tmp_path / "VOC2012")
    assert 20 in PascalVOC(root, "train_aug", write_sbd(tmp_path / "sbd")).load(len(TRAIN_AUG) - 1)[1]


@pytest.mark.parametrize("split", ["train", "train_aug"])
def test_images_of_val_in_a_training_list_are_refused(tmp_path: Path, split: str) -> None:
    write_voc(tmp_path)
    folder = "Segmentation" if split == "train" else "SegmentationAug"
    with (tmp_path / "ImageSets" / folder / f"{split}.txt").open("a") as file:
        file.write(f"{VAL[2]}\n{VAL[0]}\n")
    total = 2 + (len(TRAIN) if split == "train" else len(TRAIN_AUG))
    with pytest.raises(DataError, match=rf"{split}: 2 of {total} images are in VOC val too: {VAL[0]}, {VAL[2]}\."):
        PascalVOC(tmp_path, split)  # type: ignore[arg-type]


def test_missing_layouts_say_what_is_there(tmp_path: Path) -> None:
    root = write_voc(tmp_path / "VOCdevkit" / "VOC2012", aug=False)
    for wrong in (tmp_path / "VOCdevkit", tmp_path, root / "JPEGImages"):
        with pytest.raises(DataError, match=rf"holds .*Did you mean '{root}'\? Expected JPEGImages/.*VOCtrainval"):
            PascalVOC(wrong, "val")
    with pytest.raises(DataError, match=r"does not exist.*Did you mean 'VOC2012'"):
        PascalVOC(root.with_name("VOC2021"), "val")
    with pytest.raises(DataError, match=r"Segmentation holds test.txt, train.txt.*train_aug.txt or.*sbd_root"):
        PascalVOC(root, "train_aug")
    (root / "ImageSets" / "Segmentation" / "trainaug.txt").write_text("\n".join(TRAIN_AUG))
    with pytest.raises(DataError, match=r"VOC2012 holds .*SegmentationClass/\. Expected SegmentationClassAug/"):
        PascalVOC(root, "train_aug")
    (root / "ImageSets" / "Segmentation" / "test.txt").unlink()
    with pytest.raises(DataError, match=r"test has no list: .*holds train.txt.*Expected ImageSets/Segmentation/test"):
        PascalVOC(root, "test")
    sbd = write_sbd(tmp_path / "benchmark_RELEASE" / "dataset")
    with pytest.raises(DataError, match=rf"SBD was not found: .*Did you mean '{sbd}'\? Expected cls/"):
        PascalVOC(root, "train_aug", sbd.parent)


def test_missing_files_are_listed_at_once(tmp_path: Path) -> None:
    root, sbd = write_voc(tmp_path / "VOC2012"), write_sbd(tmp_path / "sbd")
    (sbd / "cls" / "2008_000033.mat").unlink()
    with pytest.raises(DataError, match=r"1 of 3 files are missing in .*sbd.*\(\.mat\): cls/2008_000033"):
        PascalVOC(root, "train_aug", sbd)
    (root / "SegmentationClassAug" / "2008_000031.png").unlink()
    with pytest.raises(DataError, match=r"1 of 3 files are missing .*: SegmentationClassAug/2008_000031"):
        PascalVOC(root, "train_aug")
    for name in VAL[:2]:
        (root / "JPEGImages" / f"{name}.jpg").unlink()
    with pytest.raises(DataError, match=rf"VOC val: 2 of 3 files .*JPEGImages/{VAL[0]}, JPEGImages/{VAL[1]}\."):
        PascalVOC(root, "val")


def test_unknown_split(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no split 'trainaug': choose .* or trainval_aug\. Did you mean 'train_aug'"):
        PascalVOC(tmp_path, "trainaug")  # type: ignore[arg-type]


def test_lists_that_cannot_be_used(tmp_path: Path) -> None:
    write_voc(tmp_path)
    listed = tmp_path / "ImageSets" / "Segmentation" / "val.txt"
    listed.write_text(f"{VAL[0]}\n{VAL[0]}\n")
    with pytest.raises(DataError, match=f"listed more than once, such as {VAL[0]}"):
        PascalVOC(tmp_path, "val")
    listed.write_text(f"/JPEGImages/{VAL[0]}.jpg /SegmentationClassAug/{VAL[1]}.png\n")
    with pytest.raises(DataError, match="pairs an image with the mask of another"):
        PascalVOC(tmp_path, "val")
    listed.write_text(f"{VAL[0]} 1 -1\n")
    with pytest.raises(DataError, match=r"val.txt, line 1: expected 'ID or image mask', found 3 words"):
        PascalVOC(tmp_path, "val")
    listed.write_text("\n")
    with pytest.raises(DataError, match=r"val.txt is empty"):
        PascalVOC(tmp_path, "val")


def test_masks_are_checked_when_read(tmp_path: Path) -> None:
    root, sbd = write_voc(tmp_path / "VOC2012", aug=False), write_sbd(tmp_path / "sbd")
    masks = root / "SegmentationClass"
    write_palette_mask(masks / f"{TRAIN[0]}.png", np.zeros((9, 8), np.uint8))
    write_palette_mask(masks / f"{TRAIN[1]}.png", np.full_like(np.array(Image.open(masks / f"{TRAIN[1]}.png")), 21))
    cv2.imwrite(str(masks / f"{TRAIN[2]}.png"), VOC.colour_table()[np.array(Image.open(masks / f"{TRAIN[2]}.png"))])
    (sbd / "cls" / "2008_000031.mat").write_bytes(b"MATLAB 5.0 MAT-file, cut off")
    dataset = PascalVOC(root, "train_aug", sbd)
    for index, message in enumerate(["is 8x9", r"out of range: 21 \(", "colours, such as"]):
        with pytest.raises(DataError, match=message):
            dataset.load(index)
    with pytest.raises(DataError, match=r"Cannot read GTcls.Segmentation in .*2008_000031.mat"):
        dataset.load(TRAIN_AUG.index("2008_000031"))


# ---------------------------------------------------------------------------------------------------- the datamodule


def module(root: Path, **options: object) -> VOCDataModule:
    settings = {"batch_size": 3, "eval_batch_size": 2, "crop_size": 33, "num_workers": 0, **options}
    return VOCDataModule(root=str(root), **settings)  # type: ignore[arg-type]


def test_images_of_mixed_sizes_make_batches(tmp_path: Path) -> None:
    data = module(write_voc(tmp_path), scale_step=0.25)
    data.setup("fit")
    assert ids(data.dataset("train")) == TRAIN_AUG  # type: ignore[arg-type]
    batches = list(data.train_dataloader())
    assert len(batches) == 2
    for batch in batches:
        assert batch["image"].shape == (3, 3, 33, 33)
        assert batch["mask"].shape == (3, 33, 33)
        assert set(batch["mask"].unique().tolist()) <= {*range(21), 255}
    batches = list(data.val_dataloader())
    assert [len(batch["image"]) for batch in batches] == [2, 1]
    whole = [pair for batch in batches for pair in zip(batch["image"], batch["mask"], strict=True)]
    assert len(whole) == len(VAL)
    assert len({image.shape for image, _ in whole}) > 1
    assert all(image.shape[1:] == mask.shape for image, mask in whole)
    assert isinstance(whole[0][0], torch.Tensor)


def test_the_datamodule_reads_the_splits_it_is_told(tmp_path: Path) -> None:
    root, sbd = write_voc(tmp_path / "VOC2012", aug=False), write_sbd(tmp_path / "sbd")
    assert ids(module(root, train_split="train").dataset("train")) == TRAIN  # type: ignore[arg-type]
    data = module(root, sbd_root=str(sbd), val_split="train")
    assert ids(data.dataset("train")) == TRAIN_AUG  # type: ignore[arg-type]
    assert ids(data.dataset("val")) == TRAIN  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"test images is not public.*validate.*predict"):
        data.setup("test")


def test_scoring_what_was_trained_on_is_said(tmp_path: Path) -> None:
    root = write_voc(tmp_path)
    with pytest.warns(UserWarning, match=r"3 of 3 validation images \(val\) are trained on, being in trainval too"):
        module(root, train_split="trainval").setup("fit")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        module(root).setup("fit")


def test_defaults_are_the_papers() -> None:
    data = VOCDataModule(root="/nowhere")
    assert (data.options.crop_size, data.options.batch_size, data.options.scale_range) == (513, 16, (0.5, 2.0))
    assert (data.options.train_split, data.options.val_split) == ("train_aug", "val")
    with pytest.raises(ConfigError, match=r"scale_step 0.4 does not lead from 0.5 to 2"):
        VOCDataModule(root="/nowhere", scale_step=0.4)


def test_it_trains_and_validates_from_the_command_line(tmp_path: Path) -> None:
    root = write_voc(tmp_path / "data")
    options = ["--data.root", str(root), "--run.folder", str(tmp_path / "runs"), "--data.eval_batch_size", "2"]
    once = ["--trainer.max_steps", "1", "--trainer.val_check_interval", "1"]
    overlay = str(REPOSITORY / "configs" / "data" / "voc.yaml")
    assert main(["fit", "-c", str(V3PLUS), "-c", overlay, *SMALL, *once, *options]) == 0
    run = tmp_path / "runs" / "v3plus" / "version_0"
    assert (run / "checkpoints" / "best.ckpt").is_file()
    assert sorted(np.load(run / "per_image.npz")["sample_ids"]) == sorted(VAL)


# ------------------------------------------------------------------------------------------------- two real images


@pytest.fixture(scope="module")
def real_root() -> Path:
    shared = os.environ.get("DEEPLAB_SHARED_DATA")
    if not shared or not Path(shared, "VOCdevkit").is_dir():
        pytest.skip("set DEEPLAB_SHARED_DATA to the folder that holds VOCdevkit/")
    return Path(shared, "VOCdevkit", "VOC2012")


def test_real_palette_masks(real_root: Path) -> None:
    dataset = PascalVOC(real_root, "val")
    assert ids(dataset) == ("2011_000003", "2011_000025")
    found = [set(np.unique(dataset.load(index)[1]).tolist()) for index in range(2)]
    names = [{VOC.class_names[value] for value in values if value < 255} for values in found]
    assert names == [{"background", "person", "bottle"}, {"background", "bus", "car"}]
    image, mask = dataset.load(0)
    assert image.shape == (*mask.shape, 3)


def test_real_samples_share_train_and_val(real_root: Path) -> None:
    with pytest.raises(DataError, match=r"train: 2 of 2 images are in VOC val too: 2011_000003, 2011_000025\."):
        PascalVOC(real_root, "train")


# ------------------------------------------------------------------------------------------------------- downloading


@pytest.fixture
def archives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let VOC and SBD come from archives of tiny copies; return the names of what is fetched."""
    write_voc(tmp_path / "made" / "VOCdevkit" / "VOC2012", aug=False)
    write_sbd(tmp_path / "made" / "benchmark_RELEASE" / "dataset")
    packed = {}
    for archive, folder in ((voc.VOC_ARCHIVE, "VOCdevkit"), (voc.SBD_ARCHIVE, "benchmark_RELEASE")):
        packed[archive.name] = tmp_path / "made" / archive.name
        with tarfile.open(packed[archive.name], "w") as tar:
            tar.add(tmp_path / "made" / folder, folder)
    fetched: list[str] = []

    def fetch(archive: Archive, target: Path) -> Path:
        fetched.append(archive.name)
        target.parent.mkdir(parents=True, exist_ok=True)
        return Path(shutil.copy(packed[archive.name], target))

    monkeypatch.setattr(download, "fetch", fetch)
    return fetched


def test_nothing_is_downloaded_unasked(tmp_path: Path, archives: list[str]) -> None:
    data = module(tmp_path / "VOC2012")
    data.prepare_data()
    with pytest.raises(DataError, match=r"PASCAL VOC was not found.*--data.download true, or by hand from http"):
        data.setup("fit")
    assert archives == []


def test_what_is_missing_is_downloaded_once(tmp_path: Path, archives: list[str]) -> None:
    root = tmp_path / "data" / "mine"
    root.parent.mkdir()
    data = module(root, download=True)
    data.setup("fit")
    assert ids(data.dataset("train")) == TRAIN_AUG  # type: ignore[arg-type]
    assert archives == ["VOCtrainval_11-May-2012.tar", "benchmark.tgz"]
    assert (tmp_path / "data" / "SBD" / "cls").is_dir()
    module(root, download=True).setup("fit")
    assert len(archives) == 2


@pytest.mark.parametrize(("train_split", "sbd"), [("train", None), ("train_aug", "sbd"), ("train", "sbd")])
def test_only_what_is_needed_is_downloaded(
    tmp_path: Path, archives: list[str], train_split: str, sbd: str | None
) -> None:
    sbd_root = str(tmp_path / "elsewhere" / sbd) if sbd else None
    module(tmp_path / "VOC2012", train_split=train_split, sbd_root=sbd_root, download=True).setup("fit")
    needed = ["VOCtrainval_11-May-2012.tar", *(["benchmark.tgz"] if train_split == "train_aug" else [])]
    assert archives == needed
    assert (tmp_path / "elsewhere" / "sbd" / "cls").is_dir() == (train_split == "train_aug")


def test_the_list_of_others_makes_sbd_superfluous(tmp_path: Path, archives: list[str]) -> None:
    data = module(write_voc(tmp_path / "VOC2012"), download=True)
    data.setup("fit")
    assert (archives, data.sbd_root) == ([], None)


def test_the_trainer_downloads_too_before_it_asks_for_data(tmp_path: Path, archives: list[str]) -> None:
    data = module(tmp_path / "VOC2012", train_split="train", download=True)
    assert not data.prepare_data_per_node
    data.prepare_data()  # what a Trainer calls in one process
    assert archives == ["VOCtrainval_11-May-2012.tar"]


def test_other_processes_wait(tmp_path: Path, archives: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    first = module(tmp_path / "VOC2012", train_split="train", download=True)
    other = module(tmp_path / "VOC2012", train_split="train", download=True)
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    monkeypatch.setattr(time, "sleep", lambda seconds: first.prepare_data())  # meanwhile, in the first process
    other.setup("validate")
    assert archives == ["VOCtrainval_11-May-2012.tar"]
    monkeypatch.setattr(voc, "LONGEST_WAIT", -1.0)
    with pytest.raises(DataError, match=r"for the first process to download .*nowhere"):
        module(tmp_path / "nowhere", train_split="train", download=True).setup("validate")


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path, archives: list[str]) -> None:
    (tmp_path / "VOC2012").mkdir()
    (tmp_path / "VOC2012" / "mine.txt").touch()
    with pytest.raises(DataError, match=r"cannot be unpacked to .*VOC2012, which holds mine.txt"):
        module(tmp_path / "VOC2012", download=True).setup("fit")


def test_a_run_downloads_and_its_checkpoint_does_not_ask_again(tmp_path: Path, archives: list[str]) -> None:
    options = ["--data.root", str(tmp_path / "VOC2012"), "--run.folder", str(tmp_path / "runs")]
    once = ["--trainer.max_steps", "1", "--trainer.val_check_interval", "1", "--data.download", "true"]
    overlay = str(REPOSITORY / "configs" / "data" / "voc.yaml")
    assert main(["fit", "-c", str(V3PLUS), "-c", overlay, *SMALL, *once, *options]) == 0
    assert len(archives) == 2
    saved = torch.load(tmp_path / "runs" / "v3plus" / "version_0" / "checkpoints" / "last.ckpt", weights_only=True)
    kept = saved["datamodule_hyper_parameters"]
    assert (kept["download"], kept["sbd_root"]) == (False, str(tmp_path / "SBD"))


def test_addresses_are_those_that_torchvision_lists() -> None:
    """Compared with the installed torchvision's source: whoever sees this fail should look which changed."""
    folder = Path(torchvision.datasets.__file__).parent
    for archive, name in ((voc.VOC_ARCHIVE, "voc.py"), (voc.SBD_ARCHIVE, "sbd.py")):
        source = (folder / name).read_text()
        assert archive.md5 in source
        assert archive.name in source
        assert all(url.startswith("http") and url.endswith(f"/{archive.name}") for url in archive.urls)
