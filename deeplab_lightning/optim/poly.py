"""The "poly" learning-rate schedule of DeepLab."""

from __future__ import annotations

from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler


def poly_factor(step: int, max_steps: int, power: float = 0.9, warmup_steps: int = 0) -> float:
    """Return what the base learning rate is multiplied by at optimiser step `step` (0-based).

    `(1 - step / max_steps) ** power` (v2 paper, section 4.1.1); during the first `warmup_steps` steps it also rises
    linearly from `1 / (warmup_steps + 1)` of that.
    """
    factor = max(0.0, 1.0 - step / max_steps) ** power
    if step < warmup_steps:
        factor *= (step + 1) / (warmup_steps + 1)
    return factor


class PolyLR(LRScheduler):
    """Steps `poly_factor` once per optimiser step.

    The state is the step alone: base learning rates, length and power always come from the configuration, so that
    continuing a run with another learning rate does use it.

    Args:
        optimizer: Its groups' `lr` are the base learning rates.
        max_steps: Optimiser steps of the whole run.
        power: Exponent, 0.9 in the papers.
        warmup_steps: Steps of linear rise.
    """

    def __init__(self, optimizer: Optimizer, max_steps: int, power: float = 0.9, warmup_steps: int = 0) -> None:
        self.max_steps = max_steps
        self.power = power
        self.warmup_steps = warmup_steps
        super().__init__(optimizer)

    def get_lr(self) -> list[float]:  # type: ignore[override]
        """Learning rates of all groups at the current step."""
        factor = poly_factor(self.last_epoch, self.max_steps, self.power, self.warmup_steps)
        return [float(base) * factor for base in self.base_lrs]

    def apply(self) -> None:
        """Write the current learning rates into the optimiser, after its own state was restored over them."""
        for group, base, lr in zip(self.optimizer.param_groups, self.base_lrs, self.get_lr(), strict=True):
            group["initial_lr"], group["lr"] = base, lr
        self._last_lr = [*self.get_lr()]

    def state_dict(self) -> dict[str, Any]:
        """Return the step."""
        return {"last_epoch": self.last_epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over the step."""
        self.last_epoch = state_dict["last_epoch"]
