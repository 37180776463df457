"""The optimiser and the schedule of the learning rate, from a task's hyper-parameters."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from ..errors import ConfigError
from ..optim import FactorLR, cosine_factor, poly_factor, step_factor


def make_optimizer(groups: list[dict[str, Any]], hparams: Any) -> torch.optim.Optimizer:
    """Make the optimiser of parameter groups, as `optimizer`, `lr` and `momentum` of `hparams` say."""
    if hparams.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=hparams.lr)
    return torch.optim.SGD(groups, lr=hparams.lr, momentum=hparams.momentum)


def make_schedule(optimizer: torch.optim.Optimizer, hparams: Any, run_length: Callable[[], float]) -> FactorLR:
    """Make the schedule that is stepped at every optimiser step.

    Args:
        optimizer: What it moves.
        hparams: Of the task: `schedule` and its constants.
        run_length: Tells the run's optimiser steps; only asked where the schedule needs them.

    Raises:
        ConfigError: The schedule needs to know where the run ends, and it has no end.
    """
    warmup = hparams.warmup_steps
    if hparams.schedule == "step":
        factor = partial(step_factor, every=hparams.step_every, gamma=hparams.step_gamma, warmup_steps=warmup)
        return FactorLR(optimizer, factor)
    steps = run_length()
    if math.isinf(steps):
        raise ConfigError(
            f"The {hparams.schedule} schedule needs to know where the run ends: set --trainer.max_steps (or "
            f"--trainer.max_epochs)."
        )
    if hparams.schedule == "cosine":
        return FactorLR(optimizer, partial(cosine_factor, max_steps=int(steps), warmup_steps=warmup))
    return FactorLR(
        optimizer, partial(poly_factor, max_steps=int(steps), power=hparams.poly_power, warmup_steps=warmup)
    )


def options_of_groups(optimizer: torch.optim.Optimizer) -> list[dict[str, Any]]:
    """Return what the groups were made with besides their parameters: after a resume it wins over the checkpoint's."""
    return [{key: value for key, value in group.items() if key != "params"} for group in optimizer.param_groups]
