"""Ablations: cells are run once, go on where they were stopped, are divided among processes, and make a table."""

from __future__ import annotations

import csv
import json
import re
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from deeplab_lightning.__main__ import main
from deeplab_lightning.commands import ablate
from deeplab_lightning.config_words import option_value
from deeplab_lightning.errors import ConfigError
from deeplab_lightning.metrics.panoptic_quality import PanopticCounts
from deeplab_lightning.runs import find_run
from deeplab_lightning.studies.cells import StudyFolder
from deeplab_lightning.studies.options import merged, parse_words, value_of
from deeplab_lightning.studies.study_file import load_study

from ..conftest import REPOSITORY, SMALL, SMALL_SCENES, V3PLUS
from .helpers import start, use_fake_fit, wait_until

STUDIES = sorted((REPOSITORY / "configs" / "ablations").glob("*.yaml"))
NO_CHECK = "from deeplab_lightning.commands import ablate\nablate.check_recipes = lambda study, folder: {}"


def write_study(path: Path, **changes: Any) -> Path:
    content = {
        "base": str(V3PLUS),
        "options": {"trainer.max_steps": 4},
        "factors": {
            "decoder": {"with": {}, "without": {"model.decoder": False}},
            "lr": {"good": {"optimizer.lr": 0.05}, "bad": {"optimizer.lr": 0.2}},
        },
        "seeds": [0, 1],
        "source": "a paper, table 1",
        "published": [
            {"decoder": "with", "lr": "good", "mIoU": 80.0},
            {"decoder": "without", "lr": "good", "mIoU": 75.5},
        ],
    }
    path.write_text(yaml.safe_dump(content | changes, sort_keys=False))
    return path


@pytest.fixture
def no_check(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the look at the networks, which takes a while."""
    monkeypatch.setattr(ablate, "check_recipes", lambda study, folder: {})


@pytest.mark.usefixtures("no_check")
def test_every_cell_is_run_once_and_the_table_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = use_fake_fit(monkeypatch, tmp_path)
    words = ["ablate", str(write_study(tmp_path / "study.yaml")), "--folder", str(tmp_path / "runs")]
    assert main(words) == 0
    assert len(calls()) == 8
    combinations = {
        tuple(option_value(c, f"--{name}") for name in ("optimizer.lr", "model.decoder", "seed_everything"))
        for c in calls()
    }
    assert len(combinations) == 8
    table = capsys.readouterr().out
    assert re.search(r"\| with \| good \|.* baseline \| +\| +\| 80.00 \|", table)
    assert re.search(r"\| without \| good \|.* -\d\.\d\d \[.*\] \| 0.001 \| 0/2 \| 75.50 \(-4.50\) \|", table)
    folder = tmp_path / "runs" / "study"
    with (folder / "table.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["seeds"] for row in rows] == ["2"] * 4
    assert float(rows[2]["difference"]) == pytest.approx(float(rows[2]["mIoU_mean"]) - float(rows[0]["mIoU_mean"]))
    assert float(rows[2]["low"]) < float(rows[2]["difference"]) < float(rows[2]["high"]) < 0
    assert float(rows[2]["seconds_per_step"]) == 0.25
    latex = (folder / "table.tex").read_text()
    assert latex.count("\\\\") == 5
    assert latex.count("\\mathbf{") == 1
    assert "with & good" in next(line for line in latex.splitlines() if "mathbf" in line)
    assert "ground" in (folder / "per_class.csv").read_text()

    assert main(words) == 0
    assert len(calls()) == 8, "finished cells are not run again"
    assert main([*words, "--trainer.max_steps", "5"]) == 0
    assert len(calls()) == 16, "other content, other cells"
    assert main([*words, "--trainer.max_steps", "5", "--data.num_workers", "1"]) == 0
    assert len(calls()) == 16, "workers change no number"
    assert main([*words, "--table"]) == 0
    assert main(["ablate", str(write_study(tmp_path / "study.yaml", seeds=[0, 1, 2])), *words[2:], "--table"]) == 0
    assert "Not all seeds are finished: with, good (2 of 3)" in capsys.readouterr().out


@pytest.mark.usefixtures("no_check")
def test_pq_stands_beside_miou_where_there_is_any(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    use_fake_fit(monkeypatch, tmp_path)
    monkeypatch.setenv("FAKE_FIT_SEGMENTS", "1")
    factors = {"decoder": {"with": {}, "without": {"model.decoder": False}}}
    path = write_study(tmp_path / "study.yaml", factors=factors, published=[])
    assert main(["ablate", str(path), "--folder", str(tmp_path / "runs"), "--optimizer.lr", "0.05"]) == 0
    printed, folder = capsys.readouterr().out, tmp_path / "runs" / "study"
    assert "| PQ | PQ difference | PQ p |" in printed
    assert "mIoU and PQ in percent" in printed
    assert "## Classes, PQ" in printed
    runs = [find_run(path) for path in sorted((folder / "cells").iterdir()) if path.is_dir()]
    by_seed = [PanopticCounts.load(run.panoptic).quality().all.pq for run in runs]
    with (folder / "table.csv").open() as file:
        rows = list(csv.DictReader(file))
    means = [float(row["PQ_mean"]) for row in rows]
    assert sum(means) / 2 == pytest.approx(sum(by_seed) / 4)
    assert float(rows[1]["PQ_difference"]) == pytest.approx(means[1] - means[0])
    assert float(rows[1]["PQ_low"]) < means[1] - means[0] < float(rows[1]["PQ_high"])
    assert rows[0]["PQ_difference"] == ""
    with (folder / "per_class.csv").open() as file:
        classes = list(csv.DictReader(file))
    assert [float(row["PQ_mean"]) for row in classes[::2]] == pytest.approx([0.9, 0.9])  # ground is always found
    assert main(["report", str(folder)]) == 0
    page = (folder / "report.html").read_text()
    assert "PQ of each class in percent" in page
    assert f"{100 * means[1]:.2f}" in page


def test_equal_configurations_share_a_cell(tmp_path: Path) -> None:
    factors = {"row": {"base": {}, "the same": {"model.output_stride": 16}, "other": {"model.output_stride": 8}}}
    study = load_study(write_study(tmp_path / "study.yaml", factors=factors, published=[], seeds=[0]))
    assert len(study.rows) == 3
    assert len(study.cells) == 2


@pytest.mark.usefixtures("no_check")
def test_a_failed_cell_is_told_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = use_fake_fit(monkeypatch, tmp_path)
    factors = {"lr": {"good": {"optimizer.lr": 0.05}, "wild": {"optimizer.lr": 10}}}
    path = write_study(tmp_path / "study.yaml", factors=factors, published=[], seeds=[0])
    words = ["ablate", str(path), "--folder", str(tmp_path / "runs")]
    assert main(words) == 1
    said = capsys.readouterr()
    assert "the loss is nan" in said.err
    assert "--optimizer.lr=10" in said.err
    assert "wild (0 of 1)" in said.out
    assert len(calls()) == 2
    assert main(words) == 1
    assert len(calls()) == 3


@pytest.mark.usefixtures("no_check")
def test_one_training_is_scored_in_several_ways(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = use_fake_fit(monkeypatch, tmp_path)
    path = write_study(
        tmp_path / "study.yaml",
        factors={"decoder": {"with": {}}},
        evaluations={"at 16": {}, "at 8": {"model.output_stride": 8}},
        published=[{"decoder": "with", "evaluation": "at 8", "mIoU": 78.51}],
        seeds=[0],
    )
    words = ["ablate", str(path), "--folder", str(tmp_path / "runs"), "--data.root", "elsewhere"]
    assert main(words) == 0
    assert [call[0] for call in calls()] == ["fit", "validate"]
    validate = calls()[1]
    assert option_value(validate, "--model.output_stride") == "8"
    assert option_value(validate, "--data.root") == "elsewhere"
    assert Path(option_value(validate, "--ckpt_path") or "").read_text() == "best"
    assert re.search(r"\| with \| at 8 \|.*\| 8\d\.\d\d \|.*\| 78.51 \|", capsys.readouterr().out)
    assert main(words) == 0
    assert len(calls()) == 2


def test_a_killed_study_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = use_fake_fit(monkeypatch, tmp_path, seconds=0.3)
    path = write_study(tmp_path / "study.yaml", seeds=[0], options={"trainer.max_steps": 6})
    words = ["ablate", str(path), "--folder", str(tmp_path / "runs")]
    process = start(words, NO_CHECK)
    folder = StudyFolder(tmp_path / "runs" / "study")
    cells = load_study(path).cells
    wait_until(lambda: folder.progress(cells[1])[0] >= 2)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = len(json.loads(find_run(folder.cells / cells[1].key).last_checkpoint.read_text()))
    assert 2 <= done < 6
    monkeypatch.setenv("FAKE_FIT_SECONDS", "0")
    process = start(words, NO_CHECK)
    assert process.wait(60) == 0
    commands = [option_value(call, "--run.name") for call in calls()]
    assert Counter(commands) == {cells[0].key: 1, cells[1].key: 2, cells[2].key: 1, cells[3].key: 1}
    resumed = next(call for call in calls()[2:] if option_value(call, "--run.name") == cells[1].key)
    assert option_value(resumed, "--ckpt_path") == str(find_run(folder.cells / cells[1].key).last_checkpoint)
    assert all(folder.is_finished(load_study(path), cell) for cell in cells)
    assert list(folder.cells.glob("*.lock")) == []


def test_ctrl_c_stops_after_saving(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_fake_fit(monkeypatch, tmp_path, seconds=0.3)
    path = write_study(tmp_path / "study.yaml", seeds=[0], options={"trainer.max_steps": 50})
    process = start(["ablate", str(path), "--folder", str(tmp_path / "runs")], NO_CHECK)
    folder, cell = StudyFolder(tmp_path / "runs" / "study"), load_study(path).cells[0]
    wait_until(lambda: folder.progress(cell)[0] >= 1)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130
    record = folder.record(cell)
    assert record is not None
    assert record.state == "begun"
    assert not folder.ledger.path(cell.key, "lock").exists()


def test_two_processes_divide_the_cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = use_fake_fit(monkeypatch, tmp_path, seconds=0.1)
    path = write_study(tmp_path / "study.yaml", seeds=[0, 1, 2])
    words = ["ablate", str(path), "--folder", str(tmp_path / "runs")]
    processes = [start(words, NO_CHECK) for _ in range(2)]
    assert [process.wait(120) for process in processes] == [0, 0]
    assert Counter(option_value(call, "--run.name") for call in calls()) == {
        cell.key: 1 for cell in load_study(path).cells
    }


def test_the_tables_need_no_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_fake_fit(monkeypatch, tmp_path)
    monkeypatch.setattr(ablate, "check_recipes", lambda study, folder: {})
    path = write_study(tmp_path / "study.yaml", seeds=[0])
    words = ["ablate", str(path), "--folder", str(tmp_path / "runs")]
    assert main(words) == 0
    script = (
        "import sys\nfrom deeplab_lightning.__main__ import main\n"
        f"assert main({[*words, '--table']!r}) == 0\nassert not {{'torch', 'lightning'}} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True, stdout=subprocess.DEVNULL)


@pytest.mark.slow
def test_a_real_cell_and_its_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The real command line: the options are checked, the network counted, the run made and scored at stride 8 too."""
    options = parse_words([*SMALL, *SMALL_SCENES])
    path = write_study(
        tmp_path / "study.yaml",
        options=options,
        factors={"decoder": {"with": {}}},
        evaluations={"at 16": {}, "at 8": {"model.output_stride": 8}},
        published=[],
        seeds=[0],
    )
    words = ["ablate", str(path), "--folder", str(tmp_path / "runs")]
    assert main(words) == 0
    folder = tmp_path / "runs" / "study"
    with (folder / "table.csv").open() as file:
        first, second = csv.DictReader(file)
    assert int(first["parameters"]) == int(second["parameters"]) > 100_000
    assert int(second["multiply_adds"]) > int(first["multiply_adds"]) > 1_000_000
    assert 0 < float(first["mIoU_mean"]) < 1
    assert second["seeds"] == "1"
    run = find_run(next(path for path in (folder / "cells").iterdir() if path.is_dir()))
    assert "os8" in next(folder.glob("cells/*.log")).read_text()
    assert main([*words, "--dry_run"]) == 0
    said = capsys.readouterr().out
    assert "finished in" in said
    assert "0:00:00 (measured in this folder)" in said
    assert run.per_image.is_file()


def test_a_wrong_option_is_found_before_anything_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_study(tmp_path / "s.yaml", factors={"x": {"a": {"model.output_strid": 8}}}, published=[])
    assert main(["ablate", str(path), "--folder", str(tmp_path / "runs")]) == 2
    assert "row a: Unknown option --model.output_strid. Did you mean" in capsys.readouterr().err
    assert not list((tmp_path / "runs").glob("s/cells/*"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"factor": {}}, "unknown key 'factor'. Did you mean 'factors'"),
        ({"base": "v3plu.yaml"}, "does not exist; it is looked for relative to the study's own folder"),
        ({"factors": {"decoder": ["with"]}}, "expected levels with options"),
        ({"factors": {"decoder": {"with": {"seed_everything": 3}}}}, "which the study sets itself"),
        ({"factors": {"evaluation": {"a": {}}}}, "no factor can be called 'evaluation'"),
        ({"seeds": [0, 0]}, "one twice"),
        ({"seeds": "3"}, "list of whole numbers"),
        ({"baseline": {"decoder": "wit"}}, "no row has the baseline's levels"),
        ({"published": [{"decoder": "wit", "lr": "good", "mIoU": 70}]}, "belongs to no row"),
        ({"published": [{"decoder": "with", "lr": "good", "mIoU": 0.7}]}, "expected percent"),
    ],
)
def test_what_a_study_cannot_say(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        load_study(write_study(tmp_path / "study.yaml", **changes))


def test_options_are_laid_over_files_as_the_command_line_does(tmp_path: Path) -> None:
    above = tmp_path / "above.yaml"
    above.write_text("optimizer: {lr: 0.5}\ntrainer: {max_steps: 7}")
    configuration = merged([V3PLUS, above], {"data.batch_size": 2, "model": "DeepLabV3"})
    assert value_of(configuration, "optimizer.lr") == 0.5
    assert value_of(configuration, "model.backbone") == "mobilenetv2_100"
    assert value_of(configuration, "data.batch_size") == 2
    assert value_of(configuration, "trainer.max_steps") == 7
    assert configuration["model"]["name"] == "DeepLabV3"


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_a_shipped_study_is_understood(path: Path) -> None:
    study = load_study(path)
    assert study.cells
    assert path.stem == study.name
    assert path.stem == "drawn_scenes" or study.source


@pytest.mark.parametrize(
    "path",
    [pytest.param(path, id=path.stem, marks=[pytest.mark.slow] * (path.stem != "drawn_scenes")) for path in STUDIES],
)
def test_a_shipped_study_dry_runs(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every row parses against the command line and builds its network; no trial steps, those take minutes."""
    monkeypatch.setattr(ablate, "_trial", lambda study, recipes: dict.fromkeys(recipes, 60.0))
    assert main(["ablate", str(path), "--dry_run", "--folder", str(tmp_path)]) == 0
    assert f"{len(load_study(path).cells)} cells" in capsys.readouterr().out
