"""What all kernels of the CRF share: their form, and how their weights are made relative."""

from __future__ import annotations

import importlib.util
from abc import ABC, abstractmethod

import torch
from torch import Tensor

from ..options import Normalise


class Kernel(ABC):
    """Weighted sums over all pixels: row i is `sum_j k(i, j) values[j]` within an image."""

    @abstractmethod
    def add_to(self, sums: Tensor, values: Tensor, weight: float = 1.0) -> None:
        """Add `weight` times the sums of `values` to `sums`, both `(B * N, C)`, contiguous, of the kernel's dtype."""

    def __call__(self, values: Tensor) -> Tensor:
        """Return the sums: `(B * N, C) -> (B * N, C)`."""
        sums = torch.zeros_like(values, memory_format=torch.contiguous_format)
        self.add_to(sums, values)
        return sums


def has_compiled_form(values: Tensor) -> bool:
    """Say whether there is a compiled form for tensors like this: float32 on a CPU, numba installed."""
    like = values.device.type == "cpu" and values.dtype == torch.float32
    return like and importlib.util.find_spec("numba") is not None


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
