"""Files that mean harm, each used in a process of little memory: refused in words, and nothing else happens.

The names of these tests are the promises of SECURITY.md.
"""

from __future__ import annotations

import functools
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parent.parent.parent
SECONDS = 400


QUICK = ("foreign", "runs", "checkpoints", "mutated")
KINDS = [*QUICK, pytest.param("mutated_long", marks=pytest.mark.slow)]


def results(kind: str) -> list[dict[str, Any]]:
    """Return how the entries of a kind ended."""
    return [line for line in outcomes(QUICK if kind in QUICK else (kind,)) if line["kind"] == kind]


@functools.cache
def outcomes(kinds: tuple[str, ...]) -> list[dict[str, Any]]:
    """Run all entries of some kinds in one process, whose end before its time is a failure with the entry's name."""
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, "-m", "tests.hostile.child", folder, *kinds]
        done = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True, timeout=SECONDS, check=False)
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"')]
    found = [line for line in lines if "name" in line]
    if done.returncode != 0:
        begun = [line["begins"] for line in lines if "begins" in line]
        last = begun[-1] if begun else "its beginning"
        pytest.fail(f"The process ended with {done.returncode} in {last!r}: {done.stderr[-2000:]}")
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_every_file_is_refused_in_words_or_read(kind: str) -> None:
    wrong = [line for line in results(kind) if line["outcome"] not in ("refused", "used")]
    assert not wrong


@pytest.mark.parametrize("kind", ["foreign", "checkpoints", "runs"])
def test_no_hostile_file_is_used(kind: str) -> None:
    assert [line["name"] for line in results(kind) if line["outcome"] != "refused"] == []


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_in_a_file_runs_imports_fetches_or_writes(kind: str) -> None:
    assert [line for line in results(kind) if line["asked"]] == []


@pytest.mark.parametrize("kind", KINDS)
def test_no_file_takes_much_more_memory_than_it_has_bytes(kind: str) -> None:
    """A few bytes of file, and the first use of a part of PyTorch, which takes some."""
    assert [line for line in results(kind) if line["megabytes"] > 400] == []


def test_there_are_many() -> None:
    assert sum(len(results(kind)) for kind in QUICK) > 500
