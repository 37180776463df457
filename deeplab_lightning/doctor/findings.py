"""What the doctor says: findings, how grave they are, and how they are printed."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from ..errors import shown

Severity = Literal["error", "warning", "note"]
"""error: training stops or its scores mean nothing. warning: look at it. note: true, and good to know."""

OF_SCORES = ("leak", "contradiction")
"""Kinds of error at which no training stops: its scores alone mean nothing."""

SHOWN_FILES = 3
KEPT_FILES = 100
"""Files that are named in the report; of the rest there is the number."""


@dataclass(frozen=True)
class Finding:
    """One thing that is true of the data.

    Attributes:
        severity: How grave it is.
        kind: Short name, the same in every run, such as `leak`.
        what: What was found, with figures.
        remedy: The line of YAML or the command that fixes it, or what follows.
        files: The files it is about, the first `KEPT_FILES`.
        count: How many files there are in all.
    """

    severity: Severity
    kind: str
    what: str
    remedy: str
    files: tuple[str, ...] = ()
    count: int = 0


def finding(severity: Severity, kind: str, what: str, remedy: str, files: Sequence[object] = ()) -> Finding:
    """Make a finding about any number of files."""
    return Finding(severity, kind, what, remedy, tuple(map(str, files[:KEPT_FILES])), len(files))


def counted(number: int, what: str) -> str:
    """Return a number with its noun, such as `1 image` or `3 images`."""
    return f"{number} {what}" + "s" * (number != 1)


def exit_code(findings: Sequence[Finding], strict: bool) -> int:
    """Return 1 if something is wrong (with `strict`: or looks wrong), 0 otherwise."""
    grave = ("error", "warning") if strict else ("error",)
    return int(any(found.severity in grave for found in findings))


def stops_training(findings: Sequence[Finding]) -> bool:
    """Return whether `fit` would refuse the data, or end at it."""
    return any(found.severity == "error" and found.kind not in OF_SCORES for found in findings)


def as_text(findings: Sequence[Finding], width: int = 118) -> str:
    """Lay findings out for a terminal of `width` letters: errors first, each with its first files and its remedy."""
    paragraphs = []
    for found in sorted(findings, key=lambda found: get_args(Severity).index(found.severity)):
        head = f"{found.severity} ({found.kind}): "
        lines = [textwrap.fill(head + shown(found.what), width, subsequent_indent="    ", break_long_words=False)]
        lines += [f"      {shown(path)}" for path in found.files[:SHOWN_FILES]]
        if found.count > SHOWN_FILES:
            lines.append(f"      and {found.count - SHOWN_FILES} more")
        lead = "    -> "
        for line in found.remedy.splitlines():
            lines.append(
                textwrap.fill(
                    shown(line), width, initial_indent=lead, subsequent_indent=" " * 7, break_long_words=False
                )
            )
            lead = " " * 7
        paragraphs.append("\n".join(lines))
    return "\n".join(paragraphs)
