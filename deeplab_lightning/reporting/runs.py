"""The files of a run, `runs/<name>/<version>/`: where they are, and those that belong to no other module."""

from __future__ import annotations

import csv
import importlib.metadata
import json
import os
import platform
import re
import shlex
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import numpy as np

from .. import __version__
from ..errors import ConfigError, DataError
from ..files import atomic_open

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
        """Time per step, pictures per second, waiting for data, memory; see `callbacks.Speed`."""
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
    def per_picture(self) -> Path:
        """The confusion counts of each picture; see `metrics.per_picture.PictureCounts`."""
        return self.path / "per_picture.npz"

    @property
    def environment(self) -> Path:
        """Versions, commit, seed and machine; see `write_environment`."""
        return self.path / "environment.json"

    @property
    def curves_picture(self) -> Path:
        """The learning curves; see `plots.plot_curves`."""
        return self.path / "curves.png"

    @property
    def confusion_picture(self) -> Path:
        """The confusion matrix as a picture; see `plots.plot_confusion`."""
        return self.path / "confusion.png"

    @property
    def panels(self) -> Path:
        """The folder of picture panels; see `panels.panel_sheet`."""
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
        with atomic_open(parent / LATEST) as file:
            file.write(f"{version}\n".encode())


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


PACKAGES = ("torch", "torchvision", "lightning", "timm", "torchmetrics", "albumentations", "numpy")
OPENCV_PACKAGES = ("opencv-python-headless", "opencv-python", "opencv-contrib-python-headless", "opencv-contrib-python")


def write_environment(path: Path, seed: int | None, gpu_name: str | None = None) -> None:
    """Write what one must know to repeat a run: versions, commit, seed, machine, command line.

    Args:
        path: The file, `environment.json` in the run folder.
        seed: The seed of the run, if it has one.
        gpu_name: The accelerator's name, from whoever talks to it (this module imports no torch).
    """
    versions = {name: _version_of(name) for name in PACKAGES}
    versions["opencv"] = next((found for name in OPENCV_PACKAGES if (found := _version_of(name))), None)
    commit = _git("rev-parse", "HEAD")
    environment = {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "seed": seed,
        "deeplab_lightning": __version__,
        "git_commit": commit,
        # Untracked files do not count: the runs themselves may lie in the checkout.
        "git_dirty": bool(_git("status", "--porcelain", "--untracked-files=no")) if commit else None,
        "python": platform.python_version(),
        "packages": versions,
        "platform": platform.platform(),
        "cpu": _cpu_name(),
        "cpu_cores": os.cpu_count(),
        "gpu": gpu_name,
    }
    with atomic_open(path) as file:
        file.write((json.dumps(environment, indent=2, ensure_ascii=False) + "\n").encode())


def _version_of(package: str) -> str | None:
    """Return the installed version without importing the package."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _git(*arguments: str) -> str | None:
    """Return what git says about the current directory; None where there is no git or no checkout."""
    try:
        return subprocess.run(
            ["git", *arguments], capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def _cpu_name() -> str:
    """Return the processor's name; Linux gives it only in /proc/cpuinfo."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
