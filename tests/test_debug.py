"""The presets of configs/debug: each does what it says on top of any configuration."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch

from deeplab_lightning.__main__ import main
from deeplab_lightning.metrics.per_image import ImageCounts

from .conftest import REPOSITORY, SMALL, SMALL_SCENES, V3PLUS, Fit

DEBUG = REPOSITORY / "configs" / "debug"
NETWORK = SMALL[: SMALL.index("--data.crop_size")]


def test_overfitting_trains_and_validates_on_the_same_few_images(tmp_path: Path) -> None:
    words = ["fit", "-c", str(V3PLUS), "-c", str(DEBUG / "overfit.yaml"), *NETWORK, *SMALL_SCENES[:4]]
    words += ["--run.folder", str(tmp_path), "--trainer.accelerator", "cpu", "--data.train_limit", "4"]
    words += ["--data.batch_size", "4", "--data.crop_size", "81", "--trainer.max_steps", "8", "--optimizer.lr", "0.1"]
    assert main([*words, "--trainer.val_check_interval", "8", "--trainer.log_every_n_steps", "1"]) == 0
    run = tmp_path / "v3plus" / "version_0"
    with (run / "metrics.csv").open() as file:
        losses = [float(row["train/loss"]) for row in csv.DictReader(file) if row["train/loss"]]
    assert losses[-1] < 0.8 * losses[0]
    assert ImageCounts.load(run / "per_image.npz").sample_ids == [f"train-{index:06}" for index in range(4)]


@pytest.mark.parametrize("name", ["fast_dev_run", "profiler"])
def test_a_short_run_leaves_all_its_files(name: str, fit: Fit, tmp_path: Path) -> None:
    limits = ["--trainer.max_steps", "2", "--trainer.val_check_interval", "2"]
    preset = DEBUG / f"{name}.yaml"
    assert fit("-c", str(preset), *limits) == 0
    run = tmp_path / "runs" / "v3plus" / "version_0"
    assert {path.name for path in (run / "checkpoints").iterdir()} >= {"best.ckpt", "last.ckpt"}
    profiles = [path.read_text() for path in run.iterdir() if path.name.endswith("profile.txt")]
    assert bool(profiles) == (name == "profiler")
    assert all("run_training_batch" in text for text in profiles)


def test_lightnings_way_to_overfit_is_refused_and_ours_named(fit: Fit, capsys: pytest.CaptureFixture[str]) -> None:
    assert fit("--trainer.overfit_batches", "2") == 2
    assert "-c configs/debug/overfit.yaml" in capsys.readouterr().err


@pytest.mark.slow
def test_a_compiled_network_shows_its_inner_maps(
    fit: Fit, tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hooks that read features work under torch.compile: the same losses (without inductor, which takes minutes)."""
    monkeypatch.setattr(torch, "compile", lambda function: torch._dynamo.optimize("eager")(function))
    options = ["--trainer.max_steps", "2", "--trainer.limit_val_batches", "1", "--trainer.log_every_n_steps", "1"]
    options += [
        "--loss.depth.weight",
        "0.1",
        "--loss.distillation.teachers",
        f"[{checkpoint}]",
        "--loss.distillation.features",
        "1",
    ]
    losses = []
    for compiled in ("false", "true"):
        assert fit(*options, "--model.compile", compiled, "--run.name", compiled) == 0
        with (tmp_path / "runs" / compiled / "version_0" / "metrics.csv").open() as file:
            rows = [row for row in csv.DictReader(file) if row["train/loss"]]
        losses.append([float(row[f"train/loss{part}"]) for row in rows for part in ("", "/depth", "/features")])
    assert len(losses[0]) == 6
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)
