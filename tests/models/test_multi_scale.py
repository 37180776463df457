"""Multi-scale inputs: sizes, the maximum over the scales, and scales that make no sense."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from deeplab_lightning.errors import ConfigError
from deeplab_lightning.models.deeplab_v2 import check_scales, multi_scale_logits, scaled_size


@pytest.mark.parametrize(
    ("size", "scale", "expected"),
    [
        ((321, 321), 0.5, (161, 161)),
        ((321, 321), 0.75, (241, 241)),
        ((321, 129), 1.0, (321, 129)),
        ((360, 480), 0.5, (180, 240)),
        ((33, 34), 0.75, (25, 25)),
        ((11, 21), 0.7, (8, 15)),
        ((321, 321), 1.25, (401, 401)),
    ],
)
def test_sizes_count_from_corner_to_corner(size: tuple[int, int], scale: float, expected: tuple[int, int]) -> None:
    assert scaled_size(torch.empty(1, 3, *size), scale) == expected


def network(image: Tensor) -> Tensor:
    """Two classes at stride 8: one grows with the image, one falls."""
    coarse = F.avg_pool2d(image, 1, stride=8)
    return torch.cat([coarse, image.shape[-1] / 10 - coarse], dim=1)


@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize("scales", [(0.5, 0.75, 1.0), (1.0, 0.5), (1, 1.5)])
def test_the_fused_map_is_the_maximum_of_all_scales(scales: tuple[float, ...], align_corners: bool) -> None:
    torch.manual_seed(0)
    image = torch.randn(2, 1, 65, 81)
    *maps, fused = multi_scale_logits(network, image, scales, align_corners)
    assert len(maps) == len(scales)
    resized = []
    for scale, logits in zip(scales, maps, strict=True):
        size = (int(64 * scale) + 1, int(80 * scale) + 1)
        scaled = F.interpolate(image, size, mode="bilinear", align_corners=align_corners)
        assert torch.allclose(logits, network(scaled), atol=1e-6)
        resized.append(F.interpolate(logits, (9, 11), mode="bilinear", align_corners=align_corners))
    assert torch.allclose(fused, torch.stack(resized).max(dim=0).values, atol=1e-6)
    for one in resized:
        assert not torch.allclose(fused, one)


def test_a_single_scale_is_the_network_alone() -> None:
    image = torch.randn(1, 1, 33, 41)
    maps = multi_scale_logits(network, image, (1.0,), align_corners=True)
    assert len(maps) == 1
    assert torch.equal(maps[0], network(image))


def test_every_scale_is_trained_through_the_fused_map() -> None:
    image = torch.randn(1, 1, 65, 81)
    *maps, fused = multi_scale_logits(network, image.requires_grad_(), (0.5, 0.75, 1.0), align_corners=True)
    gradients = torch.autograd.grad(fused.sum(), maps)
    assert all(gradient.abs().sum() > 0 for gradient in gradients)
    assert sum(gradient.sum() for gradient in gradients).item() == pytest.approx(fused.numel(), rel=1e-4)


def test_one_export_serves_every_size() -> None:
    class Fused(torch.nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            return multi_scale_logits(network, image, (0.5, 0.75, 1.0), align_corners=True)[-1]

    sizes = {2: torch.export.Dim.AUTO, 3: torch.export.Dim.AUTO}
    exported = torch.export.export(Fused(), (torch.randn(1, 1, 65, 81),), dynamic_shapes=(sizes,)).module()
    for size in [(97, 33), (70, 83)]:
        image = torch.randn(1, 1, *size)
        assert torch.allclose(exported(image), Fused()(image), atol=1e-6)


@pytest.mark.parametrize("scales", [(), (0.5, 0.75), (1.0, 0.0), (1.0, 1.0), (-0.5, 1.0)])
def test_scales_that_make_no_sense(scales: tuple[float, ...]) -> None:
    with pytest.raises(ConfigError, match=r"cannot be used: .*1 among them.*\(0\.5, 0\.75, 1\.0\)"):
        check_scales(scales)
