"""`ablate`: train what a study file describes, resumable and on several machines, and print the table of a paper."""

from __future__ import annotations

import contextlib
import io
import shlex
import sys
import time
import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from ..command_line import ConfigurationWords
from ..errors import ConfigError, DeepLabError, shown
from ..options import Written, at_least
from ..packaged_files import find_file
from ..studies.options import as_words, merged, parse_words, value_of
from ..studies.study_file import Cell, Study, StudyEvaluation, load_study

if TYPE_CHECKING:
    from ..locks import Lock
    from ..studies.cells import StudyFolder


def ablate(
    file: Annotated[Path, Written(metavar="STUDY.yaml")],
    /,
    *,
    dry_run: bool = False,
    table: bool = False,
    folder: Path = Path("runs"),
    resamples: Annotated[int, at_least(100)] = 5000,
    configuration: ConfigurationWords = (),
) -> int:
    """Train a study's combinations, and print a paper's table.

    Every combination of a study's factors is trained with every seed, each a fit of its own, and the table written:
    mean and spread over seeds, differences from the baseline with intervals and p-values, published figures. Stopped at
    any point, the same command goes on there; started several times, on several GPUs or machines with a shared disk,
    the processes divide the work. Studies: configs/ablations/. What a study file says: docs/ablations.md.

    Args:
        file: The study.
        dry_run: Check every cell's options; print the cells and their cost.
        table: Only write the tables of what is finished, which needs no torch.
        folder: Folder of all runs.
        resamples: Resamples of the bootstrap, by which intervals and p-values are made.
        configuration: All other options are handed to fit in every cell, such as --data.root or --trainer.max_steps.

    Returns:
        0, 1 if a cell failed, or the exit code of a stop by the user.

    Raises:
        ConfigError: The file or an option cannot be used.
    """
    if dry_run and table:
        raise ConfigError("--dry_run and --table do not go together: give one of them.")

    from ..studies.cells import StudyFolder

    if any(word.partition("=")[0] in ("-c", "--config") for word in configuration):
        raise ConfigError("ablate takes no -c: list configurations under `base` in the study file.")
    more = parse_words(configuration)
    file = find_file(file)
    of_study = StudyFolder(folder / load_study(file).name)
    if table and not more:
        more = of_study.whole.read("study") or {}
    study = load_study(file, more)
    if table:
        return write(study, of_study, resamples)
    if dry_run:
        return print_plan(study, of_study)
    return train(study, of_study, more, resamples)


def write(study: Study, folder: StudyFolder, resamples: int) -> int:
    """Write the tables of what is finished, and print the first."""
    from ..studies.results import collect
    from ..studies.tables import write_tables

    results = collect(study, folder, resamples)
    if not any(result.runs for result in results):
        raise ConfigError(
            f"{folder.path} has no finished cell of this study: run `ablate` without --table first, or give the "
            f"options and the --folder of that time."
        )
    files = write_tables(study, results, folder.path, resamples)
    print(files[0].read_text(encoding="utf-8"))
    print(f"Files: {', '.join(str(path) for path in files)}")
    return 0


def print_plan(study: Study, folder: StudyFolder) -> int:
    """Check every cell's options against the command line, and print what there is to do and what it costs."""
    from ..studies.cells import cell_seconds, seconds_left
    from ..studies.programs import describe_duration

    recipes = check_recipes(study, folder)
    seconds = cell_seconds(study, folder, recipes, {})
    measured = not all(value != value for value in seconds.values())
    if not measured:
        seconds = cell_seconds(study, folder, recipes, _trial(study, recipes))
    print(f"{shown(study.name)}: {len(study.rows)} rows, {len(study.cells)} cells, in {folder.path}\n")
    names = {cell.key: shown(row.name) for row in reversed(study.rows) for cell in row.cells}
    width = max(map(len, names.values()))
    print(f"{'cell':<14}{'row':<{width + 2}}{'seed':>5}  {'params':>8}  {'mult-adds':>9}  {'time':>9}  state")
    for cell in study.cells:
        recipe = recipes[cell.recipe]
        print(
            f"{cell.key:<14}{names[cell.key]:<{width + 2}}{cell.seed:>5}  {recipe['parameters'] / 1e6:>6.2f} M  "
            f"{recipe['multiply_adds'] / 1e9:>7.2f} G  {describe_duration(seconds[cell.recipe]):>9}  "
            f"{state(study, folder, cell)}"
        )
    source = "measured in this folder" if measured else "an estimate from two trial steps, without validation"
    left = describe_duration(seconds_left(study, folder, seconds))
    print(f"\ntime left, one cell after the other: {left} ({source})")
    return 0


def train(study: Study, folder: StudyFolder, more: Mapping[str, Any], resamples: int) -> int:
    """Run cells until none is left that another process does not have; then write the tables.

    `more`, the options given on the command line, is remembered for `--table`.

    Returns:
        0, 1 if a cell failed, or the exit code of a stop by the user.
    """
    from ..studies.cells import run_cell
    from ..studies.programs import rarely, tail

    folder.whole.write("study", more)
    recipes = check_recipes(study, folder)
    began = time.time()
    failed: list[Cell] = []
    while claimed := _next(study, folder, failed, began):
        cell, lock = claimed
        position = study.cells.index(cell) + 1
        names = next(row.name for row in study.rows if any(other.key == cell.key for other in row.cells))
        title = f"cell {position} of {len(study.cells)}: {shown(names)}, seed {cell.seed}"
        print(f"{title}{', going on' if folder.run(cell) else ''} ({folder.log(cell)})", flush=True)
        try:
            ended = run_cell(study, folder, cell, lock, rarely(partial(_say_progress, study, folder, cell, recipes)))
        finally:
            lock.release()
        if ended is not None and ended.stopped_by_user:
            print("Stopped; the same command goes on here.")
            return ended.code if ended.code > 0 else 128 - ended.code
        if ended is not None:
            failed.append(cell)
            print(f"{title} failed with exit code {ended.code}:\n{tail(folder.log(cell))}", file=sys.stderr)
            words = f"{shlex.join(cell.words)} --seed_everything {cell.seed}"
            print(f"  to see it alone: python -m deeplab_lightning fit {words}", file=sys.stderr)
        else:
            record = folder.record(cell)
            print(f"{title} finished in {0 if record is None else record.seconds:.0f} s", flush=True)
    others = [cell for cell in study.cells if folder.ledger.holder(cell.key)]
    if others:
        print(f"{len(others)} cells are at work in other processes; the last one to end has the whole table.")
    states = {record.state for cell in study.cells if (record := folder.record(cell))}
    if "finished" in states:
        write(study, folder, resamples)
    if failed or "failed" in states:
        print("Some cells failed (see above and their logs); the same command tries them again.", file=sys.stderr)
        return 1
    return 0


def _next(study: Study, folder: StudyFolder, failed: Sequence[Cell], began: float) -> tuple[Cell, Lock] | None:
    """Return a cell that is to be done and the lock on it, or None.

    What failed since this process began, here or elsewhere, is left for another time.
    """
    for cell in study.cells:
        if folder.is_finished(study, cell) or cell in failed:
            continue
        lock = folder.ledger.claim(cell.key)
        if lock is None:
            continue
        record = folder.record(cell)  # perhaps another process finished it since
        failed_elsewhere = record is not None and record.state == "failed" and record.when > began
        if not folder.is_finished(study, cell) and not failed_elsewhere:
            return cell, lock
        lock.release()
    return None


def state(study: Study, folder: StudyFolder, cell: Cell) -> str:
    """Return what became of a cell, in words."""
    owner = folder.ledger.holder(cell.key)
    done, total = folder.progress(cell)
    step = f"step {done} of {total}" if total else f"step {done}"
    if owner:
        return f"at work: {owner}, {step}"
    record = folder.record(cell)
    if record is None:
        return "to do"
    if folder.is_finished(study, cell):
        return f"finished in {record.seconds:.0f} s"
    return f"failed, {folder.log(cell)}" if record.state == "failed" else f"to go on, {step}"


def _say_progress(study: Study, folder: StudyFolder, cell: Cell, recipes: Mapping[str, Mapping[str, Any]]) -> None:
    """Print how far the cell and the study are: over and over on one line of a terminal, line by line into a log."""
    from ..studies.cells import cell_seconds, seconds_left
    from ..studies.programs import describe_duration

    done, total = folder.progress(cell)
    left = describe_duration(seconds_left(study, folder, cell_seconds(study, folder, recipes, {})))
    line = f"  step {done}/{total or '?'}, {left} left for the study by one process"
    print(f"\r{line}\033[K" if sys.stdout.isatty() else f"{line}\n", end="", flush=True)


def check_recipes(study: Study, folder: StudyFolder) -> dict[str, dict[str, Any]]:
    """Parse every configuration as `fit` does, and count its network's parameters and multiply-adds.

    What is known is not counted again. A wrong option is found here, before anything runs.

    Returns:
        By recipe, and by recipe/evaluation where an evaluation changes the network.

    Raises:
        ConfigError: An option does not exist or cannot have this value; names the row.
    """
    recipes = folder.whole.read("recipes") or {}
    wanted: dict[str, tuple[str, Cell, StudyEvaluation | None]] = {}
    for row in study.rows:
        cell = row.cells[0]
        wanted.setdefault(cell.recipe, (row.name, cell, None))
        if row.evaluation.options:
            wanted.setdefault(f"{cell.recipe}/{row.evaluation.key}", (row.name, cell, row.evaluation))
    unknown = {key: entry for key, entry in wanted.items() if key not in recipes}
    for number, (key, (name, cell, evaluation)) in enumerate(unknown.items(), start=1):
        if sys.stderr.isatty():
            print(f"\rchecking {number} of {len(unknown)} configurations\033[K", end="", file=sys.stderr, flush=True)
        try:
            recipes[key] = _cost_of_network(cell, evaluation)
        except DeepLabError as error:
            raise ConfigError(f"row {name}: {error}") from error
    if unknown:
        if sys.stderr.isatty():
            print("\r\033[K", end="", file=sys.stderr)
        folder.whole.write("recipes", recipes)
    return recipes


def _cost_of_network(cell: Cell, evaluation: StudyEvaluation | None) -> dict[str, Any]:
    from ..config import Configuration
    from ..inspection import trace

    words = [*cell.words, *(as_words(evaluation.options) if evaluation else [])]
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        configuration = Configuration(words)
        crop = configuration.data.crop_size
        task = configuration.make_task(on_paper=True)
        executed = trace(task.model, (crop, crop), task.description["channels"])
    return {"parameters": executed.parameters, "multiply_adds": executed.multiply_adds, "crop_size": crop}


def _trial(study: Study, recipes: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Estimate whole cells from trial steps of the baseline, scaled by multiply-adds; empty if those fail."""
    from ..doctor.trial import TrialError, measure
    from .doctor import build_for_trial

    baseline = study.rows[study.baseline].cells[0]
    print("nothing is measured yet: making trial steps of the baseline ...", flush=True)
    try:
        cost = measure(partial(build_for_trial, baseline.words), recipes[baseline.recipe]["crop_size"])
    except TrialError as error:
        print(f"the trial steps failed: {error}")
        return {}
    guess = {}
    for cell in study.cells:
        configuration = merged(cell.configs, cell.options)
        steps, batch = value_of(configuration, "trainer.max_steps"), value_of(configuration, "data.batch_size") or 8
        work = recipes[cell.recipe]["multiply_adds"] / recipes[baseline.recipe]["multiply_adds"]
        guess[cell.recipe] = cost.seconds_per_image * batch * work * (steps or float("nan"))
    return guess
