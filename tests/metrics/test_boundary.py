"""Trimap curves, boundary IoU and BF score, each against a slow reference that compares all pixels with all."""

from __future__ import annotations

import itertools
import math
import os
import subprocess
import sys
from collections.abc import Iterator

import cv2
import numpy as np
import pytest
import torch

from deeplab_lightning.errors import ConfigError, DataError
from deeplab_lightning.metrics.boundary import distance_to, nearer_than
from deeplab_lightning.metrics.boundary_metrics import BFScore, BoundaryIoU, Trimap
from deeplab_lightning.metrics.by_image import ByImage
from deeplab_lightning.metrics.confusion import confusion_matrix

CLASSES = ("sky", "house", "tree", "car")
VOID = 255
Pair = tuple[np.ndarray, np.ndarray]


def blobs(seed: int, height: int = 22, width: int = 27, void: bool = True) -> Pair:
    """Return a prediction and a mask `(H, W)` uint8 of smooth regions that mostly agree; only one may have class 3."""
    draw = np.random.default_rng(seed)
    fields = [cv2.GaussianBlur(draw.normal(size=(height, width)), (0, 0), 3) for _ in range(4)]
    mask = np.argmax(fields[:3], axis=0).astype(np.uint8)
    other = [field + 0.4 * cv2.GaussianBlur(draw.normal(size=(height, width)), (0, 0), 2) for field in fields]
    pred = np.argmax(other[: 3 + seed % 2], axis=0).astype(np.uint8)
    if void:
        mask[np.abs(fields[0] - fields[1]) < 0.02] = VOID
        mask[5:8, 9:12] = VOID
    return pred, mask


PAIRS = [blobs(seed, 22 + seed, 27 - seed, void=seed != 2) for seed in range(5)]


def pixels(points: np.ndarray) -> list[tuple[int, int]]:
    return [(int(row), int(column)) for row, column in np.argwhere(points)]


def neighbours(row: int, column: int, shape: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    for down, right in ((-1, 0), (1, 0), (0, -1), (0, 1)):
        if 0 <= row + down < shape[0] and 0 <= column + right < shape[1]:
            yield row + down, column + right


def nearest(place: tuple[int, int], others: list[tuple[int, int]]) -> float:
    return min((math.dist(place, other) for other in others), default=math.inf)


def cut(pred: np.ndarray, mask: np.ndarray) -> np.ndarray:
    return np.where(mask == VOID, VOID, pred)


# --- references -----------------------------------------------------------------------------------------------------


def trimap_reference(pairs: list[Pair], width: int, around: str) -> np.ndarray:
    """Return the `(C, C)` counts within the band."""
    counts = np.zeros((4, 4), dtype=int)
    for pred, mask in pairs:
        for row, column in pixels(mask != VOID):
            label = mask[row, column]
            targets = mask == VOID if around == "void" else (mask != VOID) & (mask != label)
            if nearest((row, column), pixels(targets)) <= width:
                counts[label, pred[row, column]] += 1
    return counts


def boundary_iou_reference(pairs: list[Pair], ratio: float) -> list[float]:
    both, either = [0] * 4, [0] * 4
    for pred, mask in pairs:
        width = max(1, round(ratio * math.hypot(*mask.shape)))

        def band(ids: np.ndarray, index: int, width: int = width) -> set[tuple[int, int]]:
            """Pixels of the class with something else, the image's outside too, in the square around them."""
            padded = np.pad(ids == index, width)
            return {
                (row, column)
                for row, column in pixels(ids == index)
                if not padded[row : row + 2 * width + 1, column : column + 2 * width + 1].all()
            }

        for index in range(4):
            truth, predicted = band(mask, index), band(cut(pred, mask), index)
            both[index] += len(truth & predicted)
            either[index] += len(truth | predicted)
    return [inner / outer if outer else math.nan for inner, outer in zip(both, either, strict=True)]


def bf_reference(pairs: list[Pair], tolerance: float) -> tuple[float, dict[int, list[float]]]:
    """Return SegNet's mean and each class's F1 in the images where it counts."""
    of_images, of_classes = [], {index: [] for index in range(4)}
    for pred, mask in pairs:

        def contour(ids: np.ndarray, index: int) -> list[tuple[int, int]]:
            inside = ids == index
            return [
                place for place in pixels(inside) if any(not inside[near] for near in neighbours(*place, ids.shape))
            ]

        limit, here = tolerance * math.hypot(*mask.shape), []
        for index in range(4):
            if not (mask == index).any():
                continue
            truth, predicted = contour(mask, index), contour(cut(pred, mask), index)
            if not truth and not predicted:
                continue
            precision = sum(nearest(place, truth) < limit for place in predicted) / max(len(predicted), 1)
            recall = sum(nearest(place, predicted) < limit for place in truth) / max(len(truth), 1)
            here.append(2 * precision * recall / (precision + recall) if precision + recall else 0.0)
            of_classes[index].append(here[-1])
        if here:
            of_images.append(sum(here) / len(here))
    return sum(of_images) / len(of_images), of_classes


def measured(measure: ByImage, pairs: list[Pair] = PAIRS) -> ByImage:
    for number, (pred, mask) in enumerate(pairs):
        measure.update(pred, mask, str(number))
    return measure


# --- against the references -----------------------------------------------------------------------------------------


def test_distances_are_exact() -> None:
    points = np.random.default_rng(0).random((31, 47)) < 0.01
    expected = [[nearest(place, pixels(points)) for place in itertools.product([row], range(47))] for row in range(31)]
    assert np.allclose(distance_to(points), expected, rtol=1e-6, atol=0)
    assert np.isinf(distance_to(np.zeros((3, 4), dtype=bool))).all()


@pytest.mark.parametrize("limit", [0.3, 1, 1.42, 5, 6.8])
def test_nearer_than_is_what_the_distance_says(limit: float) -> None:
    points = np.random.default_rng(1).random((31, 47)) < 0.01
    assert np.array_equal(nearer_than(limit, points), distance_to(points) < limit)


@pytest.mark.parametrize("around", ["void", "boundaries"])
def test_trimap_equals_the_reference(around: str) -> None:
    curve = measured(Trimap(CLASSES, VOID, around, (1, 2, 5, 60))).scores()
    for place, width in enumerate(curve.widths):
        counts = trimap_reference(PAIRS, width, around)
        union = counts.sum(0) + counts.sum(1) - counts.diagonal()
        with np.errstate(invalid="ignore"):
            iou = counts.diagonal() / union
        assert np.array_equal(curve.iou[place], iou, equal_nan=True), width
        assert curve.mIoU[place] == pytest.approx(np.nanmean(iou), rel=1e-12)
        assert curve.pixels[place] == counts.sum()
        assert curve.pixel_acc[place] == counts.trace() / counts.sum()


def test_the_broadest_trimap_is_the_whole_image() -> None:
    pairs = [PAIRS[0], PAIRS[1]]
    curve = measured(Trimap(CLASSES, VOID, widths=(1, 100)), pairs).scores()
    whole = sum(confusion_matrix(torch.from_numpy(pred), torch.from_numpy(mask), 4, VOID) for pred, mask in pairs)
    assert curve.pixels[1] == int(whole.sum())
    assert curve.pixel_acc[1] == float(whole.diagonal().sum()) / float(whole.sum())


@pytest.mark.parametrize("ratio", [0.01, 0.08, 0.15])
def test_boundary_iou_equals_the_reference(ratio: float) -> None:
    scores = measured(BoundaryIoU(CLASSES, VOID, ratio)).scores()
    expected = boundary_iou_reference(PAIRS, ratio)
    assert np.array_equal(scores.iou, expected, equal_nan=True)
    assert scores.mean == pytest.approx(np.nanmean(expected), rel=1e-12)


@pytest.mark.parametrize("tolerance", [0.0075, 0.04, 0.1])
def test_bf_score_equals_the_reference(tolerance: float) -> None:
    scores = measured(BFScore(CLASSES, VOID, tolerance)).scores()
    mean, of_classes = bf_reference(PAIRS, tolerance)
    assert scores.mean == pytest.approx(mean, rel=1e-12)
    assert scores.images.tolist() == [len(values) for values in of_classes.values()]
    for index, values in of_classes.items():
        assert np.isnan(scores.f1[index]) if not values else scores.f1[index] == pytest.approx(np.mean(values))


# --- what all three promise -----------------------------------------------------------------------------------------

ALL = [
    lambda: Trimap(CLASSES, VOID),
    lambda: Trimap(CLASSES, VOID, "void", (1, 3)),
    lambda: BoundaryIoU(CLASSES, VOID, 0.05),
    lambda: BFScore(CLASSES, VOID, 0.05),
]


def numbers(measure: ByImage) -> list[np.ndarray]:
    result = measure.scores()
    return [np.asarray(getattr(result, name)) for name in ("mean", "mIoU", "iou", "f1") if hasattr(result, name)]


def assert_equal(one: ByImage, other: ByImage) -> None:
    for mine, theirs in zip(numbers(one), numbers(other), strict=True):
        assert np.array_equal(mine, theirs, equal_nan=True)


@pytest.mark.parametrize("make", ALL)
def test_right_on_all_labelled_pixels_is_1_and_void_has_no_influence(make) -> None:  # type: ignore[no-untyped-def]
    draw = np.random.default_rng(5)
    right, void_redrawn = make(), make()
    for number, (pred, mask) in enumerate(PAIRS[:2]):
        noise = draw.integers(0, 4, mask.shape).astype(np.uint8)
        right.update(np.where(mask == VOID, noise, mask), mask, str(number))
        void_redrawn.update(np.where(mask == VOID, noise, pred), mask, str(number))
    assert all((np.isnan(values) | (values == 1)).all() and (values == 1).any() for values in numbers(right))
    assert_equal(void_redrawn, measured(make(), PAIRS[:2]))


@pytest.mark.parametrize("make", ALL)
def test_order_repeats_and_merging_change_nothing(make) -> None:  # type: ignore[no-untyped-def]
    whole, first, second = measured(make()), make(), make()
    for number in (4, 0, 2):
        first.update(*PAIRS[number], str(number))
    for number in (1, 2, 3):  # 2 is in both, as a sampler that pads the set would have it
        second.update(*PAIRS[number], str(number))
    second.update(*PAIRS[1], "1")
    first.merge_state(second)
    assert_equal(first, whole)


@pytest.mark.parametrize("make", ALL)
def test_tensors_and_other_ignored_values_give_the_same(make) -> None:  # type: ignore[no-untyped-def]
    tensors, negative = make(), make()
    negative.ignore_index = -100
    for number, (pred, mask) in enumerate(PAIRS):
        tensors.update(torch.from_numpy(pred), torch.from_numpy(mask).long(), str(number))
        negative.update(pred, np.where(mask == VOID, -100, mask.astype(np.int64)), str(number))
    assert_equal(tensors, measured(make()))
    assert_equal(negative, measured(make()))


@pytest.mark.parametrize("make", ALL)
def test_what_cannot_be_measured_is_refused(make) -> None:  # type: ignore[no-untyped-def]
    pred, mask = PAIRS[0]
    with pytest.raises(DataError, match="do not fit together"):
        make().update(pred[1:], mask, "a")
    with pytest.raises(DataError, match="prediction is no class: found 9"):
        make().update(np.where(mask == 1, 9, pred), mask, "a")
    with pytest.raises(DataError, match="label is no class: found 7, with 4 classes and ignore_index 255"):
        make().update(pred, np.where(mask == 1, 7, mask), "a")
    with pytest.raises(DataError, match="float32"):
        make().update(pred.astype(np.float32), mask, "a")
    with pytest.raises(DataError, match=r"no image|No labelled pixel"):
        make().scores()
    with pytest.raises(DataError, match="cannot be merged"):
        make().merge_state(Trimap(CLASSES, VOID, widths=(17,)))


def test_a_shifted_square() -> None:
    """By hand: a square of 10 x 10 and the same one pixel to the right, in an image whose diagonal is 50."""
    mask, pred = np.zeros((30, 40), np.uint8), np.zeros((30, 40), np.uint8)
    mask[10:20, 10:20] = 1
    pred[10:20, 11:21] = 1
    measure = measured(BoundaryIoU(CLASSES[:2], VOID, 0.02), [(pred, mask)])  # a ring 1 pixel wide: 36 pixels
    assert measure.scores().iou[1] == (2 * 9) / (2 * 36 - 2 * 9)
    near = measured(BFScore(CLASSES[:2], VOID, 1.1 / 50), [(pred, mask)]).scores()
    exact = measured(BFScore(CLASSES[:2], VOID, 1 / 50), [(pred, mask)]).scores()  # nearer than 1: on the same pixel
    assert near.f1[1] == 1
    assert exact.f1[1] == 18 / 36
    trimap = measured(Trimap(CLASSES[:2], VOID, widths=(1,)), [(pred, mask)]).scores()
    # The band: 36 pixels within, 40 outside. Wrong are the column lost within, and that won outside.
    assert trimap.pixels[0] == 76
    assert trimap.pixel_acc[0] == (76 - 20) / 76


def test_classes_that_do_not_count() -> None:
    full = np.zeros((8, 8), np.uint8)
    scores = measured(BFScore(CLASSES, VOID), [(full, full)]).scores()
    assert math.isnan(scores.mean)  # without contour there is nothing to score
    half = full.copy()
    half[:, 4:] = 3
    scores = measured(BFScore(CLASSES, VOID), [(half, full), (half, half)]).scores()
    assert scores.f1[0] == 0.5  # a contour where the truth has none is 0; class 3 counts only where the truth has it
    assert scores.f1[3] == 1
    assert scores.images.tolist() == [2, 0, 0, 1]
    assert scores.mean == 0.5
    iou = measured(BoundaryIoU(CLASSES, VOID), [(full, full)]).scores()
    assert iou.iou[0] == 1  # the image's edge is contour
    assert np.isnan(iou.iou[1:]).all()


def test_no_void_to_lie_around() -> None:
    with pytest.raises(DataError, match="no void: use around='boundaries'"):
        measured(Trimap(CLASSES, VOID, "void"), [blobs(2, void=False)]).scores()


@pytest.mark.parametrize(
    "make",
    [
        lambda: Trimap(CLASSES, VOID, "edges"),  # type: ignore[arg-type]
        lambda: Trimap(CLASSES, VOID, widths=(0, 1)),
        lambda: Trimap(CLASSES, VOID, widths=(2, 1)),
        lambda: Trimap(CLASSES, VOID, widths=()),
        lambda: BoundaryIoU(CLASSES, VOID, 0),
        lambda: BFScore(CLASSES, VOID, 2),
    ],
)
def test_settings_that_make_no_sense(make) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ConfigError):
        make()


GATHER = """
import sys
from torch import distributed
from deeplab_lightning.metrics.boundary_metrics import BoundaryIoU
from tests.metrics.test_boundary import CLASSES, PAIRS, VOID
rank = int(sys.argv[1])
distributed.init_process_group("gloo", init_method=f"file://{sys.argv[2]}", rank=rank, world_size=2)
measure = BoundaryIoU(CLASSES, VOID)
for number in (0, 2, 4) if rank == 0 else (1, 3, 0):  # 0 is in both
    measure.update(*PAIRS[number], str(number))
measure.sync()
print(list(measure.images()), measure.scores().iou.tolist())
"""


def test_two_processes_give_what_one_gives(tmp_path) -> None:  # type: ignore[no-untyped-def]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([os.getcwd(), os.environ.get("PYTHONPATH", "")])}
    both = [
        subprocess.Popen(
            [sys.executable, "-c", GATHER, str(rank), str(tmp_path / "meet")],
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for rank in range(2)
    ]
    alone = measured(BoundaryIoU(CLASSES, VOID))
    expected = f"{list(alone.images())} {alone.scores().iou.tolist()}"
    assert [process.communicate(timeout=300)[0].strip() for process in both] == [expected] * 2
