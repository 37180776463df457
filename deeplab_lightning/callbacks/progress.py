"""How far training is, how long it will still take, and how good it is so far."""

from __future__ import annotations

import math
import sys
import time
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar
from tqdm import tqdm

SECONDS_BETWEEN_LINES = 15
"""Where there is no terminal to redraw a bar on, a line is printed this often."""


class TrainingProgress(ProgressBar):
    """One bar over the whole run, with time left, loss and live mIoU; plain lines where output goes to a file."""

    def __init__(self) -> None:
        super().__init__()
        self._enabled = True
        self._bar: tqdm[Any] | None = None
        self._eval_bar: tqdm[Any] | None = None
        self._best = -math.inf
        self._started = self._last_line = 0.0
        self._first_step = 0

    def disable(self) -> None:
        """Be silent (Lightning calls this in all processes but the first)."""
        self._enabled = False

    def enable(self) -> None:
        """Speak again."""
        self._enabled = True

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin."""
        self._started = self._last_line = time.monotonic()
        self._first_step = trainer.global_step
        if self._enabled and sys.stderr.isatty():
            self._bar = tqdm(
                total=_steps(trainer),
                initial=trainer.global_step,
                desc="training",
                unit="step",
                smoothing=0.02,
                dynamic_ncols=True,
            )

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Show the step."""
        if self._bar is not None:
            self._bar.update(trainer.global_step - self._bar.n)
            self._bar.set_postfix(self._numbers(trainer), refresh=False)
        elif time.monotonic() - self._last_line > SECONDS_BETWEEN_LINES:
            self._print_line(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show a second bar."""
        if self._enabled and sys.stderr.isatty():
            batches = trainer.num_test_batches if trainer.testing else trainer.num_val_batches
            self._eval_bar = tqdm(
                total=sum(map(int, batches)),
                desc="test" if trainer.testing else "validation",
                unit="batch",
                leave=False,
                dynamic_ncols=True,
            )

    on_test_start = on_validation_start

    def on_validation_batch_end(self, *args: Any, **kwargs: Any) -> None:
        """Show the batch."""
        if self._eval_bar is not None:
            self._eval_bar.update()

    on_test_batch_end = on_validation_batch_end

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the score."""
        self._close()
        score = trainer.callback_metrics.get(_leading(trainer))
        if trainer.sanity_checking or score is None or trainer.state.fn != "fit":
            return
        self._best = max(self._best, float(score))
        self._print_line(trainer)

    on_test_end = on_validation_end

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the finished bar."""
        self._close(training=True)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Leave the terminal clean."""
        self._close(training=True)

    def _close(self, training: bool = False) -> None:
        """Close the bar of an evaluation, and that of training if told to."""
        for bar in (self._eval_bar, self._bar if training else None):
            if bar is not None:
                bar.close()
        self._eval_bar, self._bar = None, None if training else self._bar

    def _print_line(self, trainer: Trainer) -> None:
        if not self._enabled:
            return
        self._last_line = time.monotonic()
        step, steps = trainer.global_step, _steps(trainer)
        numbers = "  ".join(f"{name} {value}" for name, value in self._numbers(trainer).items())
        line = f"step {step}  {numbers}"
        if steps is not None:
            line = f"step {step}/{steps}  {numbers}  {self._time_left(step, steps)} left"
        if self._bar is not None:
            self._bar.write(line)
        else:
            print(line, flush=True)

    def _time_left(self, step: int, steps: int) -> str:
        done = step - self._first_step
        if done == 0:
            return "?"
        seconds = round((time.monotonic() - self._started) / done * (steps - step))
        return f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"

    def _numbers(self, trainer: Trainer) -> dict[str, str]:
        metrics = trainer.callback_metrics
        shown = {}
        if "train/loss" in metrics:
            shown["loss"] = f"{float(metrics['train/loss']):.3f}"
        leading = _leading(trainer)
        if leading in metrics and self._best > -math.inf:
            shown[leading.removeprefix("val/")] = f"{float(metrics[leading]):.4f}"
            shown["best"] = f"{self._best:.4f}"
        return shown


def _leading(trainer: Trainer) -> str:
    """Return the name of the score by which a task's checkpoints are compared."""
    return str(getattr(trainer.lightning_module, "leading_score", "val/mIoU"))


def _steps(trainer: Trainer) -> int | None:
    """Return how many steps a run has; None where the clock ends it."""
    steps = trainer.estimated_stepping_batches
    return int(steps) if math.isfinite(steps) else None
