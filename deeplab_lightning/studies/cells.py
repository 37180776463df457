"""The folder of a study, and its cells: which are finished, which are at work, and running the next one.

runs/<study>/study.json             the options given on the command line
runs/<study>/recipes.json           parameters and multiply-adds of each configuration
runs/<study>/cells/<key>.json       what became of a cell
runs/<study>/cells/<key>.lock       there while a process works on it
runs/<study>/cells/<key>.log        what `fit` and `validate` printed
runs/<study>/cells/<key>/version_0  its run, as any other
runs/<study>/table.md, .csv, .tex   and per_class.csv
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ConfigError, DataError
from ..ledger import Ledger
from ..locks import Lock
from ..runs import RunFolder, find_run, newest_evaluation, read_metrics
from . import programs
from .options import as_words, merged, value_of
from .study_file import Cell, Study, StudyEvaluation


@dataclass
class Record:
    """What became of a cell.

    Attributes:
        state: `finished`, `failed`, or `begun`.
        seconds: At work, over all attempts.
        run: Folder of its run, relative to `cells/`.
        evaluations: Key of an evaluation -> folder of its files, relative to `cells/`.
        code: Exit code of what failed.
        when: Seconds since 1970 at which this was written.
    """

    state: str = "begun"
    seconds: float = 0.0
    run: str = ""
    evaluations: dict[str, str] = field(default_factory=dict)
    code: int = 0
    when: float = 0.0


class StudyFolder:
    """The files of a study.

    Args:
        path: `runs/<study>`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.cells = path / "cells"
        self.ledger = Ledger(self.cells)
        self._whole = Ledger(path)

    def record(self, cell: Cell) -> Record | None:
        """Return what became of a cell, or None if nobody has begun it."""
        content = self.ledger.read(cell.key)
        return None if content is None else Record(**content)

    def write_record(self, cell: Cell, record: Record) -> None:
        """Write down what became of a cell."""
        record.when = time.time()
        self.ledger.write(cell.key, vars(record))

    def is_finished(self, study: Study, cell: Cell) -> bool:
        """Whether the cell is trained and scored in all ways that the study wants."""
        record = self.record(cell)
        if record is None or record.state != "finished":
            return False
        return all(evaluation.key in record.evaluations for evaluation in study.evaluations_of(cell))

    def log(self, cell: Cell) -> Path:
        """Where the cell's output goes."""
        return self.ledger.path(cell.key, "log")

    def run(self, cell: Cell) -> RunFolder | None:
        """Return the cell's run, if it has begun."""
        with suppress(ConfigError):
            return find_run(self.cells / cell.key)
        return None

    def progress(self, cell: Cell) -> tuple[int, int]:
        """Return steps made and steps to make."""
        steps = value_of(merged(cell.configs, cell.options), "trainer.max_steps")
        total = steps if isinstance(steps, int) and steps > 0 else 0
        run = self.run(cell)
        if run is None:
            return 0, total
        with suppress(DataError):
            logged = read_metrics(run.metrics).get("step", np.zeros(0))
            if len(logged):
                return int(np.nanmax(logged)), total
        return 0, total

    def options(self) -> dict[str, Any]:
        """Return the command line's options of the last time."""
        return self._whole.read("study") or {}

    def write_options(self, options: Mapping[str, Any]) -> None:
        """Remember the command line's options, so that `--table` finds the cells without them."""
        self._whole.write("study", options)

    def recipes(self) -> dict[str, dict[str, Any]]:
        """Return `parameters` and `multiply_adds` by recipe, as far as known."""
        return self._whole.read("recipes") or {}

    def write_recipes(self, recipes: Mapping[str, Mapping[str, Any]]) -> None:
        """Write down what networks cost; several processes write the same."""
        self._whole.write("recipes", recipes)


def step_seconds(run: RunFolder) -> float:
    """Return the median time of a training step as the run measured it, NaN if it did not."""
    with suppress(DataError):
        values = read_metrics(run.speed).get("seconds_per_step", np.zeros(0))
        if len(values):
            return float(np.nanmedian(values))
    return float("nan")


class Costs:
    """Costs of cells, from what was measured in this folder.

    Args:
        folder: Of the study.
        study: The study.
    """

    def __init__(self, folder: StudyFolder, study: Study) -> None:
        self.folder, self.study = folder, study

    def cell_seconds(self, recipes: Mapping[str, Mapping[str, Any]], guess: Mapping[str, float]) -> dict[str, float]:
        """Return how long a whole cell of each recipe takes, by the best knowledge there is.

        That is the mean over finished cells of the recipe; else steps times the step time that a cell of it measured;
        else that of the recipe most is known of, scaled by multiply-adds and batch; else `guess`; else NaN.

        Args:
            recipes: With `multiply_adds`, for scaling.
            guess: Seconds by recipe.
        """
        finished: dict[str, list[float]] = {}
        per_step: dict[str, float] = {}
        work: dict[str, float] = {}
        steps: dict[str, int] = {}
        for cell in self.study.cells:
            record, run = self.folder.record(cell), self.folder.run(cell)
            configuration = merged(cell.configs, cell.options)
            steps[cell.recipe] = self.folder.progress(cell)[1]
            batch = value_of(configuration, "data.batch_size") or 8
            work[cell.recipe] = float(recipes.get(cell.recipe, {}).get("multiply_adds") or np.nan) * batch
            if record is not None and record.state == "finished":
                finished.setdefault(cell.recipe, []).append(record.seconds)
            if run is not None and not np.isnan(measured := step_seconds(run)):
                per_step[cell.recipe] = measured
        known = {recipe: float(np.mean(values)) for recipe, values in finished.items()}
        for recipe, seconds in per_step.items():
            known.setdefault(recipe, seconds * steps[recipe])
        rates = [
            seconds / (work[recipe] * steps[recipe])
            for recipe, seconds in known.items()
            if steps[recipe] and not np.isnan(work[recipe])
        ]
        result = {}
        for recipe in work:
            scaled = float(np.median(rates)) * work[recipe] * steps[recipe] if rates else float("nan")
            result[recipe] = known.get(recipe, scaled if not np.isnan(scaled) else guess.get(recipe, float("nan")))
        return result

    def seconds_left(self, cell_seconds: Mapping[str, float]) -> float:
        """Return the time that the unfinished cells take, one after the other; NaN if that is unknown."""
        left = 0.0
        for cell in self.study.cells:
            if self.folder.is_finished(self.study, cell):
                continue
            done, total = self.folder.progress(cell)
            left += cell_seconds.get(cell.recipe, float("nan")) * (1 - min(done / total, 1) if total else 1)
        return left


def run_cell(
    study: Study, folder: StudyFolder, cell: Cell, lock: Lock, say: Callable[[], None]
) -> programs.Ended | None:
    """Train a cell, or go on with it, and score it in all ways that the study wants.

    Args:
        study: The study.
        folder: Its files.
        cell: Which one.
        lock: On the cell.
        say: Called now and then, to show progress.

    Returns:
        How the command ended that did not succeed; None if all did.
    """
    record = folder.record(cell) or Record()
    record.state = "finished" if record.state == "finished" else "begun"
    folder.write_record(cell, record)
    began, before = time.monotonic(), record.seconds

    def watch() -> bool:
        lock.beat()
        say()
        return False

    def execute(words: list[str]) -> programs.Ended:
        ended = programs.run(words, folder.log(cell), watch, lock.note_program)
        record.seconds = before + time.monotonic() - began
        return ended

    if record.state != "finished":
        words = ["fit", *cell.words, f"--seed_everything={cell.seed}"]
        words += ["--run.folder", str(folder.cells), "--run.name", cell.key]
        stopped_at = programs.last_checkpoint(folder.cells / cell.key)
        if stopped_at is not None:
            words += ["--ckpt_path", str(stopped_at)]
        ended = execute(words)
        run = folder.run(cell)
        if ended.code != 0 or run is None or not run.per_image.is_file():
            return _not_finished(folder, cell, record, ended)
        record.state, record.run = "finished", str(run.path.relative_to(folder.cells))
        folder.write_record(cell, record)
    for evaluation in study.evaluations_of(cell):
        if evaluation.key not in record.evaluations:
            ended = execute(_validate_words(folder, cell, record, evaluation))
            scored = newest_evaluation(folder.cells / cell.key / f"{evaluation.key}-validate")
            if ended.code != 0 or scored is None:
                return _not_finished(folder, cell, record, ended)
            record.evaluations[evaluation.key] = str(scored.path.relative_to(folder.cells))
            folder.write_record(cell, record)
    return None


def _validate_words(folder: StudyFolder, cell: Cell, record: Record, evaluation: StudyEvaluation) -> list[str]:
    checkpoint = RunFolder(folder.cells / record.run).checkpoint()
    where = ["--run.folder", str(folder.cells / cell.key), "--run.name", evaluation.key]
    data = [word for word in cell.words if word.startswith("--data.")]  # such as data.root, which may have moved
    return ["validate", "--ckpt_path", str(checkpoint), *data, *as_words(evaluation.options), *where]


def _not_finished(folder: StudyFolder, cell: Cell, record: Record, ended: programs.Ended) -> programs.Ended:
    if not ended.stopped_by_user:
        record.code = ended.code
        if record.state != "finished":
            record.state = "failed"
    folder.write_record(cell, record)
    return ended
