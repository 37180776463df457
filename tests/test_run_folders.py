"""What else can befall a run folder: a second training, a full disk, and somebody who deletes it."""

from __future__ import annotations

import resource
import shutil
import signal
from pathlib import Path

import pytest
import torch

from deeplab_lightning import cli, locks
from deeplab_lightning.__main__ import main
from deeplab_lightning.callbacks.metrics_csv import MetricsCsv
from deeplab_lightning.errors import ConfigError
from deeplab_lightning.trainer_parts import SafeCheckpoints

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


@pytest.mark.parametrize("numbers", [1_000, 1_000_000])
def test_a_full_disk_is_called_that_and_leaves_what_was_there(numbers: int, tmp_path: Path) -> None:
    path = tmp_path / "version_0" / "checkpoints" / "last.ckpt"
    SafeCheckpoints().save_checkpoint({"a": torch.ones(10)}, path)
    before, limit = path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # writing fails, as it does on a full disk
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, limit[1]))
        with pytest.raises(ConfigError, match=r"Cannot write .*last\.ckpt: File too large\. .*--ckpt_path"):
            SafeCheckpoints().save_checkpoint({"a": torch.ones(numbers)}, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_bytes() == before
    assert [entry.name for entry in path.parent.iterdir()] == ["last.ckpt"]


def test_a_run_folder_that_is_deleted_while_it_trains_is_no_success(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    saves: list[MetricsCsv] = []

    class Deleting(MetricsCsv):
        def save(self) -> None:
            saves.append(self)
            if len(saves) == 2:
                shutil.rmtree(self.run.path)
            super().save()

    monkeypatch.setattr(cli, "MetricsCsv", Deleting)
    assert tiny_fit(tmp_path) == 2
    assert "version_0 was deleted while the run went on" in capsys.readouterr().err
