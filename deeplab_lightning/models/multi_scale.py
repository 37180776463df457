"""Multi-scale inputs (MSC) of DeepLab v2: one set of weights looks at the image at several sizes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import reduce

import torch
from torch import Tensor

from ..errors import ConfigError
from ..layers import resize


def multi_scale_logits(
    network: Callable[[Tensor], Tensor], image: Tensor, scales: Sequence[float], align_corners: bool
) -> list[Tensor]:
    """Run `network` on the image at every scale, and fuse what it says by the element-wise maximum.

    Args:
        network: `(B, C, H, W) -> (B, num_classes, h, w)`.
        image: `(B, C, H, W)`.
        scales: Sides relative to the image's; see `check_scales`.
        align_corners: Convention of all resizes.

    Returns:
        One map per scale, each at its own size, and last the fused map at the size of that of scale 1. A single scale
        has nothing to fuse: its map alone.
    """
    maps = [network(resize(image, scaled_size(image, scale), align_corners)) for scale in scales]
    if len(maps) == 1:
        return maps
    height, width = maps[list(scales).index(1)].shape[-2:]
    return [*maps, reduce(torch.maximum, [resize(logits, (height, width), align_corners) for logits in maps])]


def scaled_size(image: Tensor, scale: float) -> tuple[int, int]:
    """Return `(H, W)` of `image` at `scale`, counted from corner pixel to corner pixel: 321 at 0.5 gives 161.

    In whole numbers, so that an exported network stays open to every size.
    """
    height, width = image.shape[-2:]
    up, down = Fraction(scale).limit_denominator(1000).as_integer_ratio()
    return (height - 1) * up // down + 1, (width - 1) * up // down + 1


def check_scales(scales: Sequence[float]) -> None:
    """Refuse scales without 1 (the fused map has that map's size), and scales that are not positive."""
    if 1 not in scales or min(scales) <= 0 or len(set(scales)) != len(scales):
        raise ConfigError(
            f"scales {tuple(scales)} cannot be used: they are to be positive and different, with 1 among them, as in "
            f"(0.5, 0.75, 1.0); (1.0,) is the network on the image alone."
        )
