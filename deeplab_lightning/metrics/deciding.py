"""How scores become a class: the one place that decides, and that says in words how."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .confusion import most_likely


@dataclass(frozen=True)
class Decision:
    """The most likely class, or of two classes the second one above a threshold.

    Attributes:
        threshold: Of two classes, the probability above which a pixel is of the second one, between 0 and 1; None for
            the more likely one.
    """

    threshold: float | None = None

    @property
    def margin(self) -> float | None:
        """By how much the second class's logit must be above the first one's; None where the largest one counts."""
        return None if self.threshold is None else math.log(self.threshold / (1 - self.threshold))

    def __call__(self, logits: Tensor) -> Tensor:
        """Return the class of each pixel, `(B, C, H, W) -> (B, H, W)` uint8.

        Args:
            logits: Or logarithms of probabilities.
        """
        if self.margin is None:
            return most_likely(logits)
        return (logits[:, 1] - logits[:, 0] > self.margin).to(torch.uint8)

    def of_probs(self, probs: Tensor) -> Tensor:
        """Return the class of each pixel, given probabilities."""
        return most_likely(probs) if self.threshold is None else (probs[:, 1] > self.threshold).to(torch.uint8)

    def __str__(self) -> str:
        """Return what of it belongs beside a score, such as `threshold 0.465`; empty for the most likely class."""
        return "" if self.threshold is None else f"threshold {self.threshold:.3g}"
