"""The reproducibility card of a run, `environment.json`: what one must know to make the run again, and what it cost.

It holds the versions, the commit of the source code (and `code.diff` beside it, where files differed from that), the
machine, the data's fingerprint, the seed, the weights it started from, and an entry for every stretch of training: a
run that was stopped and went on has several. The configuration itself is `config.yaml`.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import math
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

import deeplab_lightning

from .. import __version__
from ..errors import DataError
from ..files import atomic_open, read_json, sha256, write_json
from ..runs import RunFolder

PACKAGES = ("torch", "torchvision", "lightning", "timm", "torchmetrics", "albumentations", "numpy")
OPENCV_PACKAGES = ("opencv-python-headless", "opencv-python", "opencv-contrib-python-headless", "opencv-contrib-python")
SOURCE = Path(deeplab_lightning.__file__).parent
LARGEST_DIFF = 5 << 20
"""Bytes of `code.diff`, at most: beyond, somebody has changed data files, and it is cut."""

Card = dict[str, Any]


class Code(NamedTuple):
    """The state of a checkout.

    Attributes:
        commit: None where the source lies in no checkout.
        diff: Of tracked files, binary ones included; empty if clean, None where there is no checkout.
        untracked: Python files that git does not know, relative to the checkout.
    """

    commit: str | None
    diff: bytes | None
    untracked: list[str]


def environment(seed: int | None, gpus: Sequence[str] = (), source: Path = SOURCE) -> Card:
    """Return what there is to say of this machine and its software.

    Args:
        seed: The seed of the run, if it has one.
        gpus: Names of the accelerators at work, from whoever talks to them (this module imports no torch).
        source: A folder of source code, for its commit.
    """
    versions = {name: _version_of(name) for name in PACKAGES}
    versions["opencv"] = next((found for name in OPENCV_PACKAGES if (found := _version_of(name))), None)
    code = code_state(source)
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": _command(),
        "seed": seed,
        "deeplab_lightning": __version__,
        "git_commit": code.commit,
        "git_dirty": None if code.commit is None else bool(code.diff or code.untracked),
        "git_diff": hashlib.sha256(code.diff).hexdigest()[:16] if code.diff else None,
        "git_untracked": code.untracked,
        "python": platform.python_version(),
        "packages": versions,
        "platform": platform.platform(),
        "cpu": cpu_name(),
        "cpu_cores": os.cpu_count(),
        "gpu": gpus[0] if gpus else None,
        "gpus": list(gpus),
    }


def write_card(run: RunFolder, card: Mapping[str, Any]) -> None:
    """Write `environment.json`, whole or not at all."""
    write_json(run.environment, card)


def read_card(run: RunFolder) -> Card:
    """Read a run's card; runs of earlier versions lack some of its entries.

    Raises:
        DataError: There is none, or it is damaged.
    """
    what = "expected what `fit` writes at its start."
    card = read_json(run.environment, what)
    if card is None:
        raise DataError(f"{run.environment} cannot be read (there is no such file): {what}")
    if not isinstance(card, dict):
        raise DataError(f"{run.environment} holds {type(card).__name__}; expected names with values.")
    if (wrong := _unlike_a_card(card)) is not None:
        raise DataError(f"{run.environment} is no card of a run: its {wrong} is not what `fit` writes.")
    return card


def _unlike_a_card(card: Card) -> str | None:
    """Return the name of an entry that is read and is of another type than it should be."""
    number = (int, float, type(None))
    kinds: dict[str, Any] = {"packages": dict, "data": dict, "sessions": list, "gpus": list, "git_untracked": list}
    kinds |= {"parameters": number, "devices": number, "git_commit": str}
    for key, kind in kinds.items():
        if card.get(key) is not None and not isinstance(card[key], kind):
            return key
    if not all(math.isfinite(card.get(key) or 0) for key in ("parameters", "devices")):
        return "parameters"
    if not all(isinstance(facts, dict) for facts in (card.get("data") or {}).values()):
        return "data"
    if not all(isinstance(name, str) for name in card.get("git_untracked") or []):
        return "git_untracked"
    for session in card.get("sessions") or []:
        joules = session.get("energy_joules") if isinstance(session, dict) else None
        changed = session.get("changed") or {} if isinstance(session, dict) else None
        if (
            not isinstance(joules, dict)
            or not isinstance(session.get("seconds"), int | float)
            or "from_step" not in session
        ):
            return "sessions"
        if not all(part in joules and isinstance(joules[part], number) for part in ("cpu", "gpu")):
            return "sessions"
        if not isinstance(changed, dict) or not all(
            isinstance(two, list) and len(two) == 2 for two in changed.values()
        ):
            return "sessions"
    return None


def write_code_diff(run: RunFolder, source: Path = SOURCE) -> None:
    """Write `code.diff` if the source differs from its commit."""
    diff = code_state(source).diff
    if not diff:
        run.code_diff.unlink(missing_ok=True)
        return
    with atomic_open(run.code_diff) as file:
        file.write(diff[:LARGEST_DIFF])


def code_state(source: Path = SOURCE) -> Code:
    """Ask git about the checkout that some source code lies in."""
    # A package installed into an environment may lie below somebody else's checkout: its files are not tracked there.
    commit = _git(source, "rev-parse", "HEAD")
    tracked = _git(source, "ls-files", ".")
    if commit is None or not tracked:
        return Code(None, None, [])
    diff = _git(source, "diff", "HEAD", "--binary", "--no-color", "--no-ext-diff")
    # Only source counts: the runs themselves may lie in the checkout.
    untracked = _git(source, "ls-files", "--others", "--exclude-standard", ".") or b""
    names = [name for name in untracked.decode(errors="replace").splitlines() if name.endswith(".py")]
    return Code(commit.decode().strip(), diff, names)


def file_hash(path: Path) -> str | None:
    """Return the first 16 hexadecimal digits of a file's SHA-256; None if it cannot be read."""
    with suppress(OSError):
        return sha256(path)[:16]
    return None


class Difference(NamedTuple):
    """Something that is not as it was when the run was made."""

    what: str
    then: str
    now: str


def differences(card: Mapping[str, Any], now: Mapping[str, Any]) -> list[Difference]:
    """Compare a card with the state of this machine; what an old card does not tell is left out.

    Args:
        card: Of the run.
        now: `environment()`, with `data` and `weights` if they are known.
    """
    flat_now = _flattened(now)
    return [
        Difference(key, str(then), str(flat_now[key]))
        for key, then in _flattened(card).items()
        if key in flat_now and then is not None and flat_now[key] != then
    ]


_COMPARED = ("deeplab_lightning", "git_commit", "git_dirty", "git_diff", "python", "platform", "cpu", "cpu_cores",
             "gpu", "devices", "weights")  # fmt: skip


def _flattened(card: Mapping[str, Any]) -> dict[str, Any]:
    flat = {key: card[key] for key in _COMPARED if key in card}
    flat |= {f"package {name}": version for name, version in (card.get("packages") or {}).items()}
    for split, facts in (card.get("data") or {}).items():
        flat |= {f"data {split} {key}": value for key, value in facts.items()}
    return flat


def begin_session(card: Card, step: int) -> dict[str, Any]:
    """Add a stretch of training to a card and return its entry, to be filled with `end_session`."""
    session = {
        **{key: card[key] for key in ("date", "command", "git_commit", "git_dirty")},
        "from_step": step,
        "to_step": step,
        "seconds": 0.0,
        "energy_joules": {"cpu": None, "gpu": None},
    }
    card.setdefault("sessions", []).append(session)
    return session


def wall_seconds(card: Mapping[str, Any]) -> float | None:
    """Return the time of all stretches together; None where it was not recorded."""
    sessions = card.get("sessions") or []
    return sum(session["seconds"] for session in sessions) if sessions else None


def energy_joules(card: Mapping[str, Any]) -> dict[str, float | None]:
    """Return what processor and GPU used over all stretches; None where it is unknown of one of them."""
    sessions = card.get("sessions") or []
    parts = {part: [session["energy_joules"][part] for session in sessions] for part in ("cpu", "gpu")}
    return {part: None if not values or None in values else sum(values) for part, values in parts.items()}


def describe_energy(card: Mapping[str, Any]) -> str:
    """Return for example `processor 12.3 kJ, GPU unknown`."""
    joules = energy_joules(card)
    used = {"processor": joules["cpu"]} | ({"GPU": joules["gpu"]} if card.get("gpus") else {})
    return ", ".join(
        f"{name} {'unknown' if found is None else f'{found / 1000:.1f} kJ'}" for name, found in used.items()
    )


def _command() -> str:
    """Return what was typed, or something that does the same."""
    program = Path(sys.argv[0]).name
    words = ["python", "-m", SOURCE.name] if program == "__main__.py" else [program]
    return shlex.join([*words, *sys.argv[1:]])


def _version_of(package: str) -> str | None:
    """Return the installed version without importing the package."""
    with suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version(package)
    return None


def _git(folder: Path, *arguments: str) -> bytes | None:
    """Return what git says about a folder; None where there is no git or no checkout."""
    command = ["git", "-C", str(folder), *arguments]
    with suppress(OSError, subprocess.SubprocessError):
        return subprocess.run(command, capture_output=True, check=True, timeout=30).stdout
    return None


def cpu_name() -> str:
    """Return the processor's name; Linux gives it only in /proc/cpuinfo."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
