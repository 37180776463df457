"""What a run of Weights & Biases gets besides the logged numbers and the files of evaluations."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import WandbLogger

from ..errors import DeepLabError
from ..reporting.card import read_card
from ..runs import RunFolder


class WandbRun(Callback):
    """Gives the run its configuration, gradients and checkpoints if asked for, and the run's files.

    Checkpoints are logged where the logger's `log_model` is true, as one artifact with the aliases `best` and `last`,
    when training ends or is stopped: Lightning's own way knows one checkpoint callback, and not `last.ckpt`.

    Args:
        run: The run folder.
        config: The resolved configuration, as YAML.
        logger: Of the run.
        watch_gradients: Steps between two histograms of gradients; 0 for none.
    """

    def __init__(self, run: RunFolder, config: str, logger: WandbLogger, watch_gradients: int) -> None:
        self.run, self.config, self.logger, self.watch_gradients = run, config, logger, watch_gradients
        self.with_checkpoints = bool(logger._log_model)
        logger._log_model = False  # ours to do

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Describe the run."""
        if not trainer.is_global_zero:
            return
        from ..reporting import wandb_runs

        experiment = self.logger.experiment
        wandb_runs.write_identity(experiment, self.run)
        wandb_runs.describe_run(experiment, self.config, read_card(self.run))
        if self.watch_gradients:
            experiment.watch(pl_module.model, log="gradients", log_freq=self.watch_gradients)

    def on_fit_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Hand over files and checkpoints."""
        self._hand_over(trainer)

    def on_exception(self, trainer: Trainer, pl_module: Any, exception: BaseException) -> None:
        """After a stop by the user, what is there is worth having; after a failure, it is not."""
        if isinstance(exception, DeepLabError):
            self._hand_over(trainer)

    def _hand_over(self, trainer: Trainer) -> None:
        if not trainer.is_global_zero:
            return
        from ..reporting import wandb_runs

        experiment = self.logger.experiment
        wandb_runs.copy_files(experiment, self.run)
        if self.with_checkpoints:
            wandb_runs.log_checkpoint(experiment, self.run.best_checkpoint, "best")
            wandb_runs.log_checkpoint(experiment, self.run.last_checkpoint, "last")
