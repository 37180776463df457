"""The decoder of DeepLab v3+."""

from __future__ import annotations

from collections.abc import Sequence

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

    With a second map the step is taken twice, first at stride 8 and then at stride 4 (the paper's "Conv2 + Conv3").
    The order of the concatenation, high then low level, is TensorFlow's. There is no dropout, as in the released code.

    Args:
        high_level_channels: Channels of the encoder's output.
        map_channels: Channels of the backbone's maps to merge, from coarse to fine; the last is at stride 4.
        low_level_channels: What the 1x1 reduces each of them to (48, the best of the paper's ablation).
        decoder_channels: Width of the convolutions.
        convs: How many follow each concatenation (2, the best of the paper's ablation).
        kernel_size: Their kernel, 3 or 1.
        additive: Add the reduced map instead of concatenating it, as articles about DeepLab show and no paper of the
            family does. The map is then reduced to the width of what it is added to.
        separable: Use atrous separable convolutions.
        norm_between: See `AtrousSeparableConv`.
        norm: Constants of the batch norms.
        align_corners: Handed to the resize.
    """

    def __init__(
        self,
        high_level_channels: int,
        map_channels: Sequence[int],
        *,
        low_level_channels: int = 48,
        decoder_channels: int = 256,
        convs: int = 2,
        kernel_size: int = 3,
        additive: bool = False,
        separable: bool,
        norm_between: bool = True,
        norm: NormOptions,
        align_corners: bool,
    ) -> None:
        super().__init__()
        self.align_corners = align_corners
        self.additive = additive
        self.reduce = nn.ModuleList()
        self.refine = nn.ModuleList()
        width = high_level_channels
        for channels in map_channels:
            layers: list[nn.Module] = []
            reduced = width if additive else low_level_channels
            self.reduce.append(ConvNormAct(channels, reduced, norm=norm))
            width = width if additive else width + reduced
            for _ in range(convs):
                layers.append(
                    conv3x3(width, decoder_channels, separable=separable, norm=norm, norm_between=norm_between)
                    if kernel_size == 3
                    else ConvNormAct(width, decoder_channels, kernel_size, norm=norm)
                )
                width = decoder_channels
            self.refine.append(nn.Sequential(*layers))

    def forward(self, high_level_features: Tensor, maps: Sequence[Tensor]) -> Tensor:
        """Merge the encoder's output with the backbone's maps, coarse to fine, at the size of the last."""
        x = high_level_features
        for reduce, refine, features in zip(self.reduce, self.refine, maps, strict=True):
            height, width = features.shape[-2:]
            upsampled = resize(x, (height, width), self.align_corners)
            detail = reduce(features)
            x = refine(upsampled + detail if self.additive else torch.cat([upsampled, detail], dim=1))
        return x
