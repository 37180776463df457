"""DeepLab v3: counts to the unit, rates of the cascade, options, and torchvision's network with the same weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from deeplab_lightning.errors import ConfigError
from deeplab_lightning.models import DeepLabV3, DeepLabV3Cascade

from .base import ModelTests, conv_multiply_adds, randomise

SMALL: dict[str, Any] = {"backbone": "mobilenetv2_035", "aspp_channels": 16}


class TestDeepLabV3(ModelTests):
    model_class = DeepLabV3
    options = SMALL


class TestWithEverythingElse(ModelTests):
    model_class = DeepLabV3
    options = {**SMALL, "context": "psp", "attention": True, "head_conv": True}  # noqa: RUF012


class TestDeepLabV3Cascade(ModelTests):
    model_class = DeepLabV3Cascade
    options = {"backbone": "resnet26", "last_block": 5, "multi_grid": (1, 2)}  # noqa: RUF012


def on_paper(model_class: Any = DeepLabV3, num_classes: int = 21, **options: Any) -> Any:
    with torch.device("meta"):
        return model_class(num_classes, **options)


@pytest.mark.parametrize(
    ("options", "num_classes", "count", "at_16", "at_8"),
    [
        ({"backbone": "resnet50"}, 21, 39_048_533, 50.44, 166.16),
        ({"backbone": "resnet50"}, 19, 39_048_019, None, None),
        ({"backbone": "resnet50"}, 11, 39_045_963, None, None),
        ({"backbone": "resnet50"}, 150, 39_081_686, None, None),
        ({"backbone": "resnet101"}, 21, 58_040_661, 71.06, 246.18),
        ({"backbone": "resnet101"}, 19, 58_040_147, None, None),
        ({"backbone": "resnet101"}, 11, 58_038_091, None, None),
        ({"backbone": "resnet101"}, 150, 58_073_814, None, None),
        ({"backbone": "resnet101", "beta_stem": True}, 21, 58_164_437, 78.20, None),
        ({"backbone": "resnet101", "beta_stem": True, "stride_place": "previous"}, 21, 58_164_437, 76.05, 252.25),
        ({"backbone": "xception65"}, 21, 53_407_813, 64.92, 227.04),
        ({"backbone": "mobilenetv2_100"}, 21, 4_523_541, 5.36, 19.00),
        ({"backbone": "mobilenetv2_100", "atrous_rates": ()}, 21, 2_113_557, 2.74, 8.83),  # TensorFlow's lite form
    ],
)
def test_parameters_and_multiply_adds(
    options: dict[str, Any], num_classes: int, count: int, at_16: float | None, at_8: float | None
) -> None:
    """Fact sheet, section 11: 513 x 513, within 0.1 % (or half of the last digit)."""
    for output_stride, billions in ((16, at_16), (8, at_8)):
        model = on_paper(num_classes=num_classes, output_stride=output_stride, **options).eval()
        assert sum(parameter.numel() for parameter in model.parameters()) == count
        if billions is not None:
            found = conv_multiply_adds(model, torch.empty(1, 3, 513, 513, device="meta")) / 1e9
            assert found == pytest.approx(billions, rel=1e-3, abs=0.005)


@pytest.mark.parametrize(
    ("backbone", "last_block", "count", "billions"),
    [
        ("resnet50", 4, 23_551_061, 34.13),
        ("resnet50", 5, 36_938_837, 48.69),
        ("resnet50", 6, 50_326_613, 63.25),
        ("resnet50", 7, 63_714_389, 77.81),
        ("resnet101", 4, 42_543_189, 54.76),
        ("resnet101", 5, 55_930_965, 69.32),
        ("resnet101", 6, 69_318_741, 83.88),
        ("resnet101", 7, 82_706_517, 98.44),
    ],
)
def test_cascade_parameters_and_multiply_adds(backbone: str, last_block: int, count: int, billions: float) -> None:
    model = on_paper(DeepLabV3Cascade, backbone=backbone, last_block=last_block).eval()
    assert sum(parameter.numel() for parameter in model.parameters()) == count
    found = conv_multiply_adds(model, torch.empty(1, 3, 513, 513, device="meta")) / 1e9
    assert found == pytest.approx(billions, rel=1e-3)


@pytest.mark.parametrize(("output_stride", "base"), [(16, [4, 8, 16]), (8, [8, 16, 32])])
def test_rates_of_the_cascade_double(output_stride: Any, base: list[int]) -> None:
    """Fact sheet, section 4: base rates 2, 4, 8, 16 for block4 to block7 at output stride 16."""
    model = on_paper(DeepLabV3Cascade, backbone="resnet50", output_stride=output_stride)
    found = [[unit.conv2.dilation[0] for unit in block] for block in model.cascade]
    assert found == [[rate, 2 * rate, rate] for rate in base]
    assert all(unit.downsample is None for block in model.cascade for unit in block)


def test_cascade_needs_a_resnet_and_a_block() -> None:
    with pytest.raises(ConfigError, match=r"--model.last_block is 8; expected 4 to 7, such as 7"):
        on_paper(DeepLabV3Cascade, backbone="resnet50", last_block=8)
    with pytest.raises(ConfigError, match="made for ResNets"):
        on_paper(DeepLabV3Cascade, backbone="mobilenetv2_035")
    with pytest.raises(ConfigError, match=r"resnet18.*take resnet101"):
        on_paper(DeepLabV3Cascade, backbone="resnet18", multi_grid=(1, 1))


def test_an_auxiliary_head_is_for_the_loss_alone() -> None:
    torch.manual_seed(0)
    model = DeepLabV3(5, aux_head=True, aux_loss_weight=0.3, **SMALL).eval()
    image = torch.randn(2, 3, 49, 33)
    logits, (aux_logits,), weight, _ = model.training_maps(image)
    assert weight == 0.3
    assert torch.allclose(model(image), logits, atol=1e-6)
    assert aux_logits.shape == logits.shape == (2, 5, 49, 33)
    aux_logits.sum().backward()
    assert model.aux_head is not None
    assert all(parameter.grad is not None for parameter in model.aux_head.parameters())
    assert model.classifier.weight.grad is None


def test_attention_weighs_whole_channels() -> None:
    torch.manual_seed(0)
    model = DeepLabV3(5, attention=True, **SMALL).eval()
    features = torch.randn(2, model.backbone.high_level_channels, 5, 5)
    before = model.context.aspp(features)
    ratio = (model.context.attention(before) / before).nan_to_num(nan=-1)
    for image in range(2):
        for channel in range(16):
            seen = ratio[image, channel][before[image, channel] > 1e-6]
            if len(seen):
                assert torch.allclose(seen, seen[:1].expand_as(seen), rtol=1e-4)
                assert 0 < seen[0] < 1


def test_pyramid_pooling_takes_means_over_grids() -> None:
    """A constant map stays constant inside, whatever the bins; four branches stand beside the map itself."""
    model = DeepLabV3(5, context="psp", **SMALL).eval()
    pyramid = model.context.psp
    assert [branch.bins for branch in pyramid.branches] == [1, 2, 3, 6]
    encoded = pyramid(torch.ones(1, 112, 7, 7))
    assert torch.allclose(encoded[..., 1:-1, 1:-1], encoded[..., 3:4, 3:4].expand(-1, -1, 5, 5), atol=1e-5)


# --- torchvision ----------------------------------------------------------------------------------------------------


def torchvision_model(name: str, num_classes: int, aux_loss: bool = True) -> nn.Module:
    segmentation = pytest.importorskip("torchvision.models.segmentation")
    torch.manual_seed(0)
    model: nn.Module = getattr(segmentation, name)(
        weights=None, weights_backbone=None, num_classes=num_classes, aux_loss=aux_loss
    )
    randomise(model)
    return model.eval()


def copy_in_order(source: nn.Module, target: nn.Module) -> None:
    """Copy weights between networks whose layers run in the same order under other names."""
    ours, theirs = target.state_dict(), source.state_dict()
    assert [value.shape for value in ours.values()] == [value.shape for value in theirs.values()]
    target.load_state_dict(dict(zip(ours, theirs.values(), strict=True)))


def copy_head(theirs: Any, ours: DeepLabV3) -> None:
    aspp = theirs.classifier[0]
    branches: Any = ours.context.aspp.branches  # type: ignore[union-attr]
    for branch, source in zip(branches, aspp.convs, strict=True):
        copy_in_order(source, branch)
    copy_in_order(aspp.project, ours.context.aspp.project)  # type: ignore[union-attr, arg-type]
    copy_in_order(nn.Sequential(*list(theirs.classifier)[1:3]), ours.context.head_conv)
    copy_in_order(theirs.classifier[4], ours.classifier)
    if ours.aux_head is not None:
        copy_in_order(theirs.aux_classifier, ours.aux_head)


TORCHVISION: dict[str, Any] = {
    "head_conv": True, "aux_head": True, "align_corners": False, "multi_grid": (), "output_stride": 8,
}  # fmt: skip


@pytest.mark.parametrize("depth", [50, pytest.param(101, marks=pytest.mark.slow)])
@torch.no_grad()
def test_torchvisions_logits(depth: int) -> None:
    theirs = torchvision_model(f"deeplabv3_resnet{depth}", 21)
    ours = DeepLabV3(21, backbone=f"resnet{depth}", **TORCHVISION).eval()
    count = {50: 42_004_074, 101: 60_996_202}[depth]
    assert sum(parameter.numel() for parameter in ours.parameters()) == count
    copy_in_order(theirs.backbone, ours.backbone)  # type: ignore[arg-type]
    copy_head(theirs, ours)
    image = torch.randn(1, 3, 97, 81)
    expected = theirs(image)
    logits, (aux_logits,), _, _ = ours.training_maps(image)
    for found, wanted in ((logits, expected["out"]), (aux_logits, expected["aux"])):
        assert wanted.std() > 0.01
        # Random weights of a hundred layers give logits of any size, up to 50,000.
        assert torch.allclose(found, wanted, atol=1e-4 * float(wanted.std()), rtol=1e-4)


@torch.no_grad()
def test_torchvisions_mobilenet_logits() -> None:
    """Rates of 12, 24, 36 at output stride 16, and every unit of the last stage at rate 2."""
    theirs = torchvision_model("deeplabv3_mobilenet_v3_large", 21, aux_loss=False)
    with pytest.warns(UserWarning, match="changes what it computes"):
        ours = DeepLabV3(
            21, backbone="mobilenetv3_large_100", atrous_rates=(12, 24, 36), head_conv=True, align_corners=False,
            first_unit="full",
        ).eval()  # fmt: skip
    copy_in_order(theirs.backbone, ours.backbone)  # type: ignore[arg-type]
    copy_head(theirs, ours)
    for module in ours.backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 1e-3  # torchvision's
    image = torch.randn(1, 3, 97, 81)
    expected = theirs(image)["out"]
    assert expected.std() > 0.01
    assert torch.allclose(ours(image), expected, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_logits_equal_those_of_segmentation_models_pytorch() -> None:
    smp = pytest.importorskip("segmentation_models_pytorch")
    torch.manual_seed(0)
    theirs = smp.DeepLabV3("resnet50", encoder_weights=None, classes=21, decoder_channels=32)
    randomise(theirs)
    theirs.eval()
    ours = DeepLabV3(
        21, backbone="resnet50", output_stride=8, multi_grid=(), first_unit="full", aspp_channels=32, head_conv=True
    ).eval()
    ours.backbone.features.load_state_dict(theirs.encoder.state_dict())
    for branch, source in zip(ours.context.aspp.branches, theirs.decoder.aspp.convs, strict=True):  # type: ignore[union-attr, arg-type]
        copy_in_order(source, branch)
    copy_in_order(theirs.decoder.aspp.project, ours.context.aspp.project)  # type: ignore[union-attr, arg-type]
    copy_in_order(nn.Sequential(theirs.decoder.conv, theirs.decoder.bn), ours.context.head_conv)  # type: ignore[arg-type]
    copy_in_order(theirs.segmentation_head, ours.classifier)
    image = torch.randn(1, 3, 64, 96)
    expected = theirs(image)
    assert expected.std() > 0.01
    assert torch.allclose(ours(image), expected, atol=1e-4, rtol=1e-4)
