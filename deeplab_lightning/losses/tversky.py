"""Tversky loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from ..options import Between
from .base import Loss, LossContext, labelled_probs


@dataclass(frozen=True)
class Tversky(Loss):
    """Tversky loss, 0..1: soft overlap in which missed pixels weigh more than those too much.

    Salehi et al., "Tversky loss function for image segmentation", 2017.
    """

    name: ClassVar[str] = "tversky"

    beta: Annotated[float, Between(0, 1)] = 0.7
    """Weight of missed pixels (false negatives); those too much (false positives) have the rest to 1. With 0.5 it is
    the soft Dice loss (the paper: 0.7)."""

    def __call__(self, logits: Tensor, mask: Tensor, context: LossContext) -> Tensor:
        """Return the mean over classes."""
        return tversky(logits, mask, context.ignore_index, 1 - self.beta, self.beta)


def tversky(logits: Tensor, mask: Tensor, ignore_index: int, alpha: float, beta: float, smooth: float = 1.0) -> Tensor:
    """Return `1 - (TP + e) / (TP + alpha FP + beta FN + e)` per class, averaged over the classes that occur.

    e is `smooth`.
    """
    probs, truth = labelled_probs(logits, mask, ignore_index)
    hits = torch.zeros_like(probs).scatter_(1, truth[:, None], probs.gather(1, truth[:, None])).sum(0)
    wanted = torch.bincount(truth, minlength=probs.shape[1]).to(probs)
    too_much, missed = probs.sum(0) - hits, wanted - hits
    losses = 1 - (hits + smooth) / (hits + alpha * too_much + beta * missed + smooth)
    occurs = wanted > 0
    return losses.where(occurs, 0).sum() / occurs.sum().clamp(min=1)
