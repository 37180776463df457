"""All losses as options, `--loss.<name>.<constant>`, and the weighted sum of those that are on."""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..errors import ConfigError
from ..layers import resize
from ..options import Options
from ..plugins import import_all, subclasses
from .base import CoarseLoss, Loss, LossContext
from .class_weights import WeightRule
from .cross_entropy import CrossEntropy
from .depth import DepthOptions
from .distillation import DistillationOptions
from .instances import InstanceOptions

ORDER = ("cross_entropy", "hard_pixels", "ohem", "focal", "dice", "tversky", "lovasz", "boundary")
"""Losses are added up in this order, others behind them by name: floating point depends on it."""


@dataclass(frozen=True)
class LossOptions(Options):
    """What training minimises: the sum of the losses that are on, times their weights; null turns one off.

    Those besides the cross-entropy are added by `loss_options`, which finds them.
    """

    section: ClassVar[str] = "loss"

    cross_entropy: CrossEntropy | None = dataclasses.field(default_factory=CrossEntropy)
    """Mean cross-entropy over the labelled pixels, as in the DeepLab papers; null turns it off."""
    depth: DepthOptions | None = None
    """Loss of a second head that predicts depth, for data with depth maps; null builds none."""
    instances: InstanceOptions | None = None
    """Losses of objects' centres and offsets, of networks that find objects; null for the published ones."""
    distillation: DistillationOptions | None = None
    """Losses against trained networks for the same classes, learned from besides the labels; null for none."""

    def terms(self) -> list[Loss]:
        """Return the losses against labels that are on, in the order in which they are added up."""
        found = [value for each in dataclasses.fields(self) if isinstance(value := getattr(self, each.name), Loss)]
        return sorted((loss for loss in found if loss.weight > 0), key=lambda loss: _place(loss.name))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by name and value: the class with all losses is made when it is asked for."""
        return _options_from, (self.plain(),)

    def check(self) -> None:
        """Refuse to train for nothing."""
        if not self.terms():
            raise ConfigError(
                "No loss is on, so there is nothing to train for: give one a weight above 0, such as "
                "--loss.cross_entropy.weight 1."
            )


def loss_options() -> type[LossOptions]:
    """Return the options of all losses there are, found by looking: those of this folder and the user's own."""
    import_all(__package__)
    return _options_of(tuple(loss for loss in subclasses(Loss) if hasattr(loss, "name")))


@functools.cache
def _options_of(losses: tuple[type[Loss], ...]) -> type[LossOptions]:
    """Return a subclass of `LossOptions` with a field for each loss, documented by that class's first line."""
    further = sorted((loss for loss in losses if loss is not CrossEntropy), key=lambda loss: _place(loss.name))
    words = "\n".join(f"    {loss.name}: {str(loss.__doc__).splitlines()[0]}" for loss in further)
    fields: list[tuple[str, Any, None]] = [(loss.name, loss | None, None) for loss in further]
    documented = {"__doc__": f"{str(LossOptions.__doc__).splitlines()[0]}\n\nArgs:\n{words}", "__module__": __name__}
    return dataclasses.make_dataclass("AllLossOptions", fields, bases=(LossOptions,), namespace=documented, frozen=True)


def _options_from(plain: dict[str, Any]) -> LossOptions:
    return loss_options().of(plain)


def _place(name: str) -> tuple[int, str]:
    return (ORDER.index(name) if name in ORDER else len(ORDER), name)


class CombinedLoss:
    """The sum of the losses that are on, times their weights.

    Args:
        options: Which, and their constants.
        ignore_index: Value of pixels that do not count.
        num_classes: Classes in the logits.

    Attributes:
        terms: The losses, in the order in which they are added up.
        rule: By which the class weights follow from the training masks, if they do: then whoever has the masks sets
            `class_weights` before training.
        class_weights: `(C,)`, for losses that weigh classes.
        pixel_weights: `(B, H, W)` of the batch at hand, for losses that weigh pixels.

    Raises:
        ConfigError: The class weights are not one for each class.
    """

    def __init__(self, options: LossOptions, ignore_index: int, num_classes: int) -> None:
        self.terms = options.terms()
        self.ignore_index = ignore_index
        self.rule: WeightRule | None = None
        self.class_weights: Tensor | None = None
        self.pixel_weights: Tensor | None = None
        weights = options.cross_entropy.class_weights if options.cross_entropy else None
        if isinstance(weights, str):
            self.rule = weights
        elif weights is not None:
            if len(weights) != num_classes:
                raise ConfigError(
                    f"--loss.cross_entropy.class_weights has {len(weights)} values; the data has {num_classes} "
                    f"classes, and each needs a weight of 0 or more."
                )
            self.class_weights = torch.tensor(weights)

    def __call__(self, logits: Tensor, mask: Tensor, step: int = 0) -> Tensor:
        """Return the loss of logits `(B, C, H, W)` of the mask's size."""
        return self.of_coarse(logits, mask, True, step)

    def of_coarse(self, coarse: Tensor, mask: Tensor, align_corners: bool, step: int = 0) -> Tensor:
        """Return the loss of `coarse` logits resized to the mask's size: the same up to rounding.

        Full-resolution logits are made once, and only for losses that need them: cross-entropy does without.

        Args:
            coarse: `(B, C, h, w)` floating point.
            mask: `(B, H, W)` integer train ids.
            align_corners: Convention of the resize.
            step: Optimiser steps done.
        """
        if self.class_weights is not None:
            self.class_weights = self.class_weights.to(coarse.device)
        context = LossContext(self.ignore_index, step, self.class_weights, self.pixel_weights)
        height, width = mask.shape[-2:]
        needed = not all(isinstance(loss, CoarseLoss) for loss in self.terms)
        logits = resize(coarse, (height, width), align_corners) if needed else coarse
        parts = [
            loss.of_coarse(coarse, mask, align_corners, context)
            if isinstance(loss, CoarseLoss)
            else loss(logits, mask, context)
            for loss in self.terms
        ]
        weighted = [loss.weight * part for loss, part in zip(self.terms, parts, strict=True)]
        return weighted[0] if len(weighted) == 1 else torch.stack(weighted).sum()
