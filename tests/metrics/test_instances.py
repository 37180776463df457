"""AP against pycocotools in COCO's way, and in Cityscapes' against a plain program after its definition."""

from __future__ import annotations

import contextlib
import io
import math
from typing import Any

import numpy as np
import pytest
import torch
from pycocotools import mask as rle
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from deeplab_lightning.errors import ConfigError, DataError
from deeplab_lightning.metrics import instances
from deeplab_lightning.metrics.instances import InstancePrecision, Objects, Way

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

Image = tuple[Objects, Pair]


def objects_of(pred: Pair, rng: np.random.Generator, levels: int = 1000) -> Objects:
    """Return a predicted map's objects, of one class each, with scores that are often equal if of few `levels`."""
    classes, numbers = pred
    map_, of_objects = torch.zeros_like(numbers), []
    for found in [number for number in numbers.unique().tolist() if number]:
        inside = numbers == found
        of_objects.append(int(classes[inside].mode().values))
        map_[inside] = len(of_objects)
    return Objects(map_, torch.tensor(of_objects), torch.tensor(rng.integers(0, levels, len(of_objects)) / levels))


def drawn(count: int, seed: int, levels: int = 1000, crowds: bool = True) -> list[Image]:
    rng = np.random.default_rng(seed)
    return [(objects_of(pred, rng, levels), truth) for pred, truth in pairs(count, seed, crowds)]


def real() -> list[Image]:
    """Return real truths at a third of their size, with predictions that are much like them."""
    rng, images = np.random.default_rng(0), []
    for number, path in enumerate(cityscapes_files()):
        truth = cityscapes_pair(path)
        pred, truth = (tuple(entry[::3, ::3] for entry in pair) for pair in (moved(truth, number), truth))
        images.append((objects_of(pred, rng), truth))
    return images


def scored(images: list[Image], way: Way, names: Any = NAMES, things: tuple[int, ...] = THINGS) -> InstancePrecision:
    metric = InstancePrecision(names, things, VOID, way)
    preds, truths = zip(*images, strict=True)
    metric.update(list(preds), list(truths), [f"{number:04}" for number in range(len(images))])
    return metric


def true_objects(truth: Pair, things: tuple[int, ...]) -> list[tuple[int, int, np.ndarray]]:
    """Return class, number (0: a crowd) and mask of each object, and each crowd, of a truth."""
    classes, numbers = (entry.numpy() for entry in truth)
    both = np.unique(classes.astype(np.int64) * 100000 + numbers)
    found = [divmod(int(key), 100000) for key in both if key // 100000 in things]
    return [(index, number, (classes == index) & (numbers == number)) for index, number in found]


# --- COCO -------------------------------------------------------------------------------------------------------------


def by_pycocotools(images: list[Image], things: tuple[int, ...]) -> np.ndarray:
    """Return `(things, 10)` average precision, NaN where there is nothing to be found."""
    truths, preds = [], []

    def encoded(mask: np.ndarray) -> dict[str, Any]:
        return {"segmentation": rle.encode(np.asfortranarray(mask.astype(np.uint8))), "area": int(mask.sum())}

    for number, (pred, truth) in enumerate(images, 1):
        for class_id, own, mask in true_objects(truth, things):
            entry = {"id": len(truths) + 1, "image_id": number, "category_id": class_id, "iscrowd": int(own == 0)}
            truths.append(entry | encoded(mask))
        for own, (class_id, score) in enumerate(zip(pred.classes.tolist(), pred.scores.tolist(), strict=True), 1):
            entry = {"image_id": number, "category_id": class_id, "score": score}
            preds.append(entry | encoded((pred.numbers == own).numpy()))
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "images": [
                {"id": number, "height": pred.numbers.shape[0], "width": pred.numbers.shape[1]}
                for number, (pred, _) in enumerate(images, 1)
            ],
            "categories": [{"id": index} for index in things],
            "annotations": truths,
        }
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(preds), "segm")
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][:, :, :, 0, 2]  # overlaps, recalls, classes; all areas, 100 detections
    return np.where(precision[:, 0] < 0, np.nan, precision.mean(axis=1)).T


@pytest.mark.parametrize("levels", [1000, 3])
def test_coco_equals_pycocotools_on_random_maps(levels: int) -> None:
    images = drawn(500, seed=3, levels=levels)
    assert scored(images, "coco").precision() == pytest.approx(by_pycocotools(images, THINGS), abs=1e-14)


def test_coco_equals_pycocotools_on_real_maps() -> None:
    images = real()
    metric = scored(images, "coco", CITYSCAPES_NAMES, CITYSCAPES_THINGS)
    expected = by_pycocotools(images, CITYSCAPES_THINGS)
    assert metric.precision() == pytest.approx(expected, abs=1e-14, nan_ok=True)
    assert metric.values()["AP"] == pytest.approx(np.nanmean(expected), abs=1e-14)
    assert metric.values()["AP50"] == pytest.approx(np.nanmean(expected[:, 0]), abs=1e-14)
    assert 0.05 < metric.values()["AP50"] < 0.9


def test_coco_in_its_corners() -> None:
    """Halves, which are enough there, and more objects than count."""
    halves = torch.tensor([[1, 1, 2, 2, 0, 0, 3, 3, 3, 3]])
    truth = torch.full((1, 10), 2), torch.tensor([[1, 1, 1, 1, 0, 0, 2, 2, 3, 3]])
    many = torch.arange(1, 251).reshape(1, 250)
    truth_of_many = torch.full((1, 250), 2), torch.arange(1, 251).reshape(1, 250)
    images = [
        (Objects(halves, torch.tensor([2, 2, 2]), torch.tensor([0.4, 0.8, 0.6])), truth),
        (Objects(many, torch.full((250,), 2), torch.linspace(0, 1, 250)), truth_of_many),
    ]
    precision = scored(images, "coco").precision()
    assert precision == pytest.approx(by_pycocotools(images, THINGS), abs=1e-14, nan_ok=True)
    assert precision[0, 0] < 0.45  # 100 of 250


# --- Cityscapes -------------------------------------------------------------------------------------------------------


def by_definition(images: list[Image], things: tuple[int, ...], smallest: int) -> np.ndarray:
    """Return `(things, 10)` average precision, object by object and score by score."""
    table = np.full((len(things), 10), np.nan)
    for row, class_id in enumerate(things):
        wanted, objects = 0, []
        for image in images:
            more, found = _beside_the_truth(image, class_id, smallest)
            wanted += more
            objects += found
        for column, overlap in enumerate(np.arange(0.5, 1.0, 0.05)):
            outcomes = []
            for score, ious, ious_left_out, ignored in objects:
                is_hit = any(iou > overlap for iou in ious)
                is_left_out = ignored > overlap or any(iou > overlap for iou in ious_left_out)
                if is_hit or not is_left_out:
                    outcomes.append((score, is_hit))
            table[row, column] = _area(outcomes, wanted) if wanted else np.nan
    return table


def _beside_the_truth(
    image: Image, class_id: int, smallest: int
) -> tuple[int, list[tuple[float, list[float], list[float], float]]]:
    """Return how many there are to be found, and each predicted one's score, IoUs, and the share that excuses it."""
    pred, truth = image
    truths = [(number, mask) for _, number, mask in true_objects(truth, (class_id,))]
    void, found = truth[0].numpy() == VOID, []
    for own in (torch.nonzero(torch.as_tensor(pred.classes) == class_id)[:, 0] + 1).tolist():
        mask = (pred.numbers == own).numpy()
        ignored, ious, left_out = int((mask & void).sum()), [], []
        for number, other in truths:
            both = int((mask & other).sum())
            times = (number == 0) + int(other.sum() < smallest)
            (left_out if times else ious).append(both / int((mask | other).sum()))
            ignored += both * times
        found.append((float(pred.scores[own - 1]), ious, left_out, ignored / int(mask.sum())))
    return sum(number > 0 and bool(mask.sum() >= smallest) for number, mask in truths), found


def _area(outcomes: list[tuple[float, bool]], wanted: int) -> float:
    """Return the area below precision over recall, from scores and whether they are hits."""
    points = [(0.0, 1.0)]
    for score in sorted({score for score, _ in outcomes}, reverse=True):
        above = [hit for other, hit in outcomes if other >= score]
        points.append((sum(above) / wanted, sum(above) / len(above)))
    recalls = [0.0, *(recall for recall, _ in points), points[-1][0]]
    areas = [precision * (recalls[n + 2] - recalls[n]) / 2 for n, (_, precision) in enumerate(points)]
    return math.fsum(areas) if outcomes else 0.0


@pytest.mark.parametrize("levels", [1000, 3])
def test_cityscapes_equals_its_definition_on_random_maps(monkeypatch: pytest.MonkeyPatch, levels: int) -> None:
    monkeypatch.setattr(instances, "SMALLEST_REGION", 20)  # the maps are small
    images = drawn(120, seed=4, levels=levels)
    expected = by_definition(images, THINGS, smallest=20)
    assert scored(images, "cityscapes").precision() == pytest.approx(expected, abs=1e-14)


def test_cityscapes_gives_the_same_for_any_number_of_small_groups() -> None:
    """A region that is group and small counts twice where it excuses, as in the program."""
    numbers = torch.zeros(1, 100, dtype=torch.int32)
    numbers[0, :40] = 1
    group = torch.zeros(1, 100, dtype=torch.uint8)
    group[0, 10:22] = 2  # 12 of 40 pixels, and twice that is more than the half
    pred = Objects(numbers, torch.tensor([2]), torch.tensor([0.5]))
    metric = InstancePrecision(NAMES, THINGS, VOID)
    sums = metric.count(pred, (group, torch.zeros(1, 100, dtype=torch.int32))).sums
    assert sums.tolist() == [2, 0.5, 0, 0b0000000011]


def test_cityscapes_on_real_maps() -> None:
    images = real()
    metric = scored(images, "cityscapes", CITYSCAPES_NAMES, CITYSCAPES_THINGS)
    expected = by_definition(images, CITYSCAPES_THINGS, smallest=100)
    assert metric.precision() == pytest.approx(expected, abs=1e-14, nan_ok=True)
    assert metric.values()["AP"] == pytest.approx(np.nanmean(expected), abs=1e-14)


# --- either way -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["cityscapes", "coco"])
def test_all_found_is_one_and_none_is_zero(way: Way) -> None:
    classes = torch.full((20, 30), 2, dtype=torch.uint8)
    numbers = torch.arange(1, 4).repeat_interleave(200).reshape(20, 30)
    found = Objects(numbers, torch.tensor([2, 2, 2]), torch.tensor([0.1, 0.5, 0.9]))
    nothing = Objects(torch.zeros_like(numbers), torch.tensor([]), torch.tensor([]))
    assert scored([(found, (classes, numbers))], way).values()["AP"] == pytest.approx(1)
    values = scored([(nothing, (classes, numbers))], way).values()
    assert (values["AP"], values["AP50"], values["AP/car"]) == (0, 0, 0)
    assert math.isnan(values["AP/person"])
    assert list(values) == ["AP", "AP50", *(f"{kind}/{name}" for kind in ("AP", "AP50") for name in NAMES[2:])]
    assert math.isnan(InstancePrecision(NAMES, THINGS, VOID, way).values()["AP"])


def test_wrong_objects_are_refused() -> None:
    truth = torch.zeros(1, 2, dtype=torch.uint8), torch.zeros(1, 2, dtype=torch.int32)
    metric = InstancePrecision(NAMES, THINGS, VOID)
    for numbers, classes, scores, message in (
        ([[1, 2]], [2], [0.5], "from 1 to 2: expected integers from 0 to 1"),
        ([[0, 1]], [0], [0.5], "of class 0, which has no objects"),
        ([[0, 1]], [2], [0.5, 0.5], "one of each"),
        ([[0, 1]], [2], [math.nan], "score nan"),
    ):
        with pytest.raises(DataError, match=message):
            metric.update(Objects(torch.tensor(numbers), torch.tensor(classes), torch.tensor(scores)), truth, "a")
    with pytest.raises(ConfigError, match="'cityscapes' or 'coco', not 'voc'"):
        InstancePrecision(NAMES, THINGS, VOID, "voc")
