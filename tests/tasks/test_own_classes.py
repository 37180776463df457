"""Networks, tasks and data sets of the user's own: trained, and then used like ours."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import deeplab_lightning
from deeplab_lightning.__main__ import main
from deeplab_lightning.checkpoints.loading import read_checkpoint
from deeplab_lightning.config import Configuration
from deeplab_lightning.models import EncoderDecoder
from deeplab_lightning.tasks import DeepLabV3PlusTask, EncoderDecoderTask, task_class_of

from ..tiny import TINY, tiny_fit

MODULE = """
from dataclasses import dataclass
from deeplab_lightning.data.sets.drawn_scenes import DrawnScenesDataModule
from deeplab_lightning.models import EncoderDecoder
from deeplab_lightning.tasks import SegmentationTask


class AnotherNetwork(EncoderDecoder):
    pass


class ATaskOfMine(SegmentationTask):
    network_class = EncoderDecoder

    def __init__(self, *arguments, factor=2.0, **options):
        super().__init__(*arguments, **options)
        self.save_hyperparameters("factor")
        self.factor = factor

    def loss(self, maps, mask):
        return self.factor * super().loss(maps, mask)


class MyData(DrawnScenesDataModule):
    pass
"""


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    name = "module_of_mine"
    (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield name
    sys.modules.pop(name, None)
    gc.collect()  # classes are found by looking, as long as they are there


@pytest.mark.parametrize("kind", ["ATaskOfMine", "AnotherNetwork"])
def test_what_was_trained_can_be_scored_used_and_trained_on(
    kind: str, own_module: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = tmp_path / "runs"
    own_data = ("--data", f"{own_module}.MyData")
    assert tiny_fit(runs, *own_data, model=f"{own_module}.{kind}") == 0
    last = runs / "tiny" / "version_0" / "checkpoints" / "last.ckpt"
    assert main(["validate", "--ckpt_path", str(last), "--trainer.accelerator", "cpu"]) == 0
    model = deeplab_lightning.load(last, "cpu")
    assert type(model.task).__name__ == (kind if kind == "ATaskOfMine" else "SegmentationTask")
    assert type(model.task.model).__name__ == (kind if kind == "AnotherNetwork" else "EncoderDecoder")
    mask = model.predict(np.zeros((20, 30, 3), np.uint8)).mask
    assert mask.shape == (20, 30)
    words = ["--ckpt_path", str(last), "--trainer.max_steps", "3", "--trainer.val_check_interval", "1"]
    assert main(["fit", *words]) == 0, capsys.readouterr().err
    assert read_checkpoint(last)["global_step"] == 3
    again = Configuration(["-c", str(runs / "tiny" / "version_0" / "config.yaml")])
    assert type(again.make_task()) is type(model.task)
    assert again.data_class.__name__ == "MyData"


def test_what_a_task_saved_of_its_own_is_there_again(own_module: str, tmp_path: Path) -> None:
    assert tiny_fit(tmp_path, model=f"{own_module}.ATaskOfMine") == 0
    path = tmp_path / "tiny" / "version_0" / "checkpoints" / "last.ckpt"
    checkpoint = read_checkpoint(path)
    checkpoint["hyper_parameters"]["factor"] = 5.0
    torch.save(checkpoint, path)
    assert deeplab_lightning.load(path, "cpu").task.factor == 5.0  # type: ignore[attr-defined]
    assert Configuration([], path).make_task().factor == 5.0  # type: ignore[attr-defined]


def test_a_task_of_ones_own_takes_no_place_of_ours(own_module: str) -> None:
    configuration = Configuration(["--model", f"{own_module}.ATaskOfMine", *TINY])
    assert configuration.task_class.__name__ == "ATaskOfMine"
    assert task_class_of(EncoderDecoder) is EncoderDecoderTask
    assert Configuration(["--model", "DeepLabV3Plus"]).task_class is DeepLabV3PlusTask


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--model", "no_such_module.Net"], "importing no_such_module failed .*working folder and on PYTHONPATH"),
        (["--model", "module_of_mine.ATaskOfMin"], r"has no network or task ATaskOfMin\. Did you mean 'ATaskOfMine'"),
        (["--data", "module_of_mine.MyDate"], r"has no data set MyDate\. Did you mean 'MyData'"),
    ],
)
def test_what_is_not_there_is_said(words: list[str], message: str, own_module: str) -> None:
    with pytest.raises(deeplab_lightning.errors.ConfigError, match=message):
        Configuration(words, needs_model=False)


def test_the_installed_program_looks_into_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unlike `python -m`, it does not have that folder on its path."""
    (tmp_path / "module_of_the_folder.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place])
    assert Configuration(["--model", "module_of_the_folder.AnotherNetwork"]).network_class.__name__ == "AnotherNetwork"
    sys.modules.pop("module_of_the_folder")
    gc.collect()


def test_another_program_imports_what_it_needs(own_module: str, tmp_path: Path) -> None:
    assert tiny_fit(tmp_path / "runs", model=f"{own_module}.ATaskOfMine") == 0
    last = tmp_path / "runs" / "tiny" / "version_0" / "checkpoints" / "last.ckpt"
    program = f"import sys, {own_module}, deeplab_lightning as d; print(type(d.load(sys.argv[1], 'cpu').task).__name__)"
    path = os.pathsep.join([str(tmp_path), os.getcwd(), os.environ.get("PYTHONPATH", "")])
    words = [sys.executable, "-c", program, str(last)]
    found = subprocess.run(words, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=True)
    assert found.stdout.split()[-1] == "ATaskOfMine"


@pytest.mark.parametrize(("key", "what"), [("task", "task"), ("network", "network")])
def test_a_class_that_is_gone_is_named(key: str, what: str, own_module: str, tmp_path: Path) -> None:
    assert tiny_fit(tmp_path) == 0
    last = tmp_path / "tiny" / "version_0" / "checkpoints" / "last.ckpt"
    checkpoint = read_checkpoint(last)
    checkpoint["deeplab_lightning" if key == "task" else "hyper_parameters"][key] = "gone.Mine"
    torch.save(checkpoint, last)
    with pytest.raises(deeplab_lightning.errors.CheckpointError, match=rf"The {what} gone\.Mine .*add --import gone"):
        deeplab_lightning.load(last, "cpu")


def test_a_checkpoint_imports_nothing_but_the_user_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tiny_fit(tmp_path / "runs") == 0
    last = tmp_path / "runs" / "tiny" / "version_0" / "checkpoints" / "last.ckpt"
    (tmp_path / "module_named_by_a_file.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    checkpoint = read_checkpoint(last)
    checkpoint["deeplab_lightning"]["task"] = "module_named_by_a_file.ATaskOfMine"
    checkpoint["datamodule_hyper_parameters"]["name"] = "module_named_by_a_file.MyData"
    torch.save(checkpoint, last)
    words = ["validate", "--ckpt_path", str(last), "--trainer.accelerator", "cpu"]
    assert main(words) == 2
    assert "add --import module_named_by_a_file" in capsys.readouterr().err
    assert "module_named_by_a_file" not in sys.modules
    assert main([*words, "--import", "module_named_by_a_file"]) == 0
    sys.modules.pop("module_named_by_a_file")
    gc.collect()
