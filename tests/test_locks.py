"""Locks: one owner at a time, never lost while somebody works, free again when he is gone."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import pytest

from deeplab_lightning import locks


def pretend_owner(path: Path, **changes: object) -> None:
    owner = json.loads(path.read_text()) | changes
    path.write_text(json.dumps(owner))


def gone() -> int:
    """The id of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_only_one_has_it(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    lock = locks.acquire(path)
    assert lock is not None
    assert locks.acquire(path) is None
    assert locks.holder(path) == f"process {os.getpid()} on {__import__('socket').gethostname()}"
    lock.release()
    assert locks.holder(path) is None
    assert locks.acquire(path) is not None


def test_a_dead_owner_loses_it_at_once_but_not_his_living_program(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    first = locks.acquire(path)
    assert first is not None
    first.note_program(os.getpid())
    pretend_owner(path, pid=gone())
    assert locks.acquire(path) is None, "the program that he started still runs"
    pretend_owner(path, program=gone())
    second = locks.acquire(path)
    assert second is not None
    first.release()
    assert locks.holder(path), "what was taken over is not his to release"
    second.release()
    assert not path.exists()


def test_a_silent_owner_elsewhere_loses_it_after_a_while(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    lock = locks.acquire(path)
    assert lock is not None
    pretend_owner(path, host="another", pid=gone())
    assert locks.acquire(path) is None
    old = path.stat().st_mtime - locks.STALE_SECONDS - 1
    os.utime(path, (old, old))
    assert locks.acquire(path) is not None


def test_a_beating_owner_elsewhere_keeps_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.lock"
    lock = locks.acquire(path)
    assert lock is not None
    pretend_owner(path, host="another")
    old = path.stat().st_mtime - locks.STALE_SECONDS - 1
    os.utime(path, (old, old))
    monkeypatch.setattr(locks, "BEAT_SECONDS", 0.0)
    lock.beat()
    assert not locks.is_stale(path)


def race(path: Path, start: object, won: object) -> None:
    start.wait()  # type: ignore[attr-defined]
    if locks.acquire(path) is not None:
        with won.get_lock():  # type: ignore[attr-defined]
            won.value += 1  # type: ignore[attr-defined]
    start.wait()  # type: ignore[attr-defined]  # nobody dies before all have tried


@pytest.mark.parametrize("stale", [False, True])
def test_of_many_at_once_one_wins(tmp_path: Path, stale: bool) -> None:
    context = multiprocessing.get_context("fork")
    for attempt in range(5):
        path = tmp_path / f"{attempt}.lock"
        if stale:
            assert locks.acquire(path) is not None
            pretend_owner(path, pid=gone())
        start, won = context.Barrier(4), context.Value("i", 0)
        racers = [context.Process(target=race, args=(path, start, won)) for _ in range(4)]
        for racer in racers:
            racer.start()
        for racer in racers:
            racer.join()
        assert won.value == 1
