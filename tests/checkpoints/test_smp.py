"""Weights of segmentation_models_pytorch compute here what they compute there."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from torch.nn import functional as F

from deeplab_lightning.__main__ import main
from deeplab_lightning.checkpoints.importers.smp import timm_encoders

from .helpers import check_logits, random_weights, save, take_over


@pytest.mark.parametrize(
    ("name", "encoder"),
    [
        *(("DeepLabV3Plus", "resnet18"), ("DeepLabV3", "resnet18")),
        *(("DeepLabV3Plus", "tu-mobilenetv2_050"), ("DeepLabV3", "tu-regnetx_002")),
    ],
)
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
    assert f"{name} on {encoder.removeprefix('tu-')}, 6 classes, as segmentation_models_pytorch writes it" in printed
    assert "the program's defaults" in printed
    assert task.description["class_names"][:2] == ["class_0", "class_1"]


def test_what_timm_encoder_it_is() -> None:
    for name, mean in (("resnet34", 0.485), ("mobilenetv4_conv_small", 0.485), ("xception65", 0.5)):
        with torch.device("meta"):
            weights = timm.create_model(name, features_only=True).state_dict()
        (found,) = timm_encoders({f"encoder.model.{key}": value for key, value in weights.items()})
        assert found.name == name
        assert found.normalisation()[0][0] == mean
        assert found.norm_eps == {1e-3 if name == "xception65" else 1e-5}


def test_networks_that_weights_do_not_tell_apart_are_all_named() -> None:
    with torch.device("meta"):
        weights = timm.create_model("mobilenetv1_100h", features_only=True).state_dict()
    found = timm_encoders({f"encoder.model.{key}": value for key, value in weights.items()})
    assert {network.name for network in found} == {"mobilenetv1_100", "mobilenetv1_100h"}


def test_an_encoder_that_pads_otherwise_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    smp = pytest.importorskip("segmentation_models_pytorch")
    with torch.device("meta"):
        theirs = smp.DeepLabV3Plus("tu-mobilenetv3_small_050", encoder_weights=None)
    path = save({key: torch.zeros(value.shape) for key, value in theirs.state_dict().items()}, tmp_path)
    assert main(["import", str(path), "--dry_run"]) == 2
    assert "none of timm's" in capsys.readouterr().err
