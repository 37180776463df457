"""The data sets as a whole: found by being there, whole in one file each, and rebuilt from what a checkpoint keeps."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
import yaml
from lightning.pytorch.demos.boring_classes import BoringModel

import deeplab_lightning.data.sets
from deeplab_lightning.data.datamodule import SegmentationDataModule
from deeplab_lightning.data.forms.own_images import OwnImagesDataModule
from deeplab_lightning.data.sets import datamodule_named, datamodules, published
from deeplab_lightning.data.sets.drawn_scenes import DrawnScenesDataModule
from deeplab_lightning.data.sets.folder import FolderDataModule
from deeplab_lightning.data.sets.voc import VOCDataModule
from deeplab_lightning.errors import ConfigError

FILES = sorted(Path(deeplab_lightning.data.sets.__file__).parent.glob("[a-z]*.py"))
CONFIGS = Path(__file__).parents[2] / "configs" / "data"

WITH_A_CONFIGURATION = {path.stem for path in CONFIGS.glob("*.yaml")}


def test_every_file_holds_a_data_set() -> None:
    modules = {found.__module__.rsplit(".", 1)[-1] for found in datamodules().values()}
    assert {path.stem for path in FILES} <= modules
    assert len(FILES) >= 9


def test_each_says_how_its_folder_is_recognised_and_has_a_configuration() -> None:
    for path in FILES:
        (found,) = [one for one in datamodules().values() if one.__module__.endswith(f".{path.stem}")]
        if path.stem.startswith("drawn_"):
            assert found.layout is None
            continue
        assert found.layout
        assert found.recognise.__func__ is not SegmentationDataModule.recognise.__func__  # type: ignore[attr-defined]
        if path.stem not in WITH_A_CONFIGURATION:
            assert issubclass(found, OwnImagesDataModule)  # `doctor` writes one for the folder at hand
            continue
        data = yaml.safe_load((CONFIGS / path.name).with_suffix(".yaml").read_text())["data"]
        assert datamodule_named(data.pop("name")) is found
        assert found.Options.of(data)


def test_they_are_called_by_their_names() -> None:
    assert datamodule_named("VOC") is datamodule_named("VOCDataModule") is VOCDataModule
    with pytest.raises(
        ConfigError, match=r"Unknown data set 'Cityscape'\. Did you mean 'Cityscapes'\? There are: ADE20K"
    ):
        datamodule_named("Cityscape")


def test_those_of_the_user_are_found_too() -> None:
    class MineDataModule(DrawnScenesDataModule):
        pass

    assert datamodule_named("Mine") is MineDataModule


def test_classes_that_never_change_are_known_by_name() -> None:
    assert {"voc", "cityscapes", "camvid", "ade20k"} <= set(published())
    assert "folder" not in published()
    numbers = [found.labels.num_classes for found in published().values() if found.known_by_number]
    assert sorted(numbers) == [19, 21, 150]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"batch_sise": 3}, r"Unknown option --data.batch_sise\. Did you mean 'batch_size'"),
        ({"flip": 1.5}, r"--data.flip is 1.5; expected 0 to 1, such as 1\."),
        ({"batch_size": 0}, r"--data.batch_size is 0; expected 1 or more"),
        ({"scale_range": [2.0, 0.5]}, r"scale_range goes from 2 to 0.5"),
        ({"scale_range": [0.5, 2.0], "scale_step": 0.4}, r"scale_step 0.4 does not lead from 0.5 to 2"),
        ({"std": [0.2, 0.2]}, r"one number for each channel"),
        ({"train_split": "train_ag"}, r"train_split is 'train_ag'; expected one of .*Did you mean 'train_aug'"),
    ],
)
def test_options_are_refused_where_they_are_declared(options: dict[str, Any], words: str) -> None:
    for make in (VOCDataModule, VOCDataModule.Options.of):
        with pytest.raises(ConfigError, match=words):
            make(**options) if make is VOCDataModule else make(options)


def test_what_has_no_default_must_be_said() -> None:
    with pytest.raises(ConfigError, match=r"--data.class_names is missing"):
        FolderDataModule(root="somewhere")


def test_a_checkpoint_keeps_the_name_and_all_options_as_plain_values(tmp_path: Path) -> None:
    data = DrawnScenesDataModule(
        train_size=4, val_size=2, height=64, width=64, crop_size=33, batch_size=2, scale_range=(0.5, 1.5), num_workers=0
    )

    class Model(BoringModel):
        def __init__(self, name: str = "one of the model's own") -> None:
            super().__init__()
            self.save_hyperparameters()

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return self.layer(torch.zeros(1, 32)).sum()

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            pass

    quiet: dict[str, Any] = dict.fromkeys(("enable_progress_bar", "enable_model_summary"), False)
    logger = pl.loggers.CSVLogger(tmp_path)  # is told the options of both; Lightning refuses one name with two values
    trainer = pl.Trainer(accelerator="cpu", max_steps=1, logger=logger, num_sanity_val_steps=0, **quiet)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.fit(Model(), data)
    trainer.save_checkpoint(tmp_path / "one.ckpt")
    kept = torch.load(tmp_path / "one.ckpt", weights_only=True)["datamodule_hyper_parameters"]
    assert kept == {"name": "DrawnScenes", **data.options.plain()}
    again = datamodule_named(kept.pop("name"))(**kept)
    assert again.options == data.options
    assert again.description == data.description
