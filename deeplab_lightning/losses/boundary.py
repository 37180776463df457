"""Cross-entropy of the pixels near borders."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from torch import Tensor
from torch.nn import functional as F

from ..options import at_least
from .base import Loss, LossContext, pixel_cross_entropy


@dataclass(frozen=True)
class Boundary(Loss):
    """Mean cross-entropy of the labelled pixels near a pixel of another class, in nats.

    Added to the whole image's cross-entropy it makes borders, a small share of all pixels, count as one likes.
    Void is no class: a border between two regions that runs through void counts on both sides of it, if it is not
    broader than `width`. A batch without borders gives 0.
    """

    name: ClassVar[str] = "boundary"

    width: Annotated[int, at_least(1)] = 3
    """Distance to a pixel of another class up to which a pixel counts, in pixels along rows, columns and diagonals."""

    def __call__(self, logits: Tensor, mask: Tensor, context: LossContext) -> Tensor:
        """Return the mean over the pixels near borders."""
        near = near_boundary(mask.long(), context.ignore_index, self.width)
        losses = pixel_cross_entropy(logits, mask, context.ignore_index)
        return losses.where(near, 0).sum() / near.sum().clamp(min=1)


def near_boundary(mask: Tensor, ignore_index: int, width: int) -> Tensor:
    """Return which labelled pixels have another class within `width`, `(B, H, W)` bool."""
    labelled = mask != ignore_index
    # Ids up to 255 are exact in float32. Void must neither win the maximum nor the minimum.
    top = _windowed_max(mask.where(labelled, -1).float(), width)
    bottom = -_windowed_max(-mask.where(labelled, 1 << 16).float(), width)
    return labelled & (top != bottom)


def _windowed_max(values: Tensor, width: int) -> Tensor:
    return F.max_pool2d(values[:, None], 2 * width + 1, stride=1, padding=width)[:, 0]
