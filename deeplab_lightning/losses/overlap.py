"""Losses of overlap: soft Dice and Tversky."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from .cross_entropy import in_full_precision


def dice(logits: Tensor, mask: Tensor, ignore_index: int, smooth: float = 1.0) -> Tensor:
    """Soft Dice loss: `1 - (2 sum p y + e) / (sum p + sum y + e)` per class, averaged over the classes that occur.

    Milletari et al., "V-Net", 2016, with sums of p instead of its squares. Sums go over the labelled pixels of the
    whole batch: a thing weighs the same in whichever image it stands.

    Args:
        logits: `(B, C, H, W)` floating point; half precision is computed in float32.
        mask: `(B, H, W)` integer train ids.
        ignore_index: Value of pixels that do not count; a batch of nothing else gives 0.
        smooth: e, in pixels.

    Returns:
        Scalar, 0..1.
    """
    return tversky(logits, mask, ignore_index, alpha=0.5, beta=0.5, smooth=smooth / 2)


def tversky(
    logits: Tensor, mask: Tensor, ignore_index: int, alpha: float = 0.3, beta: float = 0.7, smooth: float = 1.0
) -> Tensor:
    """Tversky loss: `1 - (TP + e) / (TP + alpha FP + beta FN + e)` per class, averaged over the classes that occur.

    Salehi et al., "Tversky loss function for image segmentation", 2017: `beta` > `alpha` punishes what is missed more
    than what is too much. With both 0.5 it is the soft Dice loss.

    Args:
        logits: As for `dice`.
        mask: As for `dice`.
        ignore_index: As for `dice`.
        alpha: Weight of false positives.
        beta: Weight of false negatives.
        smooth: e, in pixels.

    Returns:
        Scalar, 0..1.
    """
    probs, truth = labelled_probs(logits, mask, ignore_index)
    hits = torch.zeros_like(probs).scatter_(1, truth[:, None], probs.gather(1, truth[:, None])).sum(0)
    wanted = torch.bincount(truth, minlength=probs.shape[1]).to(probs)
    too_much, missed = probs.sum(0) - hits, wanted - hits
    losses = 1 - (hits + smooth) / (hits + alpha * too_much + beta * missed + smooth)
    occurs = wanted > 0
    return losses.where(occurs, 0).sum() / occurs.sum().clamp(min=1)


def labelled_probs(logits: Tensor, mask: Tensor, ignore_index: int) -> tuple[Tensor, Tensor]:
    """Return the class probabilities `(pixels, C)` and train ids `(pixels,)` of the labelled pixels."""
    labelled = mask != ignore_index
    probs = F.softmax(in_full_precision(logits), dim=1).movedim(1, -1)[labelled]
    return probs, mask[labelled].long()
