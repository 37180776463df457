"""The decoder of v3+."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from deeplab_lightning.errors import ConfigError
from deeplab_lightning.layers import DecoderOptions, DecoderV3Plus, resize


@pytest.mark.parametrize("separable", [True, False])
def test_parts_and_size(separable: bool) -> None:
    options = DecoderOptions(low_level_channels=6, decoder_channels=10, separable=separable)
    decoder = DecoderV3Plus(options, 16, [24])
    merged = decoder(torch.randn(2, 16, 5, 7), [torch.randn(2, 24, 17, 25)])
    assert merged.shape == (2, 10, 17, 25)
    assert len(decoder.refine[0]) == 2


@pytest.mark.parametrize("align_corners", [True, False])
def test_high_level_comes_first(align_corners: bool) -> None:
    """TensorFlow's order, on which imported weights depend."""
    options = DecoderOptions(low_level_channels=4, decoder_channels=5, align_corners=align_corners)
    decoder = DecoderV3Plus(options, 2, [3]).eval()
    high, low = torch.randn(1, 2, 3, 3), torch.randn(1, 3, 8, 8)
    merged = torch.cat([resize(high, (8, 8), align_corners), decoder.reduce[0](low)], 1)
    assert torch.equal(decoder(high, [low]), decoder.refine[0](merged))


def test_two_maps_are_merged_one_after_the_other() -> None:
    """The paper's Conv2 + Conv3: stride 8 first."""
    options = DecoderOptions(low_level_channels=4, decoder_channels=6, decoder_convs=1, decoder_strides=(8, 4))
    decoder = DecoderV3Plus(options, 2, [5, 3]).eval()
    high, coarse, fine = torch.randn(1, 2, 3, 3), torch.randn(1, 5, 5, 5), torch.randn(1, 3, 9, 9)
    first = decoder.refine[0](torch.cat([resize(high, (5, 5), True), decoder.reduce[0](coarse)], 1))
    second = decoder.refine[1](torch.cat([resize(first, (9, 9), True), decoder.reduce[1](fine)], 1))
    assert torch.equal(decoder(high, [coarse, fine]), second)


@pytest.mark.parametrize(("convs", "kernel_size"), [(1, 3), (2, 3), (3, 3), (1, 1)])
def test_structures_of_the_papers_ablation(convs: int, kernel_size: Any) -> None:
    decoder = DecoderV3Plus(DecoderOptions(decoder_convs=convs, decoder_kernel_size=kernel_size), 256, [256])
    kernels = [layer[0].kernel_size for layer in decoder.refine[0]]
    assert kernels == [(kernel_size, kernel_size)] * convs


def test_a_decoder_merges_something() -> None:
    with pytest.raises(ConfigError, match=r"decoder_strides is empty.*take \(4,\).*--model\.decoder false"):
        DecoderOptions(decoder_strides=())
    assert DecoderOptions(decoder=False, decoder_strides=()).decoder_strides == ()
