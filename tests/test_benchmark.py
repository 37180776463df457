"""`benchmark`: what the table says was measured, in a process for each line."""

from __future__ import annotations

import csv
import importlib.util
import json
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import deeplab_lightning
from deeplab_lightning.__main__ import main
from deeplab_lightning.benchmarking import files
from deeplab_lightning.benchmarking.measuring import _segmenter, measure
from deeplab_lightning.benchmarking.plan import BenchmarkCase, read_plan
from deeplab_lightning.benchmarking.table import summary
from deeplab_lightning.checkpoints.loading import read_checkpoint
from deeplab_lightning.commands.benchmark import contents
from deeplab_lightning.data.sets.drawn_scenes import DrawnScenes
from deeplab_lightning.errors import ConfigError
from deeplab_lightning.export.format import Exported, Order
from deeplab_lightning.layers.norms import batch_norms
from deeplab_lightning.metrics.segmentation import SegmentationScores
from deeplab_lightning.runs import read_metrics
from deeplab_lightning.tasks import DeepLabV3PlusTask

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
    assert float(first["images/s"]) == pytest.approx(1000 / float(first["median ms"]))
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


def test_a_line_is_of_what_its_files_hold(trained_run: Path, tmp_path: Path) -> None:
    """Training on rewrites best.ckpt in place, and configurations are edited: a kept line would be of the old ones."""
    own, config = tmp_path / "own.ckpt", tmp_path / "data.yaml"
    shutil.copy(trained_run / "checkpoints" / "best.ckpt", own)
    config.write_text("data: {name: DrawnScenes, height: 64, width: 80, val_size: 5}")
    plan = write(tmp_path, sizes=[[65, 81]], data=[str(config)], variants={"own": {"checkpoint": str(own)}})
    (case,) = read_plan(plan)
    seen = [contents(case)]
    config.write_text("data: {name: DrawnScenes, height: 64, width: 96, val_size: 5}")
    seen.append(contents(case))
    checkpoint = read_checkpoint(own)
    torch.save({**checkpoint, "global_step": checkpoint["global_step"] + 1}, own)
    seen.append(contents(case))
    assert contents(case) == seen[2]
    assert len({json.dumps(one) for one in seen}) == 3


@pytest.mark.slow
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


def test_what_pytorch_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """What predict does: folded batch norms; compiled where the plan says so."""
    task = DeepLabV3PlusTask(num_classes=3, backbone="mobilenetv2_035", aspp_channels=8, decoder_channels=8).eval()
    compiled, runs = [], []

    def compile(method: Any) -> Any:
        compiled.append(method)
        return lambda image: runs.append(len(batch_norms(method.__self__))) or method(image)

    monkeypatch.setattr(torch, "compile", compile)
    image = torch.zeros(1, 3, 65, 65, dtype=torch.uint8)
    _segmenter(task, "eager", "fp32")(image)
    assert not compiled
    _segmenter(task, "compile", "fp32")(image)
    assert len(compiled) == 1
    assert runs == [0]


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


def cell(trained_run: Path, size: tuple[int, int], runtime: str) -> dict[str, Any]:
    """A cell of the small network, whose validation images are of 64x80."""
    return asdict(BenchmarkCase("small", (), str(trained_run), size, 1, "fp32", runtime, (), ""))


@pytest.mark.slow
def test_a_file_is_scored_by_its_own_class_maps(trained_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnx")
    from deeplab_lightning.export.formats.onnx import ONNX

    best = float(np.nanmax(read_metrics(trained_run / "metrics.csv")["val/mIoU"]))
    real = ONNX.write
    seen: list[Exported] = []

    def write(self: ONNX, order: Order) -> Exported:
        seen.append(real(self, order))
        return seen[-1]

    monkeypatch.setattr(ONNX, "write", write)
    result = measure(cell(trained_run, (64, 80), "onnx_one_size"), 2, "cpu")
    assert result["mIoU"] == pytest.approx(best, abs=1e-3)
    assert seen[0].fixed_size == (64, 80)
    assert len(result["milliseconds"]) == 2
    assert result["parameters"] > 1e5
    assert 0.03 < result["idle_gib"] <= result["peak_gib"] < 0.25  # PyTorch alone takes more

    monkeypatch.setattr(
        ONNX, "write", lambda self, order: replace(seen[0], run=lambda image: np.zeros_like(image[:, 0]))
    )
    monkeypatch.setattr(files, "time_file", lambda *_: {})
    monkeypatch.setattr(files, "ProcessPoolExecutor", lambda *_: ThreadPoolExecutor(1))
    background = measure(cell(trained_run, (64, 80), "onnx_one_size"), 2, "cpu")["mIoU"]
    scenes = DrawnScenes("val", 5, 64, 80)
    masks = np.stack([scenes.load(index)[1] for index in range(5)])
    labelled = masks[masks != scenes.labels.ignore_index]
    assert background == pytest.approx((labelled == 0).mean() / len(np.unique(labelled)))
    assert abs(background - best) > 0.01


def test_images_that_a_file_cannot_take_leave_it_unscored(trained_run: Path) -> None:
    """A part of the split would give another number."""
    dataset = DrawnScenes("val", 2, 64, 80)
    exported = Exported(Path("x"), lambda image: image[:, 0], None, (65, 81), "")
    counted = SegmentationScores(dataset.labels.class_names, dataset.labels.ignore_index)
    result = files.score_images(exported, dataset, counted)
    assert list(result) == ["unscored"]
    assert "takes images of 65x81 alone" in result["unscored"]
    assert "is 64x80" in result["unscored"]


def test_files_look_at_whole_images_once(trained_run: Path) -> None:
    given = cell(trained_run, (64, 80), "onnx") | {"arguments": ["--evaluation.flip", "true"]}
    exported = Exported(Path("x"), lambda image: image[:, 0], None, None, "")
    assert "flip" in files._score(given, exported)["unscored"]


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("openvino") is None, reason="openvino is not installed")
def test_runtimes_side_by_side(trained_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = write(
        tmp_path,
        sizes=[[65, 81]],
        runtimes=["eager", "onnx", "onnx_one_size", "openvino", "openvino_one_size"],
        data=[],
        variants={"small": {"checkpoint": str(trained_run)}},
    )
    assert main(["benchmark", str(plan), "--output", str(tmp_path / "out"), "--rounds", "2", "--device", "cpu"]) == 0
    measured = {row["runtime"]: row for row in rows(tmp_path / "out")}
    assert len(measured) == 5
    for runtime, row in measured.items():
        assert (row["mIoU"] == "") == runtime.endswith("one_size")  # the data's images are of 64x80
        if row["mIoU"]:
            assert float(row["mIoU"]) == pytest.approx(float(measured["eager"]["mIoU"]), abs=1e-3)
        if runtime != "eager":
            assert float(row["peak GiB"]) < float(measured["eager"]["peak GiB"]) / 2
    printed = capsys.readouterr().out
    assert "no mIoU of small, 65x81, fp32, onnx_one_size: the file takes images of 65x81 alone" in printed
    assert ", onnxruntime " in printed
    assert ", openvino 20" in printed


def test_files_are_for_the_cpu_and_need_their_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = str(write(tmp_path, variants={"a": {"config": "x"}}, runtimes=["eager", "openvino"]))
    assert main(["benchmark", plan, "--device", "cuda"]) == 2
    assert "openvino run on a CPU, not on cuda. What works is --device cpu" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "openvino", None)
    assert main(["benchmark", plan, "--device", "cpu"]) == 2
    assert "deeplab-lightning[openvino]" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"runtimes": ["onnx"], "precisions": ["fp32", "bf16"]}, "onnx has no bf16, but fp32 and fp16.*eager, contig"),
        ({"runtimes": ["eager", "openvino"], "precisions": ["bf16"]}, "openvino has no bf16"),
        (
            {"runtimes": ["onnx_one_size"], "batch": 2},
            "one image at a time, and batch is 2.*batch: 1, or runtime onnx",
        ),
        ({"runtimes": ["openvino", "onnx", "eager"], "precisions": ["fp32", "fp16"], "batch": 2}, None),
    ],
)
def test_files_that_cannot_be(content: dict[str, Any], words: str | None, tmp_path: Path) -> None:
    plan = write(tmp_path, variants={"a": {"config": "x"}}, **content)
    if words is None:
        assert len(read_plan(plan)) == 6
    else:
        with pytest.raises(ConfigError, match=words):
            read_plan(plan)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({}, "names no variants"),
        ({"variants": {"a": {}}}, "neither config nor checkpoint"),
        ({"variants": {"a": {"confg": "x.yaml"}}}, "unknown key 'confg'. Did you mean 'config'"),
        ({"variants": {"a": {"config": "x"}}, "precisions": ["bf61"]}, "Did you mean 'bf16'"),
        ({"variants": {"a": {"config": "x"}}, "runtimes": ["egaer"]}, "Did you mean 'eager'"),
        ({"variants": {"a": {"config": "x"}}, "runtimes": ["onxx"]}, "Did you mean 'onnx'"),
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
