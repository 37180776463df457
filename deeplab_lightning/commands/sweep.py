"""`sweep`: search hyper-parameters by a sweep file, without a server."""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from ..command_line import ConfigurationWords
from ..errors import ConfigError, DataError
from ..options import Between, Written
from ..packaged_files import find_file
from ..studies.options import parse_words
from ..studies.sweep_file import load_sweep

if TYPE_CHECKING:
    from ..studies.local_sweep import Claim, LocalSweep


def sweep(
    file: Annotated[Path, Written(metavar="SWEEP.yaml")],
    /,
    *,
    local: bool = False,
    folder: Path = Path("runs"),
    seed: Annotated[int, Between(0, 2**32 - 1)] = 0,
    configuration: ConfigurationWords = (),
) -> int:
    """Search hyper-parameters by a sweep file, without a server.

    The file is one of Weights & Biases; Optuna chooses values, each trial is a fit of its own, and bad ones are given
    up early (early_terminate). Stopped at any point, the same command goes on there; started several times, the
    processes share the trials. With the server: wandb sweep SWEEP.yaml. Needs the extra: pip install
    'deeplab-lightning[sweep]'.

    Args:
        file: The sweep.
        local: Run here, without the server.
        folder: Folder of all runs.
        seed: Seed of the choices.
        configuration: All other options are handed to fit in every trial, such as --data.root.

    Returns:
        0, 1 if no trial works, or the exit code of a stop by the user.

    Raises:
        ConfigError: The file or an option cannot be used.
    """
    if not local:
        raise ConfigError(
            f"sweep runs without a server, with --local. With Weights & Biases: wandb sweep {file}, then "
            f"wandb agent and the name that it prints."
        )
    for name in parse_words(configuration):
        if name in ("run.name", "run.folder", "ckpt_path"):
            raise ConfigError(f"sweep takes no --{name}: it names the trials' runs itself; use --folder.")
    read = load_sweep(find_file(file))
    from ..studies.local_sweep import LocalSweep

    return run(LocalSweep(read, folder / read.name, configuration, seed))


def run(local: LocalSweep) -> int:
    """Make trials until there is none left that another worker does not have; then sum up.

    Returns:
        0, 1 if the last trials all failed, or the exit code of a stop by the user.
    """
    with closing(_Display(local)) as display:
        while (claim := local.claim()) is not None:
            display.begin(claim)
            ended = local.run(claim, display)
            if ended.stopped_by_user:
                display.close()
                print("Stopped; the same command goes on here.")
                return ended.code if ended.code > 0 else 128 - ended.code
            display.ended()
            if local.nothing_works():
                from ..studies.programs import tail

                log = local.log(claim.trial.number)
                display.close()
                print(f"The last trials all failed; {log} ends with:\n{tail(log)}", file=sys.stderr)
                return 1
    from ..studies.sweep_summary import write_summary

    at_work = [t.number for t in local.study.get_trials(deepcopy=False) if t.state.name == "RUNNING"]
    if at_work:
        print(f"Trials {', '.join(map(str, at_work))} are at work in other processes.")
    try:
        text, files = write_summary(local)
    except DataError as error:
        print(error)
        return 0 if at_work else 1
    print(text)
    print(f"Files: {', '.join(str(path) for path in files)}")
    return 0


class _Display:
    """A table that is kept up to date on a terminal; elsewhere a line for what happens."""

    def __init__(self, local: LocalSweep) -> None:
        from ..studies.programs import RateLimiter

        self.local = local
        self.live: Any = None
        self.due = RateLimiter()
        self.number = 0
        if sys.stdout.isatty():
            from rich.live import Live

            # Without a thread of its own: this process starts others.
            self.live = Live(auto_refresh=False, vertical_overflow="visible")
            self.live.start()

    def begin(self, claim: Claim) -> None:
        self.number = claim.trial.number
        values = ", ".join(f"{name} {value}" for name, value in claim.values.items())
        self._show(f"trial {self.number} of {self.local.sweep.run_cap}: {values}")

    def __call__(self) -> None:
        if self.due():
            scores = self.local.scores(self.number)
            latest = f"{scores[-1]:.4f}" if scores else "no validation yet"
            self._show(f"  trial {self.number}: {self.local.sweep.metric} {latest}; {self._left()}")

    def ended(self) -> None:
        from ..studies.sweep_summary import score_of, state_of

        frozen = self.local.study.get_trials(deepcopy=False)[self.number]
        score = score_of(frozen, self.local.sweep.maximise)
        self._show(f"trial {self.number} {state_of(frozen)}: {self.local.sweep.metric} {score:.4f}; {self._left()}")

    def close(self) -> None:
        if self.live is not None:
            self._show()
            self.live.stop()
            self.live = None

    def _left(self) -> str:
        from ..studies.programs import describe_duration

        return f"{describe_duration(self.local.seconds_left())} left"

    def _show(self, line: str = "") -> None:
        if self.live is None:
            print(line, flush=True)
            return
        from ..studies.sweep_summary import live_table

        self.live.update(live_table(self.local, self._left()), refresh=True)
