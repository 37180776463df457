"""Whether two sets of runs differ: the paired bootstrap over images, and what several seeds say. No torch.

A score over a data set, mIoU or PQ, is made of sums over its images (Efron and Tibshirani 1993, An Introduction to the
Bootstrap, chapters 6, 13 and 16): drawing the images anew, with replacement, and adding their counts up again shows
how much the score owes to the images that happen to be in the set. Both sides get the same draw, so that what makes an
image hard for both cancels; runs of the same seed are compared with each other.

Of few images, resamples spread too little, and a normal distribution's ends are too near: the ends of the intervals,
and p, are those of Student's t with as many degrees of freedom as there are images less one (the expanded percentile
interval of Hesterberg 2015, What Teachers Should Know About the Bootstrap, section 5.3). Without that, 14 % of the
comparisons of equal networks on 8 images would have p < 0.05, and 7 % on 12. Below `FEWEST_IMAGES` that does not help
either: there is no interval then, and no p. A class counts by the images that it is in.

What the interval does not cover is the next seed: it speaks of these trained networks on images like these. The
spread over seeds stands beside it in every table, with the number of seeds that agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.special import ndtr, ndtri, stdtr, stdtrit

from ..errors import DataError
from ..metrics.panoptic_quality import PanopticCounts
from ..metrics.per_image import ImageCounts

RESAMPLES = 5000
CONFIDENCE = 0.95
FEWEST_IMAGES = 8
"""On fewer, nothing is said of other images."""
_CHUNK = 250
"""Resamples that are added up in one matrix product."""


class Tallies(NamedTuple):
    """What a score needs of each image. A class scores its hits over its union, both summed over the images.

    Attributes:
        sample_ids: `N` ids, sorted.
        class_names: `C` names.
        hit: `(N, C)`: for IoU int64 pixels of the class that were found; for PQ float64, the matches' summed IoU.
        union: `(N, C)`: for IoU int64 pixels of the class in truth or prediction; for PQ float64 TP + FP / 2 + FN / 2.
        truth: `(N, C)` int64 pixels, or segments, of the class in the truth: equal ones can be compared.
        score: What the mean over the classes is called.
        class_score: What the score of a class is called.
    """

    sample_ids: tuple[str, ...]
    class_names: tuple[str, ...]
    hit: np.ndarray
    union: np.ndarray
    truth: np.ndarray
    score: str = "mIoU"
    class_score: str = "IoU"


def tally(counts: ImageCounts | PanopticCounts) -> Tallies:
    """Return what mIoU needs of confusion matrices, and PQ of matched segments."""
    if isinstance(counts, PanopticCounts):
        weight, segments = counts.matched + 0.5 * (counts.extra + counts.missed), counts.matched + counts.missed
        return Tallies(tuple(counts.sample_ids), counts.class_names, counts.iou, weight, segments, "PQ", "PQ")
    ids = tuple(counts.sample_ids)
    shape = (len(ids), len(counts.class_names))
    hit, truth, predicted = (np.zeros(shape, dtype=np.int64) for _ in range(3))
    for row, sample_id in enumerate(ids):
        matrix = counts.matrix(sample_id)
        hit[row], truth[row], predicted[row] = matrix.diagonal(), matrix.sum(axis=1), matrix.sum(axis=0)
    return Tallies(ids, counts.class_names, hit, truth + predicted - hit, truth)


def mean_score(scores: np.ndarray) -> np.ndarray:
    """Average `(..., C)` over the classes that are not absent (NaN), as `metrics.scores` does; NaN where all are."""
    present = ~np.isnan(scores)
    count = present.sum(axis=-1)
    total = np.where(present, scores, 0.0).sum(axis=-1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def class_scores(tallies: Tallies) -> np.ndarray:
    """Return `(C,)` IoU, or PQ, of the whole set in 0..1, NaN for absent classes."""
    return _ratio(tallies.hit.sum(axis=0), tallies.union.sum(axis=0))


def _ratio(hit: np.ndarray, union: np.ndarray) -> np.ndarray:
    return np.where(union > 0, hit / np.where(union > 0, union, 1), np.nan)


@dataclass(frozen=True, eq=False)
class PairedComparison:
    """How a variant differs from the baseline: variant minus baseline, in 0..1, averaged over the seeds.

    Attributes:
        seeds: How many pairs of runs.
        difference: Of the mIoU, or the PQ.
        low: Lower end of its confidence interval; NaN on too few images.
        high: Upper end.
        p_value: Two-sided, for no difference, from the share of resamples on the other side of zero; 1 for identical
            runs, NaN on too few images.
        seeds_better: In how many pairs the variant has the higher score.
        seeds_worse: In how many the lower.
        class_difference: `(C,)` of each class's score, NaN where it is absent in all runs of either side.
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

    @property
    def interval(self) -> str:
        """The interval in percent; empty where there is none."""
        return "" if np.isnan(self.low) else f"[{100 * self.low:+.2f}, {100 * self.high:+.2f}]"


def too_few(images: int) -> str:
    """Say why there is no interval; empty where there is one."""
    if images >= FEWEST_IMAGES:
        return ""
    return (
        f"{images} image{'s' if images > 1 else ''}: too few to say anything of others, so that there are no intervals "
        f"and no p-values. They need {FEWEST_IMAGES} images or more."
    )


def compare(
    baseline: Sequence[Tallies], variant: Sequence[Tallies], resamples: int = RESAMPLES, seed: int = 0
) -> PairedComparison:
    """Compare runs by the paired bootstrap over images.

    In every resample the score of each run is computed anew from the drawn images' counts; the differences of the
    pairs are averaged. The interval is the expanded percentile interval of those averages.

    Either side has one entry for each seed, in the same order, on the same images with the same truth; `seed` is of the
    draws of N images out of N.

    Raises:
        DataError: The two do not belong together: other scores, images, classes or truth, or not the same number of
            seeds.
    """
    _check_pairs(baseline, variant)
    images = len(baseline[0].sample_ids)
    pairs = len(baseline)
    # Columns of one matrix, so that a resample of all runs is one product: hits, then unions, of every run.
    runs = [*baseline, *variant]
    classes = len(baseline[0].class_names)
    # Pixels and halves stay below 2**53, so that float64 adds them exactly.
    columns = np.concatenate([array for run in runs for array in (run.hit, run.union)], axis=1).astype(np.float64)

    def differences(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return `(R, S)` differences of the score and `(R, C)` of the classes', from `(R, N)` weights."""
        sums = (weights @ columns).reshape(len(weights), len(runs), 2, classes)
        ratios = _ratio(sums[:, :, 0], sums[:, :, 1])
        score = mean_score(ratios)
        of_classes = ratios[:, pairs:] - ratios[:, :pairs]
        return score[:, pairs:] - score[:, :pairs], mean_score(of_classes.swapaxes(1, 2))

    observed, of_classes = differences(np.ones((1, images)))
    generator = np.random.default_rng(seed)
    drawn = []
    for first in range(0, resamples, _CHUNK):
        size = min(_CHUNK, resamples - first)
        weights = generator.multinomial(images, np.full(images, 1 / images), size=size).astype(np.float64)
        drawn.append(differences(weights))
    scores, in_classes = (np.concatenate(parts) for parts in zip(*drawn, strict=True))
    scores = scores.mean(axis=1)
    low, high = _interval(scores, images)
    shown_in = np.any([run.union > 0 for run in runs], axis=0).sum(axis=0)
    of_class = [_interval(entries, shown) for entries, shown in zip(in_classes.T, shown_in, strict=True)]
    class_low, class_high = np.array(of_class).T
    return PairedComparison(
        seeds=pairs,
        difference=float(observed.mean()),
        low=low,
        high=high,
        p_value=_p_value(scores, images),
        seeds_better=int((observed > 0).sum()),
        seeds_worse=int((observed < 0).sum()),
        class_difference=of_classes[0],
        class_low=class_low,
        class_high=class_high,
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
        if run.score != first.score:
            raise DataError(f"The {run.score} of a run cannot be compared with the {first.score} of another.")
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


def _interval(values: np.ndarray, images: int) -> tuple[float, float]:
    """Return the ends of the interval of resampled values, of which some may be NaN; NaN on too few images."""
    known = values[~np.isnan(values)]
    if images < FEWEST_IMAGES or not len(known):
        return np.nan, np.nan
    low, high = np.quantile(known, [tail(images), 1 - tail(images)])
    return float(low), float(high)


def tail(images: int) -> float:
    """Return the share of resamples that lies beyond each end of the interval: 0.025 on many images, less on few."""
    return float(ndtr(stdtrit(images - 1, (1 - CONFIDENCE) / 2) * np.sqrt(images / (images - 1))))


def _p_value(differences: np.ndarray, images: int) -> float:
    known = differences[~np.isnan(differences)]
    if images < FEWEST_IMAGES or not len(known):
        return float("nan")
    other_side = min((known <= 0).sum(), (known >= 0).sum())
    plain = min(1.0, 2 * (1 + other_side) / (1 + len(known)))
    return float(2 * stdtr(images - 1, ndtri(plain / 2) * np.sqrt((images - 1) / images)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values for how many of them there are (Holm 1979): the chance that any of them errs stays bounded.

    They are in any order, which is kept; NaN stays NaN and does not count.
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
