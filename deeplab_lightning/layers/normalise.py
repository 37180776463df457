"""From stored pixel values to what a network takes in, on the device."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Normalise(nn.Module):
    """`(pixel / pixel_range - mean) / std`, per channel.

    Images travel to the device as uint8, a quarter of the bytes of float32; this is the only place where they
    become floating point. Zero after it is the mean pixel, which is what images are padded with.

    Args:
        mean: Per channel, of pixels divided by `pixel_range`.
        std: Per channel.
        pixel_range: The stored value that means 1.0.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float], pixel_range: float = 255.0) -> None:
        super().__init__()
        scale = 1.0 / (torch.tensor(std, dtype=torch.float64) * pixel_range)
        shift = -torch.tensor(mean, dtype=torch.float64) / torch.tensor(std, dtype=torch.float64)
        # Not persistent: they come from the data description, which a checkpoint keeps in its hyper-parameters.
        self.register_buffer("scale", scale.float().view(1, -1, 1, 1), persistent=False)
        self.register_buffer("shift", shift.float().view(1, -1, 1, 1), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        """`(B, C, H, W)` of any real dtype -> `(B, C, H, W)` float32."""
        return torch.addcmul(self.shift, image.float(), self.scale)  # type: ignore[arg-type]
