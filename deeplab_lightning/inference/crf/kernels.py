"""What all kernels of the CRF share: their form, and how their weights are made relative."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

Kernel = Callable[[Tensor], Tensor]
"""Weighted sums over all pixels: `(B * N, C) -> (B * N, C)`, row i being `sum_j k(i, j) values[j]` within a picture."""

Normalise = Literal["symmetric", "before", "after", "none"]
"""With D the kernel's row sums: `D^-1/2 K D^-1/2`, `K D^-1`, `D^-1 K`, or the paper's plain K."""


def factors(row_sums: Tensor, normalise: Normalise) -> tuple[Tensor, Tensor]:
    """Return what values are multiplied with before, and sums after the kernel is applied, both like `row_sums`."""
    one = torch.ones_like(row_sums)
    if normalise == "symmetric":
        return row_sums.rsqrt(), row_sums.rsqrt()
    if normalise == "before":
        return 1 / row_sums, one
    if normalise == "after":
        return one, 1 / row_sums
    return one, one
