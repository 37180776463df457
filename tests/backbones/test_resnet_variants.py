"""The papers' ResNets: rates, strides and sizes, and which variants compute what the strided network does."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from deeplab_lightning.backbones import TimmBackbone
from deeplab_lightning.backbones.resnet_variants import ResNetOptions
from deeplab_lightning.errors import ConfigError

from ..models.base import randomise, timm_backbone


def on_paper(output_stride: Any = 16, name: str = "resnet50", **options: Any) -> TimmBackbone:
    with torch.device("meta"):
        return timm_backbone(name, output_stride, **options)


def rates(backbone: TimmBackbone) -> tuple[list[int], list[int]]:
    """The rates of the 3x3 convolutions in layer3 and layer4."""
    layers: Any = backbone.features
    return tuple([unit.conv2.dilation[0] for unit in layer] for layer in (layers.layer3, layers.layer4))  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("output_stride", "options", "layer3", "layer4"),
    [
        (16, {}, [1] * 6, [1, 2, 2]),  # fact sheet, section 4: torchvision's lag
        (8, {}, [1, 2, 2, 2, 2, 2], [2, 4, 4]),
        (16, {"first_unit": "full"}, [1] * 6, [2, 2, 2]),
        (8, {"first_unit": "full"}, [2] * 6, [4, 4, 4]),
        (16, {"first_unit": "full", "multi_grid": (1, 2, 4)}, [1] * 6, [2, 4, 8]),  # section 18
        (8, {"first_unit": "full", "multi_grid": (1, 2, 4)}, [2] * 6, [4, 8, 16]),
        (32, {"generation": ResNetOptions(multi_grid=(1, 2, 4))}, [1] * 6, [1, 2, 4]),
        (16, {"generation": ResNetOptions(multi_grid=(1, 2, 4)), "multi_grid": ()}, [1] * 6, [1, 2, 2]),
        (16, {"stride_place": "previous", "multi_grid": (1, 2, 4)}, [1] * 6, [2, 4, 8]),  # TensorFlow
        (8, {"stride_place": "previous"}, [2] * 6, [4, 4, 4]),
    ],
)
def test_rates(output_stride: int, options: dict[str, Any], layer3: list[int], layer4: list[int]) -> None:
    backbone = on_paper(output_stride, **options)
    assert rates(backbone) == (layer3, layer4)
    for module in backbone.modules():
        if isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3):
            assert module.padding == module.dilation


@pytest.mark.parametrize("output_stride", [32, 16, 8])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"stride_place": "conv1", "first_unit": "full"},
        {"stride_place": "previous"},
        {"stride_place": "previous", "low_level_map": "tensorflow", "beta_stem": True},
        {"low_level_map": "tensorflow"},
    ],
)
def test_sizes_of_the_paper(output_stride: int, options: dict[str, Any]) -> None:
    features = on_paper(output_stride, **options)(torch.empty(1, 3, 513, 513, device="meta"))
    side = {8: 65, 16: 33, 32: 17}[output_stride]
    assert features[0].shape == (1, 256, 129, 129)
    assert features[-1].shape == (1, 2048, side, side)
    assert [stage.shape[1] for stage in features] == [256, 512, 1024, 2048]
    assert features[1].shape[-1] == 65


def test_caffe_rounds_up_at_the_first_pooling() -> None:
    """321 gives 81 either way; 320, halved to 160, gives 80 in PyTorch and 81 in Caffe."""
    for ceil_mode, side in ((False, 80), (True, 81)):
        features = on_paper(8, ceil_mode=ceil_mode)(torch.empty(1, 3, 320, 320, device="meta"))
        assert features[0].shape[-1] == side


@torch.no_grad()
def drift(options: dict[str, Any], output_stride: Any) -> float:
    """Largest relative difference between dense features at the old places and the strided network's."""
    torch.manual_seed(0)
    strided, dense = (timm_backbone("resnet26", stride, **options) for stride in (32, output_stride))
    randomise(strided)
    dense.load_state_dict(strided.state_dict())
    worst = 0.0
    for side in (97, 64):
        image = torch.randn(1, 3, side, side, dtype=torch.float64)
        expected = strided.double().eval()(image)[-1]
        found = dense.double().eval()(image)[-1][..., :: 32 // output_stride, :: 32 // output_stride]
        worst = max(worst, float((found - expected).abs().max() / expected.abs().max()))
    return worst


@pytest.mark.parametrize("output_stride", [16, 8])
def test_where_dense_equals_strided(output_stride: int) -> None:
    """`lag` at torchvision's place, TensorFlow's place, multi-grid on either; not `full` (fact sheet, section 18)."""
    assert drift({}, output_stride) < 1e-10
    assert drift({"multi_grid": (1, 2)}, output_stride) < 1e-10
    assert drift({"stride_place": "previous", "multi_grid": (2, 1)}, output_stride) < 1e-10
    assert drift({"first_unit": "full"}, output_stride) > 1e-3


@torch.no_grad()
def test_the_place_of_the_stride_changes_what_is_computed_but_not_the_weights() -> None:
    torch.manual_seed(0)
    networks = [timm_backbone("resnet26", 16, stride_place=place) for place in ("conv2", "conv1", "previous")]
    randomise(networks[0])
    image = torch.randn(1, 3, 65, 65)
    maps = []
    for network in networks:
        network.load_state_dict(networks[0].state_dict())
        maps.append(network.eval()(image)[-1])
    assert maps[0].shape == maps[1].shape == maps[2].shape
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert not torch.allclose(maps[one], maps[other], atol=1e-2)


@torch.no_grad()
def test_tensorflows_low_level_tensors() -> None:
    """Inside a unit; the deepest map is the same as without."""
    torch.manual_seed(0)
    image = torch.randn(1, 3, 65, 65)
    for name, channels in (("resnet26", 256), ("mobilenetv2_035", 48), ("xception41", 256)):
        stage, tensorflow = timm_backbone(name, 16), timm_backbone(name, 16, low_level_map="tensorflow")
        randomise(stage)
        tensorflow.load_state_dict(stage.state_dict())
        expected, found = stage.eval()(image), tensorflow.eval()(image)
        assert torch.allclose(found[-1], expected[-1], atol=1e-5)
        assert found[0].shape == (1, channels, 17, 17)
        assert tensorflow.stage_channels[0] == channels
        if name == "xception41":  # timm takes the same tensor behind its ReLU
            assert torch.allclose(found[0].relu(), expected[0])
        if name == "resnet26":  # the branch, and what it is added to, make the stage's end
            layers: Any = tensorflow.features
            shortcut = layers.layer1[0](layers.maxpool(layers.act1(layers.bn1(layers.conv1(image)))))
            assert torch.allclose((found[0] + shortcut).relu(), expected[0], atol=1e-5)
        assert found[0].min() < (0 if name != "mobilenetv2_035" else 1e-9)


def test_beta_stem() -> None:
    """Fact sheet, section 11: R101-beta has 123,776 parameters more than R101."""
    plain, beta = (sum(p.numel() for p in on_paper(16, beta_stem=flag).parameters()) for flag in (False, True))
    assert beta - plain == 58_164_437 - 58_040_661


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("mobilenetv2_100", {"multi_grid": (1, 2, 4)}, r"made for ResNets, and 'mobilenetv2_100' is none.*resnet50"),
        ("mobilenetv2_100", {"beta_stem": True}, r"beta_stem is made for ResNets"),
        ("resnet50", {"multi_grid": (1, 2)}, r"has 2 factors, the last stage of 'resnet50' 3 units"),
        ("resnet18", {"stride_place": "conv1"}, r"needs bottleneck units.*'resnet18'.*resnet50"),
        ("regnetx_002", {"low_level_map": "tensorflow"}, r"TensorFlow's low-level tensor.*not for 'regnetx_002'"),
    ],
)
def test_refusals(name: str, options: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        on_paper(16, name, **options)


def test_first_unit_of_the_generation_is_for_resnets_that_were_told_nothing_else() -> None:
    generation = ResNetOptions(first_unit="full")
    assert rates(on_paper(16, generation=generation))[1] == [2, 2, 2]
    assert rates(on_paper(16, generation=generation, first_unit="lag"))[1] == [1, 2, 2]
    found: list[list[int]] = []
    for options in ({}, {"generation": generation}, {"first_unit": "full"}):
        convs = on_paper(16, "mobilenetv2_100", **options).modules()
        found.append([conv.dilation[0] for conv in convs if isinstance(conv, nn.Conv2d)])
    assert found[0] == found[1] != found[2]


def test_multi_grid_of_the_generation_where_it_fits() -> None:
    for name, expected in (("resnet50", [1, 4, 8]), ("resnet26", [1, 2])):
        layers: Any = on_paper(16, name, generation=ResNetOptions(multi_grid=(1, 2, 4))).features
        assert [unit.conv2.dilation[0] for unit in layers.layer4] == expected
    on_paper(16, "mobilenetv2_100", generation=ResNetOptions(multi_grid=(1, 2, 4)))
