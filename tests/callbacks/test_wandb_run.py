"""A training with Weights & Biases, offline and resumed: what its logs really hold. No server is asked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from deeplab_lightning.__main__ import main
from deeplab_lightning.runs import read_metrics

from ..conftest import REPOSITORY, SMALL, SMALL_SCENES, V3PLUS
from ..reporting.test_wandb_runs import finished_log

wandb = pytest.importorskip("wandb")


class Logged(NamedTuple):
    folder: Path
    config: dict[str, Any]
    summary: dict[str, Any]
    history: list[dict[str, Any]]
    artifacts: list[Any]
    saved: set[str]
    run_id: str


def read_back(folder: Path) -> Logged:
    """Read an offline run's log."""
    found = Logged(folder, {}, {}, [], [], set(), "")
    for record in finished_log(folder):
        kind = record.WhichOneof("record_type")
        if kind == "config":
            found.config.update({item.key: json.loads(item.value_json) for item in record.config.update if item.key})
        elif kind == "run":
            found.config.update({item.key: json.loads(item.value_json) for item in record.run.config.update})
            found = found._replace(run_id=record.run.run_id)
        elif kind == "summary":
            found.summary.update(
                {i.key or "/".join(i.nested_key): json.loads(i.value_json) for i in record.summary.update}
            )
        elif kind == "history":
            row = {"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in record.history.item}
            found.history.append(row)
        elif kind == "artifact":
            if record.artifact.type != "run_table":  # a logged table, which wandb stores in that way
                found.artifacts.append(record.artifact)
        elif kind == "files":
            found.saved.update(file.path for file in record.files.files)
    return found


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Logged, Logged]:
    """A run folder, and the logs of its first four steps and of two more after a resume."""
    folder = tmp_path_factory.mktemp("wandb") / "runs"
    options = ["--trainer.logger", "WandbLogger", "--trainer.logger.log_model", "true", "--run.watch_gradients", "2"]
    options += ["--run.folder", str(folder), "--trainer.log_every_n_steps", "1"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_MODE", "offline")
        patch.setenv("WANDB_SILENT", "true")
        patch.setenv("WANDB_CACHE_DIR", str(folder.parent / "cache"))
        patch.setenv("WANDB_DATA_DIR", str(folder.parent / "staging"))
        assert main(["fit", "-c", str(V3PLUS), *SMALL, *SMALL_SCENES, *options]) == 0
        wandb.finish()
        run = folder / "v3plus" / "version_0"
        (first,) = run.glob("wandb/offline-run-*")
        last = str(run / "checkpoints" / "last.ckpt")
        more = ["--trainer.max_steps", "6", "--ckpt_path", last]
        assert main(["fit", "-c", str(V3PLUS), *SMALL, *SMALL_SCENES, *options, *more]) == 0
        wandb.finish()
    (second,) = set(run.glob("wandb/offline-run-*")) - {first}
    return run, read_back(first), read_back(second)


def test_the_configuration_and_the_card(trained: tuple[Path, Logged, Logged]) -> None:
    run, first, _ = trained
    assert first.config["optimizer.lr"] == 0.2
    assert first.config["data"] == "DrawnScenes"
    assert first.config["trainer.max_steps"] == 4
    card = json.loads((run / "environment.json").read_text())
    assert first.config["environment"]["data"] == card["data"]
    assert first.config["environment"]["packages"] == card["packages"]


def test_every_step_and_every_validation(trained: tuple[Path, Logged, Logged]) -> None:
    run, first, _ = trained
    metrics = read_metrics(run / "metrics.csv")
    for key in ("train/loss", "val/mIoU", "lr"):
        logged = {row["trainer/global_step"]: row[key] for row in first.history if key in row}
        expected = {
            int(step) - 1: value  # wandb counts from 0
            for step, value in zip(metrics["step"], metrics[key], strict=True)
            if not np.isnan(value) and step <= 4
        }
        assert logged.keys() == expected.keys(), key
        assert all(logged[step] == pytest.approx(expected[step], rel=1e-6) for step in logged), key


def test_the_summary_has_the_best_score_not_the_last(trained: tuple[Path, Logged, Logged]) -> None:
    run, first, second = trained
    metrics = read_metrics(run / "metrics.csv")
    scores = metrics["val/mIoU"][~np.isnan(metrics["val/mIoU"])]
    assert first.summary["val/mIoU"] == pytest.approx(scores[:2].max())
    assert first.summary["best_step"] in (2, 4)
    if scores[2] <= scores[:2].max():
        assert "val/mIoU" not in second.summary
    else:
        assert second.summary["val/mIoU"] == pytest.approx(scores[2])


def test_tables_masks_and_confusion(trained: tuple[Path, Logged, Logged]) -> None:
    _, first, _ = trained
    keys = {key.split("/")[1] for row in first.history for key in row if key.startswith("val/")}
    assert {"panels", "per_class", "confusion"} <= keys
    assert list((first.folder / "files" / "media").glob("images/mask/**/*.mask.png"))


def test_gradients_at_the_steps_asked_for(trained: tuple[Path, Logged, Logged]) -> None:
    _, first, _ = trained
    rows = [[key for key in row if key.startswith("gradients/")] for row in first.history]
    assert sum(bool(row) for row in rows) == 2  # of four steps
    assert any("classifier" in key or "aspp" in key for row in rows for key in row)


def test_checkpoints_are_artifacts_with_aliases(trained: tuple[Path, Logged, Logged]) -> None:
    run, first, second = trained
    assert len(first.artifacts) == len(second.artifacts) == 2
    for artifact in first.artifacts:
        assert artifact.type == "model"
        assert artifact.name == f"checkpoint-{first.run_id}"
        (entry,) = artifact.manifest.contents
        assert entry.path.removesuffix(".ckpt") in set(artifact.aliases) & {"best", "last"}
        assert entry.size > 100_000
    copies = {entry.local_path for artifact in first.artifacts for entry in artifact.manifest.contents}
    assert all(Path(copy).is_file() and run not in Path(copy).parents for copy in copies)
    assert len({artifact.manifest.contents[0].path for artifact in first.artifacts}) == 2


def test_the_run_keeps_the_folders_files(trained: tuple[Path, Logged, Logged]) -> None:
    _, first, _ = trained
    wanted = {"config.yaml", "environment.json", "evaluation.json", "metrics.csv", "per_image.npz", "images.zip"}
    assert {f"version_0/{name}" for name in wanted} <= first.saved


def test_a_resumed_training_goes_on_with_its_run(trained: tuple[Path, Logged, Logged]) -> None:
    run, first, second = trained
    assert second.run_id == first.run_id == json.loads((run / "wandb.json").read_text())["id"]
    steps = [row["trainer/global_step"] for row in second.history if "train/loss" in row]
    assert steps == [4, 5]


def test_the_card_has_both_stretches(trained: tuple[Path, Logged, Logged]) -> None:
    sessions = json.loads((trained[0] / "environment.json").read_text())["sessions"]
    assert [(session["from_step"], session["to_step"]) for session in sessions] == [(0, 4), (4, 6)]
    assert all(session["seconds"] > 0 for session in sessions)


def test_gradients_need_the_logger(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = ["--run.folder", str(tmp_path), "--run.watch_gradients", "5"]
    assert main(["fit", "-c", str(V3PLUS), *SMALL, *SMALL_SCENES, *words]) == 2
    assert "--trainer.logger WandbLogger" in capsys.readouterr().err


@pytest.mark.parametrize(
    "options",
    [
        pytest.param([], id="no key"),
        pytest.param(["--trainer.logger.offline", "true"], id="told offline", marks=pytest.mark.slow),
    ],
)
def test_without_a_key_and_without_a_variable_the_run_stays_in_its_folder(options: list[str], tmp_path: Path) -> None:
    """In a process and a home that have never heard of Weights & Biases: this suite itself sets WANDB_MODE."""
    words = ["fit", "-c", str(V3PLUS), *SMALL, *SMALL_SCENES, "--trainer.logger", "WandbLogger", *options]
    words += ["--trainer.max_steps", "2", "--run.folder", str(tmp_path / "runs")]
    words += [] if options else ["--trainer.logger.log_model", "true"]
    bare = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "deeplab_lightning", *words]
    done = subprocess.run(command, env=bare, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert ("no key, so this run is kept in its folder" in done.stdout) == (not options)
    (kept,) = (tmp_path / "runs" / "v3plus" / "version_0" / "wandb").glob("offline-run-*")
    assert read_back(kept).summary["best_step"] == 2
