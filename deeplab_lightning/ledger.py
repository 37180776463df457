"""What is finished of a long job, so that the same command goes on wherever it was stopped.

`ablate` keeps its cells so, `stages` its stages, `evaluate` its protocols, `benchmark` its lines, `crf-search` its
points and a video its segments; `sweep`, whose memory is Optuna's journal, shares its trials out by the same locks.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from . import locks
from .errors import ConfigError, DataError
from .files import read_bytes, write_json


class Ledger:
    """A folder of entries, `NAME.json`: what is there is done, and need not be done again.

    An entry is named after what it is of: a number, or `key_of` all that it depends on. It appears whole or not at all.
    Several processes share the work by claiming an entry (`NAME.lock`) before they begin with it.

    Args:
        folder: Made with the first entry.
        forgetful: An entry that cannot be read counts as not done: for what is soon done again. Otherwise it is
            refused, since it may stand for hours.
    """

    def __init__(self, folder: Path, forgetful: bool = False) -> None:
        self.folder, self.forgetful = folder, forgetful

    def path(self, name: str, ending: str = "json") -> Path:
        """Where an entry lies, or a file beside it with another ending."""
        return self.folder / f"{name}.{ending}"

    def read(self, name: str) -> dict[str, Any] | None:
        """Return an entry, or None if there is none.

        Raises:
            DataError: It cannot be read, and this ledger is not forgetful.
        """
        path = self.path(name)
        try:
            content = json.loads(read_bytes(path).decode())
            if not isinstance(content, dict):
                raise ValueError(f"it holds {type(content).__name__}, expected names with values")
            return content
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError) as error:
            if self.forgetful:
                return None
            raise DataError(f"{path} is damaged ({error}): delete it to begin that part anew.") from error

    def write(self, name: str, content: Mapping[str, Any]) -> None:
        """Write an entry, whole or not at all.

        Raises:
            OSError: The place cannot be written.
        """
        path = self.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, content)

    def expect_same(self, found: Mapping[str, Any], wanted: Mapping[str, Any], remedy: str) -> None:
        """Refuse to go on with a job of other settings.

        Args:
            found: The settings written down when the job began.
            wanted: Those of now.
            remedy: What to do, besides giving the same settings.

        Raises:
            ConfigError: Names the settings that differ, with their values then.
        """
        plain = json.loads(json.dumps(dict(wanted)))
        other = [f"{key} ({found.get(key)})" for key in plain if found.get(key) != plain[key]]
        if other:
            raise ConfigError(
                f"{self.folder} holds the beginning of another job, with other {', '.join(other)[:300]}. Give the same "
                f"again to go on with it, or {remedy}."
            )

    def claim(self, name: str) -> locks.Lock | None:
        """Take an entry for this process, or return None where another one has it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return locks.acquire(self.path(name, "lock"))

    def holder(self, name: str) -> str | None:
        """Say who is at work on an entry; None if nobody is."""
        return locks.holder(self.path(name, "lock"))


def key_of(settings: Mapping[str, Any], digits: int = 16) -> str:
    """Return hexadecimal digits that stand for settings, whatever their order: the name of what depends on them."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()[:digits]
