"""PSPNet's pyramid pooling, as an alternative to ASPP."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .aspp import ImagePooling
from .conv import ConvNormAct, NormOptions


class PyramidPooling(nn.Module):
    """Means over grids of 1, 2, 3 and 6 cells a side, beside the map itself.

    Zhao et al., "Pyramid Scene Parsing Network", CVPR 2017.

    ```
    (B, C_in, h, w) ─┬───────────────────────────────────────────┐
                     ├─ mean over b x b cells ─ 1x1, C_in/4 ─ up ─┼─ concat ─ 3x3 ─ dropout ─> (B, C_out, h, w)
                     └─ ... one for each b ───────────────────────┘
    ```

    Args:
        in_channels: Channels of the deepest feature map.
        out_channels: Channels of the result (512 in the paper).
        bins: Cells a side, one branch each.
        dropout: Probability of dropping an activation of the result.
        norm: Constants of the batch norms.
        align_corners: Handed to the resizes of the pooled maps.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int = 512,
        *,
        bins: Sequence[int] = (1, 2, 3, 6),
        dropout: float = 0.1,
        norm: NormOptions,
        align_corners: bool,
    ) -> None:
        super().__init__()
        width = in_channels // len(bins)
        self.branches = nn.ModuleList(
            ImagePooling(in_channels, width, norm=norm, align_corners=align_corners, bins=cells) for cells in bins
        )
        self.project = ConvNormAct(in_channels + len(bins) * width, out_channels, 3, norm=norm)
        self.dropout = nn.Dropout(dropout)

    def forward(self, features: Tensor) -> Tensor:
        """`(B, C_in, h, w) -> (B, C_out, h, w)`."""
        parts = torch.cat([features, *(branch(features) for branch in self.branches)], dim=1)
        return self.dropout(self.project(parts))
