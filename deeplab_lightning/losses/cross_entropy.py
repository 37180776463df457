"""Cross-entropy over the labelled pixels: plain, weighted by class, smoothed, or of the hardest pixels alone."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def cross_entropy(
    logits: Tensor,
    mask: Tensor,
    ignore_index: int,
    class_weights: Tensor | None = None,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Mean cross-entropy over the labelled pixels of the whole batch, as the released DeepLab code takes it.

    Ignored pixels add neither to the sum nor to the count: their gradient is zero, and a batch without a labelled
    pixel gives 0 (with a zero gradient), not NaN. With weights, the mean is weighted too: the sum of weighted losses
    over the sum of the pixels' weights.

    Args:
        logits: `(B, C, H, W)` floating point; half precision is computed in float32.
        mask: `(B, H, W)` integer train ids.
        ignore_index: Value of pixels that do not count.
        class_weights: `(C,)` of 0 or more.
        label_smoothing: Share of the truth, 0..1, that is spread evenly over all classes.

    Returns:
        Scalar, in nats.
    """
    mask = mask.long()
    logits = in_full_precision(logits)
    if class_weights is None and label_smoothing == 0:
        total, count = cross_entropy_sum(logits, mask, ignore_index)
        return total / count.clamp(min=1)
    weights = None if class_weights is None else class_weights.to(logits)
    total = F.cross_entropy(
        logits, mask, weights, ignore_index=ignore_index, reduction="sum", label_smoothing=label_smoothing
    )
    labelled = mask != ignore_index
    if weights is None:
        return total / labelled.sum().clamp(min=1)
    weight = weights[mask.where(labelled, 0)].where(labelled, 0).sum()
    return total / weight.where(weight > 0, 1)


def cross_entropy_sum(logits: Tensor, mask: Tensor, ignore_index: int) -> tuple[Tensor, Tensor]:
    """Return the summed cross-entropy and the number of labelled pixels, so that parts can be added exactly."""
    mask = mask.long()
    total = F.cross_entropy(in_full_precision(logits), mask, ignore_index=ignore_index, reduction="sum")
    return total, (mask != ignore_index).sum()


def cross_entropy_of_images(logits: Tensor, mask: Tensor, ignore_index: int) -> Tensor:
    """Return the summed cross-entropy of each image of a batch, `(B,)`."""
    losses = F.cross_entropy(in_full_precision(logits), mask.long(), ignore_index=ignore_index, reduction="none")
    return losses.sum((1, 2))


def hard_pixel_cross_entropy(logits: Tensor, mask: Tensor, ignore_index: int, share: float) -> Tensor:
    """Mean cross-entropy of the hardest pixels, TensorFlow's `top_k_percent_pixels`.

    As there, `share` is of all pixels, ignored ones included (their loss is 0), and the mean is over those kept whose
    loss is not 0.

    Args:
        logits: As for `cross_entropy`.
        mask: As for `cross_entropy`.
        ignore_index: As for `cross_entropy`.
        share: Of the pixels kept, 0 (excluded) to 1.

    Returns:
        Scalar, in nats.
    """
    losses = F.cross_entropy(in_full_precision(logits), mask.long(), ignore_index=ignore_index, reduction="none")
    kept = losses.flatten().topk(max(1, int(share * losses.numel()))).values
    return kept.sum() / (kept > 0).sum().clamp(min=1)


def hard_pixel_share(step: int, share: float, steps: int) -> float:
    """Return the share that is kept at optimiser step `step`: it falls linearly from 1 to `share` over `steps`."""
    progress = 1.0 if steps == 0 else min(1.0, step / steps)
    return progress * share + 1 - progress


def ohem_cross_entropy(
    logits: Tensor, mask: Tensor, ignore_index: int, threshold: float = 0.7, min_kept: int = 100_000
) -> Tensor:
    """Mean cross-entropy of the pixels whose true class has a probability below `threshold` ("online hard examples").

    Args:
        logits: As for `cross_entropy`.
        mask: As for `cross_entropy`.
        ignore_index: As for `cross_entropy`.
        threshold: Probability, 0..1.
        min_kept: Of the labelled pixels of the batch, at least this many of the hardest are kept, as far as there are.

    Returns:
        Scalar, in nats.
    """
    mask = mask.long()
    losses = F.cross_entropy(in_full_precision(logits), mask, ignore_index=ignore_index, reduction="none")
    losses = losses[mask != ignore_index]
    if losses.numel() == 0:
        return logits.sum() * 0
    bound = losses.new_tensor(threshold).log().neg()
    least = losses.detach().topk(min(min_kept, losses.numel())).values[-1]
    kept = losses[losses.detach() >= torch.minimum(bound, least)]
    return kept.mean()


def in_full_precision(logits: Tensor) -> Tensor:
    """Return half-precision logits as float32, others as they are."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))
