"""`reproduce` on a real run: the command it prints makes the same run again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from deeplab_lightning.__main__ import main
from deeplab_lightning.reporting.card import read_card
from deeplab_lightning.reporting.evaluation import read_evaluation
from deeplab_lightning.reporting.gallery import read_gallery
from deeplab_lightning.runs import RunFolder


@pytest.fixture
def run(trained_run: Path, tmp_path: Path) -> RunFolder:
    """A copy of a run, alone in its folder."""
    copy = tmp_path / "runs" / "v3plus" / "version_0"
    shutil.copytree(trained_run, copy, ignore=shutil.ignore_patterns("validate", "test"))
    return RunFolder(copy)


def test_what_fit_leaves_on_the_card(run: RunFolder) -> None:
    card = read_card(run)
    assert card["data"]["train"]["images"] == 12
    assert card["data"]["val"]["images"] == 5
    assert card["parameters"] > 10_000
    (session,) = card["sessions"]
    assert (session["from_step"], session["to_step"]) == (0, 4)
    assert session["seconds"] > 0
    evaluation = read_evaluation(run)
    assert evaluation is not None
    assert (evaluation.split, evaluation.images) == ("val", 5)
    assert evaluation.protocol.startswith("os16, scale 1")
    assert evaluation.step in (2, 4)
    assert len(read_gallery(run.images).images) == 5


def test_it_prints_the_command_and_finds_nothing(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reproduce", str(run.path)]) == 0
    printed = capsys.readouterr().out
    assert f"fit -c {run.config} --run.folder {run.path.parent.parent} --run.name v3plus-again" in printed
    assert "--trainer.devices 1" in printed
    assert "Nothing that the card tells differs here." in printed


def test_it_finds_what_differs(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    card = json.loads(run.environment.read_text())
    card["packages"]["timm"] = "0.1"
    card["git_commit"] = "0" * 40
    run.environment.write_text(json.dumps(card))
    assert main(["reproduce", str(run.path), "--data.scene_seed", "9"]) == 0
    printed = capsys.readouterr().out
    assert "package timm" in printed
    assert "0.1 -> " in printed
    assert f"git checkout {'0' * 40}" in printed
    assert "data train masks" in printed
    assert "data val masks" in printed
    assert "--data.scene_seed 9" in printed
    assert "data val images" not in printed


def test_running_it_gives_the_same_run(run: RunFolder, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["reproduce", str(run.path), "--run"]) == 0
    assert "The same to the last pixel" in capfd.readouterr().out
    assert (run.path.parent.parent / "v3plus-again" / "version_0" / "metrics.csv").is_file()


def test_an_evaluation_is_refused(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    folder = run.path / "validate" / "version_0"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("{}")
    assert main(["reproduce", str(folder)]) == 2
    assert "is no run of fit" in capsys.readouterr().err
