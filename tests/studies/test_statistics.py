"""The bootstrap says what it promises: on simulated data whose truth is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from deeplab_lightning.errors import DataError
from deeplab_lightning.metrics.panoptic_quality import PanopticCounts
from deeplab_lightning.metrics.per_image import ImageCounts
from deeplab_lightning.metrics.scores import scores_from_confusion
from deeplab_lightning.studies.statistics import (
    FEWEST_IMAGES,
    Tallies,
    class_scores,
    compare,
    holm,
    mean_and_std,
    mean_score,
    tail,
    tally,
)

CLASSES = ("a", "b", "c")


def simulated(
    generator: np.random.Generator, images: int, accuracy: tuple[float, ...], difficulty: np.ndarray | None = None
) -> tuple[list[Tallies], np.ndarray]:
    """Return one run for each accuracy, on the same images, and the images' difficulty.

    An image has 2000 pixels of three classes; a pixel is found with the run's accuracy less the image's difficulty,
    which all runs share: that is what pairing is for.
    """
    if difficulty is None:
        difficulty = generator.uniform(0, 0.3, images)
    truth = generator.multinomial(2000, [0.6, 0.3, 0.1], size=images)
    runs = []
    for level in accuracy:
        hit = generator.binomial(truth, np.clip(level - difficulty, 0, 1)[:, None])
        wrong = (truth - hit).sum(axis=1)
        predicted = hit + generator.multinomial(wrong, [1 / 3] * 3)
        runs.append(Tallies(tuple(f"{i:05}" for i in range(images)), CLASSES, hit, truth + predicted - hit, truth))
    return runs, difficulty


def miou(run: Tallies) -> float:
    return float(mean_score(class_scores(run)))


def counts_of(generator: np.random.Generator, images: int) -> ImageCounts:
    counts = ImageCounts(CLASSES)
    for index in range(images):
        counts.add(f"{index:03}", generator.integers(0, 50, (3, 3)))
    return counts


def test_the_score_is_that_of_the_confusion_matrix() -> None:
    counts = counts_of(np.random.default_rng(0), 7)
    counts.add("absent class", np.diag([3, 2, 0]))
    scores = scores_from_confusion(counts.total(), CLASSES)
    assert class_scores(tally(counts)).tolist() == scores.iou.tolist()
    assert miou(tally(counts)) == scores.mIoU


def test_an_absent_class_enters_no_mean() -> None:
    counts = ImageCounts(CLASSES)
    counts.add("x", np.array([[3, 1, 0], [1, 5, 0], [0, 0, 0]]))
    assert math.isnan(class_scores(tally(counts))[2])
    assert miou(tally(counts)) == scores_from_confusion(counts.total(), CLASSES).mIoU


def test_a_resample_is_the_matrix_of_the_drawn_images() -> None:
    """The interval's ends, computed the slow way: images drawn by the same generator, matrices added one by one."""
    generator = np.random.default_rng(3)
    base, variant = counts_of(generator, 9), counts_of(generator, 9)
    variant_same_truth = ImageCounts(CLASSES)
    for sample_id in base.sample_ids:  # the same truth, other predictions
        rows = base.matrix(sample_id).sum(axis=1)
        shares = variant.matrix(sample_id) + 1
        variant_same_truth.add(
            sample_id, np.array([generator.multinomial(n, p / p.sum()) for n, p in zip(rows, shares, strict=True)])
        )
    found = compare([tally(base)], [tally(variant_same_truth)], resamples=200, seed=5)
    weights = np.random.default_rng(5).multinomial(9, np.full(9, 1 / 9), size=200)
    slow = []
    for row in weights:
        scores = []
        for counts in (base, variant_same_truth):
            drawn = sum(w * counts.matrix(i) for w, i in zip(row, counts.sample_ids, strict=True))
            scores.append(scores_from_confusion(np.asarray(drawn), CLASSES).mIoU)
        slow.append(scores[1] - scores[0])
    assert [found.low, found.high] == pytest.approx(np.quantile(slow, [tail(9), 1 - tail(9)]).tolist(), abs=1e-12)


def test_identical_runs_do_not_differ() -> None:
    (run,), _ = simulated(np.random.default_rng(0), 40, (0.8,))
    found = compare([run, run], [run, run], resamples=300)
    assert (found.difference, found.low, found.high, found.p_value) == (0, 0, 0, 1)
    assert (found.seeds, found.seeds_better, found.seeds_worse) == (2, 0, 0)
    assert found.class_difference.tolist() == [0, 0, 0]


def test_a_known_difference_is_found_where_unpaired_spread_would_hide_it() -> None:
    (base, better), _ = simulated(np.random.default_rng(1), 60, (0.80, 0.81))
    found = compare([base], [better], resamples=1000)
    assert found.difference == pytest.approx(miou(better) - miou(base))
    assert 0 < found.low < found.difference < found.high
    assert found.p_value < 0.01
    # The images' difficulty alone moves each score by far more than pairing leaves of it.
    alone = [miou(Tallies(base.sample_ids[:1], CLASSES, *(x[i : i + 1] for x in base[2:]))) for i in range(60)]
    assert np.std(alone) / math.sqrt(60) > 3 * (found.high - found.low) / (2 * 1.96)
    assert found.class_difference == pytest.approx(class_scores(better) - class_scores(base))
    assert (found.class_low < found.class_difference).all()
    assert (found.class_difference < found.class_high).all()
    turned = compare([better], [base], resamples=1000)
    assert turned.difference == pytest.approx(-found.difference)
    assert turned.high < 0
    assert turned.p_value < 0.01


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    """200 data sets of one population: about 95 % of the 95 % intervals hold the population's difference."""
    generator = np.random.default_rng(7)
    (base, variant), _ = simulated(generator, 100_000, (0.80, 0.82))
    truth = miou(variant) - miou(base)
    covered, null_p = 0, []
    for _ in range(200):
        (base, variant), difficulty = simulated(generator, 60, (0.80, 0.82))
        found = compare([base], [variant], resamples=400, seed=int(generator.integers(1 << 30)))
        covered += found.low <= truth <= found.high
        (one, other), _ = simulated(generator, 60, (0.8, 0.8), difficulty)
        null_p.append(compare([one], [other], resamples=400, seed=int(generator.integers(1 << 30))).p_value)
    assert 0.91 <= covered / 200 <= 0.985
    # Without a difference p is below 0.05 in about one of twenty.
    assert 0.01 <= np.mean(np.array(null_p) < 0.05) <= 0.10


@pytest.mark.parametrize("images", [FEWEST_IMAGES, 12, 20])
def test_on_few_images_equal_networks_seldom_differ(images: int) -> None:
    """One in twenty comparisons of equal networks has p < 0.05; plain shares of resamples would say 14 % of 8."""
    generator = np.random.default_rng(images)
    found = []
    for _ in range(400):
        (one, other), _ = simulated(generator, images, (0.8, 0.8))
        found.append(compare([one], [other], resamples=400, seed=int(generator.integers(1 << 30))))
    assert np.mean([comparison.p_value < 0.05 for comparison in found]) <= 0.08
    assert np.mean([comparison.low <= 0 <= comparison.high for comparison in found]) >= 0.92


@pytest.mark.parametrize("images", [1, 2, FEWEST_IMAGES - 1])
def test_of_fewer_images_nothing_is_said(images: int) -> None:
    (one, other), _ = simulated(np.random.default_rng(0), images, (0.6, 0.9))
    found = compare([one], [other], resamples=300)
    assert found.difference == pytest.approx(miou(other) - miou(one))
    assert all(map(math.isnan, (found.p_value, found.low, found.high, *found.class_low, *found.class_high)))
    assert found.interval == ""


def test_pq_is_a_score_like_others() -> None:
    rng = np.random.default_rng(0)
    matched = rng.integers(0, 4, (2, 30, 3))
    runs = []
    for hits in matched:
        images = {str(n): (np.stack([hit, rng.integers(0, 2, 3), 4 - hit]), 0.8 * hit) for n, hit in enumerate(hits)}
        runs.append(PanopticCounts(CLASSES, [0], images))
    one, other = map(tally, runs)
    qualities = [run.quality() for run in runs]
    assert class_scores(one) == pytest.approx(qualities[0].pq)
    found = compare([one], [other], resamples=300)
    assert found.difference == pytest.approx(qualities[1].all.pq - qualities[0].all.pq)
    assert found.low < found.difference < found.high
    with pytest.raises(DataError, match="mIoU of a run cannot be compared with the PQ"):
        compare([one], [one._replace(score="mIoU")])


def test_a_class_counts_by_the_images_that_it_is_in() -> None:
    """Of 40 images 3 show the last class: its difference may be chance, whatever the resamples say."""
    (one, other), _ = simulated(np.random.default_rng(0), 40, (0.6, 0.9))
    seldom = np.ones((40, 3), dtype=np.int64)
    seldom[3:, 2] = 0
    one, other = (run._replace(**{name: getattr(run, name) * seldom for name in ("hit", "union", "truth")})
                  for run in (one, other))  # fmt: skip
    found = compare([one], [other], resamples=300)
    assert found.class_difference[2] > 0.1
    assert np.isnan(found.class_low).tolist() == [False, False, True]
    assert (found.class_low[:2] > 0).all()


def test_seeds_are_paired_and_counted() -> None:
    generator = np.random.default_rng(2)
    runs, _ = simulated(generator, 50, (0.70, 0.72, 0.80, 0.79))
    found = compare([runs[0], runs[2]], [runs[1], runs[3]], resamples=300)
    assert (found.seeds, found.seeds_better, found.seeds_worse) == (2, 1, 1)
    expected = np.mean([miou(runs[1]) - miou(runs[0]), miou(runs[3]) - miou(runs[2])])
    assert found.difference == pytest.approx(expected)


def test_what_does_not_belong_together_is_refused() -> None:
    (one, other), _ = simulated(np.random.default_rng(0), 20, (0.8, 0.8))
    with pytest.raises(DataError, match="cannot be paired"):
        compare([one, other], [other])
    with pytest.raises(DataError, match="different images"):
        compare([one], [other._replace(sample_ids=(*other.sample_ids[:-1], "another"))])
    with pytest.raises(DataError, match="different masks, first at 00000"):
        compare([one], [other._replace(truth=other.truth + 1)])
    with pytest.raises(DataError, match="classes"):
        compare([one], [other._replace(class_names=("a", "b", "d"))])


def test_holm_adjusts_and_keeps_the_order() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, float("nan"), 0.9])[0] == 1.0
    assert math.isnan(holm([0.5, float("nan")])[1])


def test_the_spread_is_that_of_a_sample() -> None:
    assert mean_and_std([1.0, 2.0, 3.0]) == (2.0, 1.0)
    assert math.isnan(mean_and_std([1.0])[1])
