"""The Gaussian kernel over positions alone, exact to rounding: one axis after the other."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .kernels import Normalise, factors

BLOCK = 64
"""Rows of an axis's matrix multiplied together with the band that they reach."""


class GaussianKernel:
    """`k(i, j) = exp(-|p_i - p_j|^2 / (2 sigma^2))` over the pixels of a picture.

    The kernel is a product of one over rows and one over columns, and so are its row sums on a rectangle: each axis is
    a matrix, normalised by itself. Entries below the precision's resolution of 1 are left out; that changes the sums
    by no more than their rounding does.

    Args:
        size: `(H, W)` of the pictures.
        sigma: In pixels.
        normalise: How the kernel's weights are made relative.
        like: Gives dtype and device.
    """

    def __init__(self, size: tuple[int, int], sigma: float, normalise: Normalise, like: Tensor) -> None:
        self.size = size
        self.reach = math.ceil(sigma * math.sqrt(-2 * math.log(torch.finfo(like.dtype).eps)))
        self.rows, self.columns = (_axis(length, sigma, self.reach, normalise, like) for length in size)

    def __call__(self, values: Tensor) -> Tensor:
        """Apply: `(B * H * W, C) -> (B * H * W, C)`."""
        height, width = self.size
        classes = values.shape[1]
        along_rows = self._multiply(self.columns, values.view(-1, width, classes))
        both = self._multiply(self.rows, along_rows.view(-1, height, width * classes))
        return both.view(-1, classes)

    def _multiply(self, matrix: Tensor, values: Tensor) -> Tensor:
        """Return `matrix @ values[k]` for each k, looking at the band around the diagonal only."""
        length = len(matrix)
        result = torch.empty_like(values)
        for start in range(0, length, BLOCK):
            stop = min(start + BLOCK, length)
            seen = slice(max(0, start - self.reach), min(length, stop + self.reach))
            result[:, start:stop] = torch.matmul(matrix[start:stop, seen], values[:, seen])
        return result


def _axis(length: int, sigma: float, reach: int, normalise: Normalise, like: Tensor) -> Tensor:
    """Return the `(length, length)` matrix of one axis."""
    position = torch.arange(length, device=like.device, dtype=torch.float64)
    distance = (position[:, None] - position).abs()
    # Zeros in place of the smallest numbers: a CPU multiplies those (denormal in float32) ten times more slowly.
    matrix = (-distance.square() / (2 * sigma**2)).exp().masked_fill_(distance > reach, 0)
    before, after = factors(matrix.sum(dim=1), normalise)
    return (after[:, None] * matrix * before).to(like.dtype)
