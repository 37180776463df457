"""Atrous spatial pyramid pooling of v2, which sums scores; that of v3 and v3+ is a context head (`contexts/aspp.py`)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn


class ASPPSum(nn.Module):
    """ASPP as in v2 (section 3.2) on a ResNet: parallel 3x3 convolutions straight to the classes, summed.

    ```
    (B, C_in, h, w) ─┬─ 3x3, rate r1 ─┐
                     ├─ 3x3, rate r2 ─┼─ sum ─> (B, C_out, h, w)
                     └─ ...          ─┘
    ```

    There is no 1x1 branch, no image pooling, no batch norm, no dropout, and every branch has its own bias. One rate
    alone makes the paper's LargeFOV.

    Args:
        in_channels: Channels of the deepest feature map.
        out_channels: The classes.
        atrous_rates: One branch each, at the network's own output stride.
    """

    def __init__(self, in_channels: int, out_channels: int, *, atrous_rates: Sequence[int]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Conv2d(in_channels, out_channels, 3, padding=rate, dilation=rate) for rate in atrous_rates
        )

    def forward(self, features: Tensor) -> Tensor:
        """`(B, C_in, h, w) -> (B, C_out, h, w)`."""
        first, *others = self.branches
        return sum((branch(features) for branch in others), start=first(features))
