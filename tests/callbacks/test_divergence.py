"""A run that goes wrong stops, names the step, the images and the cause, and keeps what was good."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from deeplab_lightning.callbacks.divergence import WINDOW, Divergence
from deeplab_lightning.errors import EXIT_DIVERGED
from deeplab_lightning.runs import read_metrics
from deeplab_lightning.tasks import SegmentationTask

from ..conftest import Fit


def losses_become(monkeypatch: pytest.MonkeyPatch, step: int, factor: float) -> None:
    """From optimiser step `step` (0-based) on, the loss is multiplied."""
    original = SegmentationTask.training_step

    def training_step(self: SegmentationTask, batch: Any, batch_idx: int) -> torch.Tensor:
        loss = original(self, batch, batch_idx)
        return loss * factor if self.global_step >= step else loss

    monkeypatch.setattr(SegmentationTask, "training_step", training_step)


def test_nan_stops_the_run(
    fit: Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    losses_become(monkeypatch, 3, math.nan)
    assert fit("--trainer.max_steps", "8", "--trainer.val_check_interval", "2", "--run.name", "bad") == EXIT_DIVERGED
    message = capfd.readouterr().err
    assert "step 4: the loss is nan" in message
    assert message.count("train-0000") == 2  # the images of the batch
    assert "--trainer.gradient_clip_val" in message
    folder = tmp_path / "runs" / "bad" / "version_0"
    last = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["global_step"] == 2
    assert all(torch.isfinite(value).all() for value in last["state_dict"].values())


def nan_in(monkeypatch: pytest.MonkeyPatch, precision: str, step: int) -> None:
    """From optimiser step `step` (0-based) on, the loss is NaN where the trainer has this precision."""
    original = SegmentationTask.training_step

    def training_step(self: SegmentationTask, batch: Any, batch_idx: int) -> torch.Tensor:
        loss = original(self, batch, batch_idx)
        return loss * math.nan if self.trainer.precision == precision and self.global_step >= step else loss

    monkeypatch.setattr(SegmentationTask, "training_step", training_step)


@pytest.mark.parametrize("step", [3, 1])
def test_half_precision_that_meets_nan_goes_on_in_float32(
    step: int, fit: Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """From the last good state, or from the start where there is none."""
    nan_in(monkeypatch, "bf16-mixed", step)
    words = ["--trainer.max_steps", "4", "--trainer.val_check_interval", "2", "--trainer.log_every_n_steps", "1"]
    assert fit(*words, "--run.name", "bf16", "--trainer.precision", "bf16-mixed") == 0
    said = capfd.readouterr().out
    assert f"step {step + 1}: the loss is nan" in said
    runs = sorted(folder.name for folder in (tmp_path / "runs" / "bf16").glob("version_*"))
    if step == 3:
        assert "The precision was bf16-mixed: once more in float32, from " in said
        assert "Goes on from step 2 otherwise than before: trainer.precision 32-true (bf16-mixed so far)" in said
        assert runs == ["version_0"]
    else:
        assert "once more in float32, from the start" in said
        assert runs == ["version_0", "version_1"]
    last = torch.load(tmp_path / "runs" / "bf16" / "latest" / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["global_step"] == 4
    logged = read_metrics(tmp_path / "runs" / "bf16" / "latest" / "metrics.csv")
    assert logged["step"][np.isfinite(logged["train/loss"])].tolist() == [1, 2, 3, 4]


def test_float32_that_meets_nan_and_float32_after_bf16_stop(
    fit: Fit, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    losses_become(monkeypatch, 1, math.nan)
    words = ["--trainer.max_steps", "4", "--trainer.val_check_interval", "2"]
    assert fit(*words, "--trainer.precision", "bf16-mixed") == EXIT_DIVERGED
    told = capfd.readouterr()
    assert told.out.count("once more in float32") == 1
    assert "step 2: the loss is nan" in told.err


def test_a_learning_rate_that_is_too_high_is_named(fit: Fit, capfd: pytest.CaptureFixture[str]) -> None:
    assert fit("--optimizer.lr", "1e6", "--optimizer.warmup_steps", "0", "--trainer.max_steps", "60") == EXIT_DIVERGED
    message = capfd.readouterr().err
    assert "went wrong at step" in message
    assert "--optimizer.lr" in message


def test_a_loss_that_rises_far_beyond_its_beginning_stops_the_run(
    fit: Fit, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    losses_become(monkeypatch, WINDOW, 100.0)
    steps = ["--trainer.max_steps", str(3 * WINDOW), "--trainer.val_check_interval", str(3 * WINDOW)]
    assert fit(*steps, "--data.train_size", str(6 * WINDOW)) == EXIT_DIVERGED
    message = capfd.readouterr().err
    assert "the loss has risen from" in message
    # The median of the last WINDOW steps has risen as soon as half of them have.
    assert f"step {WINDOW + WINDOW // 2}" in message or f"step {WINDOW + WINDOW // 2 + 1}" in message


def test_half_precision_is_suspected_first() -> None:
    class Trainer:
        precision = "16-mixed"
        datamodule = None

    from deeplab_lightning.callbacks.divergence import Step

    cause = Divergence()._likely_cause(Trainer(), Step(3, torch.tensor(math.inf), ["a"], 0.1))  # type: ignore[arg-type]
    assert "bf16-mixed" in cause


def test_the_gradients_norm_is_logged(fit: Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = []
    original = Divergence.on_before_optimizer_step

    def look(self: Divergence, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        squares = [float((p.grad**2).sum()) for p in pl_module.parameters() if p.grad is not None]
        expected.append(math.sqrt(sum(squares)))
        original(self, trainer, pl_module, optimizer)

    monkeypatch.setattr(Divergence, "on_before_optimizer_step", look)
    assert fit("--trainer.log_every_n_steps", "1", "--run.name", "norms", "--trainer.gradient_clip_val", "0.001") == 0
    logged = read_metrics(tmp_path / "runs" / "norms" / "version_0" / "metrics.csv")["train/grad_norm"]
    assert logged[~(logged != logged)].tolist() == pytest.approx(expected, rel=1e-4)
