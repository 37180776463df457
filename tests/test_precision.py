"""Every precision that Lightning offers works, or is refused by its name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from lightning.pytorch import Trainer

from deeplab_lightning.__main__ import main
from deeplab_lightning.data.sets import datamodule_named
from deeplab_lightning.errors import ConfigError
from deeplab_lightning.tasks import DeepLabV3PlusTask

from .conftest import SMALL, V3PLUS

REFUSED = ["64-true", "64", "16-true", "bf16-true", "transformer-engine", "transformer-engine-float16"]


@pytest.mark.parametrize("precision", REFUSED)
@pytest.mark.parametrize("command", ["fit", "validate", "evaluate", "crf-search", "export"])
def test_what_is_refused(command: str, precision: str, checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = {"fit": ["-c", str(V3PLUS), *SMALL], "export": [str(checkpoint)]}.get(command)
    words = words or ["--ckpt_path", str(checkpoint)]
    assert main([command, *words, "--trainer.precision", precision]) == 2
    assert f"--trainer.precision {precision}" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["evaluate", "crf-search", "export"])
def test_commands_without_precisions_say_so(command: str, checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [str(checkpoint)] if command == "export" else ["--ckpt_path", str(checkpoint)]
    assert main([command, *words, "--trainer.precision", "bf16-mixed"]) == 2
    assert "computes in float32" in capsys.readouterr().err


@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed"])
def test_a_crf_behind_a_network_in_half_precision(precision: str, checkpoint: Path, tmp_path: Path) -> None:
    words = ["validate", "--ckpt_path", str(checkpoint), "--data.val_size", "1", "--run.folder", str(tmp_path)]
    words += ["--evaluation.crf", "v1"]
    scores = []
    for name in ("32", precision):
        assert main([*words, "--run.name", name, "--trainer.precision", name]) == 0
        scores.append(json.loads(next(tmp_path.glob(f"{name}*/**/evaluation.json")).read_text())["mIoU"])
    assert scores[1] == pytest.approx(scores[0], abs=0.05)


@pytest.mark.parametrize("precision", ["bf16-true", "64-true"])
def test_from_python(precision: str, tmp_path: Path) -> None:
    task = DeepLabV3PlusTask(num_classes=5, backbone="mobilenetv2_035", decoder_channels=16)
    trainer = Trainer(precision=precision, accelerator="cpu", logger=False, default_root_dir=tmp_path)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=precision):
        trainer.validate(task, datamodule=datamodule_named("DrawnScenes")(val_size=1), verbose=False)
