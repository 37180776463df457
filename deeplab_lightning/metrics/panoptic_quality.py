"""From matched segments to PQ, SQ and RQ, and what is kept of each image. Numpy only, as reports need no torch.

Kirillov and others, Panoptic Segmentation (CVPR 2019), section 4. With the matched pairs TP, the predicted segments
that match nothing FP, and those of the truth that nothing matches FN, for each class

    PQ = sum of the IoU of TP / (TP + FP / 2 + FN / 2)    SQ = mean IoU of TP    RQ = TP / (TP + FP / 2 + FN / 2)

A class without any of the three is absent: its scores are NaN and enter no mean. One without TP has SQ 0, as in COCO's
panopticapi. Hence the mean PQ is not the product of mean SQ and mean RQ.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..errors import DataError
from ..files import atomic_open
from ..npz import read_npz
from .per_image import MOST_CLASSES


class Qualities(NamedTuple):
    """Means over classes, in 0..1; NaN where none of them occurs."""

    pq: float
    sq: float
    rq: float
    classes: int
    """How many are averaged."""


@dataclass(frozen=True, eq=False)
class PanopticQuality:
    """Scores of each class, and their means.

    Attributes:
        class_names: `C` names.
        things: Train ids of the classes that have objects; all others are stuff.
        pq: `(C,)` float64 in 0..1, NaN for a class that does not occur; so are `sq` and `rq`.
        sq: Segmentation quality.
        rq: Recognition quality.
        matched: `(C,)` int64, TP.
        extra: `(C,)` int64, FP.
        missed: `(C,)` int64, FN.
    """

    class_names: tuple[str, ...]
    things: tuple[int, ...]
    pq: np.ndarray
    sq: np.ndarray
    rq: np.ndarray
    matched: np.ndarray
    extra: np.ndarray
    missed: np.ndarray

    @property
    def all(self) -> Qualities:
        """Over all classes."""
        return self._mean(np.ones(len(self.class_names), dtype=bool))

    @property
    def of_things(self) -> Qualities:
        """Over the classes that have objects."""
        return self._mean(self.is_thing)

    @property
    def of_stuff(self) -> Qualities:
        """Over the others."""
        return self._mean(~self.is_thing)

    @property
    def is_thing(self) -> np.ndarray:
        """`(C,)` bool."""
        return np.isin(np.arange(len(self.class_names)), self.things)

    def _mean(self, wanted: np.ndarray) -> Qualities:
        used = wanted & ~np.isnan(self.pq)
        count = int(used.sum())
        pq, sq, rq = (math.fsum(of[used]) / count if count else math.nan for of in (self.pq, self.sq, self.rq))
        return Qualities(pq, sq, rq, count)


class PanopticCounts:
    """What PQ needs of each image: three integers and a sum of IoUs for each class.

    `metrics.panoptic.PanopticScores` counts and brings processes together; this is what stays of it, `panoptic.npz` in
    a run folder.

    Args:
        class_names: `C` names.
        things: Train ids of the classes that have objects.
        images: For each sample id `(3, C)` integers (TP, FP, FN) and `(C,)` floats (summed IoU of TP).
    """

    def __init__(
        self,
        class_names: Sequence[str],
        things: Sequence[int],
        images: Mapping[str, tuple[np.ndarray, np.ndarray]] = {},
    ) -> None:
        self.class_names, self.things = tuple(class_names), tuple(sorted(things))
        self.sample_ids = sorted(images)
        shape = (len(images), len(self.class_names))
        self.matched, self.extra, self.missed = (np.zeros(shape, dtype=np.int64) for _ in range(3))
        self.iou = np.zeros(shape, dtype=np.float64)
        for row, name in enumerate(self.sample_ids):
            (self.matched[row], self.extra[row], self.missed[row]), self.iou[row] = images[name]

    def __len__(self) -> int:
        return len(self.sample_ids)

    def quality(self) -> PanopticQuality:
        """Return the scores of all images together, the same to the last digit in whatever order they came."""
        matched, extra, missed = (counts.sum(axis=0) for counts in (self.matched, self.extra, self.missed))
        iou = np.array([math.fsum(column) for column in self.iou.T])
        weight = matched + 0.5 * extra + 0.5 * missed
        present = weight > 0

        def ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
            return np.where(present, above / np.where(below > 0, below, 1), np.nan)

        scores = ratio(iou, weight), ratio(iou, matched), ratio(matched, weight)
        return PanopticQuality(self.class_names, self.things, *scores, matched, extra, missed)

    def image_quality(self, sample_id: str) -> PanopticQuality:
        """Return the scores of one image.

        Raises:
            KeyError: There is none of this id.
        """
        if sample_id not in self.sample_ids:
            raise KeyError(sample_id)
        row = self.sample_ids.index(sample_id)
        counts = np.stack([self.matched[row], self.extra[row], self.missed[row]])
        return PanopticCounts(self.class_names, self.things, {sample_id: (counts, self.iou[row])}).quality()

    def save(self, path: Path) -> None:
        """Write an `.npz` of plain arrays.

        Args:
            path: The file. It holds `sample_ids` `(N,)` str, sorted, `class_names` `(C,)` str, `things` int64, and
                `(N, C)` `matched`, `extra`, `missed` int64 and `iou` float64.
        """
        arrays = {
            "sample_ids": np.array(self.sample_ids, dtype=np.str_),
            "class_names": np.array(self.class_names, dtype=np.str_),
            "things": np.array(self.things, dtype=np.int64),
        }
        arrays |= {name: getattr(self, name) for name in _COLUMNS}
        with atomic_open(path) as file:
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type,unused-ignore]

    @classmethod
    def load(cls, path: Path) -> PanopticCounts:
        """Read what `save` wrote.

        Raises:
            DataError: The file is missing, torn, or not of this kind.
        """
        remedy = "Evaluate the checkpoint again to write it anew."
        arrays = read_npz(path, remedy)
        try:
            class_names, sample_ids, things = (arrays[key].tolist() for key in ("class_names", "sample_ids", "things"))
            columns = [arrays[key] for key in _COLUMNS]
            _check(class_names, sample_ids, things, columns)
        except (KeyError, ValueError, TypeError) as error:
            raise DataError(f"{path} cannot be read as counts of segments per image ({error}). {remedy}") from error
        *counts, iou = columns
        rows = zip(np.stack(counts, axis=1), iou, strict=True)
        return cls(class_names, things, dict(zip(sample_ids, rows, strict=True)))


_COLUMNS = ("matched", "extra", "missed", "iou")


def _check(
    class_names: Sequence[str], sample_ids: Sequence[str], things: Sequence[int], columns: Sequence[np.ndarray]
) -> None:
    """Refuse what no evaluation counts: a file may hold any numbers."""
    if not 1 <= len(class_names) <= MOST_CLASSES or not all(isinstance(name, str) for name in class_names):
        raise ValueError(f"it names {len(class_names)} classes; 1 to {MOST_CLASSES} are allowed")
    if len(set(sample_ids)) != len(sample_ids):
        raise ValueError("it names an image twice")
    if not all(isinstance(index, int) and 0 <= index < len(class_names) for index in things):
        raise ValueError(f"its things are no ids of {len(class_names)} classes")
    for name, column, kinds in zip(_COLUMNS, columns, ("iu", "iu", "iu", "f"), strict=True):
        if column.shape != (len(sample_ids), len(class_names)) or column.dtype.kind not in kinds:
            raise ValueError(f"its table {name} is {column.dtype} of shape {column.shape}")
        if not (np.isfinite(column) & (column >= 0) & (column < 1 << 31)).all():
            raise ValueError(f"its table {name} holds numbers that count nothing")
    if (columns[3] > columns[0]).any():
        raise ValueError("its IoUs are more than its matches")
