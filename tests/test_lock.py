"""What is installed: no release that was malicious, and pins that hold a file to its hash."""

from __future__ import annotations

import importlib.util
import re
from typing import Any

import pytest
from packaging.requirements import Requirement

from .conftest import REPOSITORY

MALICIOUS = {"lightning": ("2.6.2", "2.6.3")}


def requirements() -> list[Requirement]:
    text = (REPOSITORY / "pyproject.toml").read_text()
    listed = text[text.index("dependencies = [") : text.index("[project.optional-dependencies]")]
    return [Requirement(found) for found in re.findall(r'^  "(.*?)"', listed, re.MULTILINE)]


@pytest.mark.parametrize("name", MALICIOUS)
def test_malicious_releases_are_excluded(name: str) -> None:
    (found,) = [requirement for requirement in requirements() if requirement.name == name]
    assert not any(found.specifier.contains(version) for version in MALICIOUS[name])
    assert found.specifier.contains("2.6.1")
    assert found.specifier.contains("2.6.4")


def test_logging_needs_no_extra() -> None:
    assert "wandb" in [requirement.name for requirement in requirements()]


def test_pins_are_of_files() -> None:
    spec = importlib.util.spec_from_file_location("lock", REPOSITORY / "tools" / "lock.py")
    assert spec is not None
    assert spec.loader is not None
    lock: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(lock)
    metadata = [{"name": name, "version": "1.0"} for name in ("zeta", "ours", "Alpha")]
    files = [
        {"archive_info": {"hashes": {"sha256": "12"}}},
        {"dir_info": {}},
        {"archive_info": {"hashes": {"sha256": "ab"}}},
    ]
    report = {"install": [{"metadata": m, "download_info": f} for m, f in zip(metadata, files, strict=True)]}
    assert list(lock.pins(report)) == ["Alpha==1.0 --hash=sha256:ab", "zeta==1.0 --hash=sha256:12"]
