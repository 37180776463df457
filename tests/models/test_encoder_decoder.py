"""The plain encoder-decoder: what its drawing says, and an independent implementation."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deeplab_lightning.models import EncoderDecoder

from .base import FullSizeLogitsTests, randomise


class TestEncoderDecoder(FullSizeLogitsTests):
    model_class = EncoderDecoder
    options = {"base_width": 4}  # noqa: RUF012
    output_strides = (8,)
    align_corners = ()


def test_parameter_count() -> None:
    """Six pairs without biases, two batch norms each, and a 1x1 classifier."""
    channels = [3, 32, 64, 128, 128, 64, 32]
    pairs = sum(9 * (a * b + b * b) + 4 * b for a, b in itertools.pairwise(channels))
    with torch.device("meta"):
        model = EncoderDecoder(12)
    assert sum(parameter.numel() for parameter in model.parameters()) == pairs + 32 * 12 + 12


def conv(x: Tensor, state: dict[str, Any], key: str) -> Tensor:
    names = ("running_mean", "running_var", "weight", "bias")
    mean, var, gamma, beta = (state[f"{key}.1.{name}"].view(1, -1, 1, 1) for name in names)
    x = F.conv2d(x, state[f"{key}.0.weight"], padding=1)
    return ((x - mean) / (var + 1e-5).sqrt() * gamma + beta).clamp(min=0)


@pytest.mark.parametrize("size", [(64, 48), (65, 50)])
@torch.no_grad()
def test_logits_equal_an_independent_implementation(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    model = EncoderDecoder(4, base_width=4).double().eval()
    randomise(model)
    nn.init.normal_(model.classifier.weight)
    state = model.state_dict()
    image = torch.randn(2, 3, *size, dtype=torch.float64)
    x, sizes = image, []
    for stage in range(3):
        for index in range(2):
            x = conv(x, state, f"encoder.{stage}.{index}")
        sizes.append(x.shape[-2:])
        x = F.max_pool2d(x, 2, ceil_mode=True)
    assert x.shape[-2:] == (-(-size[0] // 8), -(-size[1] // 8))
    for stage in range(3):
        x = F.interpolate(x, sizes.pop(), mode="bilinear", align_corners=False)
        for index in range(2):
            x = conv(x, state, f"decoder.{stage}.{index}")
    expected = F.conv2d(x, state["classifier.weight"], state["classifier.bias"])
    assert expected.std() > 0.01
    assert torch.allclose(model(image), expected, atol=1e-10)


def test_start_values() -> None:
    """The loss begins at ln(classes), and activations keep their size."""
    torch.manual_seed(0)
    model = EncoderDecoder(5).eval()
    assert model.classifier.weight.std().item() == pytest.approx(0.01, rel=0.2)
    assert torch.all(model.classifier.bias == 0)
    with torch.no_grad():
        assert 0.001 < model(torch.randn(1, 3, 65, 65)).std() < 0.5
