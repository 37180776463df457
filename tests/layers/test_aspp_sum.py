"""ASPP of v2: every branch straight to the classes, summed."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from deeplab_lightning.models.deeplab_v2 import ASPPSum


@pytest.mark.parametrize("rates", [(6, 12, 18, 24), (2, 4, 8, 12), (12,)])
@torch.no_grad()
def test_the_output_is_the_sum_of_the_branches(rates: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    module, features = ASPPSum(5, 3, atrous_rates=rates), torch.randn(2, 5, 17, 21)
    assert len(module.branches) == len(rates)
    expected = torch.zeros(2, 3, 17, 21)
    for conv, rate in zip(module.branches, rates, strict=True):
        expected += F.conv2d(features, conv.weight, conv.bias, padding=rate, dilation=rate)
    assert torch.allclose(module(features), expected, atol=1e-5)


def test_branches_are_biased_convolutions_and_nothing_else() -> None:
    module = ASPPSum(7, 4, atrous_rates=(6, 12))
    assert {type(layer) for layer in module.modules()} == {ASPPSum, nn.ModuleList, nn.Conv2d}
    assert sum(parameter.numel() for parameter in module.parameters()) == 2 * (9 * 7 * 4 + 4)


def test_the_input_is_left_as_it_was() -> None:
    """The sum starts from a branch's own map, not from the features."""
    module, features = ASPPSum(3, 3, atrous_rates=(1, 2)), torch.randn(1, 3, 5, 5)
    before = features.clone()
    module(features)
    assert torch.equal(features, before)
