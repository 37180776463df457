"""Average precision of scored objects, in Cityscapes' way or in COCO's, counted image by image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import torch

from ..errors import ConfigError, DataError
from .by_image import ByImage, CountedImage
from .segments import VOID, Overlaps, checked_things, overlaps

Way = Literal["cityscapes", "coco"]

CITYSCAPES_OVERLAPS = np.arange(0.5, 1.0, 0.05)
COCO_OVERLAPS = np.linspace(0.5, 0.95, 10)
"""The same but for rounding; either is the program's own."""
COCO_RECALLS = np.linspace(0, 1, 101)
SMALLEST_REGION = 100
"""Pixels below which Cityscapes leaves an object of the truth out."""
MOST_DETECTIONS = 100
"""Of a class in an image, that COCO looks at."""
_FIELDS = 4
"""Numbers kept of a predicted object: class, score, and at which overlaps it is a hit, and ignored, as bits."""


class Objects(NamedTuple):
    """The predicted objects of an image; masks do not overlap."""

    numbers: Any
    """`(H, W)` integer tensor or array: `k` in `1..n` where object `k` is, 0 elsewhere."""
    classes: Any
    """`(n,)` train ids: `classes[k - 1]` is that of object `k`."""
    scores: Any
    """`(n,)` floats, the higher the surer."""


class InstancePrecision(ByImage):
    """AP of predicted objects: the area below precision over recall, averaged over ten overlaps and over the classes.

    `way` says by whose program:

    **`cityscapes`**, as `evalInstanceLevelSemanticLabeling` of cityscapesScripts:

    - Overlaps 0.5, 0.55, ... 0.95; an object is found when its IoU with a predicted one is *above* that.
    - Objects of the truth below `SMALLEST_REGION` pixels, and groups (number 0), are left out. A predicted object that
      matches one of those, or more of which than the overlap (as a share of its pixels) is void, group or such a small
      object, is left out as well. A group that is small counts twice in that share, as it does there.
    - Precision and recall at each score that occurs, and a last point of precision 1 and recall 0; a point's precision
      counts for half the way to either neighbour in recall.

    **`coco`**, as pycocotools' COCOeval with `iouType="segm"`, area range `all` and 100 detections:

    - Overlaps as before; an IoU *equal* to one is enough. The surest predicted object chooses first, of the objects of
      the truth that are left the one of the largest IoU.
    - A crowd (number 0) is no object to be found; a predicted object that matches nothing else is left out if so large
      a share of it lies in the crowd of its class.
    - Of a class in an image at most `MOST_DETECTIONS` count, the surest. Void is background, as COCO has none.
    - Precision is made to fall (the highest at that recall or above counts), and averaged over 101 recalls.

    `compute` returns `AP`, `AP50` (overlap 0.5 alone), and `AP/<class>`, `AP50/<class>` of the things; NaN where the
    truth has no object. Of equal scores the image whose id is first in the alphabet comes first, then the lower number;
    it matters to COCO's way alone.

    `update(preds, truths, sample_ids)` takes lists with an `Objects` and a pair `(classes, numbers)` (see
    `metrics.segments`) for each image, on any device; or one of each, with its id. An object without a pixel does not
    count in Cityscapes' way, and is a false positive in COCO's.

    Args:
        class_names: One per class.
        things: Train ids of the classes that have objects.
        ignore_index: Void, in the truth.
        way: Whose.
        options: Of `ByImage`: `only`, and torchmetrics' own.

    Raises:
        ConfigError: A thing is no class, or there is no such way.
    """

    def __init__(
        self,
        class_names: Sequence[str],
        things: Sequence[int],
        ignore_index: int,
        way: Way = "cityscapes",
        **options: Any,
    ) -> None:
        if way not in ("cityscapes", "coco"):
            raise ConfigError(f"Average precision is computed in the way of 'cityscapes' or 'coco', not {way!r}.")
        self.things, self.way = checked_things(things, class_names), way
        protocol = f"instance AP, {way}, things {' '.join(map(str, self.things))}"
        super().__init__(protocol, class_names, ignore_index, (), **options)

    def count(self, pred: Objects, truth: Any) -> CountedImage:
        """Return how many objects of each class there are to be found, and of each predicted one what became of it."""
        numbers, classes, scores = self._checked(pred)
        found, areas = self._overlaps(numbers, classes, truth)
        outcomes = _outcomes_of_cityscapes if self.way == "cityscapes" else _outcomes_of_coco
        wanted, rows = outcomes(found, areas, classes, scores, self.things)
        sums = [number for row in rows for number in row]
        return CountedImage(np.array(self.things, dtype=np.int64), wanted, np.array(sums, dtype=np.float64))

    def values(self) -> dict[str, float]:
        """Return what `compute` does."""
        precision = self.precision()
        known = ~np.isnan(precision[:, 0])
        names = [self.class_names[index] for index in self.things]
        values = {
            "AP": _mean(precision[known].ravel()),
            "AP50": _mean(precision[known, 0]),
        }
        values |= {f"AP/{name}": _mean(row) for name, row in zip(names, precision, strict=True)}
        return values | {f"AP50/{name}": float(row[0]) for name, row in zip(names, precision, strict=True)}

    def precision(self) -> np.ndarray:
        """Return the average precision of each thing class at each overlap, `(things, 10)` float64 in 0..1, or NaN."""
        images = list(self.images().values())
        wanted = np.zeros(len(self.class_names), dtype=np.int64)
        for image in images:
            wanted[image.cells] += image.counts
        rows = np.concatenate([np.zeros((0, _FIELDS)), *(image.sums.reshape(-1, _FIELDS) for image in images)])
        average = _average_of_cityscapes if self.way == "cityscapes" else _average_of_coco
        precision = np.full((len(self.things), len(COCO_OVERLAPS)), np.nan)
        for place, index in enumerate(self.things):
            of_class = rows[rows[:, 0] == index]
            hits, ignored = of_class[:, 2:].astype(np.int64).T
            for number in range(precision.shape[1] if wanted[index] else 0):
                used = (ignored >> number & 1) == 0
                scores, hit = of_class[used, 1], (hits[used] >> number & 1) == 1
                precision[place, number] = average(scores, hit, int(wanted[index]))
        return precision

    def _checked(self, pred: Objects) -> tuple[torch.Tensor, np.ndarray, np.ndarray]:
        """Return numbers, classes and scores, checked."""
        numbers = torch.as_tensor(pred.numbers)
        classes = torch.as_tensor(pred.classes).cpu().numpy().astype(np.int64)
        scores = torch.as_tensor(pred.scores).detach().cpu().numpy().astype(np.float64)
        if classes.ndim != 1 or classes.shape != scores.shape:
            raise DataError(f"Objects of classes {classes.shape} and scores {scores.shape}: expected one of each.")
        if not np.isin(classes, self.things).all():
            wrong = classes[~np.isin(classes, self.things)][0]
            raise DataError(f"A predicted object is of class {wrong}, which has no objects: expected {self.things}.")
        if not np.isfinite(scores).all():
            raise DataError(f"A predicted object has the score {scores[~np.isfinite(scores)][0]}.")
        if numbers.is_floating_point() or (
            numbers.numel() and not 0 <= int(numbers.min()) <= int(numbers.max()) <= len(classes)
        ):
            raise DataError(
                f"Numbers of objects are {numbers.dtype} from {numbers.min()} to {numbers.max()}: expected integers "
                f"from 0 to {len(classes)}, as there are so many classes."
            )
        return numbers, classes, scores

    def _overlaps(self, numbers: torch.Tensor, classes: np.ndarray, truth: Any) -> tuple[Overlaps, np.ndarray]:
        """Return what predicted objects share with the truth, a column for each of them, and how large they are."""
        table = torch.tensor([self.ignore_index, *classes], dtype=torch.int64, device=numbers.device)
        found = overlaps((table[numbers.long()], numbers), truth, len(self.class_names), self.things, self.ignore_index)
        pixels = np.zeros((len(found.truth_classes), len(classes)), dtype=np.int64)
        there = found.pred_classes != VOID
        pixels[:, found.pred_numbers[there] - 1] = found.pixels[:, there]
        sizes = found.pixels.sum(axis=1)
        return found._replace(pixels=pixels), sizes


def _outcomes_of_cityscapes(
    found: Overlaps, sizes: np.ndarray, classes: np.ndarray, scores: np.ndarray, things: Sequence[int]
) -> tuple[np.ndarray, list[tuple[float, ...]]]:
    """Return the objects to be found of each thing class, and a row for each predicted one.

    Args:
        found: Its columns are the predicted objects.
        sizes: `(t,)` pixels of the truth's segments.
        classes: `(n,)` of the predicted objects.
        scores: Likewise.
        things: Train ids.
    """
    group, small = found.crowd(things), sizes < SMALLEST_REGION
    object_ = np.isin(found.truth_classes, things)
    areas = found.pixels.sum(axis=0)
    same = object_[:, None] & (found.truth_classes[:, None] == classes)
    iou = np.where(same, found.pixels / np.maximum(sizes[:, None] + areas - found.pixels, 1), 0)
    real = object_ & ~group & ~small
    times = group.astype(np.int64) + small  # a small group is taken for both
    passed_over = found.void_pixels + np.where(same, found.pixels * times[:, None], 0).sum(axis=0)
    share = passed_over / np.maximum(areas, 1)
    rows: list[tuple[float, ...]] = []
    for index in np.flatnonzero(areas):
        best = iou[real, index].max(initial=0) > CITYSCAPES_OVERLAPS
        excused = (
            share[index] > CITYSCAPES_OVERLAPS
        )  # so is what matches a small object or a group: its share is larger
        rows.append((classes[index], scores[index], _bits(best), _bits(excused & ~best)))
    return _of_things(found.truth_classes[real], things), rows


def _outcomes_of_coco(
    found: Overlaps, sizes: np.ndarray, classes: np.ndarray, scores: np.ndarray, things: Sequence[int]
) -> tuple[np.ndarray, list[tuple[float, ...]]]:
    """Likewise."""
    crowd = found.crowd(things)
    object_ = np.isin(found.truth_classes, things)
    areas = found.pixels.sum(axis=0)
    union = np.where(crowd[:, None], areas, sizes[:, None] + areas - found.pixels)
    iou = found.pixels / np.maximum(union, 1)
    rows: list[tuple[float, ...]] = []
    for class_id in np.unique(classes).tolist():
        own = np.flatnonzero(classes == class_id)
        own = own[np.argsort(-scores[own], kind="stable")][:MOST_DETECTIONS]
        of_class = object_ & (found.truth_classes == class_id)
        real, crowds = np.flatnonzero(of_class & ~crowd), np.flatnonzero(of_class & crowd)
        taken = np.zeros((len(COCO_OVERLAPS), len(real)), dtype=bool)
        for index in own:
            hit, ignored = np.zeros((2, len(COCO_OVERLAPS)), dtype=bool)
            in_crowd = iou[crowds, index].max(initial=0)
            for number, overlap in enumerate(COCO_OVERLAPS.tolist()):
                free = np.where(taken[number], -1, iou[real, index])
                if len(real) and free.max() >= overlap:
                    hit[number] = True
                    taken[number, free.argmax()] = True
                else:
                    ignored[number] = in_crowd >= overlap
            rows.append((class_id, scores[index], _bits(hit), _bits(ignored)))
    return _of_things(found.truth_classes[object_ & ~crowd], things), rows


def _average_of_cityscapes(scores: np.ndarray, hit: np.ndarray, wanted: int) -> float:
    """Return the average precision of one class at one overlap.

    Args:
        scores: `(n,)` of predicted objects that count.
        hit: `(n,)` bool, whether they are right.
        wanted: Objects to be found, at least one.
    """
    if not len(scores):
        return 0.0
    order = np.argsort(scores, kind="stable")
    _, first = np.unique(scores[order], return_index=True)
    right = np.append(np.cumsum(hit[order][::-1])[::-1], 0)[first]  # at this score or above
    precision = np.append(right / (len(scores) - first), 1.0)
    recall = np.append(right / wanted, 0.0)
    padded = np.concatenate([recall[:1], recall, [0.0]])
    return float(np.dot(precision, (padded[:-2] - padded[2:]) / 2))


def _average_of_coco(scores: np.ndarray, hit: np.ndarray, wanted: int) -> float:
    """Likewise."""
    right = np.cumsum(hit[np.argsort(-scores, kind="stable")])
    recall = right / wanted
    precision = right / (np.arange(1, len(right) + 1) + np.spacing(1))
    falling = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
    return float(np.mean(falling[np.searchsorted(recall, COCO_RECALLS, side="left")]))


def _of_things(classes: np.ndarray, things: Sequence[int]) -> np.ndarray:
    """Return how many of these are of each thing class, int64."""
    return np.array([(classes == index).sum() for index in things], dtype=np.int64)


def _bits(flags: np.ndarray) -> float:
    return float((flags << np.arange(len(flags))).sum())


def _mean(values: np.ndarray) -> float:
    return math.fsum(values) / len(values) if len(values) else math.nan
