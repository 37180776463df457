"""Panoptic-DeepLab: sizes, counts to the unit, and an independent implementation."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from deeplab_lightning.models.batch_norm_folding import fold_batch_norms
from deeplab_lightning.models.panoptic_deeplab import PanopticDeepLab

from .base import ModelTests, randomise

SMALL: dict[str, Any] = {
    "backbone": "mobilenetv2_035",
    "aspp_channels": 16,
    "semantic_channels": 16,
    "semantic_low_level_channels": (8, 4),
    "instance_channels": 8,
    "instance_low_level_channels": (4, 2),
    "instance_head_channels": 4,
}


class TestPanopticDeepLab(ModelTests):
    model_class = PanopticDeepLab
    options = SMALL

    @staticmethod
    def check_training(model: Any, size: tuple[int, int]) -> None:
        maps = model.training_maps(torch.randn(1, 3, *size))
        assert maps.instances is not None
        (maps.main.square().mean() + sum(each.square().mean() for each in maps.instances)).backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None, name
            assert torch.isfinite(parameter.grad).all(), name

    def test_trains_under_bf16_autocast(self) -> None:
        model = self.build().train()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            maps = model.training_maps(torch.randn(2, 3, 49, 33))
        (maps.main.float().square().mean() + sum(each.float().square().mean() for each in maps.instances)).backward()
        assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters())


def fusion(width: int, reduced: int, low: int, out: int) -> int:
    """Weights of a 1x1 convolution to `reduced`, and of a 5x5 separable one behind the concatenation."""
    together = width + reduced
    return low * reduced + 2 * reduced + 25 * together + 2 * together + together * out + 2 * out


def head(width: int, channels: int) -> int:
    return 25 * width + 2 * width + width * channels + 2 * channels


@pytest.mark.parametrize(
    ("backbone", "separable", "maps", "of_backbone"),
    [
        ("resnet50", True, (512, 256, 2048), 23_508_032),
        ("resnet50", False, (512, 256, 2048), 23_508_032),
        ("mobilenetv2_100", True, (32, 24, 320), 1_811_712),
    ],
)
def test_parameter_counts(backbone: str, separable: bool, maps: tuple[int, int, int], of_backbone: int) -> None:
    """By hand from the published widths."""
    with torch.device("meta"):
        network = PanopticDeepLab(19, backbone=backbone, separable=separable)
    eighth, quarter, deep = maps
    branch = 9 * deep + 2 * deep + deep * 256 if separable else 9 * deep * 256
    aspp = deep * 256 + 512 + 3 * (branch + 512) + deep * 256 + 512 + 5 * 256 * 256 + 512
    semantic = aspp + fusion(256, 64, eighth, 256) + fusion(256, 32, quarter, 256) + head(256, 256) + 256 * 19 + 19
    instance = aspp + fusion(256, 32, eighth, 128) + fusion(128, 16, quarter, 128)
    heads = head(128, 32) + 32 + 1 + head(128, 32) + 32 * 2 + 2
    assert sum(weight.numel() for weight in network.parameters()) == of_backbone + semantic + instance + heads


@pytest.mark.parametrize(
    ("backbone", "count"), [("mobilenetv2_100", 3_651_782), ("resnet50", 29_943_046), ("xception71", 46_745_486)]
)
def test_figures_of_the_documents(backbone: str, count: int) -> None:
    """Published for Xception-71, as remembered: 46.73 M."""
    with torch.device("meta"):
        network = PanopticDeepLab(19, backbone=backbone)
    assert sum(weight.numel() for weight in network.parameters()) == count


class Reference:
    """The published network from its weights alone: nothing of ours runs but the backbone."""

    def __init__(self, network: PanopticDeepLab) -> None:
        self.network, self.weights = network, network.state_dict()

    def block(self, x: Tensor, name: str, rate: int = 1, conv: str = "0", of: str = "1") -> Tensor:
        """Convolution, batch norm in evaluation, ReLU."""
        kernel = self.weights[f"{name}.{conv}.weight"]
        groups = x.shape[1] // kernel.shape[1]
        x = F.conv2d(x, kernel, padding=rate * (kernel.shape[-1] // 2), dilation=rate, groups=groups)
        norm = [self.weights[f"{name}.{of}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
        return F.batch_norm(x, *norm).relu()

    def separable(self, x: Tensor, name: str, rate: int = 1) -> Tensor:
        return self.block(self.block(x, f"{name}.0", rate), f"{name}.1")

    def tower(self, name: str, eighth: Tensor, quarter: Tensor, deep: Tensor) -> Tensor:
        branches = f"{name}.context.aspp.branches"
        parts = [self.block(deep, f"{branches}.0")]
        parts += [self.separable(deep, f"{branches}.{i}", rate) for i, rate in ((1, 6), (2, 12), (3, 18))]
        pooled = deep.mean(dim=(2, 3), keepdim=True)
        parts.append(self.block(pooled, f"{branches}.4", conv="conv", of="norm").expand_as(parts[0]))
        x = self.block(torch.cat(parts, dim=1), f"{name}.context.aspp.project")
        for i, low in enumerate((eighth, quarter)):
            x = F.interpolate(x, low.shape[-2:], mode="bilinear", align_corners=True)
            x = self.separable(torch.cat([x, self.block(low, f"{name}.reduce.{i}")], dim=1), f"{name}.fuse.{i}")
        return x

    def __call__(self, image: Tensor) -> Tensor:
        quarter, eighth, *_, deep = self.network.backbone(image)
        semantic = self.separable(self.tower("semantic", eighth, quarter, deep), "semantic_head")
        instance = self.tower("instance", eighth, quarter, deep)
        maps = [F.conv2d(semantic, self.weights["classifier.weight"], self.weights["classifier.bias"])]
        for name in ("centre_head", "offset_head"):
            features = self.separable(instance, f"{name}.0")
            maps.append(F.conv2d(features, self.weights[f"{name}.1.weight"], self.weights[f"{name}.1.bias"]))
        return torch.cat(maps, dim=1)


@torch.no_grad()
def test_equals_an_independent_implementation() -> None:
    torch.manual_seed(0)
    network = PanopticDeepLab(5, **SMALL)
    randomise(network)
    network = network.double().eval()
    image = torch.randn(2, 3, 97, 65, dtype=torch.float64)
    expected = Reference(network)(image)
    torch.testing.assert_close(network.all_maps(image), expected, rtol=1e-9, atol=1e-9)
    assert torch.equal(network.coarse_logits(image), network.all_maps(image)[:, :5])
    maps = network.training_maps(image)
    assert maps.instances is not None
    assert torch.equal(torch.cat([maps.main, *maps.instances], dim=1), network.all_maps(image))


@torch.no_grad()
def test_both_towers_are_folded() -> None:
    torch.manual_seed(0)
    network = PanopticDeepLab(5, **SMALL)
    randomise(network)
    network.eval()
    image = torch.randn(1, 3, 65, 65)
    folded = fold_batch_norms(network, image)
    assert not any(isinstance(layer, torch.nn.BatchNorm2d) for layer in folded.modules())
    torch.testing.assert_close(folded.all_maps(image), network.all_maps(image), rtol=1e-3, atol=1e-4)


def test_an_auxiliary_head_stands_beside_the_objects() -> None:
    maps = PanopticDeepLab(5, **SMALL, aux_head=True).training_maps(torch.randn(2, 3, 33, 33))
    assert maps.instances is not None
    assert maps.main.shape == maps.further[0].shape == (2, 5, 33, 33)
