"""What Lightning's trainer is given, checked before anything runs: numbers, of which it checks few, and monitors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from lightning.pytorch import Callback

from .errors import ConfigError, did_you_mean
from .options import Between, Constraint, at_least, option_name, problem_of
from .tasks import SegmentationTask


@dataclass(frozen=True)
class OrAll(Constraint):
    """A whole number from `low` on, or -1.

    Args:
        low: Smallest number.
        all: What -1 stands for.
    """

    low: int
    all: str

    def words(self) -> str:
        """Return the range for a reader."""
        return f"a whole number, {self.low} or more, or -1 for {self.all}"

    def problem(self, value: Any) -> str | None:
        """Return what to say of another value."""
        is_number = isinstance(value, int) and not isinstance(value, bool)
        return None if is_number and (value == -1 or value >= self.low) else self.words()


Share = Annotated[float, Between(0, 1)]
Part = Annotated[int, at_least(0)] | Share | None
"""So many batches, or a share of them: 1 is one batch, 1.0 all of them."""

RANGES: dict[str, Any] = {
    "num_nodes": Annotated[int, at_least(1)],
    "max_epochs": Annotated[int, OrAll(1, "no end")] | None,
    "min_epochs": Annotated[int, at_least(0)] | None,
    "max_steps": Annotated[int, OrAll(1, "no end")],
    "min_steps": Annotated[int, at_least(0)] | None,
    "limit_train_batches": Annotated[int, at_least(1)] | Annotated[float, Between(0, 1, open_low=True, near=1)] | None,
    "limit_val_batches": Part,
    "limit_test_batches": Part,
    "limit_predict_batches": Part,
    "overfit_batches": Annotated[int, at_least(0)] | Share,
    "check_val_every_n_epoch": Annotated[int, at_least(1)] | None,
    "num_sanity_val_steps": Annotated[int, OrAll(0, "all")] | None,
    "log_every_n_steps": Annotated[int, at_least(1)] | None,
    "accumulate_grad_batches": Annotated[int, at_least(1)],
    "gradient_clip_val": Annotated[float, at_least(0)] | None,
    "gradient_clip_algorithm": Literal["norm", "value"] | None,
    "reload_dataloaders_every_n_epochs": Annotated[int, at_least(0)],
    "fast_dev_run": Annotated[int, at_least(0)] | bool,
}
"""Option -> its type and range. Of those that may also be words or lists, `check_trainer` says more."""


def check_trainer(values: Mapping[str, Any]) -> None:
    """Refuse what the trainer cannot do.

    Args:
        values: Its options, by name.

    Raises:
        ConfigError: A number is out of range.
    """
    hints = dict(RANGES)
    for name, words in (("devices", "all devices"), ("val_check_interval", "")):
        given = values.get(name)
        try:
            number = float(given) if isinstance(given, str | int | float) and not isinstance(given, bool) else None
        except ValueError:  # `auto`, or a length of time
            number = None
        if name == "devices" and number is not None:
            hints[name] = Annotated[int, OrAll(1, words)]
            values = {**values, name: int(number) if number.is_integer() else given}
        elif number is not None:
            whole = isinstance(given, int)
            hints[name] = Annotated[int, at_least(1)] if whole else Annotated[float, Between(0, 1, True, near=1)]
    for name, hint in hints.items():
        if name in values and (problem := problem_of(values[name], hint)) is not None:
            raise ConfigError(f"{option_name('trainer', name)} is {values[name]!r}; expected {problem.rstrip('.')}.")


def check_monitors(callbacks: Sequence[Callback], task: SegmentationTask) -> None:
    """Refuse callbacks that watch what is never logged: Lightning would stop after the first validation.

    Tasks and callbacks of the user's own may log anything.

    Raises:
        ConfigError: Such a callback; the nearest name that is logged is given.
    """
    if any(type(one).__module__.split(".")[0] not in ("lightning", __package__) for one in (task, *callbacks)):
        return
    logged = task.logged_in_training()
    for callback in callbacks:
        monitor = getattr(callback, "monitor", None)
        if monitor is not None and monitor not in logged and not monitor.startswith("train/loss/"):
            raise ConfigError(
                f"{type(callback).__name__} watches {monitor!r}, which is never logged.{did_you_mean(monitor, logged)} "
                f"There are: {', '.join(logged)}."
            )
