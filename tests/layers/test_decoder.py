"""The decoder of v3+."""

from __future__ import annotations

import pytest
import torch

from deeplab_lightning.layers import DecoderV3Plus, NormOptions, resize


@pytest.mark.parametrize("separable", [True, False])
def test_parts_and_size(separable: bool) -> None:
    decoder = DecoderV3Plus(
        16, [24], low_level_channels=6, decoder_channels=10, separable=separable, norm=NormOptions(), align_corners=True
    )
    merged = decoder(torch.randn(2, 16, 5, 7), [torch.randn(2, 24, 17, 25)])
    assert merged.shape == (2, 10, 17, 25)
    assert len(decoder.refine[0]) == 2


@pytest.mark.parametrize("align_corners", [True, False])
def test_high_level_comes_first(align_corners: bool) -> None:
    """TensorFlow's order, on which imported weights depend."""
    decoder = DecoderV3Plus(
        2,
        [3],
        low_level_channels=4,
        decoder_channels=5,
        separable=False,
        norm=NormOptions(),
        align_corners=align_corners,
    ).eval()
    high, low = torch.randn(1, 2, 3, 3), torch.randn(1, 3, 8, 8)
    merged = torch.cat([resize(high, (8, 8), align_corners), decoder.reduce[0](low)], 1)
    assert torch.equal(decoder(high, [low]), decoder.refine[0](merged))


def test_two_maps_are_merged_one_after_the_other() -> None:
    """The paper's Conv2 + Conv3: stride 8 first."""
    decoder = DecoderV3Plus(
        2, [5, 3], low_level_channels=4, decoder_channels=6, convs=1, separable=False, norm=NormOptions(),
        align_corners=True,
    ).eval()  # fmt: skip
    high, coarse, fine = torch.randn(1, 2, 3, 3), torch.randn(1, 5, 5, 5), torch.randn(1, 3, 9, 9)
    first = decoder.refine[0](torch.cat([resize(high, (5, 5), True), decoder.reduce[0](coarse)], 1))
    second = decoder.refine[1](torch.cat([resize(first, (9, 9), True), decoder.reduce[1](fine)], 1))
    assert torch.equal(decoder(high, [coarse, fine]), second)


@pytest.mark.parametrize(("convs", "kernel_size"), [(1, 3), (2, 3), (3, 3), (1, 1)])
def test_structures_of_the_papers_ablation(convs: int, kernel_size: int) -> None:
    decoder = DecoderV3Plus(
        256, [256], convs=convs, kernel_size=kernel_size, separable=False, norm=NormOptions(), align_corners=True
    )
    kernels = [layer[0].kernel_size for layer in decoder.refine[0]]
    assert kernels == [(kernel_size, kernel_size)] * convs
