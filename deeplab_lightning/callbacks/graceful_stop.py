"""Ctrl-C and SIGTERM end a run between two steps, with a checkpoint to go on from."""

from __future__ import annotations

import signal
from pathlib import Path
from types import FrameType
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from ..errors import DeepLabError


class TrainingStopped(DeepLabError):  # noqa: N818 - no error: the user asked for it
    """Training was stopped by a signal, after saving.

    Attributes:
        exit_code: What shells expect of a program ended by that signal.
    """

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class GracefulStop(Callback):
    """On SIGINT or SIGTERM: finish the step, save `last.ckpt`, stop. A second Ctrl-C stops at once.

    Saving in the middle of a step would leave a state that no uninterrupted run ever has.

    Args:
        checkpoint: Where to save.
    """

    def __init__(self, checkpoint: Path) -> None:
        self.checkpoint = checkpoint
        self._received: signal.Signals | None = None
        self._previous: dict[signal.Signals, Any] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Listen."""
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous[number] = signal.signal(number, self._receive)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Stop between two steps."""
        self._stop_if_asked(trainer)

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, *args: Any, **kwargs: Any
    ) -> None:
        """Stop within a long validation, too: the weights do not change there."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._stop_if_asked(trainer)

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

    def _stop_if_asked(self, trainer: Trainer) -> None:
        if self._received is None:
            return
        trainer.save_checkpoint(self.checkpoint)
        raise TrainingStopped(
            f"stopped at step {trainer.global_step} by {self._received.name}. Everything is in {self.checkpoint}; "
            f"go on with the same command and --ckpt_path {self.checkpoint}",
            128 + self._received.value,
        )
