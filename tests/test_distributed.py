"""Several processes: what one process gives, they give together. Real ones, over gloo, on the CPU."""

from __future__ import annotations

import json
import multiprocessing
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from deeplab_lightning.__main__ import main
from deeplab_lightning.data.sets.drawn_scenes import DrawnScenesDataModule
from deeplab_lightning.metrics.per_image import ImageCounts
from deeplab_lightning.tasks import DeepLabV3PlusTask, SegmentationTask

from .conftest import SMALL, SMALL_SCENES, V3PLUS

SECONDS = 200


def torchrun_variables(rank: int, processes: int, port: int) -> dict[str, str]:
    """Return what torchrun tells its processes."""
    return {
        **{"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "TORCHELASTIC_RUN_ID": "test"},
        **{"RANK": str(rank), "LOCAL_RANK": str(rank), "GROUP_RANK": "0", "OMP_NUM_THREADS": "1"},
        **{"WORLD_SIZE": str(processes), "LOCAL_WORLD_SIZE": str(processes)},
    }


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def together(words: Sequence[str], processes: int, folder: Path, code: int = 0) -> list[str]:
    """Run our program as `processes` processes, forked from this one to save the imports; return what each prints."""
    port = free_port()
    words = [*words, "--trainer.strategy", "ddp", "--trainer.devices", str(processes)]
    context = multiprocessing.get_context("fork")
    logs = [folder / f"printed-{rank}.txt" for rank in range(processes)]
    started = [
        context.Process(target=run_as, args=(rank, processes, port, words, log)) for rank, log in enumerate(logs)
    ]
    for process in started:
        process.start()
    try:
        for process in started:
            process.join(SECONDS)
    finally:
        for process in started:
            process.kill()
    printed = [log.read_text() for log in logs]
    assert [process.exitcode for process in started] == [code] * processes, "\n".join(printed)
    return printed


def run_as(rank: int, processes: int, port: int, words: list[str], log: Path) -> None:
    """Be process `rank`: note the images that are drawn and the weights in the end."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
    os.environ.update(torchrun_variables(rank, processes, port))
    rank_zero_only.rank = rank  # what Lightning reads from these variables when it is imported
    step, fit = SegmentationTask.training_step, Trainer.fit

    def training_step(self: SegmentationTask, batch: Any, batch_idx: int) -> torch.Tensor:
        with log.with_name(f"drawn-{rank}.txt").open("a") as file:
            print(*batch["sample_id"], file=file)
        return step(self, batch, batch_idx)

    @wraps(fit)  # the command line reads its arguments
    def spied_fit(self: Trainer, model: Any, *args: Any, **kwargs: Any) -> None:
        fit(self, model, *args, **kwargs)
        torch.save({name: value.detach() for name, value in model.named_parameters()}, log.with_suffix(".pt"))

    SegmentationTask.training_step, Trainer.fit = training_step, spied_fit  # type: ignore[method-assign]
    code = main(words)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def evaluation(folder: Path) -> tuple[np.ndarray, ImageCounts, str, str]:
    """Return what an evaluation left: matrix, counts of each image, scores, logged values."""
    return (
        np.load(folder / "confusion.npz")["matrix"],
        ImageCounts.load(folder / "per_image.npz"),
        (folder / "per_class.csv").read_text(),
        (folder / "metrics.csv").read_text(),
    )


def assert_same_evaluation(runs: Path, images: int) -> None:
    assert sorted(entry.name for entry in runs.iterdir() if entry.is_dir()) == ["one-validate", "several-validate"]
    assert [entry.name for entry in (runs / "several-validate").iterdir()] == ["version_0"]
    matrix, counts, scores, logged = evaluation(runs / "one-validate" / "version_0")
    matrix_of, counts_of, scores_of, logged_of = evaluation(runs / "several-validate" / "version_0")
    assert np.array_equal(matrix_of, matrix)
    assert counts_of.sample_ids == counts.sample_ids == [f"val-{index:06}" for index in range(images)]
    assert all(np.array_equal(counts_of.matrix(name), counts.matrix(name)) for name in counts.sample_ids)
    assert scores_of == scores
    assert logged_of == logged


def validate_words(checkpoint: Path, runs: Path, images: int) -> list[str]:
    words = ["validate", "--ckpt_path", str(checkpoint), "--data.val_size", str(images)]
    return [*words, "--data.eval_batch_size", "1", "--run.folder", str(runs), "--run.name"]


@pytest.mark.parametrize(("processes", "images"), [(2, 5), (3, 5), (3, 2)])
def test_evaluation_is_exact_under_any_number_of_processes(
    checkpoint: Path, tmp_path: Path, processes: int, images: int
) -> None:
    words = validate_words(checkpoint, tmp_path, images)
    assert main([*words, "one"]) == 0
    printed = together([*words, "several"], processes, tmp_path)
    assert f"{images} images; os16" in printed[0]
    assert not any("images" in text for text in printed[1:])  # the first process alone speaks
    assert_same_evaluation(tmp_path, images)


@pytest.mark.slow
def test_evaluation_in_two_processes_that_lightning_starts(checkpoint: Path, tmp_path: Path) -> None:
    """As a user would: one command."""
    words = validate_words(checkpoint, tmp_path, 3)
    assert main([*words, "one"]) == 0
    command = [sys.executable, "-m", "deeplab_lightning", *words, "several", "--trainer.devices", "2"]
    done = subprocess.run([*command, "--trainer.strategy", "ddp"], capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stdout + done.stderr
    assert_same_evaluation(tmp_path, 3)


def from_python(rank: int, port: int, folder: Path) -> None:
    """Be process `rank` of a program that knows Lightning's trainer alone."""
    os.environ.update(torchrun_variables(rank, 2, port))
    rank_zero_only.rank = rank
    data = DrawnScenesDataModule(height=64, width=64, train_size=8, val_size=5, batch_size=2, crop_size=33,
                                 num_workers=0)  # fmt: skip
    task = DeepLabV3PlusTask(data.description, backbone="mobilenetv2_035", aspp_channels=8, decoder_channels=8,
                             pretrained=False)  # fmt: skip
    seen: list[str] = []
    step = task.training_step
    task.training_step = lambda batch, batch_idx: (seen.extend(batch["sample_id"]), step(batch, batch_idx))[1]  # type: ignore[method-assign]
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = Trainer(accelerator="cpu", strategy="ddp", devices=2, max_epochs=1, num_sanity_val_steps=0,
                      enable_checkpointing=False, default_root_dir=folder, **quiet)  # fmt: skip
    trainer.fit(task, data)
    trainer.validate(task, data, verbose=False)
    counted = list(task.evaluation.counts().sample_ids)
    trainer.validate(task, data.val_dataloader(), verbose=False)  # made before it is known who shares the images
    again = list(task.evaluation.counts().sample_ids)
    (folder / f"{rank}.json").write_text(json.dumps({"seen": seen, "counted": counted, "again": again}))
    os._exit(0)


def test_from_python_no_image_is_left_out(tmp_path: Path) -> None:
    port, context = free_port(), multiprocessing.get_context("fork")
    started = [context.Process(target=from_python, args=(rank, port, tmp_path)) for rank in (0, 1)]
    for process in started:
        process.start()
    try:
        for process in started:
            process.join(SECONDS)
    finally:
        for process in started:
            process.kill()
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    images = [f"val-{index:06}" for index in range(5)]
    assert first["counted"] == second["counted"] == first["again"] == images
    assert len(first["seen"]) == len(second["seen"]) == 4
    assert len({*first["seen"], *second["seen"]}) == 8


def test_a_batch_that_no_process_can_fill_is_refused(tmp_path: Path) -> None:
    words = ["fit", "-c", str(V3PLUS), *SMALL, *SMALL_SCENES, "--run.folder", str(tmp_path), "--data.batch_size", "8"]
    printed = together(words, 2, tmp_path, code=2)
    assert "12 images, 6 for each of 2 processes: fewer than one batch of 8. Set --data.batch_size 6" in printed[0]


def test_training_in_two_processes(tmp_path: Path) -> None:
    """Validates on one image, so that one process has none of its own; goes on; both end with the same weights."""
    words = ["fit", "-c", str(V3PLUS), *SMALL, *SMALL_SCENES, "--run.folder", str(tmp_path / "runs")]
    words += ["--data.val_size", "1", "--optimizer.ema_decay", "0.5"]
    together([*words, "--trainer.max_steps", "2"], 2, tmp_path)
    together([*words, "--trainer.max_steps", "3", "--ckpt_path", "last"], 2, tmp_path)
    run = tmp_path / "runs" / "v3plus"
    assert sorted(entry.name for entry in run.iterdir()) == ["latest", "version_0"]
    assert (run / "latest").resolve().name == "version_0"
    first, second = (torch.load(tmp_path / f"printed-{rank}.pt") for rank in (0, 1))
    assert all(torch.equal(first[key], second[key]) for key in first)
    checkpoint = torch.load(run / "version_0" / "checkpoints" / "last.ckpt", weights_only=True)
    assert checkpoint["global_step"] == 3
    assert all(torch.equal(checkpoint["state_dict"][key], first[key]) for key in first)  # the average, in both
    drawn = [(tmp_path / f"drawn-{rank}.txt").read_text().split() for rank in (0, 1)]
    assert len(drawn[0]) == len(drawn[1]) == 6
    assert len({*drawn[0], *drawn[1]}) == 12  # one epoch: each image once, over both processes and the resume
    matrix, counts, *_ = evaluation(run / "version_0")
    assert counts.sample_ids == ["val-000000"]
    assert matrix.sum() <= 64 * 80


def test_a_signal_to_one_process_stops_all_of_them(tmp_path: Path) -> None:
    """Both stop at the same step, so that none waits for the other; the first one alone has the exit code."""
    words = ["fit", "-c", str(V3PLUS), *SMALL, *SMALL_SCENES, "--run.folder", str(tmp_path / "runs")]
    words += ["--trainer.max_steps", "5", "--trainer.val_check_interval", "6", "--trainer.num_sanity_val_steps", "0"]
    port, context = free_port(), multiprocessing.get_context("fork")
    words += ["--trainer.strategy", "ddp", "--trainer.devices", "2"]
    started = [
        context.Process(target=stopped_in_the_second, args=(rank, 2, port, words, tmp_path / f"printed-{rank}.txt"))
        for rank in (0, 1)
    ]
    for process in started:
        process.start()
    try:
        for process in started:
            process.join(SECONDS)
    finally:
        for process in started:
            process.kill()
    printed = [(tmp_path / f"printed-{rank}.txt").read_text() for rank in (0, 1)]
    assert [process.exitcode for process in started] == [143, 0], "\n".join(printed)
    assert "stopped at step 2 by SIGTERM" in printed[0]
    last = tmp_path / "runs" / "v3plus" / "version_0" / "checkpoints" / "last.ckpt"
    assert torch.load(last, weights_only=True)["global_step"] == 2


def stopped_in_the_second(rank: int, *rest: Any) -> None:
    """Be process `rank`; the second one gets a SIGTERM in its second step."""
    original = SegmentationTask.training_step

    def training_step(self: SegmentationTask, batch: Any, batch_idx: int) -> torch.Tensor:
        if rank == 1 and self.global_step == 1:
            os.kill(os.getpid(), 15)
        return original(self, batch, batch_idx)

    SegmentationTask.training_step = training_step  # type: ignore[method-assign]
    run_as(rank, *rest)
