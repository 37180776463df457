"""Where the maps of a network lie on its image: the options that say so, and what follows for atrous rates."""

from __future__ import annotations

from dataclasses import dataclass

from ..options import Options
from ..types import OutputStride, SideRemainder


@dataclass(frozen=True)
class StrideOptions(Options):
    """How much coarser than the image the deepest map is."""

    output_stride: OutputStride = 16
    """Side of the image over side of the deepest map: 8, 16 or 32; the same weights run at each of them, and a smaller
    stride costs time and memory and gives finer maps."""


@dataclass(frozen=True)
class ResizeOptions(Options):
    """What resizing keeps in place."""

    align_corners: bool = True
    """Let every resize of the network keep the centres of corner pixels in place, as all of Google's code does; false
    keeps the corners of the image in place, as torchvision does."""
    side_remainder: SideRemainder = 1
    """With `align_corners`, pixels that the sides to which evaluation pads images leave when divided by the output
    stride: 1, where corners meet, or 0 as in segmentation_models_pytorch (train on such crops, too)."""


def scale_rates(rates: tuple[int, ...], output_stride: int, stated_at: int = 16) -> tuple[int, ...]:
    """Scale atrous rates, so that they span the same part of the image.

    (6, 12, 18), stated at output stride 16, becomes (12, 24, 36) at 8 and (3, 6, 9) at 32.
    """
    return tuple(max(1, round(rate * stated_at / output_stride)) for rate in rates)
