"""The Gaussian kernel over positions alone, exact to rounding: one axis after the other."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..options import Normalise
from .kernels import Kernel, factors, has_compiled_form

if TYPE_CHECKING:
    from .compiled.gaussian import CompiledBand

BLOCK = 64
"""Rows of an axis's matrix multiplied together with the band that they reach."""


class GaussianKernel(Kernel):
    """`k(i, j) = exp(-|p_i - p_j|^2 / (2 sigma^2))` over the pixels of an image.

    The kernel is a product of one over rows and one over columns, and so are its row sums on a rectangle: each axis is
    a matrix, normalised by itself. Entries below the precision's resolution of 1 are left out; that changes the sums
    by no more than their rounding does.

    Args:
        size: `(H, W)` of the images.
        sigma: In pixels.
        normalise: How the kernel's weights are made relative.
        like: Gives dtype and device.
        compiled: Use numba; None does where it can: float32 on a CPU, with numba installed.
    """

    def __init__(
        self, size: tuple[int, int], sigma: float, normalise: Normalise, like: Tensor, compiled: bool | None = None
    ) -> None:
        self.size = size
        reach = math.ceil(sigma * math.sqrt(-2 * math.log(torch.finfo(like.dtype).eps)))
        matrices = [_axis(length, sigma, reach, normalise, like) for length in size]
        self._along_rows = like.new_empty(0)
        form: type[TorchBand | CompiledBand] = TorchBand
        if has_compiled_form(like) if compiled is None else compiled:
            from .compiled.gaussian import CompiledBand

            form = CompiledBand
        self.rows, self.columns = (form(matrix, reach) for matrix in matrices)

    def add_to(self, sums: Tensor, values: Tensor, weight: float = 1.0) -> None:
        """See `Kernel`."""
        height, width = self.size
        classes = values.shape[1]
        if self._along_rows.shape != values.shape:
            self._along_rows = torch.empty_like(values)  # kept: new memory is slower than the sums themselves
        self._along_rows.zero_()
        self.columns.add_to(self._along_rows.view(-1, width, classes), values.view(-1, width, classes), 1.0)
        images = (-1, height, width * classes)
        self.rows.add_to(sums.view(images), self._along_rows.view(images), weight)


class TorchBand:
    """The band in blocks of rows.

    Args:
        matrix: `(length, length)`.
        reach: Entries further than this from the diagonal are 0.
    """

    def __init__(self, matrix: Tensor, reach: int) -> None:
        self.matrix, self.reach = matrix, reach

    def add_to(self, sums: Tensor, values: Tensor, weight: float) -> None:
        """Add `weight * matrix @ values[k]` to `sums[k]`, both `(outer, length, inner)` and contiguous."""
        length = len(self.matrix)
        for start in range(0, length, BLOCK):
            stop = min(start + BLOCK, length)
            seen = slice(max(0, start - self.reach), min(length, stop + self.reach))
            part = torch.matmul(self.matrix[start:stop, seen], values[:, seen])
            sums[:, start:stop].add_(part, alpha=weight)


def _axis(length: int, sigma: float, reach: int, normalise: Normalise, like: Tensor) -> Tensor:
    """Return the `(length, length)` matrix of one axis."""
    position = torch.arange(length, device=like.device, dtype=torch.float64)
    distance = (position[:, None] - position).abs()
    # Zeros in place of the smallest numbers: a CPU multiplies those (denormal in float32) ten times more slowly.
    matrix = (-distance.square() / (2 * sigma**2)).exp().masked_fill_(distance > reach, 0)
    before, after = factors(matrix.sum(dim=1), normalise)
    return (after[:, None] * matrix * before).to(like.dtype)
