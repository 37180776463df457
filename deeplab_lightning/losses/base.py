"""What a loss is: a frozen group of options, its weight and constants, that is called with logits and labels.

Adding one is adding a file to this folder: a class below `Loss` with a `name`. It is found by looking.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from ..options import Options, at_least


class LossContext(NamedTuple):
    """What a loss may need besides logits and labels."""

    ignore_index: int
    """Value of the mask's pixels that do not count."""
    step: int = 0
    """Optimiser steps done."""
    class_weights: Tensor | None = None
    """`(C,)` of 0 or more, for losses that weigh classes."""
    pixel_weights: Tensor | None = None
    """`(B, H, W)` of 0 or more, for losses that weigh pixels."""


@dataclass(frozen=True)
class Loss(Options):
    """A mean over labelled pixels: void has no gradient, and a batch of nothing else gives 0."""

    name: ClassVar[str]
    """What it is called in YAML and on the command line, such as `dice` for `--loss.dice.weight`."""

    weight: Annotated[float, at_least(0)] = 1.0
    """Factor of this loss in the sum that training minimises; 0 leaves it out."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "name" in cls.__dict__:
            cls.section = f"loss.{cls.name}"

    def __call__(self, logits: Tensor, mask: Tensor, context: LossContext) -> Tensor:
        """Return the loss as a scalar, not yet times its weight.

        Args:
            logits: `(B, C, H, W)` floating point; half precision is computed in float32.
            mask: `(B, H, W)` integer train ids.
            context: What else there is to know.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class CoarseLoss(Loss):
    """A loss that needs no full-resolution logits to compare coarse ones with full-resolution labels."""

    def of_coarse(self, coarse: Tensor, mask: Tensor, align_corners: bool, context: LossContext) -> Tensor:
        """Return the loss of logits resized to the mask's size: the same, and the same gradient, up to rounding.

        Args:
            coarse: `(B, C, h, w)` floating point; half precision is computed in float32.
            mask: `(B, H, W)` integer train ids.
            align_corners: Convention of the resize.
            context: What else there is to know.
        """
        raise NotImplementedError


def in_full_precision(logits: Tensor) -> Tensor:
    """Return half-precision logits as float32, others as they are."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def pixel_cross_entropy(logits: Tensor, mask: Tensor, ignore_index: int) -> Tensor:
    """Return the cross-entropy of each pixel in nats, `(B, H, W)`; 0 where it does not count."""
    return F.cross_entropy(in_full_precision(logits), mask.long(), ignore_index=ignore_index, reduction="none")


def labelled_probs(logits: Tensor, mask: Tensor, ignore_index: int) -> tuple[Tensor, Tensor]:
    """Return the class probabilities `(pixels, C)` and train ids `(pixels,)` of the labelled pixels."""
    labelled = mask != ignore_index
    probs = F.softmax(in_full_precision(logits), dim=1).movedim(1, -1)[labelled]
    return probs, mask[labelled].long()
