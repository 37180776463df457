"""`benchmark`: what the table says was measured, in a process for each line."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

import deeplab_lightning
from deeplab_lightning.__main__ import main
from deeplab_lightning.benchmarking.plan import read_plan
from deeplab_lightning.benchmarking.table import summary
from deeplab_lightning.errors import ConfigError
from deeplab_lightning.reporting.runs import read_metrics

from .conftest import REPOSITORY


def write(folder: Path, **content: Any) -> Path:
    path = folder / "plan.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "table.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_checkpoint_is_timed_and_scored(
    trained_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And what was measured before is not measured again."""
    plan = write(
        tmp_path,
        sizes=[[65, 81]],
        precisions=["fp32", "bf16"],
        data=[],
        variants={"small": {"checkpoint": str(trained_run), "published": "none"}},
    )
    command = ["benchmark", str(plan), "--output", str(tmp_path / "out"), "--rounds", "2", "--device", "cpu"]
    assert main(command) == 0
    first, second = rows(tmp_path / "out")
    best = float(np.nanmax(read_metrics(trained_run / "metrics.csv")["val/mIoU"]))
    assert float(first["mIoU"]) == pytest.approx(best, abs=1e-6)
    assert 0 < float(second["mIoU"]) < 1
    results = list(json.loads((tmp_path / "out" / "results.json").read_text()).values())
    assert [len(result["milliseconds"]) for result in results] == [2, 2]
    assert float(first["median ms"]) == pytest.approx(float(np.median(results[0]["milliseconds"])))
    assert float(first["pictures/s"]) == pytest.approx(1000 / float(first["median ms"]))
    assert 0.1 < float(first["peak GiB"]) < 4
    network = deeplab_lightning.load(trained_run).task.model
    assert int(first["parameters"]) == sum(parameter.numel() for parameter in network.parameters())
    assert first["precision"] == "fp32"
    assert first["size"] == "65x81"
    assert Image.open(tmp_path / "out" / "times.png").size[0] > 500
    printed = capsys.readouterr().out
    assert "2 of 2: small, 65x81, bf16, eager, about" in printed
    assert "| small | 65x81 | fp32 | eager |" in printed
    assert "threads, PyTorch" in printed
    assert main(command) == 0
    assert "1 of 2: " not in capsys.readouterr().out
    assert rows(tmp_path / "out") == [first, second]


def test_options_make_the_network(tmp_path: Path) -> None:
    """One that cannot be built is named at the end; the others are measured."""
    small = {"model.backbone": "mobilenetv2_035", "model.aspp_channels": 16, "model.decoder_channels": 16}
    config = str(REPOSITORY / "configs" / "v3plus.yaml")
    plan = write(
        tmp_path,
        sizes=[[65, 65]],
        variants={
            "wide": {"config": config, "options": {**small, "model.aspp_channels": 32}},
            "wrong": {"config": config, "options": {"model.backbone": "resnet5"}},
            "narrow": {"config": [config], "options": small},
        },
    )
    assert main(["benchmark", str(plan), "--output", str(tmp_path / "out"), "--rounds", "1", "--device", "cpu"]) == 1
    wide, narrow = rows(tmp_path / "out")
    assert (wide["variant"], narrow["variant"]) == ("wide", "narrow")
    assert int(wide["parameters"]) > int(narrow["parameters"])
    assert int(wide["multiply-adds"]) > int(narrow["multiply-adds"])
    assert wide["mIoU"] == ""


def test_median_and_percentile() -> None:
    (cell,) = read_plan(REPOSITORY / "configs" / "benchmarks" / "generations.yaml")[:1]
    result = {"milliseconds": [*range(1, 20), 1000.0], "peak_gib": None, "parameters": 1, "multiply_adds": 1}
    row = summary(cell, result)
    assert row["median ms"] == 10.5
    assert row["p95 ms"] == pytest.approx(np.percentile(result["milliseconds"], 95))


def test_shipped_plans_name_configurations_that_exist() -> None:
    for path in sorted((REPOSITORY / "configs" / "benchmarks").glob("*.yaml")):
        cells = read_plan(path)
        assert len(cells) >= 3
        for cell in cells:
            assert all((REPOSITORY / word).is_file() for word in cell.arguments if word.endswith(".yaml"))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({}, "names no variants"),
        ({"variants": {"a": {}}}, "neither config nor checkpoint"),
        ({"variants": {"a": {"confg": "x.yaml"}}}, "unknown key 'confg'. Did you mean 'config'"),
        ({"variants": {"a": {"config": "x"}}, "precisions": ["bf61"]}, "Did you mean 'bf16'"),
        ({"variants": {"a": {"config": "x"}}, "runtimes": ["egaer"]}, "Did you mean 'eager'"),
        ({"variants": {"a": {"config": "x"}}, "sizes": [513]}, "height, width"),
    ],
)
def test_plans_that_cannot_be(content: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=words):
        read_plan(write(tmp_path, **content))


def test_names_and_numbers_that_cannot_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = str(REPOSITORY / "configs" / "benchmarks" / "deeplab.yaml")
    assert main(["benchmark", plan, "--only", "ResNet-101, stride 61"]) == 2
    assert "Did you mean 'ResNet-101, stride 16'" in capsys.readouterr().err
    assert main(["benchmark", plan, "--rounds", "0"]) == 2
    assert main(["benchmark", str(tmp_path / "none.yaml")]) == 2
    assert "configs/benchmarks/ has examples" in capsys.readouterr().err
