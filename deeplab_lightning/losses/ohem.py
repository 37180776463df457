"""Cross-entropy of uncertain pixels: "online hard example mining"."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from ..options import Between, at_least
from .base import Loss, LossContext, in_full_precision, pixel_cross_entropy


@dataclass(frozen=True)
class OHEM(Loss):
    """Mean cross-entropy of the pixels whose true class is improbable, in nats (online hard example mining)."""

    name: ClassVar[str] = "ohem"

    threshold: Annotated[float, Between(0, 1)] = 0.7
    """Probability of the true class up to which a pixel is kept."""
    min_kept: Annotated[int, at_least(1)] = 100_000
    """Labelled pixels of a batch that are kept at least, the hardest first; all of them where there are fewer."""

    def __call__(self, logits: Tensor, mask: Tensor, context: LossContext) -> Tensor:
        """Return the mean over the pixels kept."""
        losses = pixel_cross_entropy(logits, mask, context.ignore_index)[mask != context.ignore_index]
        if losses.numel() == 0:
            return in_full_precision(logits).sum() * 0
        bound = losses.new_tensor(self.threshold).log().neg()
        least = losses.detach().topk(min(self.min_kept, losses.numel())).values[-1]
        return losses[losses.detach() >= torch.minimum(bound, least)].mean()
