"""The checkpoint to go on from: written at every validation, every few minutes, at the end, and on a signal."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from types import FrameType
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from ..errors import DeepLabError
from ..runs import RunFolder

SAVE_EVERY_SECONDS = 600
"""Longest stretch of training, besides a validation, that a power failure can cost."""
AGREE_EVERY_STEPS = 10
"""Steps after which several processes on GPUs ask one another for signals: the answer waits for the device."""


class TrainingStopped(DeepLabError):  # noqa: N818 - no error: the user asked for it
    """Training was stopped by a signal, after saving.

    Attributes:
        exit_code: What shells expect of a program ended by that signal.
    """

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class LastCheckpoint(Checkpoint):
    """Keeps `last.ckpt` and the one before it, `previous.ckpt`; stops cleanly on Ctrl-C (SIGINT) and SIGTERM.

    It saves only where a run can go on as if nothing had happened: not amid the batches whose gradients are
    accumulated for one step, and not before a validation that is due. A signal waits for that place. It may reach any
    of several processes, which then stop together. A second Ctrl-C stops at once.

    It is a `Checkpoint`, which Lightning calls behind all other callbacks: what they remember is in the file.

    Args:
        run: The run folder.
    """

    def __init__(self, run: RunFolder) -> None:
        self.path, self.previous_path = run.last_checkpoint, run.previous_checkpoint
        self._received = 0  # the number of the signal
        self._handlers: dict[signal.Signals, Any] = {}
        self._saved_at = time.monotonic()
        self._saved_step: int | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Listen; outside of a program's main thread, where no signal arrives, there is nothing to hear."""
        self._saved_at = time.monotonic()
        if threading.current_thread() is not threading.main_thread():
            return
        for number in (signal.SIGINT, signal.SIGTERM):
            self._handlers[number] = signal.signal(number, self._receive)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save behind the last step, if it is time, or if told to stop; then stop."""
        is_time = time.monotonic() - self._saved_at > SAVE_EVERY_SECONDS
        stop, save = _largest(trainer, self._received, is_time) if _is_agreeing(trainer) else (0, 0)
        # Not later than behind the last step: Lightning then takes the epoch for finished, and a longer run could not
        # go on within it.
        is_stopped = trainer.should_stop and trainer.fit_loop._can_stop_early  # by the clock
        is_last = is_stopped or trainer.global_step >= trainer.estimated_stepping_batches
        if not (stop or save or is_last) or _is_accumulating(trainer) or _validation_is_due(trainer):
            return
        # Lightning would log this step's values only after this hook.
        trainer._logger_connector.update_train_step_metrics()
        self._save(trainer, stop)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save; stop if told to."""
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        (stop,) = _largest(trainer, self._received)
        if _is_accumulating(trainer):
            self._saved_at = -SAVE_EVERY_SECONDS  # as soon as the step is whole
        else:
            self._save(trainer, stop)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Give the signals back."""
        while self._handlers:
            number, handler = self._handlers.popitem()
            signal.signal(number, handler)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Give the signals back."""
        self.teardown(trainer, pl_module, "fit")

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self._received and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._received = number
        name = signal.Signals(number).name
        print(f"\n{name}: finishing this step and saving. (Ctrl-C again stops at once.)", flush=True)

    def _save(self, trainer: Trainer, stop: int) -> None:
        """Save everything that is known so far, the log included; then stop, if that is the number of a signal."""
        for logger in trainer.loggers:
            logger.save()
        if trainer.is_global_zero and trainer.global_step != self._saved_step:
            self._keep_previous()
        trainer.save_checkpoint(self.path, weights_only=False)
        self._saved_step, self._saved_at = trainer.global_step, time.monotonic()
        if stop:
            raise TrainingStopped(
                f"stopped at step {trainer.global_step} by {signal.Signals(stop).name}. Everything is in {self.path}; "
                f"go on with the same command and --ckpt_path {self.path}",
                128 + stop,
            )

    def _keep_previous(self) -> None:
        """Give the old file a second name, so that there is a `last.ckpt` at every moment."""
        if not self.path.is_file():
            return
        temporary = self.previous_path.with_suffix(".part")
        temporary.unlink(missing_ok=True)
        try:
            os.link(self.path, temporary)
        except OSError:  # a file system without links
            shutil.copyfile(self.path, temporary)
        os.replace(temporary, self.previous_path)


def _largest(trainer: Trainer, *values: float) -> list[int]:
    """Return each value's largest over all processes: what one of them knows, all know."""
    if trainer.world_size == 1:
        return [int(value) for value in values]
    numbers = torch.tensor([int(value) for value in values], device=trainer.strategy.root_device)
    torch.distributed.all_reduce(numbers, torch.distributed.ReduceOp.MAX)
    return [int(number) for number in numbers]


def _is_agreeing(trainer: Trainer) -> bool:
    """Whether all processes ask one another behind this step: at every one where that stops no device."""
    if trainer.world_size == 1 or trainer.strategy.root_device.type == "cpu":
        return True
    return trainer.global_step % AGREE_EVERY_STEPS == 0


def _is_accumulating(trainer: Trainer) -> bool:
    return trainer.fit_loop._should_accumulate()


def _validation_is_due(trainer: Trainer) -> bool:
    loop, fetcher = trainer.fit_loop.epoch_loop, trainer.fit_loop._data_fetcher
    assert fetcher is not None
    return loop._should_check_val_epoch() and loop._should_check_val_fx(fetcher)
