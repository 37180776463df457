"""Cross-entropy at full resolution of coarse logits, without full-resolution logits.

Resizing the logits and taking the cross-entropy makes, keeps and reads back several maps of `(B, C, H, W)`: in the
step of a light network they take much of the memory and a good part of the time. Here the images are walked over in
bands of rows. Each is resized, compared with its labels and turned into a gradient while it is in the cache, and what
is kept is the gradient with respect to the coarse logits, which is as small as they are.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..layers.resize import BandedResize
from .base import in_full_precision


def upsampled_cross_entropy(
    coarse: Tensor,
    mask: Tensor,
    ignore_index: int,
    align_corners: bool,
    class_weights: Tensor | None = None,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Return `cross_entropy(resize(coarse, ...), mask, ...)`, with the same gradient, both up to rounding.

    The gradient is computed together with the loss and cannot be differentiated again: trying raises a RuntimeError. A
    device that was told to multiply matrices in TF32 (`torch.set_float32_matmul_precision`) does so here.

    Args:
        coarse: Logits `(B, C, h, w)` floating point; half precision is computed in float32.
        mask: As for `cross_entropy`, like what follows.
        ignore_index: Likewise.
        align_corners: Convention of the resize.
        class_weights: Likewise.
        label_smoothing: Likewise.
    """
    weights = None if class_weights is None else class_weights.to(in_full_precision(coarse[:0]))
    terms = _Terms(ignore_index, weights, label_smoothing)
    loss: Tensor = _UpsampledCrossEntropy.apply(coarse, mask, align_corners, terms)
    return loss


class _Terms(NamedTuple):
    ignore_index: int
    class_weights: Tensor | None
    label_smoothing: float


class _UpsampledCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, coarse: Tensor, mask: Tensor, align_corners: bool, terms: _Terms) -> Tensor:
        logits = in_full_precision(coarse).contiguous()
        height, width = mask.shape[-2:]
        resizing = BandedResize(logits, (height, width), align_corners)
        gradient = torch.zeros_like(logits)
        loss_sum, weight_sum = logits.new_zeros(()), logits.new_zeros(())
        for rows in resizing.bands(logits.shape[0] * logits.shape[1], height):
            band = resizing.band(logits, rows)
            band_loss, band_weight = _differentiate(band, mask[:, rows], terms)
            loss_sum += band_loss
            weight_sum += band_weight
            resizing.add_transposed(band, rows, gradient)
        weight_sum = weight_sum.where(weight_sum > 0, 1)
        ctx.save_for_backward(gradient.div_(weight_sum))
        ctx.dtype = coarse.dtype
        return loss_sum / weight_sum

    @staticmethod
    def backward(ctx: Any, of_loss: Tensor) -> tuple[Tensor, None, None, None]:
        if torch.is_grad_enabled():
            raise RuntimeError(
                "upsampled_cross_entropy keeps its gradient as a number and cannot be differentiated twice (it was "
                "asked to by create_graph=True): take cross_entropy(resize(logits, ...), mask, ...) for that."
            )
        (gradient,) = ctx.saved_tensors
        return (gradient * of_loss).to(ctx.dtype), None, None, None


def _differentiate(band: Tensor, mask: Tensor, terms: _Terms) -> tuple[Tensor, Tensor]:
    """Return the summed loss of logits and the pixels' summed weight; turn the logits into the gradient of that loss.

    With `p` the probabilities, `t` the true class, `v` the classes' weights and `s` the smoothing, a labelled pixel has

        loss      (1 - s) v_t (-log p_t) + s/C sum_c v_c (-log p_c)
        gradient  ((1 - s) v_t + s/C sum_c v_c) p - (1 - s) v_t [t] - s/C v

    Args:
        band: Logits `(B, C, rows, W)`; overwritten.
        mask: `(B, rows, W)` integer train ids.
        terms: Of the loss.
    """
    ignore_index, class_weights, smoothing = terms
    labelled = (mask != ignore_index)[:, None]
    truth = mask.long()[:, None].where(labelled, 0)
    weight = labelled.to(band.dtype) if class_weights is None else class_weights[truth].where(labelled, 0)
    band -= band.amax(1, keepdim=True)
    of_truth = band.gather(1, truth)
    if smoothing > 0:
        spread = band.new_full((band.shape[1],), smoothing / band.shape[1])
        if class_weights is not None:
            spread *= class_weights
        of_all = torch.einsum("bchw,c->bhw", band, spread)[:, None]
    probs = band.exp_()
    norm = probs.sum(1, keepdim=True)
    surprise = norm.log()  # of the class with the largest logit, which is now 0
    if smoothing > 0:
        kept = weight * (1 - smoothing)
        loss = kept * (surprise - of_truth) + (spread.sum() * surprise - of_all).where(labelled, 0)
        probs *= (kept + spread.sum() * labelled) / norm
        probs -= spread.view(1, -1, 1, 1) * labelled
    else:
        kept = weight
        loss = weight * (surprise - of_truth)
        probs *= weight / norm
    probs.scatter_add_(1, truth, -kept)
    return loss.sum(), weight.sum()
