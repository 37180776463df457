"""A weighted sum of losses, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from ..errors import ConfigError, did_you_mean
from ..layers import resize
from .boundary import boundary_cross_entropy
from .cross_entropy import cross_entropy, hard_pixel_cross_entropy, hard_pixel_share, ohem_cross_entropy
from .focal import focal
from .lovasz import lovasz_softmax
from .overlap import dice, tversky
from .upsampled import upsampled_cross_entropy

LOSSES = ("cross_entropy", "hard_pixels", "ohem", "focal", "dice", "tversky", "lovasz", "boundary")


@dataclass(frozen=True)
class LossOptions:
    """Constants of the losses that have any.

    Attributes:
        label_smoothing: Of the cross-entropy.
        hard_pixel_share: Of the pixels that `hard_pixels` keeps in the end.
        hard_pixel_steps: Optimiser steps over which it gets there, from all pixels.
        ohem_threshold: Probability of the true class below which `ohem` keeps a pixel.
        ohem_min_kept: Pixels that it keeps at least.
        focal_gamma: See `focal`.
        tversky_beta: Weight of false negatives; false positives have the rest to 1.
        boundary_width: See `boundary_cross_entropy`.
    """

    label_smoothing: float = 0.0
    hard_pixel_share: float = 0.25
    hard_pixel_steps: int = 0
    ohem_threshold: float = 0.7
    ohem_min_kept: int = 100_000
    focal_gamma: float = 2.0
    tversky_beta: float = 0.7
    boundary_width: int = 3


class CombinedLoss:
    """The sum of losses times their weights. Each is a mean that ignores void, and 0 where there is nothing else.

    Args:
        terms: Name of a loss (see `LOSSES`) -> its weight.
        ignore_index: Value of pixels that do not count.
        options: Constants of the losses.

    Raises:
        ConfigError: An unknown name, or no loss at all.
    """

    def __init__(self, terms: Mapping[str, float], ignore_index: int, options: LossOptions | None = None) -> None:
        for name in terms:
            if name not in LOSSES:
                raise ConfigError(f"Unknown loss {name!r}.{did_you_mean(name, LOSSES)} Losses: {', '.join(LOSSES)}.")
        if not any(weight > 0 for weight in terms.values()) or min(terms.values()) < 0:
            raise ConfigError(f"loss is {dict(terms)}: expected names with weights of 0 or more, and one above 0.")
        self.terms = {name: float(weight) for name, weight in terms.items()}
        self.ignore_index = ignore_index
        self.options = options or LossOptions()

    def __call__(self, logits: Tensor, mask: Tensor, class_weights: Tensor | None = None, step: int = 0) -> Tensor:
        """Return the loss.

        Args:
            logits: `(B, C, H, W)` floating point.
            mask: `(B, H, W)` integer train ids.
            class_weights: `(C,)`, of the cross-entropy.
            step: Optimiser steps done.
        """
        functions = self._functions(class_weights, step)
        parts = [weight * functions[name](logits, mask, self.ignore_index) for name, weight in self.terms.items()]
        return parts[0] if len(parts) == 1 else torch.stack(parts).sum()

    def of_coarse(
        self, coarse: Tensor, mask: Tensor, align_corners: bool, class_weights: Tensor | None = None, step: int = 0
    ) -> Tensor:
        """Return the loss of `coarse` logits `(B, C, h, w)` resized to the mask's size: the same up to rounding.

        Full-resolution logits are only made for losses that need them: cross-entropy does without.

        Args:
            coarse: `(B, C, h, w)` floating point.
            mask: `(B, H, W)` integer train ids.
            align_corners: Convention of the resize.
            class_weights: As in a call.
            step: As in a call.
        """
        functions = self._functions(class_weights, step)
        functions["cross_entropy"] = partial(
            upsampled_cross_entropy,
            align_corners=align_corners,
            class_weights=class_weights,
            label_smoothing=self.options.label_smoothing,
        )
        height, width = mask.shape[-2:]
        needs_all = any(name != "cross_entropy" for name in self.terms)
        logits = resize(coarse, (height, width), align_corners) if needs_all else coarse
        parts = [
            weight * functions[name](coarse if name == "cross_entropy" else logits, mask, self.ignore_index)
            for name, weight in self.terms.items()
        ]
        return parts[0] if len(parts) == 1 else torch.stack(parts).sum()

    def _functions(self, class_weights: Tensor | None, step: int) -> dict[str, Callable[[Tensor, Tensor, int], Tensor]]:
        of = self.options
        return {
            "cross_entropy": partial(cross_entropy, class_weights=class_weights, label_smoothing=of.label_smoothing),
            "hard_pixels": partial(
                hard_pixel_cross_entropy, share=hard_pixel_share(step, of.hard_pixel_share, of.hard_pixel_steps)
            ),
            "ohem": partial(ohem_cross_entropy, threshold=of.ohem_threshold, min_kept=of.ohem_min_kept),
            "focal": partial(focal, gamma=of.focal_gamma),
            "dice": dice,
            "tversky": partial(tversky, alpha=1 - of.tversky_beta, beta=of.tversky_beta),
            "lovasz": lovasz_softmax,
            "boundary": partial(boundary_cross_entropy, width=of.boundary_width),
        }
