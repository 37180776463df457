"""Channel attention."""

from __future__ import annotations

from torch import Tensor, nn


class SqueezeExcite(nn.Module):
    """Weigh channels by what the whole map holds (Hu et al., "Squeeze-and-Excitation Networks", CVPR 2018).

    Args:
        channels: Of the map.
        reduction: How much narrower the layer between is.
    """

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        width = max(1, channels // reduction)
        self.weigh = nn.Sequential(
            nn.Conv2d(channels, width, 1), nn.ReLU(inplace=True), nn.Conv2d(width, channels, 1), nn.Sigmoid()
        )

    def forward(self, features: Tensor) -> Tensor:
        """`(B, C, h, w) -> (B, C, h, w)`."""
        return features * self.weigh(features.mean(dim=(2, 3), keepdim=True))
