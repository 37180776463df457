"""Shares of taps, against counting them and against the fact sheet's table."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch.nn import functional as F

from deeplab_lightning.inspection.fields import valid_taps

SIZES = [(7, 7), (9, 5), (33, 20)]
KERNELS = [(3, 3), (1, 3), (4, 4), (7, 1)]
CHOICES = list(itertools.product(SIZES, KERNELS, [(1, 1), (2, 3)], [(0, 0), (1, 2), (9, 9)], [(1, 1), (2, 1), (6, 4)]))


@pytest.mark.parametrize(("size", "kernel", "stride", "padding", "dilation"), CHOICES[::7])
def test_valid_taps_equal_counting_ones(
    size: tuple[int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
) -> None:
    made = tuple(
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, k, s, p, d in zip(size, kernel, stride, padding, dilation, strict=True)
    )
    if min(made) < 1:
        pytest.skip("the kernel does not fit")
    ones = torch.ones(1, 1, *size, dtype=torch.float64)
    taps = F.unfold(ones, kernel, dilation=dilation, padding=padding, stride=stride)
    assert taps.shape[-1] == made[0] * made[1]
    share = valid_taps(size, (made[0], made[1]), kernel, stride, padding, dilation)
    assert share == pytest.approx(taps.mean().item(), abs=1e-12)


@pytest.mark.parametrize(
    ("side", "rate", "share"),
    [
        (21, 6, 0.655), (21, 12, 0.383), (21, 18, 0.184),
        (33, 6, 0.772), (33, 12, 0.574), (33, 18, 0.405), (33, 24, 0.265),
        (41, 6, 0.814), (41, 12, 0.648), (41, 18, 0.500), (41, 24, 0.372),
        (49, 6, 0.843), (49, 12, 0.700), (49, 18, 0.570),
        (65, 12, 0.769), (65, 24, 0.568), (65, 36, 0.398),
    ],
)  # fmt: skip
def test_valid_taps_of_the_fact_sheet(side: int, rate: int, share: float) -> None:
    """Section 1, figure 4 of the v3 paper."""
    pair = (side, side)
    assert valid_taps(pair, pair, (3, 3), (1, 1), (rate, rate), (rate, rate)) == pytest.approx(share, abs=6e-4)
