"""The per-class table as a log shows it, and the files of scores."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from deeplab_lightning.metrics.panoptic_quality import PanopticCounts, PanopticQuality
from deeplab_lightning.metrics.scores import Scores, scores_from_confusion
from deeplab_lightning.reporting.tables import panoptic_table, per_class_table, write_confusion, write_per_class_csv

# the golden matrix, and a class that is absent
MATRIX = np.array([[50, 2, 3, 0], [4, 30, 6, 0], [0, 5, 0, 0], [0, 0, 0, 0]])
NAMES = ("road", "[b]car[/b]", "sky", "tram")


def text_of(scores: Scores) -> str:
    file = io.StringIO()
    Console(file=file, width=80).print(per_class_table(scores, "Validation", "whole image, output stride 16"))
    return file.getvalue()


def test_table_as_a_plain_log_shows_it() -> None:
    lines = [" ".join(line.split()) for line in text_of(scores_from_confusion(MATRIX, NAMES)).splitlines()]
    assert lines[0] == "Validation"
    for line in (
        "class IoU Dice/F1 precision recall pixels",
        "road 0.8475 0.9174 0.9259 0.9091 55",
        "[b]car[/b] 0.6383 0.7792 0.8108 0.7500 40",  # a name is text, not rich's markup
        "sky 0.0000 0.0000 0.0000 0.0000 5",
        "tram - - - - 0",
        "macro average 0.4953 0.5656 0.5789 0.5530 100",
        "micro average 0.6667 0.8000 0.8000 0.8000 100",
        "weighted average 0.7214 0.8163 0.8336 0.8000 100",
        "mIoU 0.4953 over 3 of 4 classes",
        "pixel acc 0.8000 | mean acc 0.5530 | fwIoU 0.7214",
        "whole image, output stride 16",
    ):
        assert line in lines, line
    assert "\x1b" not in text_of(scores_from_confusion(MATRIX, NAMES))


def test_table_fits_80_columns_with_long_names_and_large_counts() -> None:
    names = [f"chandelier, pendant, pendent and {index}" for index in range(4)]
    text = text_of(scores_from_confusion(MATRIX * 10**10, names))
    assert max(map(len, text.splitlines())) <= 80
    rows = [line for line in text.splitlines() if "chandelier" in line]
    assert len(rows) == 4, "a row broke in two"
    assert "550,000,000,000" in rows[0]
    assert "0.8475" in rows[0]


@pytest.mark.filterwarnings("error")
def test_table_of_nothing() -> None:
    text = text_of(scores_from_confusion(np.zeros((4, 4), dtype=np.int64), NAMES))
    assert "mIoU - over 0 of 4 classes" in text


def quality() -> PanopticQuality:
    counts = np.array([[3, 1, 0, 0], [1, 0, 0, 0], [0, 2, 0, 0]])
    return PanopticCounts(NAMES, [1], {"a": (counts, np.array([2.5, 0.75, 0, 0]))}).quality()


def test_panoptic_table_as_a_plain_log_shows_it() -> None:
    file = io.StringIO()
    Console(file=file, width=80).print(panoptic_table(quality(), "Validation, objects and stuff"))
    lines = [" ".join(line.split()) for line in file.getvalue().splitlines()]
    for line in (
        "class PQ SQ RQ TP FP FN",
        "road 0.7143 0.8333 0.8571 3 1 0",
        "[b]car[/b] 0.3750 0.7500 0.5000 1 0 2",
        "sky - - - 0 0 0",
        "all, 2 classes 0.5446 0.7917 0.6786",
        "things, 1 classes 0.3750 0.7500 0.5000",
        "stuff, 1 classes 0.7143 0.8333 0.8571",
    ):
        assert line in lines, line


def test_per_class_csv_with_objects(tmp_path: Path) -> None:
    path = tmp_path / "per_class.csv"
    write_per_class_csv(path, scores_from_confusion(MATRIX, NAMES), quality())
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[-7:] == ["support", "PQ", "SQ", "RQ", "TP", "FP", "FN"]
    assert [float(rows[1][name]) for name in ("PQ", "SQ", "RQ", "TP", "FP", "FN")] == [0.375, 0.75, 0.5, 1, 0, 2]
    assert (rows[2]["PQ"], rows[2]["TP"]) == ("", "0")


def test_per_class_csv(tmp_path: Path) -> None:
    path = tmp_path / "per_class.csv"
    scores = scores_from_confusion(MATRIX, ("road", "car, parked", "sky", "tram"))
    write_per_class_csv(path, scores)
    with path.open(newline="") as file:
        heading, *rows = csv.reader(file)
    assert heading == ["class", "IoU", "Dice", "precision", "recall", "support"]
    assert [row[0] for row in rows] == ["road", "car, parked", "sky", "tram"]
    assert [float(value) for value in rows[1][1:]] == [
        scores.iou[1],
        scores.dice[1],
        scores.precision[1],
        scores.recall[1],
        40,
    ]
    assert rows[3][1:] == ["", "", "", "", "0"]


def test_confusion_file(tmp_path: Path) -> None:
    write_confusion(tmp_path / "confusion.npz", MATRIX.astype(np.int32), NAMES)
    with np.load(tmp_path / "confusion.npz", allow_pickle=False) as file:
        assert file["matrix"].dtype == np.int64
        np.testing.assert_array_equal(file["matrix"], MATRIX)
        assert file["class_names"].tolist() == list(NAMES)
