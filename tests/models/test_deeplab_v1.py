"""DeepLab v1: sizes, counts to the unit, and an independent implementation."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deeplab_lightning.backbones import vgg, vgg_atrous
from deeplab_lightning.errors import ConfigError
from deeplab_lightning.models import DeepLabV1, deeplab_v1

from .base import ModelTests, conv_multiply_adds

WIDTHS = ((4, 4), (6, 6), (8, 8, 8), (8, 8, 8), (8, 8, 8))


@pytest.fixture
def _narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """VGG16 with few channels."""
    for module in (vgg, vgg_atrous, deeplab_v1):
        monkeypatch.setattr(module, "VGG16_WIDTHS", WIDTHS)
    for name, shape in vgg_atrous.FC6_SHAPES.items():
        monkeypatch.setitem(vgg_atrous.FC6_SHAPES, name, shape._replace(channels=shape.channels // 64))


class TestDeepLabV1(ModelTests):
    """At full width: the real network."""

    model_class = DeepLabV1
    output_strides = (8,)


@pytest.mark.usefixtures("_narrow")
class TestMultiScaleFeatures(ModelTests):
    model_class = DeepLabV1
    options = {"multi_scale_features": True, "fc6": "4x4"}  # noqa: RUF012
    output_strides = (8,)


def on_paper(num_classes: int = 21, **options: Any) -> DeepLabV1:
    """Build the network without memory for its weights: shapes are all that counting needs."""
    with torch.device("meta"):
        return DeepLabV1(num_classes, **options)


@pytest.mark.parametrize(
    ("fc6", "count", "billions"),
    [("7x7", 134_346_581, 242.28), ("4x4", 65_140_565, 125.95), ("largefov", 20_505_429, 50.93)],
)
def test_parameters_and_multiply_adds(fc6: Any, count: int, billions: float) -> None:
    """Fact sheet, section 11, 321 x 321: to the unit, and within 0.1 %."""
    model = on_paper(fc6=fc6).eval()
    assert sum(parameter.numel() for parameter in model.parameters()) == count
    image = torch.empty(1, 3, 321, 321, device="meta")
    assert conv_multiply_adds(model, image) / 1e9 == pytest.approx(billions, rel=1e-3)


def test_multi_scale_features_add_five_small_heads() -> None:
    """Per source of C channels 3x3x128 and 1x1x128 with biases, and 640 more channels to classify."""
    added = sum(9 * channels * 128 + 128 + 128 * 128 + 128 for channels in (3, 64, 128, 256, 512)) + 640 * 21
    model = on_paper(multi_scale_features=True)
    assert sum(parameter.numel() for parameter in model.parameters()) == 20_505_429 + added


@pytest.mark.parametrize(("size", "side"), [(321, 41), (306, 39), (33, 5), (34, 5), (360, 45)])
@pytest.mark.parametrize("multi_scale_features", [True, False])
def test_sizes_of_the_paper(size: int, side: int, multi_scale_features: bool) -> None:
    model = on_paper(multi_scale_features=multi_scale_features)
    image = torch.empty(1, 3, size, 321, device="meta")
    assert model.coarse_logits(image).shape == (1, 21, side, 41)
    assert model(image).shape == (1, 21, size, 321)


@pytest.mark.parametrize(
    ("options", "rate"),
    [({}, 12), ({"fc6": "7x7"}, 4), ({"fc6": "4x4"}, 4), ({"fc6": "4x4", "fc6_rate": 8}, 8), ({"fc6_rate": 6}, 6)],
)
def test_rates_of_fc6(options: dict[str, Any], rate: int) -> None:
    assert on_paper(**options).backbone.branches[0].fc6.dilation == (rate, rate)


def test_start_values() -> None:
    """The classifier starts small and unbiased, as published; the rest keeps activations alive."""
    torch.manual_seed(0)
    model = DeepLabV1(21)
    assert model.classifier.weight.std().item() == pytest.approx(0.01, rel=0.05)
    assert torch.all(model.classifier.bias == 0)
    with torch.no_grad():
        assert 0.01 < model.eval()(torch.randn(1, 3, 65, 65)).std() < 1


def test_an_unknown_fc6() -> None:
    with pytest.raises(
        ConfigError, match=r"--model.fc6 is 'largefow'; expected one of .*, 4x4\. Did you mean 'largefov'\?"
    ):
        DeepLabV1(2, fc6="largefow")


# --- an independent implementation ----------------------------------------------------------------------------------


class Reference:
    """The fact sheet's table (section 2) on a state dict, with functions only."""

    def __init__(self, model: DeepLabV1) -> None:
        self.state = model.state_dict()

    def conv(self, x: Tensor, key: str, **options: Any) -> Tensor:
        return F.conv2d(x, self.state[f"{key}.weight"], self.state[f"{key}.bias"], **options)

    def __call__(self, image: Tensor, rate: int, multi_scale: bool, align_corners: bool) -> Tensor:
        x, sources = image, [image]
        for stage, (convs, pool_stride, dilation) in enumerate([(2, 2, 1), (2, 2, 1), (3, 2, 1), (3, 1, 1), (3, 1, 2)]):
            for index in range(convs):
                key = f"backbone.stages.{stage}.{2 * index}"
                x = self.conv(x, key, padding=dilation, dilation=dilation).clamp(min=0)
            x = F.max_pool2d(x, 3, stride=pool_stride, padding=1)
            sources.append(x)
        x = F.avg_pool2d(x, 3, stride=1, padding=1)
        x = self.conv(x, "backbone.branches.0.fc6", padding=rate, dilation=rate).clamp(min=0)
        x = self.conv(x, "backbone.branches.0.fc7").clamp(min=0)
        if multi_scale:
            for index, (source, stride) in enumerate(zip(sources[:5], (8, 4, 2, 1, 1), strict=True)):
                key = f"multi_scale_heads.{index}"
                head = self.conv(source, f"{key}.0", stride=stride, padding=1).clamp(min=0)
                x = torch.cat([x, self.conv(head, f"{key}.2").clamp(min=0)], dim=1)
        x = self.conv(x, "classifier")
        return F.interpolate(x, image.shape[-2:], mode="bilinear", align_corners=align_corners)


@pytest.mark.usefixtures("_narrow")
@pytest.mark.parametrize("multi_scale", [True, False])
@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize("rate", [12, 2])
@torch.no_grad()
def test_logits_equal_an_independent_implementation(multi_scale: bool, align_corners: bool, rate: int) -> None:
    torch.manual_seed(0)
    model = DeepLabV1(4, fc6_rate=rate, multi_scale_features=multi_scale, align_corners=align_corners)
    model = model.double().eval()
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            nn.init.normal_(parameter, std=0.1)
    nn.init.normal_(model.classifier.weight)
    image = torch.randn(2, 3, 65, 50, dtype=torch.float64)
    expected = Reference(model)(image, rate, multi_scale, align_corners)
    assert expected.std() > 0.1
    assert torch.allclose(model(image), expected, atol=1e-10)
