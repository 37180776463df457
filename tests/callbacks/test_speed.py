"""Where the time goes is measured, and adds up."""

from __future__ import annotations

import csv
import time
from pathlib import Path
from typing import Any

import pytest

from deeplab_lightning.data.sets.drawn_scenes import DrawnScenes
from deeplab_lightning.tasks import SegmentationTask

from ..conftest import Fit


def rows(path: Path) -> list[dict[str, float]]:
    with path.open() as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


def test_waiting_for_data_is_told_from_computing(fit: Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original_step, original_load = SegmentationTask.training_step, DrawnScenes.load

    def slow_step(self: SegmentationTask, batch: Any, batch_idx: int) -> Any:
        time.sleep(0.05)
        return original_step(self, batch, batch_idx)

    def slow_load(self: DrawnScenes, index: int) -> Any:
        time.sleep(0.2)
        return original_load(self, index)

    monkeypatch.setattr(SegmentationTask, "training_step", slow_step)
    monkeypatch.setattr(DrawnScenes, "load", slow_load)
    steps = ["--trainer.max_steps", "6", "--trainer.val_check_interval", "6", "--trainer.log_every_n_steps", "3"]
    assert fit(*steps, "--run.name", "slow") == 0
    measured = rows(tmp_path / "runs" / "slow" / "version_0" / "speed.csv")
    assert [row["step"] for row in measured] == [3, 6]
    second = measured[1]
    assert second["seconds_per_step"] >= 0.45  # two images of 0.2, and 0.05
    assert second["images_per_second"] == pytest.approx(2 / second["seconds_per_step"], rel=0.01)
    assert 0.3 < second["data_wait"] < 0.95
    assert second["hours_left"] == 0
    assert measured[0]["hours_left"] == pytest.approx(3 * measured[0]["seconds_per_step"] / 3600, rel=0.01)
    assert 0.1 < second["memory_gib"] < 16


@pytest.mark.slow
def test_validation_is_left_out_and_a_resumed_run_goes_on_with_the_file(
    fit: Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = SegmentationTask.validation_step

    def slow(self: SegmentationTask, batch: Any, batch_idx: int) -> Any:
        time.sleep(1.5)
        return original(self, batch, batch_idx)

    monkeypatch.setattr(SegmentationTask, "validation_step", slow)
    options = ["--trainer.val_check_interval", "2", "--trainer.log_every_n_steps", "2", "--run.name", "both"]
    assert fit(*options, "--trainer.max_steps", "4") == 0
    path = tmp_path / "runs" / "both" / "version_0" / "speed.csv"
    before = rows(path)
    assert [row["step"] for row in before] == [2, 4]
    assert all(row["seconds_per_step"] < 1.5 for row in before)
    assert fit(*options, "--trainer.max_steps", "6", "--ckpt_path", "last") == 0
    assert [row["step"] for row in rows(path)] == [2, 4, 6]
    assert rows(path)[:2] == before
