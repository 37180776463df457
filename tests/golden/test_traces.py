"""Every kind of run computes what it did when its trace was recorded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .trace import FILE, SLOW, STEPS, VARIANTS, differences, has_teacher, machine, trace

RECORDED = json.loads(FILE.read_text())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("golden")


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in VARIANTS])
def test_a_run_computes_what_it_did(name: str, folder: Path) -> None:
    if has_teacher(name) and not (folder / "v3plus").exists():
        trace("v3plus", folder)
    found, expected, exactly = trace(name, folder), RECORDED["traces"][name], RECORDED["machine"] == machine()
    assert differences(found, expected, exactly, after=STEPS * has_teacher(name)) == []


def test_every_trace_is_compared() -> None:
    assert set(RECORDED["traces"]) == set(VARIANTS)


@pytest.mark.parametrize("exactly", [True, False])
def test_a_changed_number_is_noticed(exactly: bool) -> None:
    expected = RECORDED["traces"]["v3plus"]
    assert differences(expected, expected, exactly) == []
    changed = {**expected, "losses": [expected["losses"][0] * 1.001, *expected["losses"][1:]]}
    assert differences(changed, expected, exactly) != []
    assert differences({**expected, "weights": {"sha256": "another", "sum": 0.0, "squares": 0.0}}, expected, exactly)
    moved = [row[::-1] for row in expected["confusion"][::-1]]
    assert differences({**expected, "confusion": moved}, expected, exactly) != []
