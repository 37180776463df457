"""Focal loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from torch import Tensor

from ..options import at_least
from .base import Loss, LossContext, pixel_cross_entropy


@dataclass(frozen=True)
class Focal(Loss):
    """Mean of `-(1 - p)^gamma log p` over the labelled pixels, p the probability of the true class; in nats.

    Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017.
    """

    name: ClassVar[str] = "focal"

    gamma: Annotated[float, at_least(0)] = 2.0
    """Exponent by which pixels count less the surer the network is of their true class; 0 gives the cross-entropy (the
    paper: 2)."""

    def __call__(self, logits: Tensor, mask: Tensor, context: LossContext) -> Tensor:
        """Return the mean over labelled pixels."""
        surprise = pixel_cross_entropy(logits, mask, context.ignore_index)
        losses = -(-surprise).expm1().clamp(max=0)  # 1 - p, exact near p = 1
        losses = losses.clamp(min=1e-12) ** self.gamma * surprise  # 0^gamma has no gradient for gamma < 1
        return losses.sum() / (mask != context.ignore_index).sum().clamp(min=1)
