"""The gate lets an equal file through and stops every other one."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from deeplab_lightning.export.format import Exported
from deeplab_lightning.export.gate import (
    TOLERANCES,
    Gate,
    GateReport,
    Labelled,
    OutputComparison,
    as_table,
    failures,
    write_report,
)
from deeplab_lightning.export.model import ImageModel, Outputs
from deeplab_lightning.metrics.deciding import Decision

from .networks import NORMALISE, network
from .test_model import images, predictor

NAMES = ["a", "b", "c", "d", "e"]


def gate(path: Path, outputs: Outputs = "classes", noise: float = 0.0, **other: Any) -> GateReport:
    """Hold a module, with or without something wrong, against its original."""
    path.write_bytes(b"x" * 1000)
    net = network("encoder_decoder")
    model = ImageModel(net, NORMALISE, outputs=outputs, **other)
    of_logits = ImageModel(net, NORMALISE, outputs="logits", **other)

    def worse(image: np.ndarray) -> torch.Tensor:
        logits = of_logits(torch.from_numpy(image))
        return logits + noise * torch.randn(logits.shape, generator=torch.Generator().manual_seed(0))

    def run(image: np.ndarray) -> np.ndarray:
        if outputs == "classes":
            return worse(image).argmax(1).to(torch.uint8).numpy()
        if outputs == "coarse_logits":
            return (model(torch.from_numpy(image)) + noise).numpy()
        return (worse(image).softmax(1) if outputs == "probs" else worse(image)).numpy()

    exported = Exported(path, run, lambda image: worse(image).numpy(), None, "test 1.0")
    stored = [images(40, 50, batch=1).numpy(), images(33, 49).numpy()]
    masks = [Labelled(str(index), stored[0], np.full((40, 50), index, np.uint8)) for index in range(3)]
    return Gate(predictor(net), model, exported, TOLERANCES["fp32"]).check(stored, masks, "drawn", NAMES, 255)


@pytest.mark.parametrize("outputs", ["classes", "probs", "logits", "coarse_logits"])
@torch.no_grad()
def test_an_equal_file_passes(outputs: Outputs, tmp_path: Path) -> None:
    report = gate(tmp_path / "model", outputs)
    assert report.failures == []
    assert [entry.size for entry in report.comparisons] == [(1, 40, 50), (2, 33, 49)]
    assert all(entry.agreement == 1 and entry.difference < 1e-4 for entry in report.comparisons)
    assert report.images == 3
    assert report.miou is not None
    assert report.miou[0] == report.miou[1]
    assert report.bytes == (sum(p.numel() * 4 for p in network("encoder_decoder").parameters()), 1000)
    assert min(report.milliseconds) > 0


@pytest.mark.parametrize("outputs", ["classes", "probs", "logits", "coarse_logits"])
@torch.no_grad()
def test_a_file_with_other_logits_fails(outputs: Outputs, tmp_path: Path) -> None:
    assert any("differ by" in text for text in gate(tmp_path / "model", outputs, noise=5.0).failures)


@torch.no_grad()
def test_normalised_images_reach_a_file_that_wants_them(tmp_path: Path) -> None:
    assert gate(tmp_path / "model", "logits", inputs="normalised").failures == []


def test_weights_that_stand_beside_a_file_are_weighed_too(tmp_path: Path) -> None:
    for name, size in (("model.xml", 300), ("model.bin", 4000), ("run_model.py", 50)):
        (tmp_path / name).write_bytes(b"x" * size)
    weights, script = tmp_path / "model.bin", tmp_path / "run_model.py"
    exported = Exported(tmp_path / "model.xml", np.asarray, None, None, "test 1.0", (), (weights, script), weights)
    assert exported.bytes == 4300


def report_with(**values: Any) -> GateReport:
    comparison = OutputComparison((1, 40, 50), 1e-6, 1e-6, 10.0, 1.0)
    given = GateReport(
        "logits", [comparison], 3, "drawn", (0.5, 0.5), 1.0, (2.0, 1.0), (40, 50), 1, (1000, 500), "test 1.0",
        TOLERANCES["fp32"], []
    )  # fmt: skip
    return replace(given, **values)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, None),
        (
            {"comparisons": [OutputComparison((1, 40, 50), 0.5, 0.02, 10.0, 1.0)]},
            "differ by 0.02 (the worst by 0.5)",
        ),
        ({"comparisons": [OutputComparison((1, 40, 50), 0.5, 0.005, 10.0, 1.0)]}, None),  # a few strays
        ({"comparisons": [OutputComparison((1, 40, 50), math.nan, 0.0, 10.0, 1.0)]}, "the worst by nan"),
        ({"comparisons": [OutputComparison((1, 40, 50), 0.0, 0.0, 10.0, 0.9)]}, "90.0000% of the pixels of 1x40x50"),
        ({"agreement": 0.99}, "99.0000% of the pixels of 3 images"),
        ({"miou": (0.5, 0.49)}, "falls from 0.5000 to 0.4900"),
        ({"miou": (0.5, 0.51)}, None),
        ({"miou": (0.5, math.nan)}, "to nan"),
        ({"miou": None, "agreement": None, "images": 0}, None),
    ],
)
def test_what_is_past_the_tolerance(values: dict[str, Any], expected: str | None) -> None:
    found = failures(report_with(**values))
    assert len(found) == (expected is not None)
    assert expected is None or expected in found[0]


def test_table_and_json(tmp_path: Path) -> None:
    console = Console(width=100, record=True)
    console.print(as_table(report_with(failures=["too far"]), "model.onnx"))
    text = console.export_text()
    assert "past the tolerance: too far" in text
    assert "FAILED" in text
    assert "2.00x as fast" in text
    write_report(tmp_path / "gate.json", report_with(), {"precision": "fp32"})
    content = json.loads((tmp_path / "gate.json").read_text())
    assert content["passed"]
    assert content["exported"] == {"precision": "fp32"}
    assert content["miou"] == [0.5, 0.5]


def test_a_file_of_another_threshold_is_stopped_without_any_data(tmp_path: Path) -> None:
    net, stored = network("encoder_decoder"), [images(40, 50, batch=1).numpy()]
    net.coarse_logits, five = lambda image: five(image)[:, :2], net.coarse_logits
    probs = torch.cat([band.softmax(1) for _, band in predictor(net).bands(torch.from_numpy(stored[0]))], dim=2)
    half = Decision(float(probs[:, 1].median()))
    original = predictor(net)
    original.decide = half
    for decision, passes in ((half, True), (Decision(), False)):
        (tmp_path / "model").write_bytes(b"x")
        model = ImageModel(net, NORMALISE, decision=decision)
        of_logits = ImageModel(net, NORMALISE, outputs="logits")
        exported = Exported(
            tmp_path / "model",
            lambda image, model=model: model(torch.from_numpy(image)).numpy(),  # type: ignore[misc]
            lambda image, model=of_logits: model(torch.from_numpy(image)).numpy(),  # type: ignore[misc]
            None,
            "test 1.0",
        )
        report = Gate(original, model, exported, TOLERANCES["fp32"]).check(stored, [], "no data", ["a", "b"], 255)
        assert (not report.failures) == passes
