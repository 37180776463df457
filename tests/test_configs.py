"""Every file under configs/ works: it parses, builds, and names options that exist."""

from __future__ import annotations

import functools
import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from lightning.pytorch import Trainer

import deeplab_lightning
from deeplab_lightning.__main__ import main

from .conftest import REPOSITORY, V3PLUS
from .fakes.camvid import write_camvid

MODELS = sorted([*(REPOSITORY / "configs").glob("*.yaml"), *(REPOSITORY / "configs" / "articles").glob("*.yaml")])
PAPER = sorted((REPOSITORY / "configs" / "paper").glob("*.yaml"))
OVERLAYS = sorted((REPOSITORY / "configs" / "data").glob("*.yaml"))


def test_there_is_something_to_test() -> None:
    assert MODELS
    assert OVERLAYS
    assert PAPER


def write_fake(name: str, root: Path) -> Path:
    """Write a tiny data set of this name, by the writer that every data set has in `tests/fakes`."""
    return getattr(importlib.import_module(f"tests.fakes.{name}"), f"write_{name}")(root)


SLOW = {"fcn", "segnet", "unet"}
"""A step of 134 million parameters takes half a minute; maps of full size take seconds."""


@pytest.mark.parametrize(
    "path", [pytest.param(path, marks=[pytest.mark.slow] * (path.stem in SLOW), id=path.stem) for path in MODELS]
)
def test_a_model_alone_trains_on_drawn_scenes(path: Path, tmp_path: Path) -> None:
    """One real step with the real network, on few small images; what it leaves segments an image of another size."""
    options = [
        "--data.crop_size",
        "65",
        "--data.batch_size",
        "2",
        "--data.num_workers",
        "0",
        "--data.val_size",
        "1",
        "--trainer.max_steps",
        "1",
    ]
    options += ["--trainer.num_sanity_val_steps", "0", "--run.folder", str(tmp_path), "--trainer.accelerator", "cpu"]
    assert main(["fit", "-c", str(path), *options, "--trainer.val_check_interval", "1"]) == 0
    model = deeplab_lightning.load(tmp_path / path.stem / "version_0")
    image = np.random.default_rng(0).integers(0, 256, (50, 67, 3), dtype=np.uint8)
    assert model.predict(image).mask.shape == (50, 67)


@pytest.mark.parametrize("path", OVERLAYS, ids=lambda path: path.stem)
def test_a_data_overlay_swaps_the_data(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    def fit(self: Trainer, model: Any, datamodule: Any = None, ckpt_path: Any = None, **_: Any) -> None:
        seen.update(model=model, data=datamodule)

    monkeypatch.setattr(Trainer, "fit", functools.wraps(Trainer.fit)(fit))
    root = write_fake(path.stem, tmp_path / "data")
    options = ["--data.root", str(root), "--data.batch_size", "2", "--run.folder", str(tmp_path / "runs")]
    assert main(["fit", "-c", str(V3PLUS), "-c", str(path), *options]) == 0
    expected = yaml.safe_load(path.read_text())["data"]["name"] + "DataModule"
    assert type(seen["data"]).__name__ == expected
    assert seen["model"].num_classes == len(seen["data"].labels.class_names)


@pytest.mark.parametrize("path", PAPER, ids=lambda path: path.stem)
def test_a_recipe_of_a_paper_is_whole(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It parses, builds the network at its full size, and says what was published, how, and what is different."""
    text = path.read_text()
    assert all(f"# {word}: " in text for word in ("Published", "Protocol"))
    assert "# Departures:\n# - " in text
    seen: dict[str, Any] = {}

    def fit(self: Trainer, model: Any, datamodule: Any = None, ckpt_path: Any = None, **_: Any) -> None:
        seen.update(trainer=self, model=model, data=datamodule)

    monkeypatch.setattr(Trainer, "fit", functools.wraps(Trainer.fit)(fit))
    data = path.stem.removesuffix("_stage1").removesuffix("_stage2").rsplit("_", 1)[-1]
    options = ["--data.root", str(write_fake(data, tmp_path / "data")), "--run.folder", str(tmp_path / "runs")]
    if "pretrained: true" in text:
        options += ["--model.pretrained", "false"]
    with torch.device("meta"):
        assert main(["fit", "-c", str(path), *options]) == 0
    recipe = yaml.safe_load(text)
    assert type(seen["model"]).__name__ == recipe["model"]["name"] + "Task"
    assert seen["model"].num_classes == (19 if "cityscapes" in path.stem else 21)
    assert seen["trainer"].max_steps == recipe["trainer"]["max_steps"]
    assert seen["data"].options.batch_size == recipe["data"]["batch_size"]


def test_the_recipe_for_camvid_learns_a_step(tmp_path: Path) -> None:
    """At its full size but for the batch; the file says that nobody has run it to its end."""
    path = REPOSITORY / "configs" / "camvid" / "v3plus_from_scratch.yaml"
    assert "# NOT YET RUN." in path.read_text()
    options = ["--data.root", str(write_camvid(tmp_path / "data")), "--run.folder", str(tmp_path / "runs")]
    options += ["--data.batch_size", "2", "--data.num_workers", "0", "--data.crop_size", "129"]
    options += ["--trainer.max_steps", "1", "--trainer.val_check_interval", "1", "--trainer.num_sanity_val_steps", "0"]
    assert main(["fit", "-c", str(path), *options, "--trainer.accelerator", "cpu"]) == 0


def test_a_sweep_with_a_wrong_name_would_be_noticed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "-c", str(V3PLUS), "--model.learning_rate=0.1"]) == 2
    assert "Unknown option --model.learning_rate" in capsys.readouterr().err
