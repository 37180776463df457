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
SECONDS = 900


QUICK = ("foreign", "runs", "checkpoints", "mutated", "images", "commands", "annotations", "decoders", "pages")
LONG = ("mutated_long", "annotations_long", "decoders_long", "pages_long")
KINDS = [*QUICK, *(pytest.param(kind, marks=pytest.mark.slow) for kind in LONG)]


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


@pytest.mark.parametrize("kind", ["foreign", "checkpoints", "runs", "images"])
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
    assert sum(len(results(kind)) for kind in QUICK) > 1000


def test_one_bad_file_costs_one_file() -> None:
    """Whole command lines on folders in which good files lie between bad ones; each entry looks for both."""
    found = results("commands")
    assert {line["name"].split()[0] for line in found} >= {"predict", "evaluate", "doctor", "inspect", "import"}
    assert [line for line in found if line["outcome"] != "used"] == []


def test_names_and_values_of_others_reach_no_page_and_no_terminal_as_they_are() -> None:
    named = "names that are markup, and that terminals obey"
    assert [line["outcome"] for line in results("pages") if line["name"] == named] == ["used"]


def test_no_file_is_waited_for() -> None:
    """Pipes, sockets, devices, headers of 65,535 channels: an alarm ends an entry, and the clock the process."""
    assert [line for kind in QUICK for line in results(kind) if line["seconds"] > 60] == []


def table(kinds: tuple[str, ...] = QUICK) -> str:
    """Return what the entries of each kind cost at most, as the table of docs/hostile_files.md."""
    lines = ["| kind | entries | most memory beside what the process has, MB | longest, s |", "|---|--:|--:|--:|"]
    for kind in kinds:
        found = results(kind)
        peak, longest = max(line["megabytes"] for line in found), max(line["seconds"] for line in found)
        lines.append(f"| {kind} | {len(found)} | {peak} | {longest:.1f} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(table(), end="")
