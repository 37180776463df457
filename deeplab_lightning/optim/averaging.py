"""Averages of the weights over the run: exponential (EMA) and equal over its last part (SWA)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor
from torch.optim.swa_utils import update_bn

from ..errors import ConfigError
from ..layers.norms import batch_norms
from .options import OptimizerOptions

REFRESH_BATCHES = 100
"""Training batches from which the batch norms of an equal average get their statistics."""


class WeightAverage(WeightAveraging):
    """Keeps an average of weights and buffers beside those that are trained.

    After optimiser step `n` (from 1) the average moves by a share of the way to the current weights. That share is a
    function of the step alone, so that a resumed run averages like an uninterrupted one:

    - exponential: `1 - min(decay, (1 + n) / (10 + n))`. The second term keeps a short run from remembering its first,
      random weights; TensorFlow's `ExponentialMovingAverage` has it, too.
    - equal: 1 before the averaging starts, then 1/1, 1/2, 1/3, ... (Izmailov et al., "Averaging Weights Leads to Wider
      Optima", UAI 2018). The learning rate stays that of the schedule (the paper: constant or cyclical). At the end of
      the run the batch norms get the statistics that training batches have under the averaged weights; until then
      theirs are averaged as well.

    Validation, and everything that later reads a checkpoint's `state_dict`, uses the average. The checkpoint keeps the
    trained weights as `current_model_state`, from which a run goes on.

    Args:
        options: With a decay of the exponential average, or the share of the run behind which the equal one starts.

    Raises:
        ConfigError: Neither is given.
    """

    def __init__(self, options: OptimizerOptions) -> None:
        if not options.averages:
            raise ConfigError("There is no average to keep: set --optimizer.ema_decay or --optimizer.swa_start.")
        super().__init__(multi_avg_fn=self._move)
        self.ema_decay = options.ema_decay
        self.swa_start = options.swa_start
        self._first_step = 0
        self._share = 1.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Find the step at which an equal average starts."""
        if self.swa_start is None:
            return
        steps = trainer.estimated_stepping_batches
        if math.isinf(steps):
            raise ConfigError("--optimizer.swa_start is a share of the run, which has no end: set --trainer.max_steps.")
        self._first_step = math.floor(self.swa_start * steps) + 1

    def share(self, step: int) -> float:
        """Return how far the average moves to the current weights after optimiser step `step` (from 1)."""
        if self.ema_decay is not None:
            return 1 - min(self.ema_decay, (1 + step) / (10 + step))
        return 1 / max(1, step - self._first_step + 1)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Move the average after every optimiser step; behind the last one, mind the batch norms."""
        is_new = trainer.global_step > self._latest_update_step
        self._share = self.share(trainer.global_step)
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        is_last = is_new and trainer.global_step >= trainer.estimated_stepping_batches
        if is_last and self.swa_start is not None and any(norm.training for norm in batch_norms(pl_module)):
            self._refresh_statistics(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the averaged weights in the module."""
        if self._average_model is not None:
            super().on_train_end(trainer, pl_module)

    def _move(self, averages: list[Tensor], currents: list[Tensor], num_averaged: Any) -> None:
        if averages[0].is_floating_point():
            torch._foreach_lerp_(averages, currents, self._share)
        else:  # counters
            torch._foreach_copy_(averages, currents)

    def _refresh_statistics(self, trainer: Trainer, pl_module: LightningModule) -> None:
        task: Any = pl_module
        self._swap_models(pl_module)
        update_bn(training_images(trainer, task, REFRESH_BATCHES), task.model)
        self._swap_models(pl_module)


def training_images(trainer: Trainer, task: Any, batches: int) -> Iterator[Tensor]:
    """Yield normalised training batches, from a loader of their own: the one in use keeps its place."""
    datamodule: Any = getattr(trainer, "datamodule", None)
    loader: Any = trainer.train_dataloader if datamodule is None else datamodule.train_dataloader()
    for count, batch in enumerate(loader):
        if count == batches:
            return
        yield task.normalise(trainer.strategy.batch_to_device(batch)["image"])
