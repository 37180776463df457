"""Run folders: numbering under races, `latest` with and without links, metrics with gaps."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deeplab_lightning.__main__ import main
from deeplab_lightning.api import load
from deeplab_lightning.errors import CheckpointError, ConfigError, DataError
from deeplab_lightning.runs import (
    RunFolder,
    find_run,
    mark_latest,
    new_run,
    read_metrics,
    resolve_checkpoint,
    run_of,
)


def finished_run(root: Path, name: str) -> RunFolder:
    run = new_run(root, name)
    run.config.write_text("seed: 1\n")
    return run


def test_file_names_are_those_of_the_design() -> None:
    run = RunFolder(Path("runs/v3plus/version_0"))
    assert {
        run.config.name,
        run.metrics.name,
        run.per_class.name,
        run.confusion.name,
        run.per_image.name,
        run.environment.name,
    } == {"config.yaml", "metrics.csv", "per_class.csv", "confusion.npz", "per_image.npz", "environment.json"}
    assert run.last_checkpoint == Path("runs/v3plus/version_0/checkpoints/last.ckpt")
    assert run.best_checkpoint == Path("runs/v3plus/version_0/checkpoints/best.ckpt")


def test_versions_count_up_as_numbers(tmp_path: Path) -> None:
    assert new_run(tmp_path / "runs", "a").path == tmp_path / "runs/a/version_0"
    (tmp_path / "runs/a/version_10").mkdir()
    (tmp_path / "runs/a/version_x").mkdir()
    (tmp_path / "runs/a/version_9").mkdir()
    assert new_run(tmp_path / "runs", "a").path.name == "version_11"


def test_runs_that_start_at_the_same_moment_get_their_own_folders(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        runs = list(pool.map(lambda _: new_run(tmp_path, "a").path, range(40)))
    assert sorted(int(path.name.removeprefix("version_")) for path in runs) == list(range(40))


def test_a_faster_rival_takes_the_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The race itself, made certain: the rival's folder appears after we listed them."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a/version_0").mkdir()
    monkeypatch.setattr(Path, "iterdir", lambda self: iter(()))
    assert new_run(tmp_path, "a").path.name == "version_1"


def test_no_permission_is_a_word_to_the_user(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"Cannot make a run folder in .*file.*where you may write"):
        new_run(tmp_path / "file", "a")


def no_links(*args: object, **kwargs: object) -> None:
    raise OSError("a required privilege is not held by the client")


@pytest.mark.parametrize("links", [True, False])
def test_latest_follows_the_newest_marked_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool) -> None:
    if not links:
        monkeypatch.setattr(Path, "symlink_to", no_links)
    first, second = finished_run(tmp_path, "a"), finished_run(tmp_path, "a")
    for run in (first, second):
        mark_latest(run)
        assert find_run(tmp_path / "a") == find_run(tmp_path / "a" / "latest") == run
    assert (tmp_path / "a" / "latest").is_symlink() is links
    assert find_run(first.path) == first
    assert sorted(os.listdir(tmp_path / "a")) == ["latest", "version_0", "version_1"]

    (tmp_path / "a").rename(tmp_path / "moved")
    assert find_run(tmp_path / "moved").path == tmp_path / "moved/version_1"


def test_link_replaces_text_and_text_replaces_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = finished_run(tmp_path, "a"), finished_run(tmp_path, "a")
    mark_latest(first)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "symlink_to", no_links)
        mark_latest(second)
    assert not (first.path / "latest").exists()
    assert find_run(tmp_path / "a") == second
    mark_latest(first)
    assert find_run(tmp_path / "a") == first


def test_runs_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"No run found in .*nothing.*Train first"):
        find_run(tmp_path / "nothing")
    run = finished_run(tmp_path, "a")
    with pytest.raises(ConfigError, match=r"there are version_0\."):
        find_run(tmp_path / "a")
    mark_latest(run)
    run.config.unlink()
    run.path.rmdir()
    with pytest.raises(ConfigError, match=r"No run found in .*version_0"):
        find_run(tmp_path / "a")


def test_a_folder_with_only_checkpoints_is_a_run(tmp_path: Path) -> None:
    run = new_run(tmp_path, "a")
    run.checkpoints.mkdir()
    assert find_run(run.path) == run


def test_metrics_with_empty_cells(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text("step,train/loss,val/mIoU\r\n0,1.5,\r\n4,,0.25\r\n8,nan,\r\n9,0.5")
    columns = read_metrics(path)
    assert list(columns) == ["step", "train/loss", "val/mIoU"]
    np.testing.assert_array_equal(columns["step"], [0, 4, 8, 9])
    np.testing.assert_array_equal(columns["train/loss"], [1.5, np.nan, np.nan, 0.5])
    np.testing.assert_array_equal(columns["val/mIoU"], [np.nan, 0.25, np.nan, np.nan])


def test_metrics_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        read_metrics(tmp_path / "metrics.csv")
    (tmp_path / "metrics.csv").write_text("step,lr\n0,fast\n")
    with pytest.raises(DataError, match=r"metrics\.csv.*'fast'"):
        read_metrics(tmp_path / "metrics.csv")


# --- which checkpoint is meant ----------------------------------------------------------------------------------------


def run_with(root: Path, name: str, *checkpoints: str) -> RunFolder:
    run = finished_run(root, name)
    run.checkpoints.mkdir()
    for checkpoint in checkpoints:
        (run.checkpoints / checkpoint).write_text("")
    mark_latest(run)
    return run


def test_a_run_stands_for_its_best_checkpoint_or_its_last_one(tmp_path: Path) -> None:
    validated, young = run_with(tmp_path, "a", "best.ckpt", "last.ckpt"), run_with(tmp_path, "b", "last.ckpt")
    assert validated.checkpoint() == validated.best_checkpoint
    assert validated.checkpoint("last") == validated.last_checkpoint
    assert young.checkpoint() == young.checkpoint("last") == young.last_checkpoint


def test_training_does_not_go_on_from_an_older_checkpoint(tmp_path: Path) -> None:
    run = run_with(tmp_path, "a", "best.ckpt", "previous.ckpt")
    with pytest.raises(CheckpointError, match=r"last\.ckpt does not exist.* It has: .*best\.ckpt, .*previous\.ckpt\.$"):
        run.checkpoint("last")
    assert run.checkpoint() == run.best_checkpoint


def test_a_run_without_checkpoints_names_those_of_older_ones(tmp_path: Path) -> None:
    older, newer = run_with(tmp_path, "a", "last.ckpt"), run_with(tmp_path, "a")
    with pytest.raises(CheckpointError, match=f"Older runs have: {older.last_checkpoint}\\.$"):
        newer.checkpoint()
    with pytest.raises(CheckpointError, match=r"Train first"):
        run_with(tmp_path, "b").checkpoint()


def test_all_ways_to_write_a_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = run_with(tmp_path / "runs", "a", "best.ckpt", "last.ckpt")
    for given in ("runs/a", "runs/a/latest", "runs/a/version_0", tmp_path / "runs/a", str(run.best_checkpoint)):
        assert resolve_checkpoint(given).resolve() == run.best_checkpoint, given
        assert "latest" not in str(resolve_checkpoint(given)), given
    assert resolve_checkpoint("runs/a/latest/checkpoints/last.ckpt") == run.last_checkpoint
    assert resolve_checkpoint("runs/a", "last").resolve() == run.last_checkpoint
    assert resolve_checkpoint("last", "best", "a").resolve() == run.last_checkpoint
    assert resolve_checkpoint("best", "last", "a", tmp_path / "runs") == run.best_checkpoint


def test_a_link_to_a_checkpoint_keeps_its_own_name(tmp_path: Path) -> None:
    (tmp_path / "blob").write_text("")
    (tmp_path / "mine.ckpt").symlink_to("blob")
    assert resolve_checkpoint(tmp_path / "mine.ckpt") == tmp_path / "mine.ckpt"


def test_checkpoints_that_are_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = run_with(tmp_path / "runs", "a", "best.ckpt")

    def refused(given: str, *more: str) -> str:
        with pytest.raises(CheckpointError) as caught:
            resolve_checkpoint(given, "best", *more)
        return str(caught.value)

    assert refused("runs/aa") == "There is no checkpoint runs/aa. Did you mean 'runs/a'?"
    assert "Did you mean 'runs/a/version_0/checkpoints/best.ckpt'?" in refused("runs/a/version_0/checkpoints/bst.ckpt")
    assert "No run found in runs: " in refused("runs")
    assert "no name is given" in refused("best")
    assert "there is nothing to go on from. No run found in runs/aa" in refused("last", "aa")
    (tmp_path / "runs/a/latest").unlink()
    assert "there are version_0." in refused("runs/a/latest")
    (tmp_path / "runs/a/latest").symlink_to("version_7")
    for given in ("runs/a", "runs/a/latest"):
        assert "No run found in runs/a/version_7, which runs/a/latest points at" in refused(given)
    assert run.checkpoint() == run.best_checkpoint


class Read(Exception):  # noqa: N818 - no error
    """Tells which checkpoint a command reads."""


@pytest.mark.parametrize("command", ["fit", "validate", "test", "evaluate", "inspect", "crf-search", "export",
                                     "predict", "benchmark", "api"])  # fmt: skip
def test_every_command_takes_a_run_before_its_first_validation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    from deeplab_lightning.checkpoints import loading

    run = run_with(tmp_path / "runs", "a", "last.ckpt")
    Image.new("RGB", (40, 40)).save(tmp_path / "a.png")

    def read(path: Path, **_: object) -> None:
        raise Read(path)

    monkeypatch.setattr(loading, "read_torch_file", read)
    cell = {"checkpoint": str(run.path.parent), "arguments": []}
    words = {
        "inspect": [str(run.path.parent)],
        "export": [str(run.path.parent), "--format", "pt2"],
        "predict": [str(tmp_path / "a.png"), "--ckpt_path", str(run.path.parent)],
        "benchmark": ["-", "--measure", json.dumps(cell)],
    }
    arguments = words.get(command, ["--ckpt_path", str(run.path.parent)])
    with pytest.raises(Read) as caught:
        load(run.path.parent) if command == "api" else main([command, *arguments])
    assert caught.value.args == (run.last_checkpoint,)


def test_the_newest_evaluation_is_that_of_the_greatest_number(tmp_path: Path) -> None:
    run = finished_run(tmp_path, "a")
    assert run.newest_evaluation() is None
    for name in ("version_2", "version_10", "version_x"):
        (run.path / "validate" / name).mkdir(parents=True)
        (run.path / "validate" / name / "per_image.npz").write_text("")
    (run.path / "validate" / "version_11").mkdir()  # it was stopped before it had scores
    assert run.newest_evaluation() == RunFolder(run.path / "validate" / "version_10")
    assert run.newest_evaluation("test") is None


def test_the_run_of_a_checkpoint(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    assert run_of(run.best_checkpoint) == run
    assert run_of(tmp_path / "best.ckpt") is None
