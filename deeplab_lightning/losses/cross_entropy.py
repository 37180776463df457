"""Cross-entropy over the labelled pixels."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def cross_entropy(logits: Tensor, mask: Tensor, ignore_index: int) -> Tensor:
    """Mean cross-entropy over the labelled pixels of the whole batch, as the released DeepLab code takes it.

    Ignored pixels add neither to the sum nor to the count: their gradient is zero, and a batch without a labelled
    pixel gives 0 (with a zero gradient), not NaN.

    Args:
        logits: `(B, C, H, W)` floating point; half precision is computed in float32.
        mask: `(B, H, W)` integer train ids.
        ignore_index: Value of pixels that do not count.

    Returns:
        Scalar, in nats.
    """
    total, count = cross_entropy_sum(logits, mask, ignore_index)
    return total / count.clamp(min=1)


def cross_entropy_sum(logits: Tensor, mask: Tensor, ignore_index: int) -> tuple[Tensor, Tensor]:
    """Return the summed cross-entropy and the number of labelled pixels, so that parts can be added exactly."""
    mask = mask.long()
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    total = F.cross_entropy(logits, mask, ignore_index=ignore_index, reduction="sum")
    return total, (mask != ignore_index).sum()
