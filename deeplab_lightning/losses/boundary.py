"""Cross-entropy of the pixels near borders."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from .cross_entropy import in_full_precision


def boundary_cross_entropy(logits: Tensor, mask: Tensor, ignore_index: int, width: int = 3) -> Tensor:
    """Mean cross-entropy of the labelled pixels within `width` of a pixel of another class.

    Added to the whole image's cross-entropy it makes borders, a small share of all pixels, count as one likes.
    Void is no class: a border between two regions that runs through void counts on both sides of it, if it is not
    broader than `width`.

    Args:
        logits: `(B, C, H, W)` floating point; half precision is computed in float32.
        mask: `(B, H, W)` integer train ids.
        ignore_index: Value of pixels that do not count; a batch without borders gives 0.
        width: In pixels, along rows, columns and diagonals.

    Returns:
        Scalar, in nats.
    """
    mask = mask.long()
    losses = F.cross_entropy(in_full_precision(logits), mask, ignore_index=ignore_index, reduction="none")
    near = near_boundary(mask, ignore_index, width)
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
