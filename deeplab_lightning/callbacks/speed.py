"""Where the time of training goes: `speed.csv` in the run folder."""

from __future__ import annotations

import time
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from ..files import read_csv, write_csv
from ..memory import peak_memory
from ..runs import RunFolder
from .metrics_csv import MetricsCsv


class Speed(Callback):
    """Measures whole stretches of `log_every_n_steps` steps, validation left out; no step is synchronised for it.

    The figures differ from run to run, so they have a file of their own, beside `metrics.csv`, which is the same for
    the same seed. Other loggers get them, too. The columns: `step`, `seconds_per_step`, `images_per_second` (of all
    processes), `data_wait` (share of the time in which the step waited for images), `memory_gib` (peak, of the GPU;
    without one, of this process), `hours_left`.

    Args:
        run: The run folder.
    """

    def __init__(self, run: RunFolder) -> None:
        self.run = run
        self._rows: list[dict[str, str]] = []
        self._stretch_began = 0.0
        self._left_at: float | None = None
        self._waited, self._images, self._batches = 0.0, 0, 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Go on with the file of a run that was stopped."""
        if trainer.global_step > 0 and trainer.is_global_zero and self.run.speed.is_file():
            self._rows = [row for row in read_csv(self.run.speed) if int(row["step"]) <= trainer.global_step]

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """The batch is here: what passed since the last step was waiting."""
        now = time.perf_counter()
        if self._left_at is not None:
            self._waited += now - self._left_at
        else:
            self._stretch_began = now
        self._images += len(batch["image"])

    def on_train_batch_end(
        self, trainer: Any, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count; write at the end of a stretch."""
        self._left_at = time.perf_counter()
        self._batches += 1
        if self._batches >= trainer.log_every_n_steps * trainer.accumulate_grad_batches:
            self._write(trainer)
            self._restart(self._left_at)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """What follows is no training: drop the stretch that it cuts."""
        self._restart()

    on_validation_end = on_validation_start

    def _restart(self, at: float | None = None) -> None:
        self._stretch_began = at or 0.0
        self._left_at = at
        self._waited, self._images, self._batches = 0.0, 0, 0

    def _write(self, trainer: Trainer) -> None:
        assert self._left_at is not None
        seconds = self._left_at - self._stretch_began
        per_step = seconds / self._batches * trainer.accumulate_grad_batches
        steps_left = float(trainer.estimated_stepping_batches) - trainer.global_step
        figures = {
            "seconds_per_step": per_step,
            "images_per_second": self._images * trainer.world_size / seconds,
            "data_wait": self._waited / seconds,
            "memory_gib": _peak_memory(trainer),
            "hours_left": steps_left * per_step / 3600,
        }
        for logger in trainer.loggers:
            if not isinstance(logger, MetricsCsv):
                logger.log_metrics(
                    {f"speed/{key}": value for key, value in figures.items()}, trainer.global_step - 1
                )  # as Lightning's own
        if trainer.is_global_zero:
            self._rows.append({"step": str(trainer.global_step), **{key: f"{x:.4g}" for key, x in figures.items()}})
            write_csv(self.run.speed, list(self._rows[0]), self._rows)


def _peak_memory(trainer: Trainer) -> float:
    """Return GiB: allocated on the GPU, or resident in this process."""
    device = trainer.strategy.root_device
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    peak = peak_memory()
    return float("nan") if peak is None else peak / 2**30
