"""One training at a time in a run folder: two would overwrite each other's checkpoints, and mix their logs."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from .. import locks
from ..errors import ConfigError
from ..runs import RunFolder

LOCK = "fit.lock"


class Alone(Callback):
    """Holds the run folder while a training writes into it; its first process speaks for all.

    Args:
        run: The run folder.

    Raises:
        ConfigError: Another training is at work there.
    """

    def __init__(self, run: RunFolder) -> None:
        path = run.path / LOCK
        found = locks.acquire(path)
        if found is None:
            raise ConfigError(
                f"{run.path} is being trained in by {locks.holder(path) or 'another process'}: wait for it, or train "
                f"elsewhere with --run.name. If that process is gone for good, remove {path}."
            )
        self.lock = found

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any, **__: Any) -> None:
        """Say that the work goes on."""
        self.lock.beat()

    def on_validation_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any, **__: Any) -> None:
        """Likewise."""
        self.lock.beat()

    def release(self) -> None:
        """Let others train there."""
        self.lock.release()
