"""DeepLab v3+: sizes, counts to the unit, and an independent implementation."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deeplab_lightning.errors import ConfigError
from deeplab_lightning.models import DeepLabV3Plus

from .base import ModelTests, conv_multiply_adds, randomise


class TestDeepLabV3Plus(ModelTests):
    model_class = DeepLabV3Plus
    options = {"backbone": "mobilenetv2_035", "aspp_channels": 16, "decoder_channels": 16}  # noqa: RUF012

    @pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::torch.jit.TracerWarning")
    def test_compiled_traced_and_exported_networks_agree(self) -> None:
        """Of all generations this one is not left to the slow tests."""
        self.check_compiled()


class TestWithoutDecoder(ModelTests):
    model_class = DeepLabV3Plus
    options = {"backbone": "mobilenetv2_035", "aspp_channels": 16, "decoder": False}  # noqa: RUF012


def on_paper(num_classes: int = 21, **options: Any) -> DeepLabV3Plus:
    """Build the network without memory for its weights: shapes are all that counting needs."""
    with torch.device("meta"):
        return DeepLabV3Plus(num_classes, **options)


@pytest.mark.parametrize(
    ("backbone", "separable", "num_classes", "count"),
    [
        ("resnet50", False, 21, 40_352_181),
        ("resnet50", False, 19, 40_351_667),
        ("resnet50", False, 11, 40_349_611),
        ("resnet50", False, 150, 40_385_334),
        ("resnet50", True, 21, 26_696_133),
        ("resnet101", False, 21, 59_344_309),
        ("resnet101", False, 19, 59_343_795),
        ("resnet101", False, 11, 59_341_739),
        ("resnet101", False, 150, 59_377_462),
        ("resnet101", True, 21, 45_688_261),
        ("xception65", False, 21, 54_711_461),
        ("xception65", True, 21, 41_055_413),
        ("mobilenetv2_100", False, 21, 5_816_053),
        ("mobilenetv2_100", True, 21, 2_719_813),
    ],
)
def test_parameter_counts(backbone: str, separable: bool, num_classes: int, count: int) -> None:
    """Fact sheet, section 11."""
    model = on_paper(num_classes, backbone=backbone, separable=separable)
    assert sum(parameter.numel() for parameter in model.parameters()) == count


@pytest.mark.parametrize(
    ("backbone", "separable", "output_stride", "billions"),
    [
        ("resnet50", False, 16, 72.19),
        ("resnet50", False, 8, 187.90),
        ("resnet50", True, 16, 39.55),
        ("resnet101", False, 16, 92.82),
        ("resnet101", False, 8, 267.92),
        ("resnet101", True, 16, 60.18),
        ("xception65", False, 16, 86.68),
        ("xception65", False, 8, 248.78),
        ("xception65", True, 16, 54.04),
        ("xception65", True, 8, 176.85),
        ("mobilenetv2_100", False, 16, 26.94),
        ("mobilenetv2_100", False, 8, 40.56),
        ("mobilenetv2_100", True, 16, 5.80),
        ("mobilenetv2_100", True, 8, 13.29),
    ],
)
def test_multiply_adds(backbone: str, separable: bool, output_stride: int, billions: float) -> None:
    """Fact sheet, section 11, 513 x 513: within 0.1 %."""
    model = on_paper(backbone=backbone, separable=separable, output_stride=output_stride).eval()
    image = torch.empty(1, 3, 513, 513, device="meta")
    assert conv_multiply_adds(model, image) / 1e9 == pytest.approx(billions, rel=1e-3)


@pytest.mark.parametrize(("output_stride", "side"), [(32, 17), (16, 33), (8, 65)])
@pytest.mark.parametrize("backbone", ["resnet50", "xception65", "mobilenetv2_100"])
def test_sizes_of_the_paper(backbone: str, output_stride: int, side: int) -> None:
    model = on_paper(backbone=backbone, output_stride=output_stride).eval()
    image = torch.empty(1, 3, 513, 513, device="meta")
    features = model.backbone(image)
    assert features[-1].shape[-2:] == (side, side)
    assert features[0].shape[-2:] == (129, 129)
    assert model.context(features[-1]).shape == (1, 256, side, side)
    assert model.coarse_logits(image).shape == (1, 21, 129, 129)
    assert model(image).shape == (1, 21, 513, 513)


@pytest.mark.parametrize(("output_stride", "rates"), [(32, (3, 6, 9)), (16, (6, 12, 18)), (8, (12, 24, 36))])
@pytest.mark.parametrize("separable", [True, False])
def test_aspp_rates_scale_with_the_output_stride(output_stride: int, rates: tuple[int, ...], separable: bool) -> None:
    model = on_paper(backbone="resnet18", output_stride=output_stride, separable=separable)
    kernels = [m for m in model.context.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)]
    assert [kernel.dilation[0] for kernel in kernels] == list(rates)
    assert [kernel.padding[0] for kernel in kernels] == list(rates)


def test_aspp_agrees_at_every_output_stride() -> None:
    """Fact sheet, section 18: without image pooling, dense ASPP features subsampled are the strided ones."""
    options: dict[str, Any] = {
        "backbone": "mobilenetv2_035", "aspp_channels": 16, "image_pooling": False, "separable": False,
    }  # fmt: skip
    torch.manual_seed(0)
    strided = DeepLabV3Plus(3, output_stride=32, **options).double().eval()
    randomise(strided)
    image = torch.randn(1, 3, 97, 65, dtype=torch.float64)
    with torch.no_grad():
        expected = strided.context(strided.backbone(image)[-1])
        for output_stride in (16, 8):
            dense = DeepLabV3Plus(3, output_stride=output_stride, **options).double().eval()
            dense.load_state_dict(strided.state_dict())
            encoded = dense.context(dense.backbone(image)[-1])
            step = 32 // output_stride
            assert torch.allclose(encoded[..., ::step, ::step], expected, atol=1e-10)


# --- an independent implementation ----------------------------------------------------------------------------------


class Reference:
    """ASPP, decoder and classifier of the paper (sections 3.1 and 3.2) on a state dict, with functions only."""

    def __init__(self, state: dict[str, Tensor], separable: bool, align_corners: bool) -> None:
        self.state, self.separable, self.align_corners = state, separable, align_corners

    def conv(self, x: Tensor, key: str, rate: int = 1, norm: str | None = None, depthwise: bool = False) -> Tensor:
        """Convolution `key`.0, batch norm `key`.1 (or the two names given), ReLU."""
        weight = self.state[f"{key}.0.weight" if norm is None else f"{key}.weight"]
        padding = rate * (weight.shape[-1] // 2)
        x = F.conv2d(x, weight, padding=padding, dilation=rate, groups=x.shape[1] if depthwise else 1)
        prefix = norm or f"{key}.1"
        names = ("running_mean", "running_var", "weight", "bias")
        mean, var, gamma, beta = (self.state[f"{prefix}.{name}"].view(1, -1, 1, 1) for name in names)
        return ((x - mean) / (var + 1e-5).sqrt() * gamma + beta).clamp(min=0)

    def conv3x3(self, x: Tensor, key: str, rate: int = 1) -> Tensor:
        if not self.separable:
            return self.conv(x, key, rate)
        return self.conv(self.conv(x, f"{key}.0", rate, depthwise=True), f"{key}.1")

    def up(self, x: Tensor, like: Tensor) -> Tensor:
        return F.interpolate(x, like.shape[-2:], mode="bilinear", align_corners=self.align_corners)

    def __call__(self, high: Tensor, low: Tensor, image: Tensor, rates: tuple[int, ...], pooling: bool) -> Tensor:
        branches = [self.conv(high, "context.aspp.branches.0")]
        branches += [self.conv3x3(high, f"context.aspp.branches.{i}", rate) for i, rate in enumerate(rates, start=1)]
        if pooling:
            key = f"context.aspp.branches.{len(rates) + 1}"
            pooled = self.conv(F.adaptive_avg_pool2d(high, 1), f"{key}.conv", norm=f"{key}.norm")
            branches.append(pooled.expand(-1, -1, *high.shape[-2:]))
        encoded = self.conv(torch.cat(branches, 1), "context.aspp.project")
        merged = torch.cat([self.up(encoded, low), self.conv(low, "decoder.reduce.0")], 1)
        for i in range(2):
            merged = self.conv3x3(merged, f"decoder.refine.0.{i}")
        logits = F.conv2d(merged, self.state["classifier.weight"], self.state["classifier.bias"])
        return self.up(logits, image)


@pytest.mark.parametrize("separable", [True, False])
@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize(("output_stride", "rates"), [(16, (6, 12, 18)), (8, (12, 24, 36))])
@pytest.mark.parametrize("pooling", [True, False])
@torch.no_grad()
def test_logits_equal_an_independent_implementation(
    separable: bool, align_corners: bool, output_stride: Any, rates: tuple[int, ...], pooling: bool
) -> None:
    torch.manual_seed(0)
    model = DeepLabV3Plus(
        4,
        backbone="mobilenetv2_035",
        output_stride=output_stride,
        separable=separable,
        image_pooling=pooling,
        aspp_channels=12,
        low_level_channels=7,
        decoder_channels=10,
        align_corners=align_corners,
    ).double()
    randomise(model)
    nn.init.normal_(model.classifier.weight)
    model.eval()
    image = torch.randn(2, 3, 65, 50, dtype=torch.float64)
    features = model.backbone(image)
    reference = Reference(model.state_dict(), separable, align_corners)
    expected = reference(features[-1], features[0], image, rates, pooling)
    assert expected.std() > 0.1
    assert torch.allclose(model(image), expected, atol=1e-9)


def test_start_values() -> None:
    """The classifier starts unbiased, and small where it starts as released; no new layer starts dead."""
    torch.manual_seed(0)
    image = torch.randn(2, 3, 65, 65)
    for start, std in (("normal", 0.01), ("xavier", (2 / (256 + 21)) ** 0.5)):
        model = DeepLabV3Plus(21, backbone="mobilenetv2_035", classifier_start=start)
        assert model.classifier.weight.std().item() == pytest.approx(std, rel=0.1)
        assert torch.all(model.classifier.bias == 0)
        assert 0.001 < model(image).std() < 2


@pytest.mark.parametrize("momentum", [0.1, 0.0003])
def test_norm_momentum_is_that_of_aspp_and_decoder_only(momentum: float) -> None:
    model = on_paper(backbone="mobilenetv2_035", norm_momentum=momentum)
    for name, module in model.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.momentum == (0.1 if name.startswith("backbone") else momentum), name


# --- segmentation_models_pytorch ------------------------------------------------------------------------------------


def smp_state(theirs: Any) -> dict[str, Tensor]:
    """Return the weights of segmentation_models_pytorch's network by our names."""
    renamed = {}
    for key, value in theirs.state_dict().items():
        name = key.replace("encoder.", "backbone.features.", 1)
        name = name.replace("segmentation_head.0.", "classifier.")
        for old, new in SMP_NAMES.items():
            name = re.sub(rf"^{old}", new, name)
        renamed[name] = value
    return renamed


SMP_NAMES = {
    r"decoder\.aspp\.0\.convs\.4\.1\.": "context.aspp.branches.4.conv.",
    r"decoder\.aspp\.0\.convs\.4\.2\.": "context.aspp.branches.4.norm.",
    r"decoder\.aspp\.0\.convs\.([123])\.0\.0\.": r"context.aspp.branches.\1.0.",
    r"decoder\.aspp\.0\.convs\.([123])\.0\.1\.": r"context.aspp.branches.\1.1.0.",
    r"decoder\.aspp\.0\.convs\.([123])\.1\.": r"context.aspp.branches.\1.1.1.",
    r"decoder\.aspp\.0\.convs\.0\.": "context.aspp.branches.0.",
    r"decoder\.aspp\.0\.project\.": "context.aspp.project.",
    r"decoder\.aspp\.1\.0\.": "context.head_conv.0.",
    r"decoder\.aspp\.1\.1\.": "context.head_conv.1.0.",
    r"decoder\.aspp\.2\.": "context.head_conv.1.1.",
    r"decoder\.block1\.": "decoder.reduce.0.",
    r"decoder\.block2\.0\.0\.": "decoder.refine.0.0.0.",
    r"decoder\.block2\.0\.1\.": "decoder.refine.0.0.1.0.",
    r"decoder\.block2\.1\.": "decoder.refine.0.0.1.1.",
}


@torch.no_grad()
def test_logits_equal_those_of_segmentation_models_pytorch() -> None:
    """The same weights: what it does differently is set by options that the paper's network leaves alone."""
    smp = pytest.importorskip("segmentation_models_pytorch")
    torch.manual_seed(0)
    theirs = smp.DeepLabV3Plus("resnet50", encoder_weights=None, classes=21, decoder_channels=32)
    randomise(theirs)
    theirs.eval()
    ours = DeepLabV3Plus(
        21, backbone="resnet50", multi_grid=(), first_unit="full", atrous_rates=(12, 24, 36), aspp_channels=32,
        decoder_channels=32, norm_between=False, head_conv=True, decoder_convs=1,
    ).eval()  # fmt: skip
    state = smp_state(theirs)
    assert set(state) == set(ours.state_dict())
    ours.load_state_dict(state)
    image = torch.randn(1, 3, 96, 64)
    expected = theirs(image)
    assert expected.std() > 0.01
    assert torch.allclose(ours(image), expected, atol=1e-4, rtol=1e-4)


def test_a_decoder_merges_maps_that_there_are() -> None:
    assert on_paper(backbone="resnet50", decoder_strides=(8, 4), decoder_convs=1).decoder is not None
    with pytest.raises(ConfigError, match=r"decoder_strides has 6, .*have strides \[4, 8, 16, 16\]: take \[4\]"):
        on_paper(backbone="resnet50", decoder_strides=(6,))
