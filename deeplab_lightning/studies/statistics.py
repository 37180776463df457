"""Whether two sets of runs differ: the paired bootstrap over images, and what several seeds say. Numpy only.

A score over a data set is a ratio of sums over its images (Efron and Tibshirani 1993, An Introduction to the
Bootstrap, chapters 6, 13 and 16): drawing the images anew, with replacement, and adding their counts up again shows
how much the score owes to the images that happen to be in the set. Both sides get the same draw, so that what makes an
image hard for both cancels; runs of the same seed are compared with each other.

What the interval does not cover is the next seed: it speaks of these trained networks on images like these. The
spread over seeds stands beside it in every table, with the number of seeds that agree.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..errors import DataError
from ..metrics.per_image import ImageCounts

RESAMPLES = 5000
CONFIDENCE = 0.95
_CHUNK = 250
"""Resamples that are added up in one matrix product."""


class Tallies(NamedTuple):
    """What IoU needs of each image.

    Attributes:
        sample_ids: `N` ids, sorted.
        class_names: `C` names.
        hit: `(N, C)` int64, pixels of the class that were found.
        truth: `(N, C)` int64, pixels of the class in the truth.
        predicted: `(N, C)` int64, pixels predicted as the class.
    """

    sample_ids: tuple[str, ...]
    class_names: tuple[str, ...]
    hit: np.ndarray
    truth: np.ndarray
    predicted: np.ndarray

    @property
    def union(self) -> np.ndarray:
        """`(N, C)` int64: pixels of the class in the truth or in the prediction."""
        return self.truth + self.predicted - self.hit


def tally(counts: ImageCounts) -> Tallies:
    """Add up each image's confusion matrix along its rows and columns."""
    ids = tuple(counts.sample_ids)
    shape = (len(ids), len(counts.class_names))
    hit, truth, predicted = (np.zeros(shape, dtype=np.int64) for _ in range(3))
    for row, sample_id in enumerate(ids):
        matrix = counts.matrix(sample_id)
        hit[row], truth[row], predicted[row] = matrix.diagonal(), matrix.sum(axis=1), matrix.sum(axis=0)
    return Tallies(ids, counts.class_names, hit, truth, predicted)


def mean_iou(iou: np.ndarray) -> np.ndarray:
    """Average over the classes that are not absent (NaN), as `metrics.scores` does.

    Args:
        iou: `(..., C)` in 0..1 or NaN.

    Returns:
        `(...)`, NaN where all classes are absent.
    """
    present = ~np.isnan(iou)
    count = present.sum(axis=-1)
    total = np.where(present, iou, 0.0).sum(axis=-1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def class_iou(tallies: Tallies) -> np.ndarray:
    """Return `(C,)` IoU of the whole set in 0..1, NaN for absent classes."""
    return _ratio(tallies.hit.sum(axis=0), tallies.union.sum(axis=0))


def _ratio(hit: np.ndarray, union: np.ndarray) -> np.ndarray:
    return np.where(union > 0, hit / np.maximum(union, 1), np.nan)


@dataclass(frozen=True, eq=False)
class PairedComparison:
    """How a variant differs from the baseline: variant minus baseline, in 0..1, averaged over the seeds.

    Attributes:
        seeds: How many pairs of runs.
        difference: Of the mIoU.
        low: Lower end of its confidence interval.
        high: Upper end.
        p_value: Two-sided, for no difference: the share of resamples on the other side of zero, doubled. At least
            2 / (resamples + 1), 1 for identical runs.
        seeds_better: In how many pairs the variant has the higher mIoU.
        seeds_worse: In how many the lower.
        class_difference: `(C,)` of each class's IoU, NaN where it is absent in all runs of either side.
        class_low: `(C,)` lower ends.
        class_high: `(C,)` upper ends.
    """

    seeds: int
    difference: float
    low: float
    high: float
    p_value: float
    seeds_better: int
    seeds_worse: int
    class_difference: np.ndarray
    class_low: np.ndarray
    class_high: np.ndarray


def compare(
    baseline: Sequence[Tallies],
    variant: Sequence[Tallies],
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> PairedComparison:
    """Compare runs by the paired bootstrap over images.

    In every resample the mIoU of each run is computed anew from the drawn images' counts; the differences of the
    pairs are averaged. The interval is the percentile interval of those averages.

    Args:
        baseline: One entry for each seed.
        variant: Likewise, its seeds in the same order, on the same images with the same truth.
        resamples: How many draws of N images out of N.
        seed: Of the draws.

    Raises:
        DataError: The two do not belong together: other images, classes or truth, or not the same number of seeds.
    """
    _check_pairs(baseline, variant)
    images = len(baseline[0].sample_ids)
    pairs = len(baseline)
    # Columns of one matrix, so that a resample of all runs is one product: hits, then unions, of every run.
    runs = [*baseline, *variant]
    classes = len(baseline[0].class_names)
    # Sums stay below 2**53, so that float64 adds them exactly.
    columns = np.concatenate([array for run in runs for array in (run.hit, run.union)], axis=1).astype(np.float64)

    def differences(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return `(R, S)` differences of mIoU and `(R, C)` of the classes' IoU, from `(R, N)` weights."""
        sums = (weights @ columns).reshape(len(weights), len(runs), 2, classes)
        iou = _ratio(sums[:, :, 0], sums[:, :, 1])
        score = mean_iou(iou)
        of_classes = iou[:, pairs:] - iou[:, :pairs]
        return score[:, pairs:] - score[:, :pairs], mean_iou(of_classes.swapaxes(1, 2))

    observed, of_classes = differences(np.ones((1, images)))
    generator = np.random.default_rng(seed)
    drawn = []
    for first in range(0, resamples, _CHUNK):
        size = min(_CHUNK, resamples - first)
        weights = generator.multinomial(images, np.full(images, 1 / images), size=size).astype(np.float64)
        drawn.append(differences(weights))
    scores, in_classes = (np.concatenate(parts) for parts in zip(*drawn, strict=True))
    scores = scores.mean(axis=1)
    low, high = _interval(np.column_stack([scores, in_classes]))
    return PairedComparison(
        seeds=pairs,
        difference=float(observed.mean()),
        low=float(low[0]),
        high=float(high[0]),
        p_value=_p_value(scores),
        seeds_better=int((observed > 0).sum()),
        seeds_worse=int((observed < 0).sum()),
        class_difference=of_classes[0],
        class_low=low[1:],
        class_high=high[1:],
    )


def _check_pairs(baseline: Sequence[Tallies], variant: Sequence[Tallies]) -> None:
    if not baseline or len(baseline) != len(variant):
        raise DataError(
            f"{len(baseline)} runs of the baseline cannot be paired with {len(variant)} of the variant: give the same "
            "seeds of both, at least one."
        )
    first = baseline[0]
    if not first.sample_ids:
        raise DataError("The runs were evaluated on no image: there is nothing to compare.")
    for run in [*baseline, *variant]:
        if run.class_names != first.class_names:
            raise DataError(
                f"Runs over the classes {', '.join(run.class_names)} cannot be compared with runs over "
                f"{', '.join(first.class_names)}."
            )
        if run.sample_ids != first.sample_ids:
            other = sorted(set(run.sample_ids) ^ set(first.sample_ids))
            raise DataError(
                f"The runs were evaluated on different images: {len(other)} are not in both, such as "
                f"{', '.join(other[:3])}. A paired comparison needs the same ones."
            )
        if not np.array_equal(run.truth, first.truth):
            row = int(np.flatnonzero((run.truth != first.truth).any(axis=1))[0])
            raise DataError(
                f"The runs were scored against different masks, first at {first.sample_ids[row]}: evaluate both with "
                "the same data."
            )


def _interval(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends of the percentile interval of each column of `(R, K)`; a column without any value gives NaN."""
    tail = (1 - CONFIDENCE) / 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # such a column
        low, high = np.nanquantile(values, [tail, 1 - tail], axis=0)
    return low, high


def _p_value(differences: np.ndarray) -> float:
    known = differences[~np.isnan(differences)]
    if not len(known):
        return float("nan")
    other_side = min((known <= 0).sum(), (known >= 0).sum())
    return float(min(1.0, 2 * (1 + other_side) / (1 + len(known))))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values for how many of them there are (Holm 1979): the chance that any of them errs stays bounded.

    Args:
        p_values: In any order; NaN stays NaN and does not count.

    Returns:
        The adjusted ones, in the order given.
    """
    values = np.asarray(p_values, dtype=np.float64)
    adjusted = np.full(len(values), np.nan)
    known = np.flatnonzero(~np.isnan(values))
    highest = 0.0
    for rank, index in enumerate(known[np.argsort(values[known], kind="stable")]):
        highest = max(highest, min(1.0, float(values[index]) * (len(known) - rank)))
        adjusted[index] = highest
    return adjusted.tolist()


def mean_and_std(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean over seeds, NaN for none, and their standard deviation (n - 1), NaN for fewer than two."""
    array = np.asarray(values, dtype=np.float64)
    std = float(array.std(ddof=1)) if len(array) > 1 else float("nan")
    return float(array.mean()) if len(array) else float("nan"), std
