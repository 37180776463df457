"""Cross-entropy over the labelled pixels: plain, weighted by class, or smoothed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from torch import Tensor
from torch.nn import functional as F

from ..options import Between, at_least
from .base import CoarseLoss, LossContext, in_full_precision, pixel_cross_entropy
from .class_weights import WeightRule
from .upsampled import upsampled_cross_entropy


@dataclass(frozen=True)
class CrossEntropy(CoarseLoss):
    """Mean cross-entropy over the labelled pixels of the whole batch, in nats, as in the DeepLab papers.

    Coarse logits are compared with full-resolution labels band by band: see `upsampled_cross_entropy`.
    """

    name: ClassVar[str] = "cross_entropy"

    label_smoothing: Annotated[float, Between(0, 1)] = 0.0
    """Share of the truth that is spread evenly over all classes (Szegedy et al., 2016: 0.1)."""
    class_weights: tuple[Annotated[float, at_least(0)], ...] | WeightRule | None = None
    """Weights of the classes in the mean: one for each class, in the data's order, or a rule by which they follow from
    how often classes occur in the training masks: median_frequency (SegNet), effective_number (Cui et al., 2019) or
    enet (Paszke et al., 2016). All count the same if not given."""

    def __call__(self, logits: Tensor, mask: Tensor, context: LossContext) -> Tensor:
        """Return the mean, weighted by class if so wanted."""
        return cross_entropy(logits, mask, context.ignore_index, context.class_weights, self.label_smoothing)

    def of_coarse(self, coarse: Tensor, mask: Tensor, align_corners: bool, context: LossContext) -> Tensor:
        """Return the loss at full resolution, without full-resolution logits."""
        if coarse.shape[-2:] == mask.shape[-2:]:
            return self(coarse, mask, context)
        return upsampled_cross_entropy(
            coarse, mask, context.ignore_index, align_corners, context.class_weights, self.label_smoothing
        )


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
    weights = None if class_weights is None else class_weights.to(logits)
    total = F.cross_entropy(
        logits, mask, weights, ignore_index=ignore_index, reduction="sum", label_smoothing=label_smoothing
    )
    labelled = mask != ignore_index
    if weights is None:
        return total / labelled.sum().clamp(min=1)
    weight = weights[mask.where(labelled, 0)].where(labelled, 0).sum()
    return total / weight.where(weight > 0, 1)


def cross_entropy_of_images(logits: Tensor, mask: Tensor, ignore_index: int) -> Tensor:
    """Return the summed cross-entropy of each image of a batch, `(B,)`."""
    return pixel_cross_entropy(logits, mask, ignore_index).sum((1, 2))
