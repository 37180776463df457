"""Weights of segmentation_models_pytorch compute here what they compute there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import nn
from torch.nn import functional as F

from deeplab_lightning.__main__ import main
from deeplab_lightning.checkpoints.importers import recognise
from deeplab_lightning.checkpoints.importers.smp_encoders import find_encoder
from deeplab_lightning.checkpoints.reading import ForeignFile
from deeplab_lightning.errors import CheckpointError, ConfigError

from .helpers import check_logits, random_weights, save, take_over

LARGE = [
    *(f"efficientnet-b{size}" for size in (1, 3, 4, 5, 6, 7)),
    *("timm-efficientnet-b4", "timm-tf_efficientnet_lite4", "mobileone_s1", "mobileone_s4"),
    *("resnext101_32x8d", "se_resnet152", "se_resnext101_32x4d", "senet154"),
]
LARGE_AT_8 = ["efficientnet-b3", "efficientnet-b5", "mobileone_s4", "se_resnet50", "resnext50_32x4d"]
OTHERS = [
    *(("DeepLabV3Plus", "mobileone_s0", "smp_mobileone_s0"), ("DeepLabV3Plus", "se_resnet50", "smp_se_resnet50")),
    *(("DeepLabV3", "resnet18", "resnet18"), ("DeepLabV3Plus", "mobilenet_v2", "smp_mobilenet_v2")),
    *(("DeepLabV3", "efficientnet-b0", "smp_efficientnet_b0"), ("DeepLabV3", "mobileone_s0", "smp_mobileone_s0")),
    ("DeepLabV3Plus", "efficientnet-b2", "smp_efficientnet_b2"),
    ("DeepLabV3Plus", "timm-efficientnet-b0", "efficientnet_b0"),
    ("DeepLabV3Plus", "resnext50_32x4d", "resnext50_32x4d"),
    ("DeepLabV3Plus", "se_resnext50_32x4d", "smp_se_resnext50_32x4d"),
    ("DeepLabV3Plus", "tu-regnety_002", "regnety_002"),
]
"""Of families that the first cases have a member of."""


@pytest.mark.parametrize(
    ("name", "encoder", "backbone"),
    [
        *(("DeepLabV3Plus", "resnet18", "resnet18"), ("DeepLabV3", "mobilenet_v2", "smp_mobilenet_v2")),
        ("DeepLabV3Plus", "efficientnet-b0", "smp_efficientnet_b0"),
        ("DeepLabV3", "timm-tf_efficientnet_lite0", "efficientnet_lite0"),
        ("DeepLabV3", "tu-regnetx_002", "regnetx_002"),
        *(pytest.param(*case, marks=pytest.mark.slow) for case in OTHERS),
        *(pytest.param("DeepLabV3Plus", encoder, None, marks=pytest.mark.slow) for encoder in LARGE),
        *(pytest.param("DeepLabV3", encoder, None, marks=pytest.mark.slow) for encoder in LARGE_AT_8),
    ],
)
def test_logits(
    name: str, encoder: str, backbone: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs = network(name, encoder)
    task = take_over(save({"state_dict": theirs.state_dict(), "epoch": 3}, tmp_path)).task
    check_same(task, theirs)
    printed = capsys.readouterr().out
    if backbone is not None:
        assert f"{name} on {backbone}, 6 classes, as segmentation_models_pytorch writes it" in printed
    assert "the program's defaults" in printed
    assert ("the one it was trained at" in printed) == (encoder != "tu-regnetx_002")
    assert task.description["class_names"][:2] == ["class_0", "class_1"]


@pytest.mark.parametrize(
    "encoder", ["mobilenetv2_050", "mobilenetv3_small_075", "tf_mobilenetv3_small_075", "tf_efficientnet_lite0"]
)
def test_named_timm_encoders(encoder: str, tmp_path: Path) -> None:
    """Paddings and the eps of batch norms stand in no file."""
    theirs = network("DeepLabV3Plus", f"tu-{encoder}")
    check_same(take_over(save(theirs.state_dict(), tmp_path), "--backbone", encoder).task, theirs)


@torch.no_grad()
def network(name: str, encoder: str) -> Any:
    """Build theirs, with statistics of its own maps: deep networks make chaos of others."""
    smp = pytest.importorskip("segmentation_models_pytorch")
    theirs = random_weights(lambda: getattr(smp, name)(encoder, encoder_weights=None, classes=6, decoder_channels=32))
    for module in theirs.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    theirs.train()(torch.randn(2, 3, 128, 128))
    return theirs.eval()


def check_same(task: Any, theirs: Any) -> None:
    """Compare in 64 bits, where no rounding hides a difference."""
    task.double(), theirs.double()
    for size in ((64, 96), (128, 128)):
        check_logits(task.model, theirs, torch.randn(1, 3, *size, dtype=torch.float64), tolerance=1e-9)
    for size in ((64, 96), (50, 70)):  # from pixels on, and sides that theirs refuses
        stored = torch.randint(0, 256, (1, 3, *size), dtype=torch.uint8)
        stride = task.model.output_stride
        padded = F.pad(task.normalise(stored), (0, -size[1] % stride, 0, -size[0] % stride))
        with torch.no_grad():
            expected = theirs(padded)[..., : size[0], : size[1]].float()
        found = torch.cat([band for _, band in task.predictor().bands(stored)], dim=2)
        assert torch.allclose(found, expected, atol=1e-5 * float(expected.abs().max()), rtol=0)


def timm_encoder(name: str) -> dict[str, torch.Tensor]:
    features = timm.create_model(name, features_only=True)
    return {f"encoder.model.{key}": value for key, value in features.state_dict().items()}


@pytest.mark.slow
def test_what_timm_encoder_it_is() -> None:
    for name, mean in (("resnet34", 0.485), ("xception65", 0.5)):
        found = find_encoder(timm_encoder(name))
        assert (found.backbone, found.mean[0]) == (name, mean)


@pytest.mark.slow
def test_networks_of_the_same_weights_that_compute_the_same() -> None:
    found = find_encoder(timm_encoder("mobilenetv1_100h"))
    assert found.backbone == "mobilenetv1_100"
    assert any("fit mobilenetv1_100h as well" in note for note in found.notes)


@pytest.mark.slow
def test_networks_of_the_same_weights_that_compute_others_are_named() -> None:
    weights = timm_encoder("mobilenetv3_small_075")
    with pytest.raises(CheckpointError, match="fit mobilenetv3_small_075, tf_mobilenetv3_small_075") as raised:
        find_encoder(weights)
    assert "--backbone mobilenetv3_small_075" in str(raised.value)


@pytest.mark.parametrize(
    ("encoder", "backbone", "message"),
    [
        ("tu-mobilenetv2_050", "mobilenetv2_035", "is no mobilenetv2_035"),
        ("tu-mobilenetv2_050", "mobilenetv2_05", "none of timm's. Did you mean"),
        ("tu-mobilenetv2_050", "vgg16", "takes no output stride"),
        ("resnet18", "resnet34", "resnet34 is another"),
        ("mit_b0", None, "no backbone computes alike"),
        ("dpn68", None, r"efficientnet-\*, timm-efficientnet-\*"),
        ("timm-skresnet18", None, "no backbone computes alike"),
        ("resnext101_32x48d", None, "known, of plain width, are resnet18"),
    ],
)
def test_refusals(encoder: str, backbone: str | None, message: str) -> None:
    smp = pytest.importorskip("segmentation_models_pytorch")
    with torch.device("cpu" if encoder == "mit_b0" else "meta"):
        weights = smp.DeepLabV3Plus(encoder, encoder_weights=None).state_dict()
    with pytest.raises((CheckpointError, ConfigError), match=message):
        recognise(ForeignFile(Path("theirs.pth"), "pytorch", weights), backbone=backbone)


def test_the_command_takes_a_backbone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = save(network("DeepLabV3Plus", "resnet18").state_dict(), tmp_path)
    assert main(["import", str(path), "--dry_run", "--backbone", "resnet34"]) == 2
    assert "--backbone resnet34 is another" in capsys.readouterr().err
    assert main(["import", str(path), "--dry_run", "--backbone", "resnet18"]) == 0


def test_images_of_four_channels(tmp_path: Path) -> None:
    smp = pytest.importorskip("segmentation_models_pytorch")
    with torch.device("meta"):
        theirs = smp.DeepLabV3Plus("mobileone_s0", encoder_weights=None, in_channels=4, decoder_channels=32)
    path = save({key: torch.zeros(value.shape) for key, value in theirs.state_dict().items()}, tmp_path)
    assert main(["import", str(path), "--dry_run"]) == 2
    assert main(["import", str(path), "--dry_run", "--mean", *["0.5"] * 4, "--std", *["0.5"] * 4]) == 0


def test_a_classifier_of_whole_images_is_not_needed(tmp_path: Path) -> None:
    smp = pytest.importorskip("segmentation_models_pytorch")
    theirs = random_weights(lambda: smp.DeepLabV3Plus("resnet18", encoder_weights=None, aux_params={"classes": 3}))
    assert main(["import", str(save(theirs.state_dict(), tmp_path)), "--dry_run"]) == 0


def test_their_other_networks_are_named_and_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    smp = pytest.importorskip("segmentation_models_pytorch")
    path = save(smp.Unet("resnet18", encoder_weights=None).state_dict(), tmp_path)
    assert main(["import", str(path), "--dry_run"]) == 2
    assert "but no DeepLab: taken over are DeepLabV3 and DeepLabV3Plus" in capsys.readouterr().err
