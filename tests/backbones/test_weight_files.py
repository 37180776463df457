"""Trained backbones from a local file: of timm, of torchvision, and of something else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from deeplab_lightning.errors import ConfigError

from ..models.base import randomise, timm_backbone


def saved(model: nn.Module, path: Path) -> Path:
    if path.suffix == ".safetensors":
        save_file(model.state_dict(), path)
    else:
        torch.save(model.state_dict(), path)
    return path


@torch.no_grad()
def deepest(model: Any, image: torch.Tensor) -> torch.Tensor:
    return model.eval()(image)[-1]


@pytest.mark.parametrize(
    ("name", "suffix"),
    [(name, suffix) for name in ("resnet18", "mobilenetv2_035") for suffix in (".pth", ".safetensors")]
    + [("xception41", ".pth")],  # large: once is enough
)
def test_of_timm(name: str, suffix: str, tmp_path: Path) -> None:
    theirs = timm.create_model(name, num_classes=7)
    randomise(theirs)
    ours = timm_backbone(name, 32, pretrained=str(saved(theirs, tmp_path / f"w{suffix}")))
    image = torch.randn(1, 3, 64, 64)
    expected = timm.create_model(name, features_only=True)
    state = theirs.state_dict()
    if name == "xception41":
        state = {key.replace("stem.", "stem_").replace("blocks.", "blocks_"): value for key, value in state.items()}
    assert not expected.load_state_dict(state, strict=False).missing_keys
    with torch.no_grad():
        assert torch.allclose(deepest(ours, image), expected.eval()(image)[-1], atol=1e-4)


@pytest.mark.parametrize(("theirs", "ours"), [("resnet18", "resnet18"), ("mobilenet_v2", "mobilenetv2_100")])
def test_of_torchvision(theirs: str, ours: str, tmp_path: Path) -> None:
    models = pytest.importorskip("torchvision.models")
    network = getattr(models, theirs)(weights=None)
    randomise(network)
    backbone = timm_backbone(ours, 32, pretrained=str(saved(network, tmp_path / "w.pth")))
    image = torch.randn(1, 3, 64, 64)
    network.eval()
    with torch.no_grad():
        if theirs == "resnet18":
            expected = nn.Sequential(*list(network.children())[:-2])(image)
        else:
            expected = network.features[:-1](image)
    assert expected.std() > 0.01
    assert torch.allclose(deepest(backbone, image), expected, atol=1e-4 * float(expected.abs().max()))


def test_other_channels_and_other_networks(tmp_path: Path) -> None:
    path = saved(timm.create_model("resnet18"), tmp_path / "resnet18.pth")
    grey = timm_backbone("resnet18", 16, in_channels=1, pretrained=str(path))
    rgb = timm_backbone("resnet18", 16, pretrained=str(path))
    assert torch.allclose(grey.features.conv1.weight, rgb.features.conv1.weight.sum(1, keepdim=True), atol=1e-6)
    with pytest.raises(ConfigError, match=r"resnet18\.pth' is no resnet34: \d+ of its weights do not fit \(layer1\.2"):
        timm_backbone("resnet34", 16, pretrained=str(path))
    with pytest.raises(ConfigError, match=r"No file 'nowhere\.pth'"):
        timm_backbone("resnet18", 16, pretrained="nowhere.pth")
