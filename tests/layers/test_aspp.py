"""Atrous spatial pyramid pooling: its taps, its branches, and a batch of one."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from deeplab_lightning.layers import ImagePooling
from deeplab_lightning.layers.contexts import ContextOptions
from deeplab_lightning.layers.contexts.aspp import ASPP


def made(in_channels: int, channels: int, **options: Any) -> ASPP:
    return ASPP(ContextOptions(aspp_channels=channels, **options), in_channels)


def aspp(rates: tuple[int, ...] = (6, 12, 18), channels: int = 1, **options: Any) -> ASPP:
    module = made(channels, channels, atrous_rates=rates, **options).eval()
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.eps = 0.0
    return module


@pytest.mark.parametrize(
    ("side", "rates", "shares"),
    [
        (21, (6, 12, 18), (0.655, 0.383, 0.184)),
        (33, (6, 12, 18, 24), (0.772, 0.574, 0.405, 0.265)),
        (41, (6, 12, 18, 24), (0.814, 0.648, 0.500, 0.372)),
        (49, (6, 12, 18), (0.843, 0.700, 0.570)),
        (65, (12, 24, 36), (0.769, 0.568, 0.398)),
    ],
)
def test_share_of_taps_within_the_map(side: int, rates: tuple[int, ...], shares: tuple[float, ...]) -> None:
    """Fact sheet, section 1 (v3 paper, figure 4): a map of ones under averaging kernels counts the taps inside."""
    module = aspp(rates)
    ones = torch.ones(1, 1, side, side)
    for branch, rate, share in zip(module.branches[1:-1], rates, shares, strict=True):
        with torch.no_grad():
            branch[0].weight.fill_(1 / 9)
            seen = branch(ones)
        assert seen.mean().item() == pytest.approx(share, abs=6e-4)
        if 2 * rate < side:
            assert torch.allclose(seen[..., rate:-rate, rate:-rate], ones[..., rate:-rate, rate:-rate])
            assert seen[0, 0, 0, 0].item() == pytest.approx(4 / 9)


def pooling(channels: int = 3) -> ImagePooling:
    torch.manual_seed(0)
    module = ImagePooling(channels, channels, align_corners=True)
    nn.init.normal_(module.norm.running_mean)
    nn.init.uniform_(module.norm.running_var, 0.5, 1.5)
    nn.init.normal_(module.norm.weight)
    return module


def test_batch_of_one_trains_and_leaves_the_statistics_alone() -> None:
    module = pooling().train()
    before = {key: value.clone() for key, value in module.norm.state_dict().items()}
    features = torch.randn(1, 3, 4, 5, requires_grad=True)
    pooled = module(features)
    pooled.sum().backward()
    assert features.grad is not None
    assert module.conv.weight.grad is not None
    assert module.conv.weight.grad.abs().sum() > 0
    assert all(torch.equal(before[key], value) for key, value in module.norm.state_dict().items())
    assert torch.allclose(pooled, module.eval()(features), atol=1e-6)


def test_larger_batches_are_a_plain_batch_norm() -> None:
    module = pooling().train()
    plain = nn.BatchNorm2d(3)
    plain.load_state_dict(module.norm.state_dict())
    features = torch.randn(2, 3, 4, 5)
    expected = plain(module.conv(features.mean((2, 3), keepdim=True))).relu().expand(2, 3, 4, 5)
    assert torch.allclose(module(features), expected, atol=1e-6)
    assert torch.allclose(module.norm.running_mean, plain.running_mean)
    assert torch.allclose(module.norm.running_var, plain.running_var)
    assert module.norm.num_batches_tracked == 1


@pytest.mark.parametrize("separable", [True, False])
@pytest.mark.parametrize("image_pooling", [True, False])
@pytest.mark.parametrize("rates", [(), (6,), (6, 12, 18)])
def test_branches(separable: bool, image_pooling: bool, rates: tuple[int, ...]) -> None:
    module = made(8, 4, atrous_rates=rates, separable=separable, image_pooling=image_pooling)
    assert len(module.branches) == 1 + len(rates) + image_pooling
    assert module.project[0].in_channels == 4 * len(module.branches)
    assert any(isinstance(branch, ImagePooling) for branch in module.branches) == image_pooling
    assert module(torch.randn(2, 8, 9, 7)).shape == (2, 4, 9, 7)


def test_dropout_stands_behind_the_projection_and_rests_in_evaluation() -> None:
    module = made(4, 64, atrous_rates=(), separable=False, dropout=0.5)
    features = torch.randn(2, 4, 9, 9)
    torch.manual_seed(1)
    dropped = module.train()(features)
    positive = module.project([branch(features) for branch in module.branches]) > 0
    assert 0.4 < (dropped[positive] == 0).float().mean() < 0.6
    module.eval()
    assert torch.equal(module(features), module(features))


def test_without_pooling_a_far_pixel_changes_nothing() -> None:
    """With it, everything sees everything."""
    for image_pooling in (True, False):
        torch.manual_seed(0)
        module = aspp((2,), channels=4, image_pooling=image_pooling)
        features = torch.rand(1, 4, 9, 9)
        changed = features.clone()
        changed[..., 8, 8] += 100
        assert torch.equal(module(features)[..., 0, 0], module(changed)[..., 0, 0]) != image_pooling


def test_the_projection_is_that_of_the_concatenation() -> None:
    """Values and every gradient; the pooled branch is a bias for each image."""
    torch.manual_seed(0)
    module = made(
        6, 4, atrous_rates=(2, 3), separable=True, dropout=0.0
    ).double().train()  # fmt: skip
    features = torch.randn(3, 6, 9, 7, dtype=torch.float64, requires_grad=True)
    conv, norm, act = module.project
    weights = [features, *module.parameters()]
    merged = torch.cat([branch(features) for branch in module.branches], 1)
    expected = act(norm(nn.functional.conv2d(merged, conv.weight)))
    upstream = torch.randn_like(expected)
    expected_gradients = torch.autograd.grad(expected, weights, upstream)
    found = module(features)
    assert torch.allclose(found, expected, atol=1e-12)
    for gradient, wanted in zip(torch.autograd.grad(found, weights, upstream), expected_gradients, strict=True):
        assert torch.allclose(gradient, wanted, atol=1e-10)


def test_the_concatenation_is_not_made() -> None:
    module, seen = made(6, 4, atrous_rates=(2,), separable=False), []
    module.project[0].register_forward_hook(lambda _, args, __: seen.extend(part.shape for part in args[0]))
    module(torch.randn(2, 6, 9, 7))
    assert seen == [(2, 4, 9, 7), (2, 4, 9, 7), (2, 4, 1, 1)]
    assert {key: tuple(value.shape) for key, value in module.project.state_dict().items()}["0.weight"] == (4, 12, 1, 1)
