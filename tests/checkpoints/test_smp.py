"""Weights of segmentation_models_pytorch compute here what they compute there."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from .helpers import check_logits, imported_task, random_weights, save


@pytest.mark.parametrize(("name", "encoder"), [("DeepLabV3Plus", "resnet18"), ("DeepLabV3", "resnet18")])
def test_logits(name: str, encoder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    smp = pytest.importorskip("segmentation_models_pytorch")
    theirs = random_weights(lambda: getattr(smp, name)(encoder, encoder_weights=None, classes=6, decoder_channels=32))
    task = imported_task(save({"state_dict": theirs.state_dict(), "epoch": 3}, tmp_path))
    check_logits(task.model, theirs, torch.randn(1, 3, 64, 96))
    printed = capsys.readouterr().out
    assert f"{name} on {encoder}, 6 classes, as segmentation_models_pytorch writes it" in printed
    assert "the program's defaults" in printed
    assert task.description["class_names"][:2] == ["class_0", "class_1"]
