"""The decoder of v3+."""

from __future__ import annotations

import pytest
import torch

from deeplab_lightning.layers import DecoderV3Plus, NormOptions, resize


@pytest.mark.parametrize("separable", [True, False])
def test_parts_and_size(separable: bool) -> None:
    decoder = DecoderV3Plus(
        16, 24, low_level_channels=6, decoder_channels=10, separable=separable, norm=NormOptions(), align_corners=True
    )
    merged = decoder(torch.randn(2, 16, 5, 7), torch.randn(2, 24, 17, 25))
    assert merged.shape == (2, 10, 17, 25)
    assert len(decoder.refine) == 2


@pytest.mark.parametrize("align_corners", [True, False])
def test_high_level_comes_first(align_corners: bool) -> None:
    """TensorFlow's order, on which imported weights depend."""
    decoder = DecoderV3Plus(
        2, 3, low_level_channels=4, decoder_channels=5, separable=False, norm=NormOptions(), align_corners=align_corners
    ).eval()
    high, low = torch.randn(1, 2, 3, 3), torch.randn(1, 3, 8, 8)
    merged = torch.cat([resize(high, (8, 8), align_corners), decoder.reduce(low)], 1)
    assert torch.equal(decoder(high, low), decoder.refine(merged))
