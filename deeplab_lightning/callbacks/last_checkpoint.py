"""The checkpoint to go on from: written at every validation, at the end, and when a run is told to stop."""

from __future__ import annotations

import signal
from pathlib import Path
from types import FrameType
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from ..errors import DeepLabError


class TrainingStopped(DeepLabError):  # noqa: N818 - no error: the user asked for it
    """Training was stopped by a signal, after saving.

    Attributes:
        exit_code: What shells expect of a program ended by that signal.
    """

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class LastCheckpoint(Checkpoint):
    """Keeps `last.ckpt`, and stops cleanly on Ctrl-C (SIGINT) and SIGTERM.

    A signal lets the step at hand finish, and the validation if one is due then, since a run saved in between could
    not go on as if nothing had happened. A second Ctrl-C stops at once.

    It is a `Checkpoint`, which Lightning calls behind all other callbacks: what they remember is in the file.

    Args:
        path: Where to save.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._received: signal.Signals | None = None
        self._previous: dict[signal.Signals, Any] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Listen."""
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous[number] = signal.signal(number, self._receive)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save behind the last step, or if told to stop; then stop, unless a validation is due."""
        if self._received is None and trainer.global_step < trainer.estimated_stepping_batches:
            return
        # Not later: after this Lightning takes the epoch for finished, and a longer run could not go on within it.
        trainer.save_checkpoint(self.path, weights_only=False)
        if self._received is not None and not _validation_is_due(trainer):
            # Lightning would log this step's values only after this hook.
            trainer._logger_connector.update_train_step_metrics()
            self._stop(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save; stop if told to."""
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        trainer.save_checkpoint(self.path, weights_only=False)
        if self._received is not None:
            self._stop(trainer)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Give the signals back."""
        while self._previous:
            number, handler = self._previous.popitem()
            signal.signal(number, handler)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Give the signals back."""
        self.teardown(trainer, pl_module, "fit")

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self._received is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._received = signal.Signals(number)
        print(f"\n{self._received.name}: finishing this step and saving. (Ctrl-C again stops at once.)", flush=True)

    def _stop(self, trainer: Trainer) -> None:
        assert self._received is not None
        raise TrainingStopped(
            f"stopped at step {trainer.global_step} by {self._received.name}. Everything is in {self.path}; "
            f"go on with the same command and --ckpt_path {self.path}",
            128 + self._received.value,
        )


def _validation_is_due(trainer: Trainer) -> bool:
    loop, fetcher = trainer.fit_loop.epoch_loop, trainer.fit_loop._data_fetcher
    assert fetcher is not None
    return loop._should_check_val_epoch() and loop._should_check_val_fx(fetcher)
