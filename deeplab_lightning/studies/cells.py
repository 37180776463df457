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
from .study_file import Cell, Study


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
    """The files of a study, below `runs/<study>`.

    Attributes:
        ledger: The records of its cells, by their keys.
        whole: `study`, so that `--table` finds the cells without the options, and `recipes`: costs, as far as known.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.cells = path / "cells"
        self.ledger = Ledger(self.cells)
        self.whole = Ledger(path)

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
        with suppress(DataError):
            if run is not None and len(logged := read_metrics(run.metrics).get("step", np.zeros(0))):
                return int(np.nanmax(logged)), total
        return 0, total


def step_seconds(run: RunFolder) -> float:
    """Return the median time of a training step as the run measured it, NaN if it did not."""
    with suppress(DataError):
        values = read_metrics(run.speed).get("seconds_per_step", np.zeros(0))
        if len(values):
            return float(np.nanmedian(values))
    return float("nan")


def cell_seconds(
    study: Study, folder: StudyFolder, recipes: Mapping[str, Mapping[str, Any]], guess: Mapping[str, float]
) -> dict[str, float]:
    """Return how long a whole cell of each recipe takes, by the best knowledge there is.

    That is the mean over finished cells of the recipe; else steps times the step time that a cell of it measured;
    else that of the recipe most is known of, scaled by multiply-adds and batch; else `guess`; else NaN.

    `recipes` have the `multiply_adds`, for scaling; `guess` is in seconds by recipe.
    """
    finished: dict[str, list[float]] = {}
    per_step: dict[str, float] = {}
    work: dict[str, float] = {}
    steps: dict[str, int] = {}
    for cell in study.cells:
        record, run = folder.record(cell), folder.run(cell)
        steps[cell.recipe] = folder.progress(cell)[1]
        batch = value_of(merged(cell.configs, cell.options), "data.batch_size") or 8
        work[cell.recipe] = float(recipes.get(cell.recipe, {}).get("multiply_adds") or np.nan) * batch
        if record is not None and record.state == "finished":
            finished.setdefault(cell.recipe, []).append(record.seconds)
        if run is not None and not np.isnan(measured := step_seconds(run)):
            per_step[cell.recipe] = measured
    known = {recipe: seconds * steps[recipe] for recipe, seconds in per_step.items()}
    known |= {recipe: float(np.mean(values)) for recipe, values in finished.items()}
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


def seconds_left(study: Study, folder: StudyFolder, seconds_of: Mapping[str, float]) -> float:
    """Return the time that the unfinished cells take by `cell_seconds`, one after the other; NaN if that is unknown."""
    left = 0.0
    for cell in study.cells:
        if not folder.is_finished(study, cell):
            done, total = folder.progress(cell)
            left += seconds_of.get(cell.recipe, float("nan")) * (1 - min(done / total, 1) if total else 1)
    return left


def run_cell(
    study: Study, folder: StudyFolder, cell: Cell, lock: Lock, say: Callable[[], None]
) -> programs.Ended | None:
    """Train a cell, or go on with it, and score it in all ways that the study wants; `say` is called now and then.

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
        ended = execute([*words, *programs.going_on(folder.cells / cell.key)])
        run = folder.run(cell)
        if ended.code != 0 or run is None or not run.per_image.is_file():
            return _not_finished(folder, cell, record, ended)
        record.state, record.run = "finished", str(run.path.relative_to(folder.cells))
        folder.write_record(cell, record)
    for evaluation in study.evaluations_of(cell):
        if evaluation.key not in record.evaluations:
            words = ["validate", "--ckpt_path", str(RunFolder(folder.cells / record.run).checkpoint())]
            words += [word for word in cell.words if word.startswith("--data.")]  # data.root may have moved
            words += [*as_words(evaluation.options), "--run.folder", str(folder.cells / cell.key)]
            ended = execute([*words, "--run.name", evaluation.key])
            scored = newest_evaluation(folder.cells / cell.key / f"{evaluation.key}-validate")
            if ended.code != 0 or scored is None:
                return _not_finished(folder, cell, record, ended)
            record.evaluations[evaluation.key] = str(scored.path.relative_to(folder.cells))
            folder.write_record(cell, record)
    return None


def _not_finished(folder: StudyFolder, cell: Cell, record: Record, ended: programs.Ended) -> programs.Ended:
    if not ended.stopped_by_user:
        record.code = ended.code
        if record.state != "finished":
            record.state = "failed"
    folder.write_record(cell, record)
    return ended
