"""Lovász-Softmax: a convex stand-in for the IoU itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from ..options import at_least
from .base import Loss, LossContext, in_full_precision, labelled_probs


@dataclass(frozen=True)
class Lovasz(Loss):
    """Lovász extension of one minus the IoU, 0..1, averaged over the classes that occur in the batch.

    Berman et al., "The Lovász-Softmax loss", CVPR 2018 (algorithm 1 and equation 11), over the labelled pixels of the
    whole batch, or over every n-th of them: sorting the errors of all takes as long as half a small network's step.
    """

    name: ClassVar[str] = "lovasz"

    every: Annotated[int, at_least(1)] = 1
    """Look at every n-th pixel of each row and of each column; 1 for all."""

    def __call__(self, logits: Tensor, mask: Tensor, context: LossContext) -> Tensor:
        """Return the mean over classes."""
        grid = (..., slice(None, None, self.every), slice(None, None, self.every))
        probs, truth = labelled_probs(logits[grid], mask[grid], context.ignore_index)
        losses = [
            _of_class(probs[:, index], truth == index)
            for index in range(probs.shape[1])
            if bool((truth == index).any())
        ]
        return torch.stack(losses).mean() if losses else in_full_precision(logits).sum() * 0


def _of_class(probs: Tensor, truth: Tensor) -> Tensor:
    """Errors, from the largest down, weighted by how much the IoU falls when each is made."""
    foreground = truth.to(probs.dtype)
    errors, order = (foreground - probs).abs().sort(descending=True)
    sorted_truth = foreground[order]
    total = sorted_truth.sum()
    missing = 1 - (total - sorted_truth.cumsum(0)) / (total + (1 - sorted_truth).cumsum(0))
    steps = torch.cat([missing[:1], missing[1:] - missing[:-1]])
    return errors @ steps
