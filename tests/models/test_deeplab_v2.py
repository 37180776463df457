"""DeepLab v2: counts to the unit, scores that are sums, and scales fused by their maximum."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deeplab_lightning.backbones import vgg, vgg_atrous
from deeplab_lightning.errors import ConfigError
from deeplab_lightning.models import DeepLabV2

from .base import ModelTests, conv_multiply_adds, randomise, timm_backbone

ASPP_L, ASPP_S = (6, 12, 18, 24), (2, 4, 8, 12)
SINGLE = {"scales": (1.0,)}


@pytest.fixture
def _narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """VGG16 with few channels."""
    for module in (vgg, vgg_atrous):
        monkeypatch.setattr(module, "VGG16_WIDTHS", ((4, 4), (6, 6), (8, 8, 8), (8, 8, 8), (8, 8, 8)))
    monkeypatch.setitem(vgg_atrous.FC6_SHAPES, "largefov", vgg_atrous.FC6Shape(3, 16, 12))


class TestResNet(ModelTests):
    model_class = DeepLabV2
    options = {"backbone": "resnet18", **SINGLE}  # noqa: RUF012


@pytest.mark.usefixtures("_narrow")
class TestVGG16(ModelTests):
    """With multi-scale inputs."""

    model_class = DeepLabV2
    options = {"backbone": "vgg16"}  # noqa: RUF012
    output_strides = (8,)


def on_paper(num_classes: int = 21, **options: Any) -> DeepLabV2:
    """Build the network without memory for its weights: shapes are all that counting needs."""
    with torch.device("meta"):
        return DeepLabV2(num_classes, **options)


def all_maps(model: DeepLabV2, image: Tensor) -> list[Tensor]:
    """Return the maps of every scale, and last the fused one."""
    maps = model.training_maps(image)
    assert maps.further_weight == 1.0
    return [*maps.further, maps.main]


@pytest.mark.parametrize(
    ("backbone", "rates", "count", "billions"),
    [
        ("vgg16", ASPP_L, 37_877_652, 80.12),
        ("vgg16", ASPP_S, 37_877_652, 80.12),
        ("vgg16", (12,), 20_505_429, 50.93),
        ("resnet101", ASPP_L, 44_048_532, 75.30),
        ("resnet101", (12,), 42_887_253, 73.34),
    ],
)
def test_parameters_and_multiply_adds(backbone: str, rates: tuple[int, ...], count: int, billions: float) -> None:
    """Fact sheet, section 11, 321 x 321 at output stride 8: to the unit, and within 0.1 %."""
    model = on_paper(backbone=backbone, atrous_rates=rates, **SINGLE).eval()
    assert sum(parameter.numel() for parameter in model.parameters()) == count
    image = torch.empty(1, 3, 321, 321, device="meta")
    assert conv_multiply_adds(model, image) / 1e9 == pytest.approx(billions, rel=1e-3)


@pytest.mark.parametrize("backbone", ["vgg16", "resnet50"])
def test_sizes_of_the_paper(backbone: str) -> None:
    model = on_paper(backbone=backbone).eval()
    image = torch.empty(1, 3, 321, 321, device="meta")
    assert [logits.shape[-1] for logits in all_maps(model, image)] == [21, 31, 41, 41]
    assert model.coarse_logits(image).shape == (1, 21, 41, 41)
    assert model(image).shape == (1, 21, 321, 321)


@pytest.mark.parametrize(("output_stride", "rates"), [(8, (6, 12, 18, 24)), (16, (3, 6, 9, 12))])
def test_rates_are_stated_at_output_stride_8(output_stride: Any, rates: tuple[int, ...]) -> None:
    model = on_paper(backbone="resnet50", output_stride=output_stride)
    convs = list(model.classifier.branches)
    assert [conv.dilation[0] for conv in convs] == [conv.padding[0] for conv in convs] == list(rates)


def test_rates_of_vgg16_are_those_of_fc6() -> None:
    model = on_paper(backbone="vgg16", atrous_rates=ASPP_S)
    assert [branch.fc6.dilation[0] for branch in model.backbone.branches] == list(ASPP_S)
    assert isinstance(model.backbone.pool5a, nn.Identity)


@pytest.mark.parametrize(("stride_place", "ceil_mode"), [("conv2", False), ("conv1", True)])
def test_a_resnet_is_dilated_as_in_the_paper(stride_place: Any, ceil_mode: bool) -> None:
    """Rates (1, 1, 2, 4) in all units of the four stages, also in the first ones; strides (1, 2, 1, 1)."""
    network = on_paper(backbone="resnet50", stride_place=stride_place, ceil_mode=ceil_mode).backbone.features
    stages = [network.layer1, network.layer2, network.layer3, network.layer4]
    assert [{unit.conv2.dilation[0] for unit in stage} for stage in stages] == [{1}, {1}, {2}, {4}]
    first = [getattr(stage[0], stride_place).stride[0] for stage in stages]
    assert first == [1, 2, 1, 1]
    strides = [conv.stride[0] for stage in stages for conv in stage.modules() if isinstance(conv, nn.Conv2d)]
    assert sorted(strides, reverse=True)[:3] == [2, 2, 1]  # the unit's own and its shortcut's
    assert network.maxpool.ceil_mode == ceil_mode


def test_other_networks_are_taken_as_they_are() -> None:
    def rates(module: nn.Module) -> list[int]:
        return [conv.dilation[0] for conv in module.modules() if isinstance(conv, nn.Conv2d)]

    with torch.device("meta"):
        plain = timm_backbone("mobilenetv2_035", 8)
    assert rates(on_paper(backbone="mobilenetv2_035").backbone) == rates(plain)


@torch.no_grad()
def test_scores_are_the_sum_of_the_branches_of_a_resnet() -> None:
    torch.manual_seed(0)
    model = DeepLabV2(4, backbone="resnet18", **SINGLE).double().eval()
    randomise(model)
    image = torch.randn(2, 3, 49, 65, dtype=torch.float64)
    features = model.backbone(image)[-1]
    scores = [
        F.conv2d(features, conv.weight, conv.bias, padding=rate, dilation=rate)
        for conv, rate in zip(model.classifier.branches, ASPP_L, strict=True)
    ]
    assert all(one.std() > 1e-3 for one in scores)
    assert torch.allclose(model.coarse_logits(image), torch.stack(scores).sum(0), atol=1e-10)


@pytest.mark.usefixtures("_narrow")
@torch.no_grad()
def test_scores_are_the_sum_of_the_branches_of_vgg16() -> None:
    """Each fc8 reads its own fc6 and fc7, and all of them read pool5."""
    torch.manual_seed(0)
    model = DeepLabV2(4, backbone="vgg16", **SINGLE).double().eval()
    for parameter in model.parameters():
        if parameter.ndim == 1:
            nn.init.normal_(parameter, std=0.1)
    image = torch.randn(2, 3, 49, 65, dtype=torch.float64)
    x = image
    for stage, stride in zip(model.backbone.stages, (2, 2, 2, 1, 1), strict=True):
        x = F.max_pool2d(stage(x), 3, stride=stride, padding=1)
    scores = []
    for branch, classifier, rate in zip(model.backbone.branches, model.classifier, ASPP_L, strict=True):
        fc6 = F.conv2d(x, branch.fc6.weight, branch.fc6.bias, padding=rate, dilation=rate).clamp(min=0)
        fc7 = F.conv2d(fc6, branch.fc7.weight, branch.fc7.bias).clamp(min=0)
        scores.append(F.conv2d(fc7, classifier.weight, classifier.bias))
    assert torch.allclose(model.coarse_logits(image), torch.stack(scores).sum(0), atol=1e-10)


@pytest.mark.parametrize("align_corners", [True, False])
@torch.no_grad()
def test_evaluation_is_the_maximum_of_three_maps(align_corners: bool) -> None:
    torch.manual_seed(0)
    model = DeepLabV2(4, backbone="resnet18", align_corners=align_corners).double().eval()
    randomise(model)
    single = DeepLabV2(4, backbone="resnet18", align_corners=align_corners, **SINGLE).double().eval()
    single.load_state_dict(model.state_dict())
    image = torch.randn(1, 3, 65, 81, dtype=torch.float64)
    maps = []
    for size in ((33, 41), (49, 61), (65, 81)):
        scaled = F.interpolate(image, size, mode="bilinear", align_corners=align_corners)
        maps.append(single.coarse_logits(scaled))
    resized = [F.interpolate(one, (9, 11), mode="bilinear", align_corners=align_corners) for one in maps]
    fused = torch.stack(resized).amax(0)
    for logits, expected in zip(all_maps(model, image), [*maps, fused], strict=True):
        assert torch.allclose(logits, expected, atol=1e-10)
    assert torch.allclose(model.coarse_logits(image), fused, atol=1e-10)
    full = F.interpolate(fused, (65, 81), mode="bilinear", align_corners=align_corners)
    assert torch.allclose(model(image), full, atol=1e-10)


@pytest.mark.parametrize("backbone", ["vgg16", "mobilenetv2_035"])
def test_start_values(backbone: str) -> None:
    torch.manual_seed(0)
    model = DeepLabV2(21, backbone=backbone, **SINGLE)
    for conv in model.classifier.modules():
        if isinstance(conv, nn.Conv2d):
            assert conv.weight.std().item() == pytest.approx(0.01, rel=0.05)
            assert torch.all(conv.bias == 0)
    with torch.no_grad():
        assert 0.01 < model.eval()(torch.randn(1, 3, 65, 65)).std() < 2


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"backbone": "vgg16", "output_stride": 16}, r"'vgg16' has output stride 8 only, not 16: .*resnet101"),
        ({"backbone": "vgg16", "ceil_mode": True}, r"belong to ResNets, .*'vgg16'"),
        ({"backbone": "vgg16", "stride_place": "conv1"}, r"belong to ResNets, .*'vgg16'"),
        (
            {"backbone": "resnet18", "pretrained": "x.pth"},
            r"No file 'x\.pth' of trained weights",
        ),
        ({"backbone": "vgg19"}, r"'vgg19' does not honour output stride 8"),
        ({"scales": (0.5, 0.75)}, r"\(0\.5, 0\.75\) cannot be used"),
    ],
)
def test_refusals(options: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        DeepLabV2(2, **options)
