"""Learning-rate schedules, stepped once per optimiser step: "poly" (v2 on), steps (v1), cosine."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler


def poly_factor(step: int, max_steps: int, power: float = 0.9, warmup_steps: int = 0) -> float:
    """Return what the base learning rate is multiplied by at optimiser step `step` (0-based).

    `(1 - step / max_steps) ** power` (v2 paper, section 4.1.1); during the first `warmup_steps` steps it also rises
    linearly from `1 / (warmup_steps + 1)` of that.
    """
    return max(0.0, 1.0 - step / max_steps) ** power * _warmup(step, warmup_steps)


def step_factor(step: int, every: int, gamma: float = 0.1, warmup_steps: int = 0) -> float:
    """Return the factor of v1's schedule: times `gamma` after every `every` optimiser steps (v1: 0.1 every 2000)."""
    return gamma ** (step // every) * _warmup(step, warmup_steps)


def cosine_factor(step: int, max_steps: int, warmup_steps: int = 0) -> float:
    """Return half a cosine from 1 to 0 (Loshchilov and Hutter, "SGDR", ICLR 2017, without restarts)."""
    return 0.5 * (1 + math.cos(math.pi * min(1.0, step / max_steps))) * _warmup(step, warmup_steps)


def _warmup(step: int, warmup_steps: int) -> float:
    return (step + 1) / (warmup_steps + 1) if step < warmup_steps else 1.0


class FactorLR(LRScheduler):
    """Multiplies the base learning rates by a function of the optimiser step.

    The state is the step alone: base learning rates and the function always come from the configuration, so that
    continuing a run with another learning rate does use it.

    Args:
        optimizer: Its groups' `lr` are the base learning rates.
        factor: Optimiser step (0-based) -> multiplier of every group's base learning rate.
    """

    def __init__(self, optimizer: Optimizer, factor: Callable[[int], float]) -> None:
        self.factor = factor
        super().__init__(optimizer)

    def get_lr(self) -> list[float]:  # type: ignore[override]
        """Learning rates of all groups at the current step."""
        factor = self.factor(self.last_epoch)
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
