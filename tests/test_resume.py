"""Stopping and going on: nothing is lost, nothing is repeated."""

from __future__ import annotations

import csv
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from deeplab_lightning.callbacks import last_checkpoint
from deeplab_lightning.tasks import SegmentationTask
from deeplab_lightning.trainer_parts import SafeCheckpoints

from .conftest import SMALL, SMALL_SCENES, V3PLUS, Fit


def weights(path: Path) -> dict[str, torch.Tensor]:
    return torch.load(path, weights_only=True)["state_dict"]


def send_at_step(monkeypatch: pytest.MonkeyPatch, step: int, number: signal.Signals) -> None:
    """Let the signal arrive in the middle of optimiser step `step` (0-based)."""
    original = SegmentationTask.training_step

    def training_step(self: SegmentationTask, batch: Any, batch_idx: int) -> torch.Tensor:
        if self.global_step == step:
            os.kill(os.getpid(), number)
        return original(self, batch, batch_idx)

    monkeypatch.setattr(SegmentationTask, "training_step", training_step)


@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_stopped_run_goes_on_as_if_nothing_had_happened(
    fit: Fit,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    number: signal.Signals,
    exit_code: int,
) -> None:
    # 12 images in batches of 2 are 6 steps an epoch: step 8 stops inside the second one.
    options = ["--trainer.max_steps", "10", "--trainer.val_check_interval", "4", "--trainer.log_every_n_steps", "1"]
    workers = ["--data.num_workers", "2"]
    assert fit(*options, "--run.name", "whole") == 0
    with monkeypatch.context() as patch:
        send_at_step(patch, 7, number)
        assert fit(*options, *workers, "--run.name", "parts") == exit_code
    folder = tmp_path / "runs" / "parts" / "version_0"
    last = folder / "checkpoints" / "last.ckpt"
    assert torch.load(last, weights_only=True)["global_step"] == 8
    assert f"--ckpt_path {last}" in capfd.readouterr().out

    assert fit(*options, *workers, "--run.name", "parts", "--ckpt_path", "last") == 0
    assert sorted(entry.name for entry in folder.parent.iterdir()) == ["latest", "version_0"]
    whole = tmp_path / "runs" / "whole" / "version_0"
    expected = weights(whole / "checkpoints" / "last.ckpt")
    actual = weights(last)
    assert all(torch.equal(actual[key], expected[key]) for key in expected)
    assert (folder / "metrics.csv").read_text() == (whole / "metrics.csv").read_text()
    assert (folder / "per_class.csv").read_text() == (whole / "per_class.csv").read_text()


@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_to_all_processes_still_saves(tmp_path: Path, number: signal.Signals, exit_code: int) -> None:
    """Terminals send Ctrl-C to the workers, too, and schedulers SIGTERM."""
    words = [sys.executable, "-m", "deeplab_lightning", "fit", "-c", str(V3PLUS), *SMALL, *SMALL_SCENES]
    words += ["--run.folder", str(tmp_path), "--trainer.max_steps", "100000", "--data.num_workers", "2"]
    program = subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    try:
        assert program.stdout is not None
        for line in program.stdout:  # a line follows every validation
            if line.startswith("step "):
                break
        os.killpg(program.pid, number)
        printed = program.communicate(timeout=60)[0]
    finally:
        program.kill()
    assert program.returncode == exit_code, printed
    last = tmp_path / "v3plus" / "version_0" / "checkpoints" / "last.ckpt"
    assert f"Everything is in {last}" in printed
    assert torch.load(last, weights_only=True)["global_step"] >= 2


def test_resuming_draws_only_what_was_not_trained(fit: Fit, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    original = SegmentationTask.training_step

    def training_step(self: SegmentationTask, batch: Any, batch_idx: int) -> torch.Tensor:
        seen.extend(batch["sample_id"])
        return original(self, batch, batch_idx)

    monkeypatch.setattr(SegmentationTask, "training_step", training_step)
    assert fit("--trainer.max_steps", "4") == 0
    assert fit("--trainer.max_steps", "6", "--ckpt_path", "last") == 0
    assert len(seen) == len(set(seen)) == 12  # one epoch, each image once


def test_a_learning_rate_given_on_resume_is_used(fit: Fit, tmp_path: Path) -> None:
    assert fit("--trainer.log_every_n_steps", "1") == 0
    again = [
        "--ckpt_path",
        "last",
        "--trainer.max_steps",
        "6",
        "--optimizer.lr",
        "0.001",
        "--optimizer.warmup_steps",
        "0",
    ]
    assert fit(*again, "--optimizer.poly_power", "0", "--trainer.log_every_n_steps", "1") == 0
    with (tmp_path / "runs" / "v3plus" / "version_0" / "metrics.csv").open() as file:
        rates = {int(row["step"]): row["lr"] for row in csv.DictReader(file) if row["lr"]}
    assert float(rates[4]) == float(rates[5]) == pytest.approx(0.001)
    assert float(rates[3]) != pytest.approx(0.001)


def test_momentum_and_decay_given_on_resume_are_used(fit: Fit, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, Any]] = []
    original = SegmentationTask.training_step

    def training_step(self: SegmentationTask, batch: Any, batch_idx: int) -> torch.Tensor:
        seen.extend(self.trainer.optimizers[0].param_groups)
        return original(self, batch, batch_idx)

    assert fit() == 0
    monkeypatch.setattr(SegmentationTask, "training_step", training_step)
    again = ["--ckpt_path", "last", "--trainer.max_steps", "5"]
    assert fit(*again, "--optimizer.momentum", "0.5", "--optimizer.weight_decay", "0.03") == 0
    assert {group["momentum"] for group in seen} == {0.5}
    assert {group["weight_decay"] for group in seen} == {0.0, 0.03}


def test_a_run_without_an_end_has_no_poly_schedule(fit: Fit, capsys: pytest.CaptureFixture[str]) -> None:
    assert fit("--trainer.max_steps", "-1", "--trainer.max_epochs", "-1", "--trainer.max_time", "00:00:01:00") == 2
    assert "set --trainer.max_steps (or --trainer.max_epochs)" in capsys.readouterr().err


def test_last_without_a_run_fails_with_a_clear_word(fit: Fit, capsys: pytest.CaptureFixture[str]) -> None:
    assert fit("--ckpt_path", "last") == 2
    message = capsys.readouterr().err
    assert "--ckpt_path last: there is nothing to go on from. No run found in" in message
    assert "Train first" in message


def test_last_of_a_run_without_checkpoints_names_the_older_ones(
    fit: Fit, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fit() == 0
    runs = tmp_path / "runs" / "v3plus"
    (runs / "version_1" / "checkpoints").mkdir(parents=True)
    (runs / "latest").unlink()
    (runs / "latest").symlink_to("version_1")
    assert fit("--ckpt_path", "last") == 2
    message = capsys.readouterr().err
    assert "that run ended before it saved. Older runs have:" in message
    assert str(runs / "version_0" / "checkpoints" / "last.ckpt") in message


def test_the_configuration_of_a_resumed_run_does_not_resume(
    fit: Fit, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fit() == 0
    assert fit("--ckpt_path", "last", "--trainer.max_steps", "6") == 0
    config = tmp_path / "runs" / "v3plus" / "version_0" / "config.yaml"
    assert "ckpt_path" not in config.read_text()
    config.write_text(config.read_text() + "ckpt_path: some.ckpt\n")
    assert fit("-c", str(config)) == 2
    assert "ckpt_path some.ckpt stands in a configuration file" in capsys.readouterr().err


def test_a_second_run_gets_its_own_folder(fit: Fit, tmp_path: Path) -> None:
    assert fit() == 0
    assert fit() == 0
    runs = tmp_path / "runs" / "v3plus"
    assert (runs / "version_1" / "config.yaml").is_file()
    assert (runs / "latest").resolve().name == "version_1"


# --- killed, not stopped --------------------------------------------------------------------------------------------

KILLED = """
import os, random, signal, sys
from deeplab_lightning.__main__ import main
from deeplab_lightning.tasks import SegmentationTask
place, step, drawn = sys.argv[1], int(sys.argv[2]), sys.argv[3]
original = SegmentationTask.training_step
def kill():
    os.kill(os.getpid(), signal.SIGKILL)
def training_step(self, batch, batch_idx):
    with open(drawn, "a") as file:
        print(self.trainer.fit_loop.epoch_loop.total_batch_idx, *batch["sample_id"], file=file)
    if place == "step" and self.global_step == step:
        kill()
    return original(self, batch, batch_idx)
SegmentationTask.training_step = training_step
if place == "validation":
    started = SegmentationTask.on_validation_epoch_end
    def on_validation_epoch_end(self):
        started(self)
        if self.global_step >= step:
            kill()
    SegmentationTask.on_validation_epoch_end = on_validation_epoch_end
if place == "writing":  # half a file is on the disk when the power fails
    import torch
    save = torch.save
    def torn(checkpoint, file):
        if checkpoint["global_step"] >= step and "last" in file.name:
            file.write(b"half"); file.flush(); kill()
        save(checkpoint, file)
    torch.save = torn
sys.exit(main(sys.argv[4:]))
"""
"""Run the program in a process that kills itself in the middle of something."""

EVERYTHING = [
    *("--trainer.max_steps", "10", "--trainer.val_check_interval", "5", "--trainer.log_every_n_steps", "1"),
    *("--trainer.accumulate_grad_batches", "2", "--optimizer.ema_decay", "0.8", "--data.num_workers", "2"),
]
"""With accumulation, a validation amid accumulated batches, an average, workers; 6 batches are an epoch."""


def train_in_a_process(runs: Path, name: str, place: str, step: int, *options: str) -> int:
    words = [
        "fit",
        "-c",
        str(V3PLUS),
        *SMALL,
        *SMALL_SCENES,
        *EVERYTHING,
        "--run.folder",
        str(runs),
        "--run.name",
        name,
    ]
    program = [sys.executable, "-c", KILLED, place, str(step), str(runs / f"{name}.txt"), *words, *options]
    return subprocess.run(program, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=300).returncode


def assert_same_end(runs: Path, whole: str, parts: str) -> None:
    """Weights, averages, momentum, log, scores, and for every batch the images that were in it."""
    folders = [runs / name / "version_0" for name in (whole, parts)]
    expected, actual = (torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True) for folder in folders)
    for key in ("state_dict", "current_model_state"):
        assert all(torch.equal(actual[key][name], value) for name, value in expected[key].items())
    states = [checkpoint["optimizer_states"][0]["state"] for checkpoint in (expected, actual)]
    assert all(
        torch.equal(states[1][key]["momentum_buffer"], value["momentum_buffer"]) for key, value in states[0].items()
    )
    for name in ("metrics.csv", "per_class.csv"):
        assert (folders[1] / name).read_text() == (folders[0] / name).read_text()
    batches = [sorted({*(runs / f"{name}.txt").read_text().splitlines()}) for name in (whole, parts)]
    assert batches[0] == batches[1]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of runs with `whole`, which nobody disturbed."""
    runs = tmp_path_factory.mktemp("killed")
    assert train_in_a_process(runs, "whole", "nowhere", 0) == 0
    return runs


@pytest.mark.parametrize(("place", "step"), [("step", 7), ("validation", 5), ("writing", 5)])
def test_a_killed_run_goes_on_to_the_identical_end(whole: Path, place: str, step: int) -> None:
    assert train_in_a_process(whole, place, place, step) == -signal.SIGKILL
    folder = whole / place / "version_0" / "checkpoints"
    assert 0 < torch.load(folder / "last.ckpt", weights_only=True)["global_step"] <= step
    assert train_in_a_process(whole, place, "nowhere", 0, "--ckpt_path", "last") == 0
    assert_same_end(whole, "whole", place)


@pytest.mark.slow
def test_twenty_random_kills(whole: Path) -> None:
    random.seed(0)
    for attempt in range(20):
        name, place = f"soak-{attempt}", random.choice(["step", "validation", "writing"])
        step = random.randint(5, 10 if place != "step" else 9)  # before, nothing is saved, and a run begins anew
        assert train_in_a_process(whole, name, place, step) == -signal.SIGKILL, name
        assert train_in_a_process(whole, name, "nowhere", 0, "--ckpt_path", "last") == 0, name
        assert_same_end(whole, "whole", name)


def test_a_stop_waits_for_the_step_to_be_whole(fit: Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = ["--trainer.accumulate_grad_batches", "3", "--trainer.val_check_interval", "7"]
    with monkeypatch.context() as patch:
        send_at_step(patch, 1, signal.SIGTERM)  # in the first of three batches
        assert fit(*options) == 143
    last = torch.load(tmp_path / "runs" / "v3plus" / "version_0" / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["global_step"] == 2
    assert last["loops"]["fit_loop"]["epoch_loop.batch_progress"]["total"]["processed"] == 6


def test_long_stretches_without_a_validation_are_saved(
    fit: Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: list[int] = []
    save = SafeCheckpoints.save_checkpoint

    def save_checkpoint(self: SafeCheckpoints, checkpoint: dict[str, Any], path: Path, **options: Any) -> None:
        saved.append(checkpoint["global_step"])
        save(self, checkpoint, path, **options)

    monkeypatch.setattr(SafeCheckpoints, "save_checkpoint", save_checkpoint)
    monkeypatch.setattr(last_checkpoint, "SAVE_EVERY_SECONDS", 0)
    monkeypatch.setattr(SafeCheckpoints, "remove_checkpoint", lambda *_: None)
    assert fit("--trainer.limit_val_batches", "0") == 0
    assert saved == [1, 2, 3, 4]
    folder = tmp_path / "runs" / "v3plus" / "version_0" / "checkpoints"
    steps = [torch.load(folder / f"{name}.ckpt", weights_only=True)["global_step"] for name in ("previous", "last")]
    assert steps == [3, 4]


def test_a_damaged_last_checkpoint_names_the_others(
    fit: Fit, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fit() == 0
    folder = tmp_path / "runs" / "v3plus" / "version_0" / "checkpoints"
    (folder / "last.ckpt").write_bytes((folder / "last.ckpt").read_bytes()[:1000])
    assert fit("--ckpt_path", "last") == 2
    message = capsys.readouterr().err
    assert f"use another one of the same run: {folder / 'best.ckpt'}, {folder / 'previous.ckpt'}." in message
    assert fit("--ckpt_path", str(folder / "previous.ckpt")) == 0
    assert torch.load(folder / "last.ckpt", weights_only=True)["global_step"] == 4


def test_images_are_the_same_for_every_number_of_workers() -> None:
    # What makes the exact resume above possible; here by itself, where it is quick to see why it broke.
    from deeplab_lightning.data.sets.drawn_scenes import DrawnScenesDataModule

    def draw(workers: int) -> list[torch.Tensor]:
        data = DrawnScenesDataModule(height=64, width=64, train_size=8, batch_size=2, crop_size=33, num_workers=workers)
        return [batch["image"] for batch in data.train_dataloader()]

    assert all(torch.equal(one, two) for one, two in zip(draw(0), draw(2), strict=True))
