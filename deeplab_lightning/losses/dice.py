"""Soft Dice loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from .base import Loss, LossContext
from .tversky import tversky


@dataclass(frozen=True)
class Dice(Loss):
    """Soft Dice loss, 0..1: `1 - (2 sum p y + 1) / (sum p + sum y + 1)`, averaged over the classes that occur.

    Milletari et al., "V-Net", 2016, with sums of p instead of its squares. Sums go over the labelled pixels of the
    whole batch: a thing weighs the same in whichever image it stands.
    """

    name: ClassVar[str] = "dice"

    def __call__(self, logits: Tensor, mask: Tensor, context: LossContext) -> Tensor:
        """Return the mean over classes."""
        return tversky(logits, mask, context.ignore_index, alpha=0.5, beta=0.5, smooth=0.5)
