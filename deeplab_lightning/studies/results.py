"""From the runs of a study to the rows of its table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import DataError
from ..metrics.panoptic_quality import PanopticCounts
from ..metrics.per_image import ImageCounts
from ..reporting.card import read_card
from ..runs import RunFolder, read_metrics
from .cells import StudyFolder, step_seconds
from .statistics import RESAMPLES, PairedComparison, Tallies, class_scores, compare, holm, mean_score, tally, too_few
from .study_file import Row, Study

BOUNDARY_WORDS = ("boundary", "trimap", "BF")
"""Logged keys with one of these are scores of borders."""


@dataclass
class RowScores:
    """One score of a row, from those of its cells that are finished.

    Attributes:
        runs: Seed -> what the score needs of each image.
        comparison: With the baseline, over the seeds that both have; None for the baseline itself and without any.
        adjusted_p: The comparison's p-value adjusted for the number of rows compared (Holm).
    """

    runs: dict[int, Tallies] = field(default_factory=dict)
    comparison: PairedComparison | None = None
    adjusted_p: float = float("nan")

    @property
    def scores(self) -> list[float]:
        """The score in 0..1 of each finished seed."""
        return [float(mean_score(class_scores(run))) for run in self.runs.values()]

    @property
    def class_scores(self) -> np.ndarray:
        """`(S, C)` scores in 0..1 of each finished seed and class."""
        return np.array([class_scores(run) for run in self.runs.values()])


@dataclass(kw_only=True)
class RowResult(RowScores):
    """A row of the table, with its mIoU.

    Attributes:
        row: Of the study.
        panoptic: Its PQ, of the runs that have it.
        parameters: Of the network, None if unknown.
        multiply_adds: Of its convolutions for one image of the training crop.
        step_seconds: Mean over the seeds of the median training step, NaN if not recorded.
        boundary: Logged key -> one value for each finished seed, from the best validation.
        provenance: Version, commit and machine of each run.
    """

    row: Row
    panoptic: RowScores = field(default_factory=RowScores)
    parameters: int | None = None
    multiply_adds: int | None = None
    step_seconds: float = float("nan")
    boundary: dict[str, list[float]] = field(default_factory=dict)
    provenance: set[tuple[str, ...]] = field(default_factory=set)


def collect(study: Study, folder: StudyFolder, resamples: int = RESAMPLES) -> list[RowResult]:
    """Read the finished cells and compare each row with the baseline, by so many resamples of the bootstrap.

    Returns:
        One result for each row, in the study's order; rows without a finished cell have no runs.
    """
    recipes = folder.whole.read("recipes") or {}
    results = [_read_row(row, folder, recipes) for row in study.rows]
    _compare_rows(results, study.baseline, resamples)
    _compare_rows([result.panoptic for result in results], study.baseline, resamples)
    return results


def _compare_rows(results: Sequence[RowScores], number: int, resamples: int) -> None:
    """Compare one score of all rows with that of row `number`."""
    baseline = results[number]
    for result in results:
        seeds = [seed for seed in result.runs if seed in baseline.runs]
        if result is not baseline and seeds:
            result.comparison = compare(
                [baseline.runs[seed] for seed in seeds], [result.runs[seed] for seed in seeds], resamples
            )
    p_values = [math.nan if result.comparison is None else result.comparison.p_value for result in results]
    for result, p_value in zip(results, holm(p_values), strict=True):
        result.adjusted_p = p_value


def _read_row(row: Row, folder: StudyFolder, recipes: Mapping[str, Mapping[str, Any]]) -> RowResult:
    result = RowResult(row=row)
    recipe = recipes.get(f"{row.cells[0].recipe}/{row.evaluation.key}", recipes.get(row.cells[0].recipe, {}))
    result.parameters, result.multiply_adds = recipe.get("parameters"), recipe.get("multiply_adds")
    seconds = []
    for cell in row.cells:
        record = folder.record(cell)
        if record is None or record.state != "finished":
            continue
        trained = RunFolder(folder.cells / record.run)
        if row.evaluation.options and row.evaluation.key not in record.evaluations:
            continue
        scored = RunFolder(folder.cells / record.evaluations[row.evaluation.key]) if row.evaluation.options else trained
        result.runs[cell.seed] = tally(ImageCounts.load(scored.per_image))
        if scored.panoptic.is_file():
            result.panoptic.runs[cell.seed] = tally(PanopticCounts.load(scored.panoptic))
        seconds.append(step_seconds(trained))
        for name, value in _boundary_scores(scored).items():
            result.boundary.setdefault(name, []).append(value)
        result.provenance.add(_provenance(trained))
    known = [value for value in seconds if not np.isnan(value)]
    result.step_seconds = float(np.mean(known)) if known else float("nan")
    return result


def _boundary_scores(run: RunFolder) -> dict[str, float]:
    """Return the border scores that were logged with the best mIoU."""
    with suppress(DataError):
        columns = read_metrics(run.metrics)
        scores = columns.get("val/mIoU", np.zeros(0))
        if np.isfinite(scores).any():
            best = int(np.nanargmax(scores))
            return {
                name: float(values[best])
                for name, values in columns.items()
                if any(word in name for word in BOUNDARY_WORDS)
                and not name.startswith("val/IoU/")  # a class may be called so
                and np.isfinite(values[best])
            }
    return {}


def _provenance(run: RunFolder) -> tuple[str, ...]:
    try:
        environment = read_card(run)
    except DataError:
        return ()
    keys = ("deeplab_lightning", "git_commit", "git_dirty", "gpu", "cpu")
    return tuple(f"{key} {environment[key]}" for key in keys if environment.get(key) not in (None, False))


def warnings_of(study: Study, results: Sequence[RowResult]) -> list[str]:
    """Return what a reader of the table must know: missing seeds, runs of different programs."""
    found = []
    seeds = len(study.rows[0].cells)
    missing = [(result.row.name, len(result.runs)) for result in results if len(result.runs) < seeds]
    if missing:
        listed = "; ".join(f"{name} ({count} of {seeds})" for name, count in missing)
        found.append(f"Not all seeds are finished: {listed}.")
    everything = set().union(*(result.provenance for result in results))
    if len(everything) > 1:
        differing = sorted({fact for facts in everything for fact in facts if any(fact not in x for x in everything)})
        found.append(f"The runs come from different programs or machines: {', '.join(differing)}.")
    images = {len(run.sample_ids) for result in results if result.comparison for run in result.runs.values()}
    found += filter(None, map(too_few, sorted(images)))
    if seeds == 1:
        found.append("One seed: nothing is known of the spread over seeds.")
    return found
