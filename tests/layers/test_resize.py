"""The one resize, whole and in bands of rows."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from deeplab_lightning.layers.resize import BLOCK_ROWS, BandedResize, resize, resize_corner

SIZES = [
    ((5, 7), (17, 25)),  # k * scale + 1: the grids meet
    ((5, 7), (16, 23)),
    ((33, 33), (129, 97)),
    ((17, 9), (7, 4)),  # down
    ((4, 6), (4, 13)),  # rows stay
    ((4, 6), (13, 6)),  # columns stay
    ((1, 1), (9, 8)),
    ((1, 5), (6, 6)),
    ((6, 5), (1, 1)),
    ((23, 30), (360, 480)),
]


def resize_rows(features: Tensor, size: tuple[int, int], rows: slice, align_corners: bool) -> Tensor:
    return BandedResize(features, size, align_corners).band(features, rows)


@pytest.mark.parametrize(
    ("align_corners", "expected"),
    [(True, [0, 0.25, 0.5, 0.75, 1, 1.75, 2.5, 3.25, 4]), (False, [0, 0, 1 / 3, 2 / 3, 1, 2, 3, 4, 4])],
)
@pytest.mark.parametrize("vertical", [False, True])
def test_golden_values(align_corners: bool, expected: list[float], vertical: bool) -> None:
    """Values of the fact sheet, section 16: [0, 1, 4] to nine points."""
    features = torch.tensor([0.0, 1.0, 4.0]).view((1, 1, 3, 1) if vertical else (1, 1, 1, 3))
    size = (9, 1) if vertical else (1, 9)
    wanted = torch.tensor(expected)
    assert torch.allclose(resize(features, size, align_corners).flatten(), wanted, atol=1e-6)
    assert torch.allclose(resize_rows(features, size, slice(0, size[0]), align_corners).flatten(), wanted, atol=1e-6)


@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize(("source", "size"), SIZES)
def test_rows_equal_those_of_the_whole(source: tuple[int, int], size: tuple[int, int], align_corners: bool) -> None:
    features = torch.randn(2, 3, *source, generator=torch.Generator().manual_seed(0))
    whole = resize(features, size, align_corners)
    for start in range(size[0]):
        rows = slice(start, min(start + 1 + start % 3, size[0]))
        band = resize_rows(features, size, rows, align_corners)
        assert band.shape == whole[:, :, rows].shape
        assert torch.allclose(band, whole[:, :, rows], atol=2e-5)


def test_rows_of_a_large_image() -> None:
    """Positions are exact enough for thousands of rows."""
    features = torch.randn(1, 1, 1501, 3, generator=torch.Generator().manual_seed(0))
    for align_corners in (True, False):
        whole = resize(features, (6001, 3), align_corners)
        band = resize_rows(features, (6001, 3), slice(5900, 6001), align_corners)
        assert torch.allclose(band, whole[:, :, 5900:], atol=2e-3)


def test_the_right_size_costs_nothing() -> None:
    features = torch.randn(1, 2, 4, 5)
    assert resize(features, (4, 5), True) is features


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize(("source", "size"), SIZES)
def test_gradients_are_those_of_interpolate(
    source: tuple[int, int], size: tuple[int, int], align_corners: bool, memory_format: torch.memory_format
) -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(2, 3, *source, generator=generator, dtype=torch.float64).to(memory_format=memory_format)
    upstream = torch.randn(2, 3, *size, generator=generator, dtype=torch.float64).to(memory_format=memory_format)
    features.requires_grad_()
    plain = torch.nn.functional.interpolate(features, size, mode="bilinear", align_corners=align_corners)
    (expected,) = torch.autograd.grad(plain, features, upstream)
    resized = resize(features, size, align_corners)
    assert torch.equal(resized, plain)
    (gradient,) = torch.autograd.grad(resized, features, upstream)
    assert torch.allclose(gradient, expected, atol=1e-10)
    bands, total = BandedResize(features, size, align_corners), torch.zeros_like(features)
    for rows in bands.bands(6, size[0], 6 * size[1] * 2):
        bands.add_transposed(upstream[:, :, rows].contiguous(), rows, total)
    assert torch.allclose(total, expected, atol=1e-10)


def test_gradients_in_half_precision_and_twice() -> None:
    features = torch.randn(1, 2, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda x: resize(x, (7, 9), True) ** 2, features)
    for autocast in (False, True):
        half = features.detach().bfloat16().requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            resize(half, (7, 9), True).sum().backward()
        assert half.grad is not None
        assert half.grad.dtype == torch.bfloat16
        (expected,) = torch.autograd.grad(resize(features, (7, 9), True).sum(), features)
        assert torch.allclose(half.grad.double(), expected, rtol=1e-2)


@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize(("source", "size"), [*SIZES, ((3, 4), (200, 150)), ((40, 30), (25, 21)), ((1, 5), (70, 9))])
def test_a_corner_by_products_equals_that_of_the_whole(
    source: tuple[int, int], size: tuple[int, int], align_corners: bool
) -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(2, 3, *source, generator=generator, dtype=torch.float64)
    whole = torch.nn.functional.interpolate(features, size, mode="bilinear", align_corners=align_corners)
    for kept in (size, (max(size[0] - 2, 1), max(size[1] - 1, 1))):
        corner = resize_corner(features, size, kept, align_corners)
        assert torch.allclose(corner, whole[:, :, : kept[0], : kept[1]], atol=1e-10)
        tall = resize_corner(features, size, kept, align_corners, whole_blocks=True)
        assert tall.shape[2] % BLOCK_ROWS == 0
        assert torch.equal(tall[:, :, : kept[0]], corner)


def test_a_corner_in_a_graph_of_open_sizes_takes_every_height() -> None:
    class Enlarge(torch.nn.Module):
        def forward(self, features: Tensor) -> Tensor:
            size = (4 * features.shape[-2] - 3, 4 * features.shape[-1] - 3)
            return resize_corner(features, size, (size[0] - 1, size[1]), True)

    any_size = torch.export.Dim.DYNAMIC
    program = torch.export.export(Enlarge(), (torch.randn(1, 2, 20, 7),), dynamic_shapes=({2: any_size, 3: any_size},))
    for height in (2, 9, 10, 17, 33):  # 9 and 17 make 32 and 64 rows, whole blocks
        features = torch.randn(1, 2, height, 12)
        size = (4 * height - 3, 45)
        whole = torch.nn.functional.interpolate(features, size, mode="bilinear", align_corners=True)
        assert torch.allclose(program.module()(features), whole[:, :, : size[0] - 1], atol=1e-5)
