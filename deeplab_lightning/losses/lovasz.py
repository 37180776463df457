"""Lovász-Softmax: a convex stand-in for the IoU itself."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from ..layers import resize
from ..options import at_least
from .base import CoarseLoss, LossContext, in_full_precision, labelled_probs


@dataclass(frozen=True)
class Lovasz(CoarseLoss):
    """Lovász extension of one minus the IoU, 0..1, averaged over the classes that occur in the batch.

    Berman et al., "The Lovász-Softmax loss", CVPR 2018 (algorithm 1 and equation 11), over the labelled pixels of the
    whole batch, or over every n-th of them: sorting the errors of all takes as long as half a small network's step.
    """

    name: ClassVar[str] = "lovasz"

    every: Annotated[int, at_least(1)] = 1
    """Look at every n-th pixel of each row and of each column; 1 for all."""

    def __call__(self, logits: Tensor, mask: Tensor, context: LossContext) -> Tensor:
        """Return the mean over classes."""
        probs, truth = labelled_probs(self._seen(logits), self._seen(mask), context.ignore_index)
        occurring = truth.bincount(minlength=probs.shape[1]).nonzero().flatten().tolist()
        losses = [_of_class(probs[:, index], truth == index) for index in occurring]
        return torch.stack(losses).mean() if losses else in_full_precision(logits).sum() * 0

    def of_coarse(self, coarse: Tensor, mask: Tensor, align_corners: bool, context: LossContext) -> Tensor:
        """Return the loss at full resolution, with logits of the pixels alone that are looked at."""
        height, width = mask.shape[-2:]
        seen = self._seen(mask)
        if align_corners and (height - 1) % self.every == (width - 1) % self.every == 0:  # both corners are among them
            return replace(self, every=1)(resize(coarse, (seen.shape[-2], seen.shape[-1]), True), seen, context)
        return self(resize(coarse, (height, width), align_corners), mask, context)

    def _seen(self, of_pixels: Tensor) -> Tensor:
        """`(..., H, W)` -> the pixels that are looked at."""
        return of_pixels[..., :: self.every, :: self.every]


def _of_class(probs: Tensor, truth: Tensor) -> Tensor:
    """Errors, from the largest down, weighted by how much the IoU falls when each is made."""
    foreground = truth.to(probs.dtype)
    errors, order = (foreground - probs).abs().sort(descending=True)
    sorted_truth = foreground[order]
    total = sorted_truth.sum()
    missing = 1 - (total - sorted_truth.cumsum(0)) / (total + (1 - sorted_truth).cumsum(0))
    steps = torch.cat([missing[:1], missing[1:] - missing[:-1]])
    return errors @ steps
