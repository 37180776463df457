"""The logger behind `metrics.csv`: every run has one, whatever other loggers it uses."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from lightning.pytorch.loggers.logger import Logger, rank_zero_experiment
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from ..files import read_csv, write_csv
from ..runs import RunFolder


class MetricsCsv(Logger):
    """Writes every logged value to the run folder's `metrics.csv`, a row per step.

    Its number is that of optimiser steps made, as in all files of a run: the first one is 1, which Lightning calls 0.
    A resumed run goes on with the file (Lightning's own CSV logger would delete it): rows behind the step that it
    resumes from are dropped, since they are about to be written again.

    Args:
        run: The run folder.
    """

    def __init__(self, run: RunFolder) -> None:
        super().__init__()
        self.run = run
        self.rows: dict[int, dict[str, str]] | None = None

    @property
    def name(self) -> str:
        """The run's name."""
        return self.run.path.parent.name

    @property
    def version(self) -> str:
        """The run's version."""
        return self.run.path.name

    @property
    def save_dir(self) -> str:
        """The run folder."""
        return str(self.run.path)

    @property
    @rank_zero_experiment
    def experiment(self) -> MetricsCsv:
        """This logger: there is no other object behind it."""
        return self

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Nothing: `config.yaml` has them."""

    @rank_zero_only
    def resume_at(self, step: int) -> None:
        """Forget what an earlier, interrupted part of the run logged behind optimiser step `step`."""
        self.rows = {row: values for row, values in self._load().items() if row <= step}

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Add values to the row of `step`, which Lightning counts from 0."""
        number = (step or 0) + 1
        row = self._load().setdefault(number, {"step": str(number)})
        row.update({key: f"{value:.10g}" for key, value in metrics.items()})

    @rank_zero_only
    def save(self) -> None:
        """Write the file, whole or not at all."""
        rows = self._load()
        if not rows:
            return
        columns = ["step", "epoch"]
        columns += sorted({key for row in rows.values() for key in row} - set(columns))
        write_csv(self.run.metrics, columns, (rows[step] for step in sorted(rows)))

    def _load(self) -> dict[int, dict[str, str]]:
        if self.rows is None:
            self.rows = {}
            if self.run.metrics.is_file():
                for row in read_csv(self.run.metrics):
                    self.rows[int(row["step"])] = {key: value for key, value in row.items() if value}
        return self.rows
