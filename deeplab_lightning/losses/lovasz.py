"""Lovász-Softmax: a convex stand-in for the IoU itself."""

from __future__ import annotations

import torch
from torch import Tensor

from .overlap import labelled_probs


def lovasz_softmax(logits: Tensor, mask: Tensor, ignore_index: int) -> Tensor:
    """Lovász extension of one minus the IoU, averaged over the classes that occur in the batch.

    Berman et al., "The Lovász-Softmax loss", CVPR 2018 (algorithm 1 and equation 11), over the labelled pixels of the
    whole batch.

    Args:
        logits: `(B, C, H, W)` floating point; half precision is computed in float32.
        mask: `(B, H, W)` integer train ids.
        ignore_index: Value of pixels that do not count; a batch of nothing else gives 0.

    Returns:
        Scalar, 0..1.
    """
    probs, truth = labelled_probs(logits, mask, ignore_index)
    losses = [
        _of_class(probs[:, index], truth == index) for index in range(probs.shape[1]) if bool((truth == index).any())
    ]
    return torch.stack(losses).mean() if losses else logits.sum() * 0


def _of_class(probs: Tensor, truth: Tensor) -> Tensor:
    """Errors, from the largest down, weighted by how much the IoU falls when each is made."""
    foreground = truth.to(probs.dtype)
    errors, order = (foreground - probs).abs().sort(descending=True)
    sorted_truth = foreground[order]
    total = sorted_truth.sum()
    missing = 1 - (total - sorted_truth.cumsum(0)) / (total + (1 - sorted_truth).cumsum(0))
    steps = torch.cat([missing[:1], missing[1:] - missing[:-1]])
    return errors @ steps
