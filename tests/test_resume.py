"""Stopping and going on: nothing is lost, nothing is repeated."""

from __future__ import annotations

import csv
import json
import os
import random
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from deeplab_lightning.__main__ import main
from deeplab_lightning.callbacks import last_checkpoint
from deeplab_lightning.config import Configuration
from deeplab_lightning.inference import EvaluationOptions
from deeplab_lightning.inference.crf import CRFOptions
from deeplab_lightning.tasks import SegmentationTask
from deeplab_lightning.trainer_parts import SafeCheckpoints

from .conftest import SMALL, SMALL_SCENES, V3PLUS, Fit
from .tiny import tiny_fit


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


FOREVER = ["--trainer.max_steps", "-1"]
LENGTHS = {
    "steps": ["--trainer.max_steps", "12"],
    "steps, cosine": ["--trainer.max_steps", "12", "--optimizer.schedule", "cosine"],
    "epochs": [*FOREVER, "--trainer.max_epochs", "2"],
    "epochs, cosine": [*FOREVER, "--trainer.max_epochs", "2", "--optimizer.schedule", "cosine"],
    "epochs, step": [*FOREVER, "--trainer.max_epochs", "2", "--optimizer.schedule", "step"],
    "both": ["--trainer.max_steps", "11", "--trainer.max_epochs", "2"],
    "time and epochs": [*FOREVER, "--trainer.max_epochs", "2", "--trainer.max_time", "00:01:00:00"],
}
"""All ways to say how long a run is, but for time alone, which ends where the clock says."""


def assert_same_run(one: Path, other: Path) -> None:
    """Weights, averages, optimiser, log and scores."""
    expected, actual = (torch.load(run / "checkpoints" / "last.ckpt", weights_only=True) for run in (one, other))
    assert expected["global_step"] == actual["global_step"]
    for key in ("state_dict", "current_model_state"):
        assert expected.get(key, {}).keys() == actual.get(key, {}).keys()
        assert all(torch.equal(actual[key][name], value) for name, value in expected.get(key, {}).items())
    states = [checkpoint["optimizer_states"][0]["state"] for checkpoint in (expected, actual)]
    assert states[0].keys() == states[1].keys()
    assert all(
        torch.equal(value["momentum_buffer"], states[1][key]["momentum_buffer"]) for key, value in states[0].items()
    )
    for name in ("metrics.csv", "per_class.csv"):
        assert (other / name).read_text() == (one / name).read_text()


@pytest.mark.parametrize(
    ("length", "steps"),
    [("steps", [6]), ("epochs", [6, 8]), ("time and epochs", [4]),
     *(pytest.param(*case, marks=pytest.mark.slow) for case in (
         ("steps", [8]), ("steps", [6, 7, 8]), ("steps, cosine", [4]), ("epochs", [4]), ("epochs", [6]),
         ("epochs", [8]), ("both", [4]), ("epochs", [4, 6, 7]), ("epochs, cosine", [8]), ("epochs, step", [6]),
         ("both", [6, 8])))],
)  # fmt: skip
def test_a_stopped_run_goes_on_as_if_nothing_had_happened(
    length: str, steps: list[int], shared_wholes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 12 images in batches of 2 are 6 steps an epoch: stopped within one, at its end, in the next, and several times.
    options = [*LENGTHS[length], "--trainer.val_check_interval", "4", "--trainer.log_every_n_steps", "1"]
    whole = train_once(shared_wholes, length, options)
    name = "-".join([*re.findall(r"\w+", length), *map(str, steps)])
    words = [*options, "--data.num_workers", "2", "--run.name", name]
    folder = shared_wholes / name / "version_0"
    for step in steps:
        with monkeypatch.context() as patch:
            send_at_step(patch, step - 1, signal.SIGTERM)
            assert train(shared_wholes, *words) == 143
        assert torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == step
        words += [] if "--ckpt_path" in words else ["--ckpt_path", "last"]
    assert train(shared_wholes, *words) == 0
    assert sorted(entry.name for entry in folder.parent.iterdir()) == ["latest", "version_0"]
    assert_same_run(whole, folder)


def train(runs: Path, *options: str) -> int:
    return main(["fit", "-c", str(V3PLUS), *SMALL, *SMALL_SCENES, "--run.folder", str(runs), *options])


def train_once(runs: Path, name: str, options: list[str]) -> Path:
    """Return the run that nobody disturbed."""
    folder = runs / f"whole {name}"
    if not folder.exists():
        assert train(runs, *options, "--run.name", folder.name) == 0
    return folder / "version_0"


@pytest.fixture(scope="module")
def shared_wholes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("lengths")


def test_a_run_that_the_clock_ends_goes_on_exactly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = ["--trainer.max_steps", "-1", "--trainer.max_epochs", "-1", "--trainer.max_time", "01:00:00:00"]
    options += ["--optimizer.schedule", "step", "--trainer.val_check_interval", "4"]
    for name, stops in (("whole", [10]), ("parts", [4, 10])):
        words = [*options, "--run.name", name]
        for position, step in enumerate(stops):
            with monkeypatch.context() as patch:
                send_at_step(patch, step - 1, signal.SIGTERM)
                assert train(tmp_path, *words, *(["--ckpt_path", "last"] if position else [])) == 143
    assert_same_run(tmp_path / "whole" / "version_0", tmp_path / "parts" / "version_0")


@pytest.mark.parametrize("validations", ["0", "1.0"])
def test_what_the_clock_ends_is_saved(fit: Fit, tmp_path: Path, validations: str) -> None:
    options = ["--trainer.max_steps", "-1", "--trainer.max_epochs", "-1", "--trainer.max_time", "00:00:00:01"]
    options += ["--optimizer.schedule", "step", "--trainer.limit_val_batches", validations]
    assert fit(*options, "--trainer.log_every_n_steps", "1") == 0
    run = tmp_path / "runs" / "v3plus" / "version_0"
    with (run / "metrics.csv").open() as file:
        steps = [int(row["step"]) for row in csv.DictReader(file)]
    assert torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == steps[-1]


@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_says_where_to_go_on(
    fit: Fit,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    number: signal.Signals,
    exit_code: int,
) -> None:
    send_at_step(monkeypatch, 1, number)
    assert fit() == exit_code
    last = tmp_path / "runs" / "v3plus" / "version_0" / "checkpoints" / "last.ckpt"
    assert f"--ckpt_path {last}" in capfd.readouterr().out


# --- what decides numbers travels -------------------------------------------------------------------------------------


def test_the_seed_and_the_trainers_settings_travel(
    fit: Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    options = ["--seed_everything", "7", "--trainer.accumulate_grad_batches", "2", "--trainer.gradient_clip_val", "0.5"]
    assert fit(*options, "--run.name", "whole") == 0
    with monkeypatch.context() as patch:
        send_at_step(patch, 1, signal.SIGTERM)
        assert fit(*options, "--run.name", "parts") == 143
    runs = tmp_path / "runs"
    last = str(runs / "parts" / "version_0" / "checkpoints" / "last.ckpt")
    capfd.readouterr()
    assert main(["fit", "--ckpt_path", last, "--trainer.accelerator", "cpu"]) == 0  # and no other word
    assert "otherwise than before" not in capfd.readouterr().out
    assert_same_run(runs / "whole" / "version_0", runs / "parts" / "version_0")
    card = json.loads((runs / "parts" / "version_0" / "environment.json").read_text())
    assert card["seed"] == 7


def test_what_validates_and_what_calls_back_travels(tmp_path: Path) -> None:
    """How validation looks decides which checkpoint is the best; callbacks may accumulate, average, stop."""
    accumulating = "{class_path: GradientAccumulationScheduler, init_args: {scheduling: {0: 2}}}"
    looks = ["--evaluation.scales", "[0.5, 1]", "--evaluation.crf", "{iterations: 1}"]
    assert tiny_fit(tmp_path, *looks, f"--trainer.callbacks=[{accumulating}]") == 0
    last = tmp_path / "tiny" / "version_0" / "checkpoints" / "last.ckpt"
    again = Configuration([], last, goes_on=True)
    assert (again.evaluation.scales, again.evaluation.crf_options) == ((0.5, 1.0), CRFOptions(iterations=1))
    assert [type(one).__name__ for one in again.trainer_parts()["callbacks"]] == ["GradientAccumulationScheduler"]
    assert again.changed() == {}
    otherwise = Configuration(["--evaluation.flip", "true", "--trainer.callbacks", "null"], last, goes_on=True)
    assert set(otherwise.changed()) == {"evaluation.flip", "trainer.callbacks"}
    assert Configuration([], last).evaluation == EvaluationOptions()  # to score it is another matter


def test_another_seed_is_said_and_kept_on_the_card(fit: Fit, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert fit("--seed_everything", "7") == 0
    capfd.readouterr()
    other = ["--seed_everything", "8", "--trainer.max_steps", "6", "--data.batch_size", "3"]
    assert fit("--ckpt_path", "last", *other) == 0
    said = "Goes on from step 4 otherwise than before: data.batch_size 3 (2 so far), trainer.max_steps 6 (4 so far), "
    assert f"{said}seed_everything 8 (7 so far)" in capfd.readouterr().out
    run = tmp_path / "runs" / "v3plus" / "version_0"
    sessions = json.loads((run / "environment.json").read_text())["sessions"]
    assert sessions[1]["changed"]["seed_everything"] == [7, 8]
    assert main(["reproduce", str(run)]) == 0
    printed = capfd.readouterr().out
    assert "seed_everything 8 (7 before) from step 4 on" in printed
    assert "it is another run" in printed


def test_a_new_length_replaces_the_old_one_of_another_kind(fit: Fit, tmp_path: Path) -> None:
    assert fit("--trainer.max_steps", "-1", "--trainer.max_epochs", "1") == 0
    last = tmp_path / "runs" / "v3plus" / "version_0" / "checkpoints" / "last.ckpt"
    assert main(["fit", "--ckpt_path", str(last), "--trainer.max_steps", "8", "--trainer.accelerator", "cpu"]) == 0
    assert torch.load(last, weights_only=True)["global_step"] == 8


def test_from_python_the_seed_travels_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lightning.pytorch import Trainer, seed_everything

    from deeplab_lightning.data.sets.drawn_scenes import DrawnScenesDataModule
    from deeplab_lightning.tasks import DeepLabV3PlusTask

    def trained(steps: int, path: Path | None) -> dict[str, torch.Tensor]:
        data = DrawnScenesDataModule(height=64, width=64, train_size=8, batch_size=2, crop_size=33, num_workers=0)
        task = DeepLabV3PlusTask(data.description, backbone="mobilenetv2_035", aspp_channels=8, decoder_channels=8,
                                 pretrained=False, dropout=0.5, optimizer={"schedule": "step"})  # fmt: skip
        quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
        trainer = Trainer(accelerator="cpu", max_steps=steps, limit_val_batches=0, enable_checkpointing=False,
                          default_root_dir=tmp_path, **quiet)  # fmt: skip
        trainer.fit(task, data, ckpt_path=path, weights_only=True)
        trainer.save_checkpoint(tmp_path / f"{steps}.ckpt")
        return {name: value.clone() for name, value in task.state_dict().items()}

    monkeypatch.setenv("PL_GLOBAL_SEED", "7")
    seed_everything(7)
    expected = trained(6, None)
    seed_everything(7)
    trained(3, None)
    monkeypatch.delenv("PL_GLOBAL_SEED")
    found = trained(6, tmp_path / "3.ckpt")
    assert all(torch.equal(found[name], value) for name, value in expected.items())


def test_weights_alone_cannot_go_on(fit: Fit, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert fit() == 0
    whole = torch.load(tmp_path / "runs" / "v3plus" / "version_0" / "checkpoints" / "last.ckpt", weights_only=True)
    torch.save({key: value for key, value in whole.items() if key != "optimizer_states"}, tmp_path / "weights.ckpt")
    assert fit("--ckpt_path", str(tmp_path / "weights.ckpt"), "--trainer.max_steps", "6") == 2
    assert "holds weights alone" in capfd.readouterr().err


# --- going on and branching -------------------------------------------------------------------------------------------


def content(run: Path) -> dict[str, bytes]:
    return {str(path.relative_to(run)): path.read_bytes() for path in sorted(run.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("where", [["--run.name", "branch"], ["--run.folder", "elsewhere"], []])
def test_a_branch_leaves_the_run_as_it_is(
    fit: Fit, tmp_path: Path, where: list[str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert fit("--run.name", "a", "--trainer.log_every_n_steps", "1") == 0
    run = tmp_path / "runs" / "a" / "version_0"
    older = run / "checkpoints" / "previous.ckpt"
    assert torch.load(older, weights_only=True)["global_step"] == 2
    before = content(run)
    capfd.readouterr()
    more = ["--ckpt_path", str(older), "--trainer.accelerator", "cpu", "--optimizer.lr", "0.05"]
    assert main(["fit", *more, *where]) == 0
    assert content(run) == before
    parent = tmp_path / {"branch": "runs/branch", "elsewhere": "elsewhere/a", "": "runs/a"}[where[1] if where else ""]
    branch = parent / ("version_0" if where else "version_1")
    assert "is of step 2: what comes now is a branch, in " in capfd.readouterr().out
    assert torch.load(branch / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == 4
    assert (branch / "checkpoints" / "best.ckpt").is_file()  # the branch's own best, whatever the run's was
    with (branch / "metrics.csv").open() as file:
        assert [int(row["step"]) for row in csv.DictReader(file)] == [3, 4]
    assert json.loads((branch / "environment.json").read_text())["branch_of"] == str(older)
    assert main(["reproduce", str(branch)]) == 0
    assert f"It is a branch of {older}" in capfd.readouterr().out


@pytest.mark.parametrize("where", [["--run.name", "branch"], ["--run.folder", "elsewhere"]])
def test_from_the_newest_state_another_name_or_folder_is_a_branch_too(
    fit: Fit, tmp_path: Path, where: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert fit("--run.name", "a") == 0
    run = tmp_path / "runs" / "a" / "version_0"
    before, last = content(run), run / "checkpoints" / "last.ckpt"
    words = ["--ckpt_path", str(last), "--trainer.accelerator", "cpu", "--trainer.max_steps", "6"]
    assert main(["fit", *words, *where]) == 0
    assert content(run) == before
    branch = tmp_path / {"branch": "runs/branch", "elsewhere": "elsewhere/a"}[where[1]] / "version_0"
    assert torch.load(branch / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == 6


def test_a_moved_run_goes_on_and_keeps_its_best(fit: Fit, tmp_path: Path) -> None:
    assert fit("--optimizer.lr", "0.01") == 0
    moved = tmp_path / "runs" / "moved"
    (tmp_path / "runs" / "v3plus").rename(moved)
    words = ["--ckpt_path", str(moved), "--trainer.accelerator", "cpu", "--trainer.max_steps", "6"]
    assert main(["fit", *words, "--optimizer.lr", "3"]) in (0, 3)  # likely worse from here on
    with (moved / "version_0" / "metrics.csv").open() as file:
        scores = {int(row["step"]): float(row["val/mIoU"]) for row in csv.DictReader(file) if row["val/mIoU"]}
    best = torch.load(moved / "version_0" / "checkpoints" / "best.ckpt", weights_only=True)
    assert best["global_step"] == max(scores, key=lambda step: scores[step])


def test_nothing_left_to_train_is_said(fit: Fit, capfd: pytest.CaptureFixture[str]) -> None:
    assert fit() == 0
    assert fit("--ckpt_path", "last") == 0
    assert "Nothing was left to train" in capfd.readouterr().out


@pytest.mark.parametrize(
    "options",
    [
        ["--trainer.limit_train_batches", "0.01"],
        ["--trainer.limit_train_batches", "0.01", "--optimizer.schedule", "step"],
        ["--trainer.max_steps", "0"],
        ["--trainer.max_steps", "0", "--optimizer.schedule", "step"],
        ["--trainer.max_steps", "-1", "--trainer.max_epochs", "0"],
    ],
)
def test_a_run_without_a_step_fails(fit: Fit, options: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert fit(*options) == 2
    said = capfd.readouterr().err
    words = ("no step to train", "No step was trained", "`limit_train_batches`", "max_steps is 0", "max_epochs is 0")
    assert any(one in said for one in words)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--optimizer.name", "adamw"], "--optimizer.name is adamw, and the checkpoint holds the state of sgd"),
        (["--model.freeze_batch_norm", "true"], "What is trained is not what was so far"),
    ],
)
def test_another_optimiser_cannot_go_on(
    fit: Fit, tmp_path: Path, options: list[str], message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert fit() == 0
    before = content(tmp_path / "runs" / "v3plus" / "version_0")
    assert fit("--ckpt_path", "last", "--trainer.max_steps", "6", *options) == 2
    assert message in capfd.readouterr().err
    assert content(tmp_path / "runs" / "v3plus" / "version_0") == before


def test_without_its_average_a_run_goes_on_from_the_trained_weights(
    fit: Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert fit("--optimizer.ema_decay", "0.9") == 0
    last = tmp_path / "runs" / "v3plus" / "version_0" / "checkpoints" / "last.ckpt"
    expected = torch.load(last, weights_only=True)["current_model_state"]
    seen: list[dict[str, torch.Tensor]] = []

    def on_train_start(self: SegmentationTask) -> None:
        seen.append({name: value.clone() for name, value in self.state_dict().items()})

    monkeypatch.setattr(SegmentationTask, "on_train_start", on_train_start)
    assert fit("--ckpt_path", "last", "--trainer.max_steps", "5", "--optimizer.ema_decay", "null") == 0
    assert all(torch.equal(seen[0][name], value) for name, value in expected.items())


def test_the_loss_of_a_step_is_that_of_all_its_batches(
    fit: Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses: list[float] = []
    original = SegmentationTask.training_step

    def training_step(self: SegmentationTask, batch: Any, batch_idx: int) -> torch.Tensor:
        loss = original(self, batch, batch_idx)
        losses.append(float(loss))
        return loss

    monkeypatch.setattr(SegmentationTask, "training_step", training_step)
    assert fit("--trainer.accumulate_grad_batches", "3", "--trainer.log_every_n_steps", "1") == 0
    run = tmp_path / "runs" / "v3plus" / "version_0"
    with (run / "metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["train/loss"]]
    assert [int(row["step"]) for row in rows] == [1, 2, 3, 4]
    expected = [sum(losses[start : start + 3]) / 3 for start in range(0, 12, 3)]
    assert [float(row["train/loss"]) for row in rows] == pytest.approx(expected, rel=1e-6)


def test_all_files_of_a_run_count_steps_alike(fit: Fit, tmp_path: Path) -> None:
    assert fit("--trainer.log_every_n_steps", "2") == 0
    run = tmp_path / "runs" / "v3plus" / "version_0"
    steps = {}
    for name in ("metrics.csv", "speed.csv"):
        with (run / name).open() as file:
            steps[name] = [int(row["step"]) for row in csv.DictReader(file)]
    assert steps == {"metrics.csv": [2, 4], "speed.csv": [2, 4]}
    assert json.loads((run / "evaluation.json").read_text())["step"] in steps["metrics.csv"]


@pytest.mark.parametrize(
    ("number", "exit_code"),
    [(signal.SIGTERM, 143), pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow)],
)
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
    assert float(rates[5]) == float(rates[6]) == pytest.approx(0.001)
    assert float(rates[4]) != pytest.approx(0.001)


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
        if checkpoint["global_step"] >= step:
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
    """Besides, for every batch the images that were in it."""
    assert_same_run(*(runs / name / "version_0" for name in (whole, parts)))
    batches = [sorted({*(runs / f"{name}.txt").read_text().splitlines()}) for name in (whole, parts)]
    assert batches[0] == batches[1]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of runs with `whole`, which nobody disturbed."""
    runs = tmp_path_factory.mktemp("killed")
    assert train_in_a_process(runs, "whole", "nowhere", 0) == 0
    return runs


@pytest.mark.parametrize(
    ("place", "step"),
    [("writing", 5), *(pytest.param(*case, marks=pytest.mark.slow) for case in (("step", 7), ("validation", 5)))],
)
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
