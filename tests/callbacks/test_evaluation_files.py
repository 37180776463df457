"""What an evaluation leaves of objects, where a task scores them."""

from __future__ import annotations

import csv
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from deeplab_lightning.callbacks.evaluation_files import EvaluationFiles
from deeplab_lightning.metrics.panoptic import PanopticScores
from deeplab_lightning.metrics.panoptic_quality import PanopticCounts
from deeplab_lightning.metrics.segmentation import SegmentationScores
from deeplab_lightning.reporting.gallery import read_gallery
from deeplab_lightning.runs import RunFolder

NAMES, VOID = ["road", "car"], 255


def evaluated(folder: Path, with_objects: bool) -> tuple[RunFolder, PanopticScores | None]:
    """Let the callback see one batch of one image, with a car."""
    classes, numbers = torch.zeros(40, 60, dtype=torch.uint8), torch.zeros(40, 60, dtype=torch.int32)
    classes[5:30, 5:30], numbers[5:30, 5:30] = 1, 1
    evaluation, panoptic = SegmentationScores(NAMES, VOID), PanopticScores(NAMES, [1], VOID) if with_objects else None
    evaluation.update(classes, classes, "a")
    description = {"class_names": NAMES, "palette": [[0, 0, 0], [200, 0, 0]]}
    task: Any = SimpleNamespace(evaluation=evaluation, description=description, protocol="whole image", objects=None)
    batch: dict[str, Any] = {
        "sample_id": ["a"],
        "image": [torch.zeros(3, 40, 60, dtype=torch.uint8)],
        "mask": [classes],
    }
    outputs: dict[str, Any] = {"pred": [classes]}
    if panoptic is not None:
        pred = classes, (numbers * 7).roll(2, 1)
        panoptic.update([pred], [(classes, numbers)], ["a"])
        task.objects = SimpleNamespace(scores=panoptic)
        batch["instances"], outputs["segments"] = [numbers], [pred]
    trainer: Any = SimpleNamespace(
        testing=False, sanity_checking=False, is_global_zero=True, loggers=[], global_step=3,
        num_val_batches=[1], val_dataloaders=None, state=SimpleNamespace(fn="validate"),
    )  # fmt: skip
    files = EvaluationFiles(RunFolder(folder))
    files.on_validation_start(trainer, task)
    files.on_validation_batch_end(trainer, task, outputs, batch, 0)
    files.on_validation_end(trainer, task)
    return files.run, panoptic


def test_objects_are_kept_and_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, panoptic = evaluated(tmp_path, with_objects=True)
    assert panoptic is not None
    assert PanopticCounts.load(run.panoptic).quality().all == panoptic.quality().all
    with run.per_class.open() as file:
        car = list(csv.DictReader(file))[1]
    assert float(car["PQ"]) == panoptic.values()["PQ/car"]
    assert "validation, objects and stuff" in capsys.readouterr().out
    truth, pred = read_gallery(run.images).images["a"].outline_pngs
    assert truth != pred


def test_without_objects_there_is_nothing_of_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, _ = evaluated(tmp_path, with_objects=False)
    assert not run.panoptic.exists()
    assert "PQ" not in run.per_class.read_text()
    assert "objects and stuff" not in capsys.readouterr().out
    assert read_gallery(run.images).images["a"].outline_pngs == ()
