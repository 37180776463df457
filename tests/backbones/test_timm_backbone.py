"""timm networks as backbones: which maps are taken, and what is said when a network will not do."""

from __future__ import annotations

import warnings
from typing import Any
from unittest import mock

import pytest
import timm
import torch
from torch import nn

from deeplab_lightning.backbones import timm_backbone as timm_backbone_module
from deeplab_lightning.backbones import xception71
from deeplab_lightning.errors import ConfigError

from ..models.base import timm_backbone


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("resnet18", 64, 512),
        ("resnet50", 256, 2048),
        ("xception65", 256, 2048),
        ("mobilenetv2_100", 24, 320),
        ("darknet53", 128, 1024),  # its list of maps begins at stride 1
    ],
)
@pytest.mark.parametrize("output_stride", [8, 16, 32])
def test_channels_and_strides(name: str, low: int, high: int, output_stride: Any) -> None:
    with torch.device("meta"):
        backbone = timm_backbone(name, output_stride)
        features = backbone(torch.empty(2, 3, 513, 513))
    side = {8: 65, 16: 33, 32: 17}[output_stride]
    assert (backbone.stage_channels[0], backbone.high_level_channels) == (low, high)
    assert features[0].shape == (2, low, 129, 129)
    assert features[-1].shape == (2, high, side, side)


def test_other_channels_in() -> None:
    assert timm_backbone("mobilenetv2_035", 16, in_channels=5)(torch.randn(1, 5, 33, 33))[-1].shape[-1] == 3


@pytest.mark.parametrize(
    ("name", "output_stride", "expected"),
    [
        ("resnet5", 16, r"Unknown backbone 'resnet5'\. Did you mean 'resnet50'\?"),
        ("mobilnetv2_100", 16, r"Did you mean 'mobilenetv2_100'\?"),
        ("resnet18.a1", 16, r"no weights 'resnet18\.a1'\. Did you mean 'resnet18\.a1_in1k'\?"),
        ("vgg16", 16, r"'vgg16' does not honour output stride 16 \(timm builds it at 32 only\).*or try .*32"),
        ("densenet121", 8, r"'densenet121' does not honour output stride 8 .*resnet50"),
        ("densenet121", 32, r"does not honour output stride 32 .*mobilenetv2_100\.$"),
        ("swin_tiny_patch4_window7_224", 16, r"does not honour output stride 16 .*mobilenetv2_100\.$"),
    ],
)
def test_refusals_name_what_works(name: str, output_stride: Any, expected: str) -> None:
    with pytest.raises(ConfigError, match=expected) as caught:
        timm_backbone(name, output_stride)
    assert "resnet101" in str(caught.value) or "Weights of resnet18: resnet18.a1_in1k" in str(caught.value)


SIZES = [(129, 129), (49, 33), (64, 96), (50, 71)]


@pytest.mark.parametrize(
    ("name", "output_stride"),
    [
        ("mobilenetv2_035", 16),
        ("convnext_atto", 8),  # a stem of 4x4 patches, which leaves out what does not fill one
        ("convnext_atto", 32),
        ("hrnet_w18_small", 32),  # sums of maps that only fit one another on sides of 32 k
        ("dla34", 32),
        ("vgg11_bn", 32),
    ],
)
@torch.no_grad()
def test_maps_have_the_sides_of_the_image_over_their_stride_rounded_up(name: str, output_stride: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        backbone = timm_backbone(name, output_stride).eval()
    for height, width in SIZES:
        maps = backbone(torch.randn(1, 3, height, width))
        expected = [(-(-height // stride), -(-width // stride)) for stride in backbone.stage_reductions]
        assert [tuple(each.shape[-2:]) for each in maps] == expected


@torch.no_grad()
def test_where_an_image_fits_nothing_is_put_beside_it() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        backbone = timm_backbone("convnext_atto", 16).eval()
    image = torch.randn(1, 3, 64, 96)
    for ours, theirs in zip(backbone(image), backbone.features(image), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize(
    ("name", "output_stride", "message"),
    [
        ("halonet26t", 16, r"it fails on an image of \d+x\d+ \(AssertionError\)"),
        ("inception_resnet_v2", 32, r"of an image of \d+x\d+ its map at stride \d+ has \d+x\d+ positions, not \d+x\d+"),
    ],
)
def test_a_network_that_dies_on_images_is_refused_before_it_sees_one(
    name: str, output_stride: Any, message: str
) -> None:
    with (
        torch.device("meta"),
        pytest.raises(ConfigError, match=rf"'{name}' cannot be used at output stride {output_stride}: {message}.*res"),
    ):
        timm_backbone(name, output_stride)


def test_what_fails_on_maps_in_channels_last_order_is_told_apart() -> None:
    backbone = timm_backbone("mobilenetv2_035")
    assert backbone.takes_channels_last

    def view(_: nn.Module, images: tuple[torch.Tensor, ...]) -> None:
        images[0].view(-1)  # which needs channels first

    backbone.features.register_forward_pre_hook(view)
    backbone._try_images()
    assert not backbone.takes_channels_last


def test_trying_leaves_no_trace() -> None:
    torch.manual_seed(0)
    backbone = timm_backbone("mobilenetv2_035")
    after = torch.rand(1)
    assert all(module.training for module in backbone.modules())
    norms = [module for module in backbone.modules() if isinstance(module, nn.BatchNorm2d)]
    assert norms
    assert all(int(norm.num_batches_tracked) == 0 and not norm.running_mean.any() for norm in norms)
    torch.manual_seed(0)
    with mock.patch.object(timm_backbone_module.TimmBackbone, "_try_images"):
        timm_backbone("mobilenetv2_035")
    assert torch.equal(torch.rand(1), after)


@pytest.mark.parametrize("reductions", [[8, 16], [4, 8, 16, 32]])
def test_maps_of_the_wrong_strides_are_refused(monkeypatch: pytest.MonkeyPatch, reductions: list[int]) -> None:
    class Other(nn.Module):
        feature_info = timm.models.FeatureInfo(
            [{"num_chs": 8, "reduction": reduction, "module": ""} for reduction in reductions],
            tuple(range(len(reductions))),
        )

    monkeypatch.setattr(timm, "create_model", lambda *_, **__: Other())
    with pytest.raises(ConfigError, match=r"feature maps have strides \[.*needs one of stride 4 .*resnet50"):
        timm_backbone("resnet18", 16)


def test_weights_that_cannot_be_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    create = timm.create_model

    def offline(*arguments: Any, pretrained: bool = False, **options: Any) -> Any:
        if pretrained:
            raise OSError("no route to host")
        return create(*arguments, **options)

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(ConfigError, match=r"weights of 'mobilenetv2_035'.*no route to host.*--model\.pretrained false"):
        timm_backbone("mobilenetv2_035", 16, pretrained=True)


@pytest.mark.parametrize(
    ("support", "message"), [("approximate", "changes what it computes"), ("unknown", "was not measured")]
)
def test_drifting_and_unmeasured_backbones_warn_where_strides_go(
    monkeypatch: pytest.MonkeyPatch, support: str, message: str
) -> None:
    monkeypatch.setattr(timm_backbone_module, "atrous_support", lambda _: support)
    with pytest.warns(UserWarning, match=message):
        timm_backbone("mobilenetv2_035", 16)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        timm_backbone("mobilenetv2_035", 32)


def test_exact_backbones_are_silent() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        timm_backbone("mobilenetv2_035", 8)


def test_weights_that_do_not_exist_are_not_blamed_on_the_network() -> None:
    with pytest.raises(ConfigError, match=r"timm has no ImageNet weights for 'mobilenetv2_035'"):
        timm_backbone("mobilenetv2_035", 16, pretrained=True)


def test_a_network_that_loses_weights_with_its_stride_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """timm's own Xception-71 at output stride 8, without our help."""
    monkeypatch.setattr(xception71, "NAMES", set())
    with (
        torch.device("meta"),
        pytest.raises(ConfigError, match=r"has other weights at output stride 8 than at 32 .*16 or 32"),
    ):
        timm_backbone("xception71", 8)


def test_gradient_checkpointing_is_timms_own() -> None:
    backbone = timm_backbone("resnet18")
    backbone.checkpoint_gradients()
    assert backbone.features.grad_checkpointing is True
    with (
        torch.device("meta"),
        pytest.raises(ConfigError, match=r"'resnet26' has no gradient checkpointing: .*its own stride_place"),
    ):
        timm_backbone("resnet26", stride_place="previous").checkpoint_gradients()
