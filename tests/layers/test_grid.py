"""Atrous rates that span the same part of the image at every output stride."""

from __future__ import annotations

import pytest

from deeplab_lightning.layers.grid import scale_rates


@pytest.mark.parametrize(
    ("rates", "output_stride", "expected"),
    [
        ((6, 12, 18), 16, (6, 12, 18)),
        ((6, 12, 18), 8, (12, 24, 36)),
        ((6, 12, 18), 32, (3, 6, 9)),
        ((1, 2), 32, (1, 1)),
        ((), 8, ()),
    ],
)
def test_scale_rates(rates: tuple[int, ...], output_stride: int, expected: tuple[int, ...]) -> None:
    assert scale_rates(rates, output_stride) == expected


@pytest.mark.parametrize(("output_stride", "expected"), [(8, (6, 12, 18, 24)), (16, (3, 6, 9, 12))])
def test_rates_that_are_stated_at_another_stride(output_stride: int, expected: tuple[int, ...]) -> None:
    assert scale_rates((6, 12, 18, 24), output_stride, stated_at=8) == expected
