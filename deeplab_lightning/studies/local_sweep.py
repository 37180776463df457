"""A sweep without a server: Optuna chooses, each trial is a `fit` of its own, and a journal file is the memory.

    runs/<sweep>/journal.log             Optuna's storage, shared by all workers
    runs/<sweep>/trials/0007/version_0   a trial's run, as any other
    runs/<sweep>/trials/0007.log         what `fit` printed
    runs/<sweep>/summary.md, trials.csv, history.png, parameters.png, importance.png

A trial belongs to the worker that holds `trials/0007.lock`. What a killed worker leaves behind is gone on with by the
next one, from the run's last checkpoint.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .. import locks
from ..config_words import config_files
from ..errors import EXIT_DIVERGED, ConfigError, DataError, did_you_mean
from ..extras import need
from ..ledger import Ledger
from ..runs import find_run, read_metrics
from . import programs
from .options import content_key, merged
from .sweep_file import Parameter, Sweep

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler
    from optuna.study import Study
    from optuna.trial import FrozenTrial, Trial

ENDED, SECONDS, START = "ended", "seconds", "start"
"""Attributes of a trial: how it ended, how long it was at work, whether it is the configuration as it stands."""
MOST_FAILURES = 3
"""After so many trials that failed one after the other, without one that did not, nothing will work."""


class Claim(NamedTuple):
    """A trial that this worker has, with its lock and the values that were chosen."""

    trial: Trial
    lock: locks.Lock
    values: dict[str, Any]


class LocalSweep:
    """A sweep's folder, `runs/<sweep>`, and its trials; `more` are options of `fit` for every one.

    Raises:
        ConfigError: The folder holds another sweep.
    """

    def __init__(self, sweep: Sweep, folder: Path, more: Sequence[str] = (), seed: int = 0) -> None:
        self.sweep, self.folder, self.more, self.seed = sweep, folder, list(more), seed
        self.trials_folder = folder / "trials"
        self._unknown_metric = ""
        self.trials = Ledger(self.trials_folder)  # for its locks: what became of the trials stands in the journal
        self.trials_folder.mkdir(parents=True, exist_ok=True)
        optuna = need("optuna", "sweep", "A sweep without a server")
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        from optuna.pruners import NopPruner, SuccessiveHalvingPruner
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        with self._alone():
            storage = JournalStorage(JournalFileBackend(str(folder / "journal.log")))
            self.study: Study = optuna.create_study(
                study_name=sweep.name,
                storage=storage,
                direction="maximize" if sweep.maximise else "minimize",
                pruner=SuccessiveHalvingPruner(*sweep.halving) if sweep.halving else NopPruner(),
                load_if_exists=True,
            )
            self._check_same()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold off the other workers, which would choose a trial, for a moment."""
        lock = locks.wait_for(self.folder / "sweep.lock")
        try:
            yield
        finally:
            lock.release()

    def _check_same(self) -> None:
        """Refuse to mix trials of different searches; a greater run_cap only goes on."""
        described = {
            "method": self.sweep.method,
            "metric": [self.sweep.metric, self.sweep.maximise],
            "halving": self.sweep.halving,
            "parameters": [vars(parameter) for parameter in self.sweep.parameters],
            "words": list(self.sweep.words),
            "configurations": content_key(merged(config_files([*self.sweep.words, *self.more]), {})),
            "more": self.more,
        }
        key = content_key(described)
        before = self.study.user_attrs.get("content")
        if before is None:
            self.study.set_user_attr("content", key)
        elif before != key:
            raise ConfigError(
                f"{self.folder} holds a sweep of other parameters or options: give the same file and options to go "
                f"on, another --folder, or another `name` in the file."
            )

    # --- which trial is next ------------------------------------------------------------------------------------------

    def claim(self) -> Claim | None:
        """Take the next trial: one that a worker left behind, or a new one; None when there is none to take."""
        from optuna.trial import Trial, TrialState

        with self._alone():
            trials = self.study.get_trials(deepcopy=False)
            for frozen in trials:
                if frozen.state == TrialState.RUNNING:
                    lock = self.trials.claim(_name(frozen.number))
                    if lock is not None:
                        trial = Trial(self.study, frozen._trial_id)
                        return Claim(trial, lock, self._choose(trial))
            # A worker that was killed between two lines leaves a trial waiting: the next one asked for.
            waiting = [frozen for frozen in trials if frozen.state == TrialState.WAITING]
            if len(trials) - len(waiting) >= self.sweep.run_cap:
                return None
            if self.sweep.method == "grid":
                if not waiting and not self._enqueue_next_of_grid(trials):
                    return None
            elif not trials and (start := self.sweep.start(self.more)):
                self.study.enqueue_trial(start, user_attrs={START: True})
            # Seeded by the number of trials: workers choose different values, and a sweep run again the same ones.
            self.study.sampler = _sampler(self.sweep, self.seed + len(trials))
            trial = self.study.ask()
            lock = self.trials.claim(_name(trial.number))
            if lock is None:
                path = self.trials.path(_name(trial.number), "lock")
                raise ConfigError(f"{path} is there before its trial: was the journal removed?")
            return Claim(trial, lock, self._choose(trial))

    def _enqueue_next_of_grid(self, trials: Sequence[FrozenTrial]) -> bool:
        taken = [frozen.params or frozen.system_attrs.get("fixed_params", {}) for frozen in trials]
        varied = {parameter.name for parameter in self.sweep.parameters if parameter.kind != "constant"}
        for values in self.sweep.grid():
            wanted = {name: value for name, value in values.items() if name in varied}
            if wanted not in taken:
                self.study.enqueue_trial(wanted)
                return True
        return False

    def _choose(self, trial: Trial) -> dict[str, Any]:
        """Return the values of all parameters; a trial that is gone on with keeps those it had."""
        return {parameter.name: _suggest(trial, parameter) for parameter in self.sweep.parameters}

    # --- running it ---------------------------------------------------------------------------------------------------

    def run(self, claim: Claim, say: Callable[[], None]) -> programs.Ended:
        """Run a trial, or go on with it; report its validations as they come, and give it up where that is due.

        Its lock is released at the end; a trial that the user stopped stays unfinished, for another time. `say` is
        called now and then, to show progress. Returns how `fit` ended.
        """
        trial, number = claim.trial, claim.trial.number
        name = _name(number)
        words = self.sweep.trial_words(claim.values, self.more)
        words += ["--run.folder", str(self.trials_folder), "--run.name", name]
        words += programs.going_on(self.trials_folder / name)
        frozen = self.study.get_trials(deepcopy=False)[number]
        reported = max(frozen.intermediate_values, default=0)
        began, before = time.monotonic(), float(frozen.user_attrs.get(SECONDS, 0.0))
        give_up = False

        def watch() -> bool:
            nonlocal reported, give_up
            claim.lock.beat()
            scores = self.scores(number)
            if not scores:
                self._expect_metric(number)
            for validation in range(reported + 1, len(scores) + 1):
                trial.report(scores[validation - 1], validation)
                reported = validation
                give_up = give_up or (self.sweep.halving is not None and trial.should_prune())
            say()
            return give_up

        try:
            ended = programs.run(words, self.log(number), watch, claim.lock.note_program)
            trial.set_user_attr(SECONDS, before + time.monotonic() - began)
            if not ended.stopped_by_user:
                self._tell(trial, ended)
        finally:
            claim.lock.release()
        return ended

    def _tell(self, trial: Trial, ended: programs.Ended) -> None:
        """Write down how a trial ended."""
        from optuna.trial import TrialState

        scores = self.scores(trial.number)
        score, state, how = None, TrialState.FAIL, f"failed with exit code {ended.code}"
        if ended.code == 0 and scores:
            score, state, how = (max if self.sweep.maximise else min)(scores), TrialState.COMPLETE, "finished"
        elif ended.stopped_by_us:
            state, how = TrialState.PRUNED, "given up"
        elif ended.code == EXIT_DIVERGED:
            # It was a trial like any other, and a bad one: pruned trials without scores count as the worst.
            state, how = TrialState.PRUNED, "diverged"
        trial.set_user_attr(ENDED, how)
        self.study.tell(trial, score, state)

    def nothing_works(self) -> bool:
        """Whether the last trials failed, all of them."""
        from optuna.trial import TrialState

        ended = [trial.state for trial in self.study.get_trials(deepcopy=False) if trial.state.is_finished()]
        return ended[-MOST_FAILURES:] == [TrialState.FAIL] * MOST_FAILURES

    # --- what is known of trials --------------------------------------------------------------------------------------

    def log(self, number: int) -> Path:
        """Where the trial's output goes."""
        return self.trials.path(_name(number), "log")

    def scores(self, number: int) -> list[float]:
        """Return the metric at each validation of a trial so far."""
        with suppress(ConfigError, DataError):
            columns = read_metrics(find_run(self.trials_folder / _name(number)).metrics)
            values = columns.get(self.sweep.metric, np.zeros(0))
            return values[~np.isnan(values)].tolist()
        return []

    def _expect_metric(self, number: int) -> None:
        """Refuse to train trials whose validations do not log the metric.

        Raises:
            ConfigError: A validation has logged others.
        """
        with suppress(ConfigError, DataError):
            columns = read_metrics(find_run(self.trials_folder / _name(number)).metrics)
            logged = [name for name, values in columns.items() if name != "step" and not np.isnan(values).all()]
            if self.sweep.metric not in logged and any(name.startswith("val/") for name in logged):
                self._unknown_metric = (
                    f"No validation logs {self.sweep.metric!r}, the sweep's metric."
                    f"{did_you_mean(self.sweep.metric, logged)} Logged are: {', '.join(logged)}. Correct the file, and "
                    f"remove {self.folder}."
                )
        if self._unknown_metric:
            raise ConfigError(self._unknown_metric)

    def seconds_left(self) -> float:
        """Return the time that the remaining trials take with the workers there are; NaN before one has ended."""
        from optuna.trial import TrialState

        trials = self.study.get_trials(deepcopy=False)
        ended = [float(t.user_attrs[SECONDS]) for t in trials if t.state.is_finished() and SECONDS in t.user_attrs]
        if not ended:
            return float("nan")
        running = [t for t in trials if t.state == TrialState.RUNNING]
        cap = min(self.sweep.run_cap, len(self.sweep.grid())) if self.sweep.method == "grid" else self.sweep.run_cap
        left = cap - len(trials) + 0.5 * len(running)  # half of each of those is done, on average
        return float(np.mean(ended)) * left / max(len(running), 1)


def _name(number: int) -> str:
    """Return what a trial's run and files are called."""
    return f"{number:04}"


def _sampler(sweep: Sweep, seed: int) -> BaseSampler:
    from optuna.samplers import RandomSampler, TPESampler

    if sweep.method == "bayes":
        # Half of a short sweep at random, ten at most; trials at work count as bad, so that workers part.
        return TPESampler(n_startup_trials=min(10, max(2, sweep.run_cap // 3)), constant_liar=True, seed=seed)
    return RandomSampler(seed=seed)


def _suggest(trial: Trial, parameter: Parameter) -> Any:
    name, low, high = parameter.name, parameter.low, parameter.high
    if parameter.kind == "constant":
        return parameter.values[0]
    if parameter.kind == "categorical":
        return trial.suggest_categorical(name, list(parameter.values))
    if parameter.kind == "int_uniform":
        return trial.suggest_int(name, int(low), int(high))
    return trial.suggest_float(name, low, high, step=parameter.step, log=parameter.kind == "log_uniform_values")
