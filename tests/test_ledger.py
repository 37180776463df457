"""What is finished is written down whole, read again, shared by locks, and never taken for another job's."""

from __future__ import annotations

from pathlib import Path

import pytest

from deeplab_lightning.errors import ConfigError, DataError
from deeplab_lightning.ledger import Ledger, key_of


def test_entries_come_back(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "made" / "later")
    assert ledger.read("a") is None
    ledger.write("a", {"mIoU": 0.5, "points": (1, 2)})
    assert Ledger(tmp_path / "made" / "later").read("a") == {"mIoU": 0.5, "points": [1, 2]}
    assert ledger.path("a", "log") == tmp_path / "made" / "later" / "a.log"


def test_a_write_that_fails_leaves_the_old_entry(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.write("a", {"state": "old"})
    with pytest.raises(TypeError):
        ledger.write("a", {"state": object()})
    assert ledger.read("a") == {"state": "old"}
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize("content", [b'{"state": "fin', b"", b"[1]", b"\xff\xfe"])
def test_a_torn_entry_is_refused_or_counts_as_not_done(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.json is damaged \(.*\): delete it to begin that part anew"):
        Ledger(tmp_path).read("a")
    assert Ledger(tmp_path, forgetful=True).read("a") is None


def test_one_process_at_a_time_has_an_entry(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "cells")
    lock = ledger.claim("a")
    assert lock is not None
    assert ledger.claim("a") is None
    assert ledger.claim("b") is not None
    assert str(ledger.holder("a")).startswith("process ")
    lock.release()
    assert ledger.holder("a") is None


def test_another_job_is_not_gone_on_with(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    settings = {"classes": ("car", "bus"), "opacity": 0.5}
    ledger.write("job", settings)
    found = ledger.read("job")
    assert found is not None
    ledger.expect_same(found, settings, "stop")  # JSON has made lists of its tuples
    with pytest.raises(ConfigError, match=r"another job, with other opacity \(0\.5\)\. .* or choose another folder\.$"):
        ledger.expect_same(found, settings | {"opacity": 0.7}, "choose another folder")


def test_keys_stand_for_settings() -> None:
    assert key_of({"a": 1, "b": Path("x")}) == key_of({"b": Path("x"), "a": 1})
    assert len({key_of({"a": value}) for value in (1, 2, "1", None)}) == 4
    assert key_of({"a": 1}) == "f9d86028c6e0d64e", "names of entries in folders that are there"
