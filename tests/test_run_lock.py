"""A run folder takes one training at a time."""

from __future__ import annotations

from pathlib import Path

import pytest

from deeplab_lightning import locks
from deeplab_lightning.__main__ import main

from .tiny import tiny_fit


def test_a_second_fit_is_told_who_is_at_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tiny_fit(tmp_path) == 0
    run = tmp_path / "tiny" / "version_0"
    assert not (run / "fit.lock").exists()
    before = (run / "checkpoints" / "last.ckpt").read_bytes()
    lock = locks.acquire(run / "fit.lock")
    assert lock is not None
    words = ["fit", "--ckpt_path", str(run), "--trainer.max_steps", "4", "--trainer.accelerator", "cpu"]
    assert main(words) == 2
    assert f"{run} is being trained in by process" in capsys.readouterr().err
    assert (run / "checkpoints" / "last.ckpt").read_bytes() == before
    lock.release()
    assert main(words) == 0
