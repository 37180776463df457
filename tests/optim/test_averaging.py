"""Averages of the weights: what is averaged, what is kept, and what a run goes on with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import deeplab_lightning
from deeplab_lightning.errors import ConfigError
from deeplab_lightning.optim.averaging import WeightAverage
from deeplab_lightning.optim.options import OptimizerOptions
from deeplab_lightning.tasks import SegmentationTask

from ..conftest import Fit

KERNEL = "model.classifier.weight"


def read(path: Path) -> dict[str, Any]:
    return torch.load(path, weights_only=True)


@pytest.fixture
def kernels(monkeypatch: pytest.MonkeyPatch) -> list[torch.Tensor]:
    """The classifier's kernel after each optimiser step of the runs of a test."""
    found: list[torch.Tensor] = []
    original = SegmentationTask.optimizer_step

    def optimizer_step(self: SegmentationTask, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        found.append(self.model.classifier.weight.detach().clone())

    monkeypatch.setattr(SegmentationTask, "optimizer_step", optimizer_step)
    return found


def test_shares() -> None:
    ema = WeightAverage(OptimizerOptions(ema_decay=0.9))
    assert ema.share(1) == pytest.approx(1 - 2 / 11)
    assert ema.share(1000) == pytest.approx(0.1)
    swa = WeightAverage(OptimizerOptions(swa_start=0.5))
    swa._first_step = 3
    assert [swa.share(step) for step in (1, 2, 3, 4, 5)] == pytest.approx([1, 1, 1, 1 / 2, 1 / 3])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "no average to keep: set --optimizer.ema_decay or --optimizer.swa_start"),
        ({"ema_decay": 0.9, "swa_start": 0.5}, "not both"),
        ({"ema_decay": 1.0}, r"--optimizer\.ema_decay is 1\.0; expected 0 to below 1, such as 0\.999\."),
        ({"swa_start": -0.1}, r"--optimizer\.swa_start is -0\.1; expected 0 to below 1, such as 0\."),
    ],
)
def test_impossible_averages_are_refused(given: dict[str, float], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        WeightAverage(OptimizerOptions(**given))  # type: ignore[arg-type]


def test_exponential_average(fit: Fit, tmp_path: Path, kernels: list[torch.Tensor]) -> None:
    assert fit("--optimizer.ema_decay", "0.7") == 0
    folder = tmp_path / "runs" / "v3plus" / "version_0" / "checkpoints"
    checkpoint = read(folder / "last.ckpt")
    average = kernels[0]
    for step, kernel in enumerate(kernels[1:], start=2):
        average = average + (1 - min(0.7, (1 + step) / (10 + step))) * (kernel - average)
    assert torch.allclose(checkpoint["state_dict"][KERNEL], average, atol=1e-6)
    assert torch.equal(checkpoint["current_model_state"][KERNEL], kernels[-1])
    # Whoever uses the checkpoint gets the average.
    for name in ("last.ckpt", "best.ckpt"):
        used = deeplab_lightning.load(folder / name).task.state_dict()
        stored = read(folder / name)
        assert all(torch.equal(used[key], stored["state_dict"][key]) for key in used)
        assert not torch.equal(used[KERNEL], stored["current_model_state"][KERNEL])


def test_a_resumed_run_averages_like_a_whole_one(fit: Fit, tmp_path: Path) -> None:
    average = ["--optimizer.ema_decay", "0.7", "--trainer.accumulate_grad_batches", "2"]
    schedule = ["--optimizer.poly_power", "0", "--trainer.val_check_interval", "4"]
    assert fit(*average, *schedule, "--run.name", "whole") == 0
    assert fit(*average, *schedule, "--run.name", "parts", "--trainer.max_steps", "2") == 0
    assert fit(*average, *schedule, "--run.name", "parts", "--ckpt_path", "last") == 0
    whole, parts = (read(tmp_path / "runs" / name / "version_0" / "checkpoints" / "last.ckpt") for name in ("whole", "parts"))  # fmt: skip # noqa: E501
    for part in ("state_dict", "current_model_state"):
        assert all(torch.equal(parts[part][key], value) for key, value in whole[part].items())


def test_equal_average_of_the_last_part(fit: Fit, tmp_path: Path, kernels: list[torch.Tensor]) -> None:
    assert fit("--optimizer.swa_start", "0.5") == 0
    checkpoint = read(tmp_path / "runs" / "v3plus" / "version_0" / "checkpoints" / "last.ckpt")
    assert torch.allclose(checkpoint["state_dict"][KERNEL], (kernels[2] + kernels[3]) / 2, atol=1e-6)
    # The batch norms were given the statistics of 6 training batches under these weights, in equal parts.
    counted = [value for key, value in checkpoint["state_dict"].items() if key.endswith("num_batches_tracked")]
    assert {int(value) for value in counted} == {6}
    trained = checkpoint["current_model_state"]
    assert {int(value) for key, value in trained.items() if key.endswith("num_batches_tracked")} == {4}


def test_before_an_equal_average_starts_it_is_the_trained_weights(
    fit: Fit, tmp_path: Path, kernels: list[torch.Tensor]
) -> None:
    assert fit("--optimizer.swa_start", "0.9", "--trainer.max_steps", "20", "--trainer.limit_train_batches", "2",
               "--trainer.max_epochs", "1") == 0  # fmt: skip
    checkpoint = read(tmp_path / "runs" / "v3plus" / "version_0" / "checkpoints" / "best.ckpt")
    assert torch.equal(checkpoint["state_dict"][KERNEL], kernels[-1])
