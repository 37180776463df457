"""The optimiser and the schedule of the learning rate, as options and as they are made."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, ClassVar, Literal

import torch

from ..errors import ConfigError
from ..options import Between, Options, at_least
from .schedules import FactorLR, cosine_factor, poly_factor, step_factor


@dataclass(frozen=True)
class OptimizerOptions(Options):
    """How weights move: the optimiser, who learns how fast, the schedule, and averages of the weights."""

    section: ClassVar[str] = "optimizer"

    name: Literal["sgd", "adamw"] = "sgd"
    """Optimiser: sgd with momentum, as in the papers, or adamw."""
    lr: Annotated[float, at_least(0)] = 0.01
    """Base learning rate, the backbone's, which the schedule multiplies from step to step."""
    momentum: Annotated[float, Between(0, 1, open_high=True, near=0.9)] = 0.9
    """Momentum of sgd: share of the last step that is kept in the next; adamw does not read it."""
    weight_decay: Annotated[float, at_least(0)] = 1e-4
    """Weight decay on the kernels of dense convolutions, in PyTorch's convention (gradient += weight_decay * weight);
    biases, norms and depthwise kernels have none."""
    head_lr_multiplier: Annotated[float, at_least(0)] = 1.0
    """Learning rate of everything but the backbone, as a multiple of lr: 1 in v3 and v3+, 10 in v1 and v2. Where a run
    starts from weights for other classes, it is for the layers that start anew alone."""
    bias_lr_multiplier: Annotated[float, at_least(0)] = 1.0
    """Learning rate of the biases of convolutions, as a multiple of what their part of the network has: 1 in v3 and
    v3+, 2 in v1 and v2."""
    schedule: Literal["poly", "step", "cosine"] = "poly"
    """Course of the learning rate: poly falls to 0 at the end of the run (v2 and later), step falls at fixed intervals
    (v1), cosine falls along half a cosine."""
    poly_power: Annotated[float, at_least(0)] = 0.9
    """Exponent of the poly schedule, (1 - step / steps)^poly_power; 0 keeps the learning rate constant."""
    step_every: Annotated[int, at_least(1)] = 2000
    """Optimiser steps between two falls of the step schedule."""
    step_gamma: Annotated[float, at_least(0)] = 0.1
    """What each fall of the step schedule multiplies the learning rate by."""
    warmup_steps: Annotated[int, at_least(0)] = 0
    """Optimiser steps over which the learning rate first rises linearly to what the schedule says."""
    ema_decay: Annotated[float, Between(0, 1, open_high=True, near=0.999)] | None = None
    """Decay of an exponential average of the weights, such as 0.999, that is validated and kept beside the trained
    ones; no such average if not given."""
    swa_start: Annotated[float, Between(0, 1, open_high=True, near=0.75)] | None = None
    """Share of the run, such as 0.75, behind which an equal average of the weights starts, that is validated and kept
    beside the trained ones; no such average if not given."""

    def check(self) -> None:
        """Refuse two averages at once."""
        if self.ema_decay is not None and self.swa_start is not None:
            raise ConfigError(
                f"Weights are averaged in one way: set --optimizer.ema_decay or --optimizer.swa_start, not both (found "
                f"{self.ema_decay:g} and {self.swa_start:g})."
            )

    @property
    def averages(self) -> bool:
        """Whether an average of the weights is kept."""
        return self.ema_decay is not None or self.swa_start is not None


def make_optimizer(groups: list[dict[str, Any]], options: OptimizerOptions) -> torch.optim.Optimizer:
    """Make the optimiser of parameter groups."""
    if options.name == "adamw":
        return torch.optim.AdamW(groups, lr=options.lr)
    return torch.optim.SGD(groups, lr=options.lr, momentum=options.momentum)


def make_schedule(
    optimizer: torch.optim.Optimizer, options: OptimizerOptions, run_length: Callable[[], float]
) -> FactorLR:
    """Make the schedule that is stepped at every optimiser step.

    Args:
        optimizer: What it moves.
        options: Which schedule, and its constants.
        run_length: Tells the run's optimiser steps; only asked where the schedule needs them.

    Raises:
        ConfigError: The schedule needs to know where the run ends, and it has no end.
    """
    warmup = options.warmup_steps
    if options.schedule == "step":
        factor = partial(step_factor, every=options.step_every, gamma=options.step_gamma, warmup_steps=warmup)
        return FactorLR(optimizer, factor)
    steps = run_length()
    if math.isinf(steps):
        raise ConfigError(
            f"The {options.schedule} schedule needs to know where the run ends: set --trainer.max_steps (or "
            f"--trainer.max_epochs)."
        )
    if steps == 0:
        raise ConfigError(
            "This run has no step to train: set --trainer.max_steps or --trainer.max_epochs above 0, and "
            "--trainer.limit_train_batches so that an epoch has a batch."
        )
    if options.schedule == "cosine":
        return FactorLR(optimizer, partial(cosine_factor, max_steps=int(steps), warmup_steps=warmup))
    return FactorLR(
        optimizer, partial(poly_factor, max_steps=int(steps), power=options.poly_power, warmup_steps=warmup)
    )
