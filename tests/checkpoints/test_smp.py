"""Weights of segmentation_models_pytorch compute here what they compute there."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from .helpers import check_logits, random_weights, save, take_over


@pytest.mark.parametrize(("name", "encoder"), [("DeepLabV3Plus", "resnet18"), ("DeepLabV3", "resnet18")])
def test_logits(name: str, encoder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    smp = pytest.importorskip("segmentation_models_pytorch")
    theirs = random_weights(lambda: getattr(smp, name)(encoder, encoder_weights=None, classes=6, decoder_channels=32))
    task = take_over(save({"state_dict": theirs.state_dict(), "epoch": 3}, tmp_path)).task
    check_logits(task.model, theirs, torch.randn(1, 3, 64, 96))
    for size in ((64, 96), (50, 70)):  # from pixels on, and sides that theirs refuses
        stored = torch.randint(0, 256, (1, 3, *size), dtype=torch.uint8)
        stride = task.model.output_stride
        padded = F.pad(task.normalise(stored), (0, -size[1] % stride, 0, -size[0] % stride))
        with torch.no_grad():
            expected = theirs(padded)[..., : size[0], : size[1]]
        found = torch.cat([band for _, band in task.predictor().bands(stored)], dim=2)
        assert torch.allclose(found, expected, atol=1e-4 * float(expected.abs().max()), rtol=0)
    printed = capsys.readouterr().out
    assert f"{name} on {encoder}, 6 classes, as segmentation_models_pytorch writes it" in printed
    assert "the program's defaults" in printed
    assert task.description["class_names"][:2] == ["class_0", "class_1"]
