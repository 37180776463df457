"""PQ against a plain program after COCO's definition, and against torchmetrics where that follows it."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
import torch
from torchmetrics.detection import PanopticQuality as TheirQuality

from deeplab_lightning.errors import ConfigError, DataError
from deeplab_lightning.files import atomic_open
from deeplab_lightning.metrics.panoptic import PanopticScores
from deeplab_lightning.metrics.panoptic_quality import PanopticCounts

from .maps import (
    CITYSCAPES_NAMES,
    CITYSCAPES_THINGS,
    NAMES,
    THINGS,
    VOID,
    Pair,
    cityscapes_files,
    cityscapes_pair,
    moved,
    pairs,
)


def plain(pred: Pair, truth: Pair, num_classes: int, things: tuple[int, ...]) -> tuple[list[list[int]], list[float]]:
    """Return TP, FP, FN and summed IoU of each class: with tuples and dictionaries, in the words of the definition."""
    areas: dict[str, dict[tuple[int, int], int]] = {"pred": defaultdict(int), "truth": defaultdict(int)}
    shared: dict[tuple[tuple[int, int], tuple[int, int]], int] = defaultdict(int)
    flat = [entry.flatten().tolist() for entry in (*pred, *truth)]
    for (pred_class, pred_number, true_class, true_number), pixels in Counter(zip(*flat, strict=True)).items():
        p = (pred_class, pred_number if pred_class in things else 0)
        t = (true_class, true_number if true_class in things else 0)
        areas["pred"][p] += pixels
        areas["truth"][t] += pixels
        shared[t, p] += pixels
    void = (VOID, 0)
    counts, ious = [[0] * num_classes for _ in range(3)], [[] for _ in range(num_classes)]
    matched = set()
    for (t, p), both in shared.items():
        is_crowd = t[0] in things and t[1] == 0
        if t == void or p == void or is_crowd or t[0] != p[0]:
            continue
        iou = both / (areas["pred"][p] + areas["truth"][t] - both - shared.get((void, p), 0))
        if iou > 0.5:
            counts[0][t[0]] += 1
            ious[t[0]].append(iou)
            matched |= {("t", t), ("p", p)}
    for p, area in areas["pred"].items():
        crowd = shared.get(((p[0], 0), p), 0) if p[0] in things else 0
        if p != void and ("p", p) not in matched and (shared.get((void, p), 0) + crowd) / area <= 0.5:
            counts[1][p[0]] += 1
    for t in areas["truth"]:
        if t != void and ("t", t) not in matched and not (t[0] in things and t[1] == 0):
            counts[2][t[0]] += 1
    return counts, [math.fsum(found) for found in ious]


def counted(*images: tuple[Pair, Pair]) -> PanopticScores:
    metric = PanopticScores(NAMES, THINGS, VOID)
    preds, truths = zip(*images, strict=True)
    metric.update(list(preds), list(truths), [f"{number:04}" for number in range(len(images))])
    return metric


def test_equals_the_definition_on_random_maps() -> None:
    images = list(pairs(500))
    counts = counted(*images).counts()
    for row, (pred, truth) in enumerate(images):
        expected, ious = plain(pred, truth, len(NAMES), THINGS)
        found = [column[row].tolist() for column in (counts.matched, counts.extra, counts.missed)]
        assert found == expected
        assert counts.iou[row].tolist() == ious
    assert all(column.sum() > 100 for column in (counts.matched, counts.extra, counts.missed))


def test_scores_are_of_the_sums() -> None:
    images = list(pairs(40, seed=1))
    metric = counted(*images)
    rows = [plain(pred, truth, len(NAMES), THINGS) for pred, truth in images]
    pq, sq, rq = {}, {}, {}
    for index, name in enumerate(NAMES):
        tp, fp, fn = (sum(counts[kind][index] for counts, _ in rows) for kind in range(3))
        iou = math.fsum(ious[index] for _, ious in rows)
        pq[name], sq[name] = iou / (tp + fp / 2 + fn / 2), iou / tp
        rq[name] = tp / (tp + fp / 2 + fn / 2)
    values = metric.values()
    for kind, of_classes in (("PQ", pq), ("SQ", sq), ("RQ", rq)):
        assert {name: values[f"{kind}/{name}"] for name in NAMES} == of_classes
        groups = {"": NAMES, "_things": NAMES[2:], "_stuff": NAMES[:2]}
        for suffix, names in groups.items():
            assert values[f"{kind}{suffix}"] == math.fsum(of_classes[name] for name in names) / len(names)
    assert (
        PanopticScores(NAMES, THINGS, VOID, only="PQ_things")(*images[0], "0")
        == counted(images[0]).values()["PQ_things"]
    )


def test_equals_torchmetrics_where_that_follows_the_definition() -> None:
    """It knows no crowds, and takes what is predicted as void out of the truth, too, which the definition does not.

    Its IoUs are float32.
    """
    theirs = TheirQuality(set(THINGS), {0, 1}, allow_unknown_preds_category=True)
    images = []
    for (classes, numbers), truth in pairs(60, seed=2, crowds=False):
        pred = classes.where(classes != VOID, 0), numbers
        images.append((pred, truth))
        theirs.update(torch.stack(pred, -1)[None].int(), torch.stack(truth, -1)[None].int())
    counts, order = counted(*images).counts(), [2, 3, 4, 0, 1]  # things before stuff
    assert counts.matched.sum(axis=0)[order].tolist() == theirs.true_positives.tolist()
    assert counts.extra.sum(axis=0)[order].tolist() == theirs.false_positives.tolist()
    assert counts.missed.sum(axis=0)[order].tolist() == theirs.false_negatives.tolist()
    assert counts.iou.sum(axis=0)[order] == pytest.approx(theirs.iou_sum.numpy(), rel=1e-7)


def test_equals_the_definition_on_real_maps() -> None:
    metric = PanopticScores(CITYSCAPES_NAMES, CITYSCAPES_THINGS, VOID)
    for number, path in enumerate(cityscapes_files()):
        truth = cityscapes_pair(path)
        pred = moved(truth, number)
        metric.update(pred, truth, path.name)
        expected, ious = plain(pred, truth, 19, CITYSCAPES_THINGS)
        counts = metric.count(pred, truth)
        assert counts.table.tolist() == expected
        assert list(counts.sums) == ious
        assert metric.count(truth, truth).table[1:].sum() == 0
    assert 0.2 < metric.values()["PQ_things"] < 0.9


# --- the definition's corners -----------------------------------------------------------------------------------------


def row(text: str) -> Pair:
    """Return a map of one row: `.` void, `s` stuff, `c` crowd of class 2, digits objects of class 2, letters of 3."""
    classes = {".": VOID, "s": 0, "c": 2} | dict.fromkeys("123456789", 2) | dict.fromkeys("ABC", 3)
    numbers = {".": 0, "s": 0, "c": 0} | {digit: int(digit) for digit in "123456789"} | {"A": 1, "B": 2, "C": 3}
    return (
        torch.tensor([[classes[letter] for letter in text]], dtype=torch.uint8),
        torch.tensor([[numbers[letter] for letter in text]], dtype=torch.int32),
    )


@pytest.mark.parametrize(
    ("truth", "pred", "expected"),
    [
        ("1111", "1111", (1, 0, 0)),
        ("1111", "22ss", (0, 1, 1)),  # an IoU of a half is none
        ("111.", "1111", (1, 0, 0)),
        ("11..", "1111", (1, 0, 0)),  # void is taken out
        ("s1..", "1111", (0, 1, 1)),  # half of it void: a false positive
        ("s...", "1111", (0, 0, 0)),  # more than half
        ("scc.", "1111", (0, 0, 0)),  # crowd and void together
        ("sccc", "AAAA", (0, 0, 0)),  # of another class the crowd is no excuse (for class 3, below)
        ("cccc", "ssss", (0, 0, 0)),  # nor anything to be found
        ("1111", "....", (0, 0, 1)),
        ("1122", "1111", (0, 1, 2)),
        ("1122", "3333", (0, 1, 2)),
    ],
)
def test_void_and_crowd(truth: str, pred: str, expected: tuple[int, int, int]) -> None:
    table = PanopticScores(NAMES, THINGS, VOID).count(row(pred), row(truth)).table
    assert tuple(table[:, 2].tolist()) == expected
    assert table[1, 3] == ("A" in pred)


def test_one_number_in_two_classes_is_two_segments_and_numbers_of_stuff_mean_nothing() -> None:
    metric = PanopticScores(NAMES, THINGS, VOID)
    classes = torch.tensor([[2, 2, 3, 3, 0, 0]])
    table = metric.count(
        (classes, torch.tensor([[1, 1, 1, 1, 8, 9]])), (classes, torch.tensor([[5, 5, 5, 5, 0, 3]]))
    ).table
    assert table.tolist() == [[1, 0, 1, 1, 0], [0] * 5, [0] * 5]


def test_what_does_not_occur_is_nan() -> None:
    metric = PanopticScores(NAMES, THINGS, VOID)
    metric.update(row("ss"), row("ss"), "a")
    values = metric.values()
    assert values["PQ"] == values["PQ_stuff"] == values["PQ/road"] == 1
    assert math.isnan(values["PQ_things"])
    assert math.isnan(values["SQ/car"])
    assert math.isnan(PanopticScores(NAMES, THINGS, VOID).values()["PQ"])


def test_wrong_maps_are_refused() -> None:
    metric, good = PanopticScores(NAMES, THINGS, VOID), row("s1")
    with pytest.raises(DataError, match=r"\(1, 2\) of uint8.*\(1, 3\) of uint8.*one shape"):
        metric.update(row("s11"), good, "a")
    with pytest.raises(DataError, match="truth has a pixel of class 7: expected 0 to 4, or 255"):
        metric.update(good, (torch.tensor([[7, 0]]), good[1]), "a")
    with pytest.raises(DataError, match="prediction has an object of number -1"):
        metric.update((good[0], torch.tensor([[0, -1]])), good, "a")
    with pytest.raises(ConfigError, match="0 to 4; 5 is none"):
        PanopticScores(NAMES, (2, 5), VOID)


# --- the file ---------------------------------------------------------------------------------------------------------


def test_file_gives_the_counts_back(tmp_path: Path) -> None:
    metric = counted(*pairs(9))
    counts = metric.counts()
    counts.save(tmp_path / "panoptic.npz")
    again = PanopticCounts.load(tmp_path / "panoptic.npz")
    assert (again.class_names, again.things, again.sample_ids) == (NAMES, THINGS, counts.sample_ids)
    for name in ("matched", "extra", "missed", "iou"):
        assert np.array_equal(getattr(again, name), getattr(counts, name))
    assert again.quality().all == metric.quality().all
    assert again.image_quality("0003").all == counted(list(pairs(9))[3]).quality().all
    with pytest.raises(KeyError):
        again.image_quality("another")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"matched": np.full((2, 5), -1)}, "matched holds numbers that count nothing"),
        ({"iou": np.full((2, 5), np.nan)}, "iou holds numbers"),
        ({"iou": np.full((2, 5), 9.0)}, "more than its matches"),
        ({"missed": np.zeros((2, 4), np.int64)}, r"missed is int64 of shape \(2, 4\)"),
        ({"things": np.array([5])}, "things are no ids"),
        ({"sample_ids": np.array(["a", "a"])}, "an image twice"),
        ({"class_names": np.array([], dtype=np.str_)}, "names 0 classes"),
    ],
)
def test_damaged_files_are_refused(tmp_path: Path, change: dict[str, np.ndarray], message: str) -> None:
    path = tmp_path / "panoptic.npz"
    counted(*pairs(2)).counts().save(path)
    with np.load(path) as file:
        arrays = dict(file) | change
    with atomic_open(path) as out:
        np.savez(out, **arrays)
    with pytest.raises(DataError, match=message):
        PanopticCounts.load(path)
    with pytest.raises(DataError, match="Evaluate the checkpoint again"):
        PanopticCounts.load(tmp_path / "none.npz")
