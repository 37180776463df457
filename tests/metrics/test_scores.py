"""Scores against golden values, against a plain loop over pixels, and at the zero denominators."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest

from deeplab_lightning.errors import DataError
from deeplab_lightning.metrics.scores import scores_from_confusion

GOLDEN = np.array([[50, 2, 3], [4, 30, 6], [0, 5, 0]])
NAMES = ("a", "b", "c")


def plain_scores(pairs: list[tuple[int, int]], num_classes: int) -> dict[str, object]:
    """The reference: counts pairs (truth, prediction) one class at a time, as the definitions are written."""
    rows = []
    for c in range(num_classes):
        hit = sum(t == c and p == c for t, p in pairs)
        false_alarm = sum(t != c and p == c for t, p in pairs)
        missed = sum(t == c and p != c for t, p in pairs)
        if hit + false_alarm + missed == 0:
            rows.append(None)
            continue
        precision = hit / (hit + false_alarm) if hit + false_alarm else 0.0
        recall = hit / (hit + missed) if hit + missed else 0.0
        f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
        rows.append((precision, recall, f1, hit / (hit + false_alarm + missed), hit + missed))
    present = [row for row in rows if row is not None]
    total = len(pairs)
    in_truth = [row for row in present if row[4]]
    return {
        "rows": rows,
        "num_averaged": len(present),
        "pixel_acc": sum(t == p for t, p in pairs) / total,
        "mean_acc": sum(row[1] for row in in_truth) / len(in_truth),
        "macro": tuple(sum(row[k] for row in present) / len(present) for k in range(4)),
        "weighted": tuple(sum(row[k] * row[4] for row in present) / total for k in range(4)),
    }


def test_golden_values() -> None:
    scores = scores_from_confusion(GOLDEN, NAMES)
    assert scores.pixel_acc == 0.8
    assert scores.mean_acc == pytest.approx(0.553030, abs=1e-6)
    assert scores.iou == pytest.approx([0.847458, 0.638298, 0], abs=1e-6)
    assert scores.mIoU == pytest.approx(0.495252, abs=1e-6)
    assert scores.fwIoU == pytest.approx(0.721421, abs=1e-6)
    assert scores.dice == pytest.approx([0.917431, 0.779221, 0], abs=1e-6)
    assert scores.mean_dice == pytest.approx((0.917431 + 0.779221) / 3, abs=1e-6)
    assert scores.support.tolist() == [55, 40, 5]
    assert scores.support.dtype == np.int64
    # by hand: 54 predicted as a, 37 as b, 9 as c
    assert scores.precision == pytest.approx([50 / 54, 30 / 37, 0])
    assert scores.recall == pytest.approx([50 / 55, 30 / 40, 0])
    assert scores.micro.precision == scores.micro.recall == scores.micro.dice == 0.8
    assert scores.micro.iou == pytest.approx(80 / 120)  # 100 pixels of truth + 100 predicted - 80 in both
    assert scores.num_averaged == 3


@pytest.mark.parametrize("seed", range(5))
def test_equals_a_plain_loop(seed: int) -> None:
    rng = np.random.default_rng(seed)
    num_classes = 6
    # class 4 never in the truth, class 3 never predicted, class 5 absent
    truth, pred = rng.choice([0, 1, 2, 3], 300), rng.choice([0, 1, 2, 4], 300)
    pred = np.where((rng.random(300) < 0.5) & (truth != 3), truth, pred)
    matrix = np.zeros((num_classes, num_classes), dtype=np.int64)
    for t, p in zip(truth, pred, strict=True):
        matrix[t, p] += 1

    scores = scores_from_confusion(matrix, [f"class {c}" for c in range(num_classes)])
    expected = plain_scores(list(zip(truth.tolist(), pred.tolist(), strict=True)), num_classes)

    for c, row in enumerate(expected["rows"]):
        found = (scores.precision[c], scores.recall[c], scores.dice[c], scores.iou[c], scores.support[c])
        if row is None:
            assert all(math.isnan(value) for value in found[:4])
            assert found[4] == 0
        else:
            assert found == pytest.approx(row, rel=1e-12)
    assert scores.num_averaged == expected["num_averaged"] == 5
    assert scores.pixel_acc == pytest.approx(expected["pixel_acc"], rel=1e-12)
    assert scores.mean_acc == pytest.approx(expected["mean_acc"], rel=1e-12)
    for name in ("macro", "weighted"):
        average = getattr(scores, name)
        assert (average.precision, average.recall, average.dice, average.iou) == pytest.approx(
            expected[name], rel=1e-12
        )
    assert scores.weighted.recall == pytest.approx(scores.pixel_acc, rel=1e-12)


def test_absent_class_enters_no_mean() -> None:
    """Counting it as 0 or as 1 is the commonest way to a wrong mIoU."""
    with_absent = np.zeros((4, 4), dtype=np.int64)
    with_absent[:3, :3] = GOLDEN
    scores, without = scores_from_confusion(with_absent, "abcd"), scores_from_confusion(GOLDEN, NAMES)
    assert np.isnan([scores.iou[3], scores.dice[3], scores.precision[3], scores.recall[3]]).all()
    assert (scores.num_averaged, scores.mIoU, scores.macro) == (3, without.mIoU, without.macro)
    assert (scores.mean_acc, scores.weighted, scores.micro) == (without.mean_acc, without.weighted, without.micro)


def test_zero_denominators() -> None:
    """Present but never predicted: precision 0. Predicted but never present: recall 0, and no part in mean_acc."""
    scores = scores_from_confusion(np.array([[3, 0, 1], [4, 0, 0], [0, 0, 0]]), NAMES)
    assert scores.precision.tolist() == [3 / 7, 0, 0]
    assert scores.recall.tolist() == [3 / 4, 0, 0]
    assert scores.iou.tolist() == [3 / 8, 0, 0]
    assert scores.num_averaged == 3
    assert scores.macro.recall == pytest.approx(0.25)
    assert scores.mean_acc == pytest.approx(0.375)


@pytest.mark.filterwarnings("error")
def test_no_pixel_at_all_is_nan() -> None:
    scores = scores_from_confusion(np.zeros((2, 2), dtype=np.int64), "ab")
    values = (scores.mIoU, scores.pixel_acc, scores.mean_acc, scores.fwIoU, scores.mean_dice, scores.micro.iou)
    assert all(math.isnan(value) for value in values)
    assert scores.num_averaged == 0


def test_counts_beyond_int32() -> None:
    scores = scores_from_confusion(GOLDEN * 10**12, NAMES)
    assert scores.pixel_acc == 0.8
    assert scores.support.tolist() == [55 * 10**12, 40 * 10**12, 5 * 10**12]


@pytest.mark.parametrize(
    ("matrix", "words"),
    [
        (np.zeros((3, 4), dtype=np.int64), r"\(3, 4\).*3 classes.*\(3, 3\)"),
        (np.zeros((2, 2), dtype=np.int64), r"\(2, 2\).*3 classes"),
        (GOLDEN / 100, "float64.*int64"),
        (GOLDEN - 1, "negative count.*-1"),
    ],
)
def test_what_is_no_confusion_matrix_is_refused(matrix: np.ndarray, words: str) -> None:
    with pytest.raises(DataError, match=words):
        scores_from_confusion(matrix, NAMES)


def test_metrics_and_reporting_import_neither_torch_nor_pyplot() -> None:
    """Reports are made on laptops; the drawing functions are called so that their imports count too."""
    code = """
import importlib, io, pkgutil, sys
import numpy as np
import deeplab_lightning.metrics.per_image, deeplab_lightning.reporting as reporting
for module in pkgutil.iter_modules(reporting.__path__):
    if module.name != "wandb_runs":
        importlib.import_module(f"deeplab_lightning.reporting.{module.name}")
heavy = sorted({"matplotlib", "rich", "wandb"} & set(sys.modules))
assert not heavy, f"imported at module top: {heavy}"
from deeplab_lightning.reporting.plots import plot_confusion
plot_confusion(np.eye(2, dtype=int), "ab", io.BytesIO())
found = sorted({"torch", "lightning", "torchmetrics", "matplotlib.pyplot", "wandb"} & set(sys.modules))
assert not found, found
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
