"""Stages: each starts from the best weights of the one before, and a stopped one goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
import yaml

from deeplab_lightning.__main__ import main
from deeplab_lightning.studies import programs

from .conftest import SMALL, SMALL_SCENES, V3PLUS


def stage(path: Path, lr: float, warmup_steps: int = 50, **options: object) -> str:
    """Write the configuration of a stage: v3+ with other hyper-parameters."""
    config = yaml.safe_load(V3PLUS.read_text())
    config["optimizer"] |= {"lr": lr, "warmup_steps": warmup_steps}
    config["model"] |= options
    path.write_text(yaml.safe_dump(config))
    return str(path)


@pytest.fixture
def two_stages(tmp_path: Path) -> list[str]:
    return [
        stage(tmp_path / "first.yaml", lr=0.05, warmup_steps=0),
        stage(tmp_path / "second.yaml", lr=0.0, output_stride=8, freeze_batch_norm=True),
    ]


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Run the stages in this process, and write down their command lines."""
    words: list[list[str]] = []

    def run(arguments: Sequence[str]) -> programs.Ended:
        words.append(list(arguments))
        return programs.Ended(main(arguments), stopped_by_user=False, stopped_by_us=False)

    monkeypatch.setattr(programs, "run", run)
    return words


def weights(path: Path) -> dict[str, torch.Tensor]:
    return torch.load(path, weights_only=True)["state_dict"]


def test_the_second_stage_starts_from_the_firsts_best(
    two_stages: list[str], tmp_path: Path, runs: list[list[str]], capfd: pytest.CaptureFixture[str]
) -> None:
    command = ["stages", *two_stages, "--folder", str(tmp_path / "runs"), "--name", "both", *SMALL, *SMALL_SCENES]
    assert main(command) == 0
    assert len(runs) == 2
    folder = tmp_path / "runs" / "both"
    best = weights(folder / "1_first" / "latest" / "checkpoints" / "best.ckpt")
    last = weights(folder / "2_second" / "latest" / "checkpoints" / "last.ckpt")
    # It does not learn and its batch norms are frozen: what it ends with is what it began with.
    assert all(torch.equal(last[name], best[name]) for name in best)
    assert "os8" in capfd.readouterr().out
    state = json.loads((folder / "stages.json").read_text())
    assert [Path(run).parent.name for run in state["finished"]] == ["1_first", "2_second"]

    assert main(command) == 0
    assert len(runs) == 2, "finished stages are not run again"
    assert "finished before" in capfd.readouterr().out


def test_a_stage_that_failed_is_gone_on_with(two_stages: list[str], tmp_path: Path, runs: list[list[str]]) -> None:
    Path(two_stages[1]).write_text("model: {name: DeepLabV3Plus, backbone: resnet}")
    command = ["stages", *two_stages, "--folder", str(tmp_path / "runs"), *SMALL_SCENES, *SMALL[4:]]
    small = ["--model.aspp_channels", "16", "--model.decoder_channels", "16"]
    assert main([*command, *small]) == 2
    stage(Path(two_stages[1]), lr=0.0)
    assert main([*command, *small]) == 0
    assert [words[2] for words in runs] == [two_stages[0], two_stages[1], two_stages[1]]


def test_the_command_stopped_in_the_middle_goes_on(two_stages: list[str], tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "first-second"
    words = [sys.executable, "-m", "deeplab_lightning", "stages", *two_stages, *SMALL, *SMALL_SCENES]
    words += ["--folder", str(tmp_path / "runs"), "--trainer.max_steps", "100000"]
    program = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        deadline = time.monotonic() + 120
        while not (folder / "1_first" / "version_0" / "checkpoints" / "last.ckpt").is_file():
            assert program.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        os.killpg(program.pid, signal.SIGINT)  # as a terminal does
        assert program.wait(timeout=60) == 130
    finally:
        program.kill()
    last = folder / "1_first" / "version_0" / "checkpoints" / "last.ckpt"
    step = torch.load(last, weights_only=True)["global_step"]
    words[words.index("100000")] = str(step + 2)
    assert subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode == 0
    assert torch.load(last, weights_only=True)["global_step"] == step + 2
    assert [path.name for path in (folder / "1_first").iterdir() if path.name != "latest"] == ["version_0"]
    assert (folder / "2_second" / "version_0" / "checkpoints" / "best.ckpt").is_file()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--ckpt_path", "last"], "goes on by itself"),
        (["--model.weights=x.ckpt"], "starts from the one before"),
        (["--run.name", "x"], "--name"),
    ],
)
def test_what_stages_decides_itself_is_refused(
    two_stages: list[str], options: list[str], message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["stages", *two_stages, *options]) == 2
    assert message in capfd.readouterr().err


def test_other_stages_under_the_same_name_are_refused(
    two_stages: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "runs" / "both"
    folder.mkdir(parents=True)
    (folder / "stages.json").write_text(json.dumps({"configs": ["other.yaml"], "finished": []}))
    assert main(["stages", *two_stages, "--name", "both", "--folder", str(tmp_path / "runs")]) == 2
    assert "other.yaml" in capfd.readouterr().err
    assert main(["stages", "missing.yaml"]) == 2
    assert main(["stages", "--name", "x"]) == 2
