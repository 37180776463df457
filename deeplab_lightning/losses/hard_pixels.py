"""Cross-entropy of the hardest share of all pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from torch import Tensor

from ..options import Between, at_least
from .base import Loss, LossContext, pixel_cross_entropy


@dataclass(frozen=True)
class HardPixels(Loss):
    """Mean cross-entropy of the hardest pixels, in nats: TensorFlow's `top_k_percent_pixels`.

    As there, the share is of all pixels, ignored ones included (their loss is 0), and the mean is over those kept whose
    loss is not 0. Pixels' weights (of small objects) multiply their losses before the hardest are chosen.
    """

    name: ClassVar[str] = "hard_pixels"

    share: Annotated[float, Between(0, 1, open_low=True, near=0.25)] = 0.25
    """Share of all pixels, void included, that is kept in the end: those with the largest cross-entropy."""
    steps: Annotated[int, at_least(0)] = 0
    """Optimiser steps over which the share that is kept falls linearly from all pixels; 0 starts with the share that
    is kept in the end."""

    def __call__(self, logits: Tensor, mask: Tensor, context: LossContext) -> Tensor:
        """Return the mean over the pixels kept at this step."""
        losses = pixel_cross_entropy(logits, mask, context.ignore_index)
        losses = (losses if context.pixel_weights is None else losses * context.pixel_weights).flatten()
        kept = losses.topk(max(1, int(self.share_at(context.step) * losses.numel()))).values
        return kept.sum() / (kept > 0).sum().clamp(min=1)

    def share_at(self, step: int) -> float:
        """Return the share of the pixels that is kept at optimiser step `step`."""
        progress = 1.0 if self.steps == 0 else min(1.0, step / self.steps)
        return progress * self.share + 1 - progress
