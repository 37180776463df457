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


def packaged(network: nn.Module) -> dict[str, torch.Tensor]:
    """Return timm's weights by the names of efficientnet_pytorch: units numbered through, layers with underscores."""
    state, numbers = {}, {}
    for key, value in network.state_dict().items():
        head, *rest = key.split(".")
        if head != "blocks":
            state[{"bn1": "_bn0", "bn2": "_bn1", "classifier": "_fc"}.get(head, f"_{head}") + "." + ".".join(rest)] = (
                value
            )
            continue
        number = numbers.setdefault((rest[0], rest[1]), len(numbers))
        layer, attribute = ".".join(rest[2:-1]), rest[-1]
        first = number == 0
        theirs = {
            "conv_pw": "project_conv" if first else "expand_conv", "conv_dw": "depthwise_conv",
            "conv_pwl": "project_conv",
            "bn1": "bn1" if first else "bn0", "bn2": "bn2" if first else "bn1", "bn3": "bn2",
            "se.conv_reduce": "se_reduce", "se.conv_expand": "se_expand",
        }[layer]  # fmt: skip
        state[f"_blocks.{number}._{theirs}.{attribute}"] = value
    return state


@pytest.mark.parametrize("name", ["efficientnet_lite0", "tf_efficientnet_lite0", "efficientnet_b0"])
def test_of_efficientnet_pytorch(name: str, tmp_path: Path) -> None:
    """Written for batch norms of TensorFlow's eps, and for units that are numbered through."""
    theirs = timm.create_model(name)
    randomise(theirs)
    torch.save(packaged(theirs), tmp_path / "w.pth")
    ours = timm_backbone(name, 32, pretrained=str(tmp_path / "w.pth"))
    for module in theirs.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 1e-3
    expected = timm.create_model(name, features_only=True)
    expected.load_state_dict(theirs.state_dict(), strict=False)
    for module in expected.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 1e-3
    image = torch.randn(1, 3, 65, 65)
    with torch.no_grad():
        wanted = expected.eval()(image)[-1]
    assert wanted.std() > 0.01
    assert torch.allclose(deepest(ours, image), wanted, atol=1e-4 * float(wanted.abs().max()))


def test_other_channels_and_other_networks(tmp_path: Path) -> None:
    path = saved(timm.create_model("resnet18"), tmp_path / "resnet18.pth")
    grey = timm_backbone("resnet18", 16, in_channels=1, pretrained=str(path))
    rgb = timm_backbone("resnet18", 16, pretrained=str(path))
    assert torch.allclose(grey.features.conv1.weight, rgb.features.conv1.weight.sum(1, keepdim=True), atol=1e-6)
    with pytest.raises(ConfigError, match=r"resnet18\.pth' is no resnet34: \d+ of its weights do not fit \(layer1\.2"):
        timm_backbone("resnet34", 16, pretrained=str(path))
    with pytest.raises(ConfigError, match=r"No file 'nowhere\.pth'"):
        timm_backbone("resnet18", 16, pretrained="nowhere.pth")
