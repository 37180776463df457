"""Kernels by brute force: every pixel with every pixel. The reference for small images."""

from __future__ import annotations

import torch
from torch import Tensor

from ..options import Normalise
from .kernels import Kernel, factors

BLOCK_ELEMENTS = 1 << 22
"""Pairs of pixels looked at together (32 MB of float64)."""


class ExactKernel(Kernel):
    """`k(i, j) = exp(-|f_i - f_j|^2 / 2)`, without any approximation, in the precision of its features.

    Time grows with the square of the pixels: 64 x 64 take a tenth of a second for each application, 375 x 500 minutes.

    Args:
        features: `(B, N, d)` floating point: pixels' properties, divided by their sigmas.
        normalise: How the kernel's weights are made relative.
    """

    def __init__(self, features: Tensor, normalise: Normalise) -> None:
        self.features = features - features.mean(dim=1, keepdim=True)  # small numbers: their squares are subtracted
        ones = features.new_ones(features.shape[0] * features.shape[1], 1)
        self.before, self.after = factors(self._sums(ones), normalise)

    def add_to(self, sums: Tensor, values: Tensor, weight: float = 1.0) -> None:
        """See `Kernel`."""
        sums.add_(self._sums(values * self.before) * self.after, alpha=weight)

    def _sums(self, values: Tensor) -> Tensor:
        images, pixels, _ = self.features.shape
        rows_per_block = max(1, BLOCK_ELEMENTS // pixels)
        sums = []
        for features, own in zip(self.features, values.view(images, pixels, -1), strict=True):
            half_squares = features.square().sum(dim=1) / 2
            for start in range(0, pixels, rows_per_block):
                rows = slice(start, start + rows_per_block)
                exponent = torch.addmm(-half_squares, features[rows], features.T) - half_squares[rows, None]
                sums.append(exponent.clamp_(max=0).exp_() @ own)
        return torch.cat(sums)
