"""PSPNet's pyramid pooling, to compare ASPP with."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..conv import ConvNormAct
from ..image_pooling import ImagePooling
from .base import ContextHead, ContextOptions

BINS = (1, 2, 3, 6)
"""Cells a side, one branch each."""


class PyramidPooling(ContextHead):
    """Means over grids of 1, 2, 3 and 6 cells a side, beside the map itself.

    Zhao et al., "Pyramid Scene Parsing Network", CVPR 2017.

    ```
    (B, C_in, h, w) ─┬───────────────────────────────────────────┐
                     ├─ mean over b x b cells ─ 1x1, C_in/4 ─ up ─┼─ concat ─ 3x3 ─ dropout ─> (B, C_out, h, w)
                     └─ ... one for each b ───────────────────────┘
    ```

    It has neither atrous rates nor separable convolutions. The paper's result has 512 channels.
    """

    name = "psp"
    part = "psp"
    needs_fixed_size = "pyramid pooling (context psp), whose grid of cells"

    def __init__(self, options: ContextOptions, in_channels: int) -> None:
        super().__init__()
        momentum = options.norm_momentum
        width = in_channels // len(BINS)
        self.branches = nn.ModuleList(
            ImagePooling(in_channels, width, momentum=momentum, align_corners=options.align_corners, bins=bins)
            for bins in BINS
        )
        self.project = ConvNormAct(in_channels + len(BINS) * width, options.aspp_channels, 3, momentum=momentum)
        self.dropout = nn.Dropout(options.dropout)

    def forward(self, features: Tensor) -> Tensor:
        """`(B, C_in, h, w) -> (B, C_out, h, w)`."""
        parts = torch.cat([features, *(branch(features) for branch in self.branches)], dim=1)
        return self.dropout(self.project(parts))
