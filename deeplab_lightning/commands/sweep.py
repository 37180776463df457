"""`sweep`: search hyper-parameters by a sweep file, without a server."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from ..command_line import ConfigurationWords
from ..errors import ConfigError, DataError
from ..options import Between, Written
from ..packaged_files import find_file
from ..studies.options import parse_words
from ..studies.sweep_file import load_sweep

if TYPE_CHECKING:
    from ..studies.local_sweep import LocalSweep


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

    On a terminal a table is kept up to date; elsewhere there is a line for what happens.

    Returns:
        0, 1 if the last trials all failed, or the exit code of a stop by the user.
    """
    from rich.live import Live

    from ..studies.programs import describe_duration, rarely, tail
    from ..studies.sweep_summary import live_table, score_of, state_of, write_summary

    # Without a thread of its own: this process starts others.
    live = Live(auto_refresh=False, vertical_overflow="visible") if sys.stdout.isatty() else None

    def show(line: str, tell_time: bool = True) -> None:
        left = f"{describe_duration(local.seconds_left())} left"
        if live is None:
            print(f"{line}; {left}" if tell_time else line, flush=True)
        else:
            live.update(live_table(local, left), refresh=True)

    def say() -> None:
        scores = local.scores(number)
        show(f"  trial {number}: {metric} " + (f"{scores[-1]:.4f}" if scores else "no validation yet"))

    metric, stopped, failed = local.sweep.metric, False, False
    with live or nullcontext():
        while not (stopped or failed) and (claim := local.claim()) is not None:
            number = claim.trial.number
            values = ", ".join(f"{name} {value}" for name, value in claim.values.items())
            show(f"trial {number} of {local.sweep.run_cap}: {values}", tell_time=False)
            ended = local.run(claim, rarely(say))
            stopped = ended.stopped_by_user
            if not stopped:
                frozen = local.study.get_trials(deepcopy=False)[number]
                show(f"trial {number} {state_of(frozen)}: {metric} {score_of(frozen, local.sweep.maximise):.4f}")
                failed = local.nothing_works()
    if stopped:
        print("Stopped; the same command goes on here.")
        return ended.code if ended.code > 0 else 128 - ended.code
    if failed:
        log = local.log(number)
        print(f"The last trials all failed; {log} ends with:\n{tail(log)}", file=sys.stderr)
        return 1
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
