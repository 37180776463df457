"""The decoder of DeepLab v3+."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .conv import ConvNormAct, NormOptions, conv3x3
from .resize import resize


class DecoderV3Plus(nn.Module):
    """v3+ decoder (section 3.2): bring detail back from a stride-4 map.

    ```
    high_level (B, 256, h, w) ──────── resize to stride 4 ─┐
    low_level  (B, C, H/4, W/4) ── 1x1, 48 ────────────────┴─ concat (304) ─ 3x3 ─ 3x3 ─> (B, 256, H/4, W/4)
    ```

    The order of the concatenation, high then low level, is TensorFlow's. There is no dropout, as in the released code.

    Args:
        high_level_channels: Channels of the encoder's output.
        low_level_channels_in: Channels of the backbone's stride-4 map.
        low_level_channels: What the 1x1 reduces them to (48, the best of the paper's ablation).
        decoder_channels: Width of the two 3x3 convolutions.
        separable: Use atrous separable convolutions.
        norm: Constants of the batch norms.
        align_corners: Handed to the resize.
    """

    def __init__(
        self,
        high_level_channels: int,
        low_level_channels_in: int,
        *,
        low_level_channels: int = 48,
        decoder_channels: int = 256,
        separable: bool,
        norm: NormOptions,
        align_corners: bool,
    ) -> None:
        super().__init__()
        self.align_corners = align_corners
        self.reduce = ConvNormAct(low_level_channels_in, low_level_channels, norm=norm)
        self.refine = nn.Sequential(
            conv3x3(high_level_channels + low_level_channels, decoder_channels, separable=separable, norm=norm),
            conv3x3(decoder_channels, decoder_channels, separable=separable, norm=norm),
        )

    def forward(self, high_level_features: Tensor, low_level_features: Tensor) -> Tensor:
        """Merge the encoder's output with the low-level map, at the low-level map's size."""
        height, width = low_level_features.shape[-2:]
        upsampled = resize(high_level_features, (height, width), self.align_corners)
        return self.refine(torch.cat([upsampled, self.reduce(low_level_features)], dim=1))
