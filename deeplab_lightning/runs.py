"""The files of a run, `runs/<name>/<version>/`: where they are, and which run and checkpoint a user means."""

from __future__ import annotations

import csv
import io
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import numpy as np

from .errors import CheckpointError, ConfigError, DataError, did_you_mean
from .files import expect_name, open_file, read_text, write_text
from .options import Options, at_least

LATEST = "latest"
"""In `runs/<name>/`: a link to the newest version, or a text file holding its name where links are impossible."""
RUNS = Path("runs")
"""The folder of all runs, unless another one is given."""

Preference = Literal["best", "last"]
"""Of a run's checkpoints: the one of the best val/mIoU, or the one that training goes on from."""
LARGEST_METRICS = 1 << 26
"""Bytes of `metrics.csv`; 100,000 logging steps of 20 numbers have a third of it."""
WORDS: tuple[Preference, ...] = ("best", "last")


@dataclass(frozen=True)
class RunOptions(Options):
    """Where a run goes."""

    section: ClassVar[str] = "run"

    name: str | None = None
    """Name of the run; the stem of the first configuration file if not given."""
    folder: str | None = None
    """Folder of all runs, in which a run gets `NAME/version_N`; `runs` if not given."""
    watch_gradients: Annotated[int, at_least(0)] = 0
    """Weights & Biases: write histograms of the gradients every so many steps; 0 for never."""

    def check(self) -> None:
        """Refuse names that lead out of the folder of runs."""
        if self.name is not None:
            expect_name("--run.name", self.name, "say where runs go with --run.folder")


class _Within:
    """A file or folder within a run's."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, run: RunFolder, owner: type[RunFolder]) -> Path:
        return run.path / self.name


@dataclass(frozen=True)
class RunFolder:
    """One run's folder and the names of its files. The files need not exist yet.

    Attributes:
        path: `runs/<name>/<version>`.
    """

    path: Path

    config = _Within("config.yaml")
    """The resolved configuration."""
    checkpoints = _Within("checkpoints")
    """The folder of checkpoints."""
    last_checkpoint = _Within("checkpoints/last.ckpt")
    """Where training goes on from."""
    previous_checkpoint = _Within("checkpoints/previous.ckpt")
    """The one before, should that be damaged."""
    best_checkpoint = _Within("checkpoints/best.ckpt")
    """The checkpoint of the best val/mIoU."""
    metrics = _Within("metrics.csv")
    """Everything logged, a row per logging step; see `read_metrics`."""
    speed = _Within("speed.csv")
    """Time per step, images per second, waiting for data, memory; see `callbacks.Speed`."""
    per_class = _Within("per_class.csv")
    """The scores of each class; see `tables.write_per_class_csv`."""
    confusion = _Within("confusion.npz")
    """The confusion matrix; see `tables.write_confusion`."""
    per_image = _Within("per_image.npz")
    """The confusion counts of each image; see `metrics.per_image.ImageCounts`."""
    panoptic = _Within("panoptic.npz")
    """The matched segments of each image, if there are objects; see `metrics.panoptic_quality.PanopticCounts`."""
    environment = _Within("environment.json")
    """The reproducibility card: versions, commit, seed, machine, data, time; see `card`."""
    code_diff = _Within("code.diff")
    """What the source code differed by from its commit; only there if it did."""
    evaluation = _Within("evaluation.json")
    """How the scores were measured; see `evaluation`."""
    images = _Within("images.zip")
    """Some images with their masks, for reports; see `gallery`."""
    curves_image = _Within("curves.png")
    """The learning curves; see `plots.plot_curves`."""
    confusion_image = _Within("confusion.png")
    """The confusion matrix as an image; see `plots.plot_confusion`."""
    panels = _Within("panels")
    """The folder of image panels; see `panels.panel_overview`."""

    def checkpoint(self, prefer: Preference = "best") -> Path:
        """Return the checkpoint that stands for this run.

        Args:
            prefer: "best": of the best val/mIoU, or the last one where there was no validation yet. "last": that alone,
                since training that went on from an older one would silently lose what came after it.

        Raises:
            CheckpointError: There is none; it says what there is instead.
        """
        wanted = [self.best_checkpoint, self.last_checkpoint] if prefer == "best" else [self.last_checkpoint]
        for path in wanted:
            if path.is_file():
                return path
        beside = sorted(map(str, self.checkpoints.glob("*.ckpt")))
        pattern = f"version_*/checkpoints/{'*' if prefer == 'best' else prefer}.ckpt"
        older = sorted(str(path) for path in self.path.parent.glob(pattern) if path.parent != self.checkpoints)
        raise CheckpointError(
            f"{wanted[-1]} does not exist; that run ended before it saved."
            + (f" It has: {', '.join(beside)}." if beside else "")
            + (f" Older runs have: {', '.join(older)}." if older else "")
            + ("" if beside or older else " Train first (`fit`), without --ckpt_path.")
        )

    def newest_evaluation(self, command: str = "validate") -> RunFolder | None:
        """Return what the last `validate` (or `test`) of one of this run's checkpoints left, if any did."""
        return newest_evaluation(self.path / command)


def new_run(root: Path, name: str) -> RunFolder:
    """Make the next version's folder: `root/name/version_0`, `version_1`, ...

    Two runs that start at the same moment get two folders.

    Args:
        root: The folder of all runs, usually `runs`.
        name: The run's name, usually the first configuration's stem.

    Raises:
        ConfigError: The folder cannot be made.
    """
    parent = root / name
    try:
        parent.mkdir(parents=True, exist_ok=True)
        version = max(_versions(parent), default=-1)
        while True:
            version += 1
            with suppress(FileExistsError):  # another run was faster: try the next number
                (parent / f"version_{version}").mkdir()
                return RunFolder(parent / f"version_{version}")
    except OSError as error:
        raise ConfigError(
            f"Cannot make a run folder in {parent} ({error.strerror}): give a place where you may write."
        ) from error


def mark_latest(run: RunFolder) -> None:
    """Let `runs/<name>/latest` point at `run`."""
    parent, version = run.path.parent, run.path.name
    temporary = parent / f".{LATEST}.{os.getpid()}.tmp"
    try:
        # Made aside and moved over the old one, so that there is a `latest` at every moment.
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(version, target_is_directory=True)  # relative: the tree of runs can be moved
        os.replace(temporary, parent / LATEST)
    except (OSError, NotImplementedError):  # Windows without the privilege, some network file systems
        temporary.unlink(missing_ok=True)
        write_text(parent / LATEST, f"{version}\n")


def find_run(path: Path) -> RunFolder:
    """Find the run that a user means.

    Args:
        path: A run folder `runs/<name>/<version>`, or `runs/<name>` or `runs/<name>/latest` for the newest version.

    Returns:
        The run, its path naming the version and not `latest`.

    Raises:
        ConfigError: There is no such run.
    """
    latest = path if path.name == LATEST else path / LATEST
    if latest.is_symlink():
        found = latest.parent / latest.readlink()
    elif latest.is_file():
        try:
            found = latest.parent / read_text(latest).strip()
            found.exists()
        except (OSError, ValueError) as error:  # it names no file
            raise ConfigError(f"{latest} does not name a run ({error}): delete it, or name a version.") from error
    else:
        found = path
    run = RunFolder(found)
    if not (run.config.is_file() or run.checkpoints.is_dir()):
        via = "" if found == path else f", which {latest} points at"
        versions = [f"version_{number}" for number in sorted(_versions(latest.parent))]
        near = "" if path.exists() or path.name == LATEST else _near(path)
        raise ConfigError(
            f"No run found in {found}{via}: expected a folder with config.yaml or checkpoints/.{near} Train first "
            f"(`fit`), or give the folder of one version, runs/<name>/<version>"
            + (f"; there are {', '.join(versions)}." if versions else ".")
        )
    return run


def newest_evaluation(parent: Path) -> RunFolder | None:
    """Return the newest version with scores in a folder that `validate` or `test` wrote: those leave no `latest`.

    Args:
        parent: Such as `runs/NAME/version_0/validate` or `runs/NAME-validate`. It need not exist.
    """
    scored = {number: run for number, run in _versions(parent).items() if run.per_image.is_file()}
    return scored[max(scored)] if scored else None


def run_of(checkpoint: Path) -> RunFolder | None:
    """Return the run whose `checkpoints/` a file lies in, or None if it lies elsewhere."""
    return RunFolder(checkpoint.parent.parent) if checkpoint.parent.name == "checkpoints" else None


def resolve_checkpoint(
    given: str | Path, prefer: Preference = "best", name: str | None = None, folder: Path = RUNS
) -> Path:
    """Return the checkpoint file that a user means.

    Args:
        given: A checkpoint; a run, `runs/NAME/version_0`; `runs/NAME` or `runs/NAME/latest` for the newest version; or
            one of the words `best` and `last`, for the newest run called `name`.
        prefer: Which one of a run; see `RunFolder.checkpoint`. A word says so itself.
        name: Of runs in `folder`, for the words.
        folder: Of all runs.

    Returns:
        An existing file. Where `given` leads through `latest`, the path names the version.

    Raises:
        CheckpointError: There is no such file or run, or the run has no checkpoint; it says what there is instead.
    """
    path = Path(given)
    if given in WORDS and not path.exists():
        if name is None:
            raise CheckpointError(
                f"--ckpt_path {given} means the newest run of a name, but no name is given: add the configuration it "
                f"was trained with (-c configs/v3plus.yaml), or --run.name; or give the run itself, as in runs/v3plus."
            )
        try:
            run = find_run(folder / name)
        except ConfigError as error:
            raise CheckpointError(f"--ckpt_path {given}: there is nothing to go on from. {error}") from error
        return run.checkpoint("best" if given == "best" else "last")
    if path.is_dir() or path.name == LATEST:
        try:
            return find_run(path).checkpoint(prefer)
        except ConfigError as error:
            raise CheckpointError(str(error)) from error
    expect_checkpoint(path)
    return path.parent.resolve() / path.name  # not the file itself: a link may lead into a store without names


def expect_checkpoint(path: Path) -> None:
    """Refuse a checkpoint that does not exist.

    Raises:
        CheckpointError: With the nearest name that does.
    """
    if not path.is_file():
        raise CheckpointError(f"There is no checkpoint {path}.{_near(path)}")


def _near(path: Path) -> str:
    """Suggest a neighbour: of a name with ending a checkpoint, of one without anything, since a run was meant."""
    pattern = "*.ckpt" if path.suffix else "*"
    return did_you_mean(str(path), map(str, path.parent.glob(pattern)) if path.parent.is_dir() else [])


def _versions(parent: Path) -> dict[int, RunFolder]:
    """Return the versions in `runs/<name>` by number; none where there is no such folder."""
    entries = parent.iterdir() if parent.is_dir() else ()
    return {int(match[1]): RunFolder(path) for path in entries if (match := re.fullmatch(r"version_(\d+)", path.name))}


def read_metrics(path: Path) -> dict[str, np.ndarray]:
    """Read a run's `metrics.csv`.

    Args:
        path: The file. Its columns are logged keys, its rows logging steps; a cell is empty where a key was not logged.

    Returns:
        For each column, `(rows,)` float64 with NaN for the empty cells.

    Raises:
        DataError: The file is missing, or a cell is not a number.
    """
    if not path.is_file():
        raise DataError(f"{path} does not exist: expected the metrics of a run. Has the run logged anything yet?")
    if path.stat().st_size > LARGEST_METRICS:
        raise DataError(f"{path} has {path.stat().st_size:,} bytes; {LARGEST_METRICS:,} are read.")
    try:
        with io.TextIOWrapper(open_file(path), newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            names, rows = list(reader.fieldnames or ()), list(reader)
        # A short row (the run is just writing it) leaves None.
        return {name: np.array([float(row[name] or "nan") for row in rows], dtype=np.float64) for name in names}
    except (csv.Error, OSError, TypeError, ValueError) as error:
        raise DataError(f"{path}: {error}. Expected a heading and below it numbers or empty cells.") from error
