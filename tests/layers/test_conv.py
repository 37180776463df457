"""Convolution blocks: the taps' spacing and the order of their parts."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from deeplab_lightning.layers import AtrousSeparableConv, ConvNormAct, ConvOptions
from deeplab_lightning.layers.conv import LayerStart, classifier, conv3x3, initialise
from deeplab_lightning.models import DeepLabV3Plus


@pytest.mark.parametrize(
    ("rate", "expected"),
    [
        (1, [8, 14, 20, 26, 32, 38, 20]),
        (2, [11, 16, 22, 28, 34, 16, 19]),
        (3, [14, 19, 24, 30, 12, 15, 18]),
    ],
)
def test_golden_values(rate: int, expected: list[int]) -> None:
    """Fact sheet, section 16: x = 1..7, w = (1, 2, 3), along rows and along columns."""
    block = ConvNormAct(1, 1, 3, atrous_rate=rate).eval()
    block[1].eps = 0.0
    for column in (False, True):
        with torch.no_grad():
            block[0].weight.zero_()
            (block[0].weight[0, 0, :, 1] if column else block[0].weight[0, 0, 1]).copy_(torch.tensor([1.0, 2.0, 3.0]))
            signal = torch.arange(1.0, 8.0)
            image = signal.view(1, 1, 7, 1) if column else signal.view(1, 1, 1, 7)
            assert block(image).flatten().tolist() == pytest.approx(expected)


@pytest.mark.parametrize("rate", [1, 2, 6])
def test_separable_is_depthwise_then_pointwise_each_with_norm_and_relu(rate: int) -> None:
    torch.manual_seed(0)
    block = AtrousSeparableConv(4, 6, ConvOptions(), atrous_rate=rate).eval()
    for module in block.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
    (depthwise, norm1, _), (pointwise, norm2, _) = block[0], block[1]
    features = torch.randn(2, 4, 9, 11)

    def norm(values: torch.Tensor, module: nn.BatchNorm2d) -> torch.Tensor:
        return F.batch_norm(values, module.running_mean, module.running_var, module.weight, module.bias, eps=module.eps)

    expected = F.conv2d(features, depthwise.weight, padding=rate, dilation=rate, groups=4)
    expected = norm(expected, norm1).relu()
    expected = norm(F.conv2d(expected, pointwise.weight), norm2).relu()
    assert pointwise.weight.shape == (6, 4, 1, 1)
    assert torch.allclose(block(features), expected, atol=1e-6)


@pytest.mark.parametrize("separable", [True, False])
@pytest.mark.parametrize("rate", [1, 3, 12])
def test_size_stays(separable: bool, rate: int) -> None:
    block = conv3x3(3, 5, ConvOptions(separable=separable), atrous_rate=rate)
    assert block(torch.randn(2, 3, 7, 10)).shape == (2, 5, 7, 10)
    assert isinstance(block, AtrousSeparableConv) == separable


def test_the_momentum_reaches_every_batch_norm() -> None:
    for block in (
        AtrousSeparableConv(3, 3, ConvOptions(norm_momentum=0.0003)),
        nn.Sequential(*(ConvNormAct(3, 3, momentum=0.0003) for _ in range(2))),
    ):
        norms = [module for module in block.modules() if isinstance(module, nn.BatchNorm2d)]
        assert [norm.momentum for norm in norms] == [0.0003] * 2


def test_a_separable_convolution_without_norm_between_its_parts() -> None:
    block = AtrousSeparableConv(3, 5, ConvOptions(norm_between=False))
    assert isinstance(block[0], nn.Conv2d)
    assert isinstance(block[1], ConvNormAct)


def test_new_layers_start_within_the_bounds_of_their_distribution() -> None:
    torch.manual_seed(0)
    dense, depthwise = nn.Conv2d(32, 64, 3), nn.Conv2d(64, 64, 3, groups=64)
    atrous = nn.Conv2d(32, 64, 3, dilation=6)
    initialise(atrous, "he_uniform")
    assert float(atrous.weight.abs().max()) <= (6 / 32) ** 0.5
    assert float(atrous.weight[..., 1, 1].std()) == pytest.approx((2 / 32) ** 0.5, rel=0.06)
    for conv, fan_in in ((dense, 32 * 9), (depthwise, 9)):
        initialise(conv, "he_uniform")
        bound = (6 / fan_in) ** 0.5
        assert 0.95 * bound < float(conv.weight.abs().max()) <= bound
        assert float(conv.weight.std()) == pytest.approx((2 / fan_in) ** 0.5, rel=0.06)
    initialise(dense, "he_normal")
    assert float(dense.weight.std()) == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.06)
    xavier = classifier(256, 8, "xavier").weight
    assert 0.95 * (6 / 264) ** 0.5 < float(xavier.abs().max()) <= (6 / 264) ** 0.5
    assert float(classifier(256, 8, "normal").weight.std()) == pytest.approx(0.01, rel=0.06)


def test_taps_that_no_crop_reaches_start_from_0() -> None:
    """What a crop trains, a whole image sees, and nothing else."""
    model = DeepLabV3Plus(5, backbone="test_efficientnet", aspp_channels=16, decoder_channels=16)
    kernels = [
        conv.weight for conv in model.context.aspp.modules() if isinstance(conv, nn.Conv2d) and conv.dilation[0] > 1
    ]
    assert len(kernels) == 3
    for kernel in kernels:
        middle = kernel[..., 1, 1]
        assert (middle != 0).all()
        assert torch.count_nonzero(kernel) == middle.numel()
    model.train()
    model(torch.randn(2, 3, 129, 129)).square().mean().backward()  # maps of 9x9: rates 12 and 18 lie outside
    reached = [int(torch.count_nonzero(kernel.grad[..., 0, 0])) for kernel in kernels if kernel.grad is not None]
    assert reached[0] > 0
    assert reached[1:] == [0, 0]


@pytest.mark.parametrize("start", ["he_uniform", "he_normal"])
def test_the_start_reaches_every_new_part(start: LayerStart) -> None:
    """Largest weight over standard deviation: the root of 3 in a uniform distribution, more than 3 in a normal one."""
    options = {"backbone": "test_efficientnet", "aux_head": True, "head_conv": True, "separable": False}
    model = DeepLabV3Plus(
        10, layer_start=start, classifier_start="normal" if start == "he_normal" else "xavier", **options
    )
    assert model.decoder is not None
    assert model.aux_head is not None
    for part in (model.context.aspp, model.context.head_conv, model.decoder, model.aux_head, model.classifier):
        conv = max(
            (each for each in part.modules() if isinstance(each, nn.Conv2d)), key=lambda each: each.weight.numel()
        )
        spread = float(conv.weight.abs().max() / conv.weight.std())
        assert (spread == pytest.approx(3**0.5, rel=0.05)) == (start == "he_uniform"), part
