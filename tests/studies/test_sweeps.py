"""Sweeps: files that W&B and the local engine both take; trials given up, gone on with, and never done twice."""

from __future__ import annotations

import csv
import os
import re
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from deeplab_lightning import cli, locks
from deeplab_lightning.__main__ import main
from deeplab_lightning.config_words import option_value
from deeplab_lightning.data.files.images import read_image
from deeplab_lightning.errors import ConfigError
from deeplab_lightning.studies.local_sweep import LocalSweep
from deeplab_lightning.studies.sweep_file import load_sweep

from ..conftest import REPOSITORY, SMALL, SMALL_SCENES, V3PLUS
from .helpers import start, use_fake_fit, wait_until

SWEEPS = sorted((REPOSITORY / "sweeps").glob("*.yaml"))
COMMAND = ["${env}", "${interpreter}", "-m", "${program}", "fit", "-c", str(V3PLUS), "--trainer.max_steps=6"]


def write_sweep(path: Path, *options: str, **changes: Any) -> Path:
    content = {
        "name": "s",
        "program": "deeplab_lightning",
        "method": "bayes",
        "run_cap": 20,
        "metric": {"name": "val/mIoU", "goal": "maximize"},
        "early_terminate": {"type": "hyperband", "min_iter": 1, "eta": 3},
        "parameters": {"optimizer.lr": {"distribution": "log_uniform_values", "min": 0.0005, "max": 1.0}},
        "command": [*COMMAND, "--optimizer.lr=0.001", "--trainer.logger=WandbLogger", *options, "${args}"],
    }
    content = {key: value for key, value in (content | changes).items() if value is not None}
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def trials(folder: Path) -> list[dict[str, str]]:
    with (folder / "trials.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_twenty_trials_with_pruning_find_a_better_learning_rate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = use_fake_fit(monkeypatch, tmp_path, seconds=0.06)
    words = ["sweep", str(write_sweep(tmp_path / "s.yaml")), "--local", "--folder", str(tmp_path / "runs")]
    assert main(words) == 0
    folder = tmp_path / "runs" / "s"
    rows = trials(folder)
    states = Counter(row["state"] for row in rows)
    assert len(rows) == len(calls()) == 20
    assert states["finished"] >= 2
    assert states["given up"] >= 5
    assert states["finished"] + states["given up"] == 20
    assert float(rows[0]["optimizer.lr"]) == 0.001, "the first trial is the configuration as it stands"
    finished = [row for row in rows if row["state"] == "finished"]
    best = max(finished, key=lambda row: float(row["val/mIoU"]))
    assert 0.02 < float(best["optimizer.lr"]) < 0.12
    assert float(best["val/mIoU"]) > float(rows[0]["val/mIoU"]) + 0.3
    assert all(int(row["validations"]) == 6 for row in finished)
    given_up = [row for row in rows if row["state"] == "given up"]
    assert np.mean([int(row["validations"]) for row in given_up]) < 5
    said = capsys.readouterr().out
    assert f"Best: trial {best['trial']}, val/mIoU {float(best['val/mIoU']):.4f}" in said
    assert "The configuration as it stands, trial 0" in said
    for name in ("history.png", "parameters.png"):
        assert read_image(folder / name).std() > 10
    assert not any("WandbLogger" in word for call in calls() for word in call)

    assert main(words) == 0
    assert len(calls()) == 20, "a finished sweep only sums up"
    more = write_sweep(tmp_path / "s.yaml", run_cap=21)
    assert main(["sweep", str(more), *words[2:]]) == 0
    assert len(calls()) == 21, "a greater cap goes on"
    assert main([*words, "--model.decoder", "false"]) == 2
    assert "holds a sweep of other parameters or options" in capsys.readouterr().err


def test_a_killed_sweep_goes_on_with_its_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = use_fake_fit(monkeypatch, tmp_path, seconds=0.3)
    path = write_sweep(tmp_path / "s.yaml", run_cap=3, early_terminate=None)
    words = ["sweep", str(path), "--local", "--folder", str(tmp_path / "runs")]
    process = start(words)
    metrics = tmp_path / "runs" / "s" / "trials" / "0001" / "version_0" / "metrics.csv"
    wait_until(lambda: metrics.is_file() and len(metrics.read_text().splitlines()) >= 3)
    process.send_signal(signal.SIGKILL)
    process.wait()
    # The trial's `fit` saves before it ends; a worker that came meanwhile would begin with another trial.
    wait_until(lambda: locks.is_stale(tmp_path / "runs" / "s" / "trials" / "0001.lock"))
    monkeypatch.setenv("FAKE_FIT_SECONDS", "0")
    assert start(words).wait(60) == 0
    named = [(option_value(call, "--run.name"), option_value(call, "--optimizer.lr")) for call in calls()]
    assert [name for name, _ in named] == ["0000", "0001", "0001", "0002"]
    assert named[1][1] == named[2][1]
    assert [option_value(call, "--ckpt_path") is not None for call in calls()] == [False, False, True, False]
    rows = trials(tmp_path / "runs" / "s")
    assert [(row["state"], row["validations"]) for row in rows] == [("finished", "6")] * 3
    # The rows of the metrics are those of an uninterrupted run: nothing twice.
    assert [line.split(",")[0] for line in metrics.read_text().splitlines()] == ["step", *map(str, range(1, 7))]


def test_ctrl_c_leaves_the_trial_for_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = use_fake_fit(monkeypatch, tmp_path, seconds=0.3)
    path = write_sweep(tmp_path / "s.yaml", run_cap=1)
    words = ["sweep", str(path), "--local", "--folder", str(tmp_path / "runs")]
    process = start(words)
    wait_until((tmp_path / "runs" / "s" / "trials" / "0000" / "latest").is_symlink)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130
    monkeypatch.setenv("FAKE_FIT_SECONDS", "0")
    assert main(words) == 0
    assert len(calls()) == 2
    assert trials(tmp_path / "runs" / "s")[0]["state"] == "finished"


@pytest.mark.parametrize("method", ["random", "grid"])
def test_two_workers_share_the_trials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    calls = use_fake_fit(monkeypatch, tmp_path, seconds=0.05)
    changes: dict[str, Any] = {"early_terminate": None, "run_cap": 8, "method": method}
    if method == "grid":
        lrs, decoders = [0.01, 0.02, 0.05, 0.1], [True, False]
        changes["parameters"] = {"optimizer.lr": {"values": lrs}, "model.decoder": {"values": decoders}}
        changes["run_cap"] = None
    path = write_sweep(tmp_path / "s.yaml", **changes)
    words = ["sweep", str(path), "--local", "--folder", str(tmp_path / "runs")]
    workers = [start(words) for _ in range(2)]
    assert [worker.wait(120) for worker in workers] == [0, 0]
    chosen = [(option_value(call, "--optimizer.lr"), option_value(call, "--model.decoder")) for call in calls()]
    assert len(chosen) == len(set(chosen)) == 8, "no values twice"
    assert len({option_value(call, "--run.name") for call in calls()}) == 8
    if method == "grid":
        assert {lr for lr, _ in chosen} == {"0.01", "0.02", "0.05", "0.1"}


def test_a_diverged_trial_is_a_bad_one_and_failures_end_the_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    use_fake_fit(monkeypatch, tmp_path)
    values = {"optimizer.lr": {"values": [0.05, 10.0]}}
    path = write_sweep(tmp_path / "s.yaml", method="grid", parameters=values, run_cap=None, early_terminate=None)
    words = ["sweep", str(path), "--local", "--folder", str(tmp_path / "runs")]
    assert main(words) == 0
    assert [row["state"] for row in trials(tmp_path / "runs" / "s")] == ["finished", "diverged"]

    path = write_sweep(tmp_path / "f.yaml", name="f")
    monkeypatch.setenv("FAKE_FIT_SECONDS", "no number")
    assert main(["sweep", str(path), *words[2:]]) == 1
    assert "The last trials all failed" in capsys.readouterr().err
    assert len(list((tmp_path / "runs" / "f" / "trials").glob("*.log"))) == 3


def test_a_metric_that_nothing_logs_ends_the_sweep_at_the_first_validation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = use_fake_fit(monkeypatch, tmp_path, seconds=0.3)
    path = write_sweep(tmp_path / "s.yaml", metric={"name": "val/mIou", "goal": "maximize"}, early_terminate=None)
    assert main(["sweep", str(path), "--local", "--folder", str(tmp_path / "runs")]) == 2
    message = capsys.readouterr().err
    assert "No validation logs 'val/mIou', the sweep's metric. Did you mean 'val/mIoU'?" in message
    assert len(calls()) == 1


def test_other_content_of_a_configuration_is_another_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    use_fake_fit(monkeypatch, tmp_path)
    base = tmp_path / "base.yaml"
    base.write_text("optimizer: {lr: 0.2}")
    file = write_sweep(tmp_path / "s.yaml", "-c", str(base), run_cap=1)
    words = ["sweep", str(file), "--local", "--folder", str(tmp_path / "runs")]
    assert main(words) == 0
    base.write_text("optimizer: {lr: 0.3}")
    assert main(words) == 2
    assert "holds a sweep of other parameters or options" in capsys.readouterr().err


def test_the_live_table_and_all_plots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.console import Console

    from deeplab_lightning.studies.sweep_summary import live_table

    use_fake_fit(monkeypatch, tmp_path)
    parameters = {
        "optimizer.lr": {"distribution": "log_uniform_values", "min": 0.0005, "max": 1.0},
        "model.decoder": {"values": [True, False]},
    }
    path = write_sweep(tmp_path / "s.yaml", parameters=parameters, early_terminate=None, run_cap=12, method="random")
    assert main(["sweep", str(path), "--local", "--folder", str(tmp_path / "runs")]) == 0
    folder = tmp_path / "runs" / "s"
    console = Console(width=100, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    console.print(live_table(LocalSweep(load_sweep(path), folder), "0:00:00 left"))
    text = console.export_text()
    assert "finished (as it stands)" in text
    assert text.count("finished") == 12
    assert read_image(folder / "importance.png").std() > 10
    shares = re.search(r"Importance .*: (.*)\.", (folder / "summary.md").read_text())
    assert shares is not None
    assert shares[1].startswith("optimizer.lr"), "the learning rate decides far more than the decoder"


def test_one_real_trial(tmp_path: Path) -> None:
    path = write_sweep(tmp_path / "s.yaml", run_cap=1, parameters={"optimizer.lr": {"values": [0.01]}})
    words = ["sweep", str(path), "--local", "--folder", str(tmp_path / "runs"), *SMALL, *SMALL_SCENES]
    assert main(words) == 0
    (row,) = trials(tmp_path / "runs" / "s")
    assert row["state"] == "finished"
    assert row["validations"] == "2"
    assert 0 < float(row["val/mIoU"]) < 1


# --- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_every_value_of_a_shipped_sweep_is_accepted(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Values are written as W&B's agent writes them (`str` of Python) and as we do: both parse alike."""
    sweep = load_sweep(path)
    assert sweep.name == path.stem
    content = yaml.safe_load(path.read_text())
    most = max(len(parameter.values) or 2 for parameter in sweep.parameters)
    seen: list[Any] = []
    monkeypatch.chdir(REPOSITORY)
    monkeypatch.setattr(cli.Session, "run", lambda self: seen.append(yaml.safe_load(self.configuration.as_yaml())))
    rest = ["--trainer.logger=null", "--run.folder", str(tmp_path)]
    for index in range(most):
        values = {
            p.name: p.values[index % len(p.values)] if p.values else (p.low, p.high)[index % 2]
            for p in sweep.parameters
        }
        by_agent = [f"--{name}={value}" for name, value in values.items()]
        place = content["command"].index("${args}")
        assert content["command"][:4] == ["${env}", "${interpreter}", "-m", "${program}"]
        assert main([*content["command"][4:place], *by_agent, *rest]) == 0
        if index == 0:
            assert main([*sweep.trial_words(values, []), *rest]) == 0
            assert seen[0]["model"] == seen[1]["model"]
            assert seen[0]["data"] == seen[1]["data"]
        for name, value in values.items():
            section, option = name.split(".", 1)
            expected = yaml.safe_load(value) if isinstance(value, str) else value
            found = seen[-1][section]
            for key in option.split("."):
                found = found[key]
            assert (list(found) if isinstance(found, tuple) else found) == expected


def test_the_shipped_sweeps_cover_generations_and_methods() -> None:
    sweeps = [load_sweep(path) for path in SWEEPS]
    assert {sweep.method for sweep in sweeps} == {"grid", "random", "bayes"}
    assert {"v1", "v2", "v3", "v3_cascade", "v3plus"} <= {sweep.name for sweep in sweeps}
    assert any(sweep.halving for sweep in sweeps)


def test_a_sweep_is_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    parameters = {
        "optimizer.lr": {"min": 0.01, "max": 0.5},
        "optimizer.warmup_steps": {"min": 0, "max": 100},
        "model.dropout": {"distribution": "q_uniform", "min": 0.0, "max": 0.5, "q": 0.1},
        "model.output_stride": {"values": [8, 16]},
        "model.decoder": {"value": True},
    }
    early = {"type": "hyperband", "max_iter": 18, "s": 2, "eta": 3}
    path = write_sweep(tmp_path / "s.yaml", parameters=parameters, early_terminate=early)
    sweep = load_sweep(path)
    kinds = [parameter.kind for parameter in sweep.parameters]
    assert kinds == ["uniform", "int_uniform", "q_uniform", "categorical", "constant"]
    assert sweep.halving == (2, 3)
    # What the configuration says, where the search could come upon it: 0.001 is below the range of lr.
    assert sweep.start([]) == {"optimizer.warmup_steps": 50, "model.output_stride": 16}
    assert sweep.start(["--optimizer.lr", "0.3"])["optimizer.lr"] == 0.3
    words = sweep.trial_words({"optimizer.lr": 0.1, "model.decoder": True}, ["--data.root", "x"])
    assert words[-4:] == ["--data.root", "x", "--optimizer.lr=0.1", "--model.decoder=true"]
    assert not any("logger" in word for word in words)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"methd": "grid"}, "unknown key 'methd'. Did you mean 'method'"),
        ({"method": "hyperopt"}, "expected one of grid, random, bayes"),
        ({"program": "train.py"}, "expected deeplab_lightning"),
        ({"run_cap": None}, "run_cap is None"),
        ({"metric": {"goal": "maximize"}}, "metric is"),
        ({"method": "grid"}, "of which there is no grid"),
        ({"parameters": {"optimizer.lr": {"distribution": "log_uniform", "min": -5, "max": -1}}}, "takes exponents"),
        ({"parameters": {"optimizer.lr": {"min": 1, "max": 0}}}, "the lesser first"),
        (
            {"parameters": {"optimizer.lr": {"min": "1e-4", "max": 1.0}}},
            "has the end '1e-4', which YAML takes for a word: write 1.0e-4",
        ),
        ({"parameters": {"model.dropout": {"values": [None, 0.1]}}}, 'write "null", in quotes'),
        ({"parameters": {"optimizer.lr": {"values": [1], "min": 0}}}, "categorical takes values"),
        ({"parameters": {"model.atrous_rates": {"values": [[6, 12]]}}}, "write lists and mappings in quotes"),
        ({"early_terminate": {"type": "median"}}, "expected {type: hyperband"),
        ({"early_terminate": {"type": "hyperband"}}, "needs min_iter, or max_iter and s"),
        ({"command": [*COMMAND, "${args}", "--optimizer.lr=1"]}, "has to end with ${args}"),
        ({"command": ["${program}", "${args}"]}, "expected it to begin with"),
    ],
)
def test_what_a_sweep_cannot_say(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        load_sweep(write_sweep(tmp_path / "s.yaml", **changes))


def test_without_local_the_server_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweep", str(write_sweep(tmp_path / "s.yaml"))]) == 2
    assert "wandb sweep" in capsys.readouterr().err
