"""Commands whose `fit` is the fake one, in this process or in another."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from deeplab_lightning.studies import programs

from ..conftest import REPOSITORY

FAKE = REPOSITORY / "tests" / "fakes" / "fit.py"


def use_fake_fit(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, seconds: float = 0.0
) -> Callable[[], list[list[str]]]:
    """Let commands start the fake; returns what tells how it was called."""
    calls = tmp_path / "calls.jsonl"
    monkeypatch.setenv("FAKE_FIT_CALLS", str(calls))
    monkeypatch.setenv("FAKE_FIT_SECONDS", str(seconds))
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    monkeypatch.setattr(programs, "PROGRAM", (sys.executable, str(FAKE)))
    monkeypatch.setattr(programs, "SECONDS_BETWEEN_LOOKS", 0.05)
    return lambda: [json.loads(line) for line in calls.read_text().splitlines()] if calls.exists() else []


def start(arguments: Sequence[str], before: str = "") -> subprocess.Popen[bytes]:
    """Start a command of ours in another process, with the fake `fit`, as `use_fake_fit` set it up.

    Args:
        arguments: After the program's name.
        before: Python to run first.
    """
    script = (
        "import sys\nfrom deeplab_lightning.studies import programs\n"
        f"programs.PROGRAM = (sys.executable, {str(FAKE)!r})\nprograms.SECONDS_BETWEEN_LOOKS = 0.05\n{before}\n"
        f"from deeplab_lightning.__main__ import main\nsys.exit(main({list(arguments)!r}))"
    )
    return subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ.copy()
    )


def wait_until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait for something that another process does."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.02)
