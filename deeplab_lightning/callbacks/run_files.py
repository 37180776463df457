"""What a run leaves in its folder besides scores: configuration, environment, learning curves."""

from __future__ import annotations

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from ..errors import DeepLabError
from ..files import atomic_open
from ..reporting.plots import plot_curves
from ..reporting.runs import RunFolder, mark_latest, write_environment
from .metrics_csv import MetricsCsv


class RunFiles(Callback):
    """Writes `config.yaml` and `environment.json` when training starts, and draws the curves as it goes on.

    Args:
        run: The run folder.
        config: The resolved configuration, as YAML.
        seed: Of the run.
        is_newest: Let `latest` point at this folder (training does, evaluation does not).
    """

    def __init__(self, run: RunFolder, config: str, seed: int | None, is_newest: bool) -> None:
        self.run = run
        self.config = config
        self.seed = seed
        self.is_newest = is_newest

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write what is known before the first step."""
        if not trainer.is_global_zero:
            return
        with atomic_open(self.run.config) as file:
            file.write(self.config.encode())
        device = trainer.strategy.root_device
        gpu_name = torch.cuda.get_device_name(device) if device.type == "cuda" else None
        write_environment(self.run.environment, self.seed, gpu_name)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Become the newest run of this name, and drop log rows that a resumed run is about to repeat."""
        if trainer.is_global_zero and self.is_newest:
            mark_latest(self.run)
        if trainer.global_step > 0:
            for logger in trainer.loggers:
                if isinstance(logger, MetricsCsv):
                    logger.resume_at(trainer.global_step)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Redraw the curves."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._draw_curves(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the curves with the last steps."""
        self._draw_curves(trainer)

    def _draw_curves(self, trainer: Trainer) -> None:
        if not trainer.is_global_zero:
            return
        for logger in trainer.loggers:
            logger.save()
        try:
            plot_curves(self.run.metrics, self.run.curves_picture)
        except DeepLabError:  # nothing logged yet
            return
