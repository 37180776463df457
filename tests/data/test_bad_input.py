"""Every kind of bad input gets the message that docs/bad_input.md says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ..conftest import REPOSITORY
from .bad_input import CASES, Case, document, message

VERBS = """add annotate check choose copy cut delete draw export get make move needs open put remove replace save score
set take unpack use write"""
REMEDY = re.compile(rf"Did you mean|expected|images end in|\b({'|'.join(VERBS.split())})\b", re.IGNORECASE)
"""What to do, or what would have been right."""


@pytest.mark.parametrize("one", CASES, ids=lambda one: f"{one.part}: {one.title}")
def test_the_message_names_the_culprit_and_a_remedy(one: Case, tmp_path: Path) -> None:
    text = message(one, tmp_path)
    assert "DATA" in text or one.error.__name__ == "ConfigError"  # a setting has no file
    assert REMEDY.search(text)
    assert "\n" not in text
    assert not re.search(r"Traceback|Error\b", text)


def test_titles_are_told_apart() -> None:
    assert len({(one.part, one.title) for one in CASES}) == len(CASES) >= 25


def test_the_page_is_up_to_date() -> None:
    page = (REPOSITORY / "docs" / "bad_input.md").read_text(encoding="utf-8")
    assert page == document(), "python -m tests.data.bad_input > docs/bad_input.md"
