"""Context heads: found by name, each of the same shape, and what the option changes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from deeplab_lightning.errors import ConfigError
from deeplab_lightning.layers.contexts import ContextHead, ContextOptions, context_heads, context_module
from deeplab_lightning.layers.conv import LayerStart

HEADS = sorted(context_heads())


def test_heads_are_found() -> None:
    assert set(HEADS) >= {"aspp", "aspp_sum", "conv", "psp"}
    with pytest.raises(ConfigError, match=r"context is 'asp'; expected one of .*\. Did you mean 'aspp'\?"):
        ContextOptions(context="asp")


def test_the_users_own_head_is_found() -> None:
    class Nothing(ContextHead):
        name = "nothing"
        part = "nothing"

        def __init__(self, options: ContextOptions, in_channels: int) -> None:
            super().__init__()
            self.conv = nn.Conv2d(in_channels, options.aspp_channels, 1)

        def forward(self, features: Tensor) -> Tensor:
            return self.conv(features)

    module = context_module(ContextOptions(context="nothing", aspp_channels=4), 6)
    assert list(module.state_dict()) == ["nothing.conv.weight", "nothing.conv.bias"]
    assert module(torch.randn(1, 6, 3, 5)).shape == (1, 4, 3, 5)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("options", [{}, {"attention": True, "head_conv": True, "separable": True}])
def test_shape_and_names(head: str, options: dict[str, Any]) -> None:
    module = context_module(ContextOptions(context=head, aspp_channels=6, **options), 8)
    assert module(torch.randn(2, 8, 7, 9)).shape == (2, 6, 7, 9)
    behind = ["attention", "head_conv"] if options else []
    assert [name for name, _ in module.named_children()] == [context_heads()[head].part, *behind]


@pytest.mark.parametrize("head", HEADS)
def test_dropout_and_momentum_reach_every_head(head: str) -> None:
    module = context_module(ContextOptions(context=head, aspp_channels=6, dropout=0.3, norm_momentum=0.02), 8)
    assert [layer.p for layer in module.modules() if isinstance(layer, nn.Dropout)] == [0.3]
    momenta = {layer.momentum for layer in module.modules() if isinstance(layer, nn.BatchNorm2d)}
    assert momenta == {0.02}


@torch.no_grad()
def test_the_sum_is_that_of_the_branches() -> None:
    torch.manual_seed(0)
    module = context_module(ContextOptions(context="aspp_sum", aspp_channels=4, atrous_rates=(1, 2)), 8).eval()
    features, (aspp,) = torch.randn(1, 8, 9, 9), module.children()
    branches: Any = aspp.branches
    assert len(branches) == 4
    expected = aspp.project(sum(branch(features) for branch in branches))  # type: ignore[operator]
    assert torch.allclose(module(features), expected, atol=1e-6)


@pytest.mark.parametrize(("start", "fan"), [("he_normal", 256 * 9), ("he_uniform", 64 * 9)])
def test_convolutions_start_from_hes_distribution(start: LayerStart, fan: int) -> None:
    torch.manual_seed(0)
    module = context_module(ContextOptions(context="conv", layer_start=start), 64)
    conv = next(m for m in module.modules() if isinstance(m, nn.Conv2d))
    assert conv.weight.std().item() == pytest.approx((2 / fan) ** 0.5, rel=0.05)
