"""What the doctor says: findings, how grave they are, and how they are printed."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

Severity = Literal["error", "warning", "note"]
"""error: training stops or its scores mean nothing. warning: look at it. note: true, and good to know."""

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


def about_files(files: Sequence[object], severity: Severity, kind: str, what: str, remedy: str) -> list[Finding]:
    """Make a finding about some files; none where there are none."""
    return [finding(severity, kind, what, remedy, files)] if files else []


def counted(number: int, what: str) -> str:
    """Return a number with its noun, such as `1 image` or `3 images`."""
    return f"{number} {what}" + "s" * (number != 1)


def of_severity(findings: Sequence[Finding], severity: Severity) -> list[Finding]:
    """Pick the findings of one severity."""
    return [found for found in findings if found.severity == severity]


def exit_code(findings: Sequence[Finding], strict: bool) -> int:
    """Return 1 if something is wrong (with `strict`: or looks wrong), 0 otherwise."""
    grave = ("error", "warning") if strict else ("error",)
    return int(any(found.severity in grave for found in findings))


def as_text(findings: Sequence[Finding], width: int = 118) -> str:
    """Lay findings out for a terminal of some width: errors first, each with its first files and its remedy."""
    paragraphs = []
    order: tuple[Severity, ...] = ("error", "warning", "note")
    for found in (one for severity in order for one in of_severity(findings, severity)):
        head = f"{found.severity} ({found.kind}): "
        lines = [textwrap.fill(head + found.what, width, subsequent_indent="    ", break_long_words=False)]
        lines += [f"      {path}" for path in found.files[:SHOWN_FILES]]
        if found.count > SHOWN_FILES:
            lines.append(f"      and {found.count - SHOWN_FILES} more")
        remedy = [textwrap.wrap(line, width - 7, break_long_words=False) for line in found.remedy.splitlines()]
        wrapped = [part for parts in remedy for part in parts]
        lines += [("       " if number else "    -> ") + part for number, part in enumerate(wrapped)]
        paragraphs.append("\n".join(lines))
    return "\n".join(paragraphs)


def as_plain(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """Return the findings as plain types, for JSON."""
    return [asdict(found) for found in findings]
