"""The files of a run, `runs/<name>/<version>/`: where they are, and those that belong to no other module."""

from __future__ import annotations

import csv
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import ConfigError, DataError
from ..files import write_text

LATEST = "latest"
"""In `runs/<name>/`: a link to the newest version, or a text file holding its name where links are impossible."""


@dataclass(frozen=True)
class RunFolder:
    """One run's folder and the names of its files. The files need not exist yet.

    Attributes:
        path: `runs/<name>/<version>`.
    """

    path: Path

    @property
    def config(self) -> Path:
        """The resolved configuration."""
        return self.path / "config.yaml"

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints."""
        return self.path / "checkpoints"

    @property
    def last_checkpoint(self) -> Path:
        """Where training goes on from."""
        return self.checkpoints / "last.ckpt"

    @property
    def previous_checkpoint(self) -> Path:
        """The one before, should that be damaged."""
        return self.checkpoints / "previous.ckpt"

    @property
    def best_checkpoint(self) -> Path:
        """The checkpoint of the best val/mIoU."""
        return self.checkpoints / "best.ckpt"

    @property
    def metrics(self) -> Path:
        """Everything logged, a row per logging step; see `read_metrics`."""
        return self.path / "metrics.csv"

    @property
    def speed(self) -> Path:
        """Time per step, images per second, waiting for data, memory; see `callbacks.Speed`."""
        return self.path / "speed.csv"

    @property
    def per_class(self) -> Path:
        """The scores of each class; see `tables.write_per_class_csv`."""
        return self.path / "per_class.csv"

    @property
    def confusion(self) -> Path:
        """The confusion matrix; see `tables.write_confusion`."""
        return self.path / "confusion.npz"

    @property
    def per_image(self) -> Path:
        """The confusion counts of each image; see `metrics.per_image.ImageCounts`."""
        return self.path / "per_image.npz"

    @property
    def environment(self) -> Path:
        """The reproducibility card: versions, commit, seed, machine, data, time; see `card`."""
        return self.path / "environment.json"

    @property
    def code_diff(self) -> Path:
        """What the source code differed by from its commit; only there if it did."""
        return self.path / "code.diff"

    @property
    def evaluation(self) -> Path:
        """How the scores were measured; see `evaluation`."""
        return self.path / "evaluation.json"

    @property
    def images(self) -> Path:
        """Some images with their masks, for reports; see `gallery`."""
        return self.path / "images.zip"

    @property
    def curves_image(self) -> Path:
        """The learning curves; see `plots.plot_curves`."""
        return self.path / "curves.png"

    @property
    def confusion_image(self) -> Path:
        """The confusion matrix as an image; see `plots.plot_confusion`."""
        return self.path / "confusion.png"

    @property
    def panels(self) -> Path:
        """The folder of image panels; see `panels.panel_overview`."""
        return self.path / "panels"


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
        taken = [int(match[1]) for entry in parent.iterdir() if (match := re.fullmatch(r"version_(\d+)", entry.name))]
        version = max(taken, default=-1)
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
        found = latest.parent / latest.read_text(encoding="utf-8").strip()
    else:
        found = path
    run = RunFolder(found)
    if not (run.config.is_file() or run.checkpoints.is_dir()):
        versions = sorted(entry.name for entry in latest.parent.glob("version_*"))
        raise ConfigError(
            f"No run found in {found}: expected a folder with config.yaml or checkpoints/. Train first (`fit`), or "
            "give the folder of one version, runs/<name>/<version>"
            + (f"; there are {', '.join(versions)}." if versions else ".")
        )
    return run


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
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        names, rows = list(reader.fieldnames or ()), list(reader)
    try:
        # A short row (the run is just writing it) leaves None.
        return {name: np.array([float(row[name] or "nan") for row in rows], dtype=np.float64) for name in names}
    except ValueError as error:
        raise DataError(f"{path}: {error}. Expected a heading and below it numbers or empty cells.") from error
