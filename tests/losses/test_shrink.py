"""Labels shrunk to coarse logits: the nearest id, never a mixture, and the loss on them."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from deeplab_lightning.losses.shrink import shrink_labels

VOID = 255


def mask(*size: int, dtype: torch.dtype = torch.uint8) -> torch.Tensor:
    return torch.randint(0, 256, size, generator=torch.Generator().manual_seed(0)).to(dtype)


def test_golden_321_to_41() -> None:
    """Fact sheet, section 16."""
    labels = mask(2, 321, 321)
    shrunk = shrink_labels(labels, (41, 41))
    assert torch.equal(shrunk, labels[:, ::8, ::8])
    assert shrunk.dtype == torch.uint8


@pytest.mark.parametrize("step", [1, 2, 4, 8, 16])
def test_sides_that_divide_are_strided_slices(step: int) -> None:
    labels = mask(1, 3 * step + 1, 5 * step + 1)
    assert torch.equal(shrink_labels(labels, (4, 6)), labels[:, ::step, ::step])


@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize(("size", "coarse"), [((360, 480), (45, 60)), ((50, 71), (7, 9)), ((33, 34), (5, 5))])
def test_every_coarse_pixel_takes_the_nearest_label(
    align_corners: bool, size: tuple[int, int], coarse: tuple[int, int]
) -> None:
    """Labels that are their own coordinates tell which one was taken."""
    rows = torch.arange(size[0]).view(1, -1, 1).expand(1, *size)
    columns = torch.arange(size[1]).view(1, 1, -1).expand(1, *size)
    for labels, axis in ((rows, 0), (columns, 1)):
        shrunk = shrink_labels(labels, coarse, align_corners)[0].select(1 - axis, 0).double()
        count, wanted = size[axis], coarse[axis]
        index = torch.arange(wanted, dtype=torch.float64)
        place = index * (count - 1) / (wanted - 1) if align_corners else (index + 0.5) * count / wanted - 0.5
        assert ((shrunk - place).abs() <= 0.5 + 1e-9).all()


def test_aligned_areas_agree_with_torch() -> None:
    labels = mask(2, 37, 50)
    expected = F.interpolate(labels[:, None].float(), (7, 13), mode="nearest-exact")[:, 0].to(torch.uint8)
    assert torch.equal(shrink_labels(labels, (7, 13), align_corners=False), expected)


@pytest.mark.parametrize("align_corners", [True, False])
def test_a_single_pixel_and_the_size_itself(align_corners: bool) -> None:
    labels = mask(1, 9, 5)
    assert shrink_labels(labels, (1, 1), align_corners).shape == (1, 1, 1)
    assert torch.equal(shrink_labels(labels, (9, 5), align_corners), labels)


def test_no_id_appears_that_was_not_there() -> None:
    labels = torch.where(mask(1, 64, 64) > 127, VOID, 3).to(torch.uint8)
    assert set(shrink_labels(labels, (9, 11)).unique().tolist()) == {3, VOID}
