"""Focal loss."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from .cross_entropy import in_full_precision


def focal(logits: Tensor, mask: Tensor, ignore_index: int, gamma: float = 2.0) -> Tensor:
    """Mean of `-(1 - p)^gamma log p` over the labelled pixels, p the probability of the true class.

    Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017. With `gamma` 0 it is the cross-entropy.

    Args:
        logits: `(B, C, H, W)` floating point; half precision is computed in float32.
        mask: `(B, H, W)` integer train ids.
        ignore_index: Value of pixels that do not count; a batch of nothing else gives 0.
        gamma: How much less easy pixels count, 0 or more.

    Returns:
        Scalar, in nats.
    """
    mask = mask.long()
    surprise = F.cross_entropy(in_full_precision(logits), mask, ignore_index=ignore_index, reduction="none")
    losses = -(-surprise).expm1().clamp(max=0)  # 1 - p, exact near p = 1
    losses = losses.clamp(min=1e-12) ** gamma * surprise  # 0^gamma has no gradient for gamma < 1
    return losses.sum() / (mask != ignore_index).sum().clamp(min=1)
