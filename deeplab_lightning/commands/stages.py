"""`stages`: several configurations one after the other, each starting from the best weights of the one before.

The recipe of v3 is of two stages, output stride 16 with trained batch norms and then 8 with frozen ones; a teacher and
its student are two as well. Every stage is a `fit` of its own, in a process of its own: what it could do alone, it does
here. What is finished is written down, so that the same command goes on wherever it was stopped.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ..arguments import without_option
from ..errors import ConfigError
from ..files import read_json, write_json
from ..reporting.runs import RunFolder, find_run
from ..studies import programs

STATE = "stages.json"


def main(arguments: Sequence[str]) -> int:
    """Run the stages that are not finished; returns the exit code of the first one that fails, or 0."""
    parser = argparse.ArgumentParser(
        prog="python -m deeplab_lightning stages",
        usage="%(prog)s STAGE.yaml STAGE.yaml ... [--name NAME] [--folder FOLDER] [-c FILE.yaml] [--option value ...]",
        description="Train one configuration after the other, each from the best weights of the one before. Stopped "
        "at any point, the same command goes on there.",
        epilog="All other options are handed to `fit` in every stage, such as -c configs/data/voc.yaml or --data.root.",
        allow_abbrev=False,
    )
    parser.add_argument("--name", help="of the whole; the configurations' stems if not given")
    parser.add_argument("--folder", default="runs", help="folder of all runs (default: runs)")
    count = next((place for place, word in enumerate(arguments) if word.startswith("-")), len(arguments))
    options, handed_on = parser.parse_known_args(arguments[count:])
    configs = list(arguments[:count])
    if not configs:
        raise ConfigError("stages needs the stages' configurations first: stages first.yaml second.yaml --data.root X")
    for option, why in (
        ("--ckpt_path", "a stage that was stopped goes on by itself"),
        ("--model.weights", "every stage starts from the one before; put the first one's into its file"),
        ("--run.name", "use --name"),
        ("--run.folder", "use --folder"),
    ):
        if len(without_option(handed_on, option)) != len(handed_on):
            raise ConfigError(f"stages takes no {option}: {why}.")
    missing = [path for path in configs if not Path(path).is_file()]
    if missing:
        raise ConfigError(f"There is no configuration {missing[0]}; stages takes one file for each stage.")
    name = options.name or "-".join(Path(path).stem for path in configs)
    return run_stages(configs, Path(options.folder) / name, handed_on)


def run_stages(configs: Sequence[str], folder: Path, options: Sequence[str]) -> int:
    """Train one configuration after the other.

    Args:
        configs: One file a stage.
        folder: Where the stages' runs and the record of what is finished are put.
        options: Of `fit`, for every stage.

    Returns:
        0, or the exit code of the stage that failed or was stopped.

    Raises:
        ConfigError: The folder holds other stages.
    """
    finished = _read_state(folder, configs)
    for number, config in enumerate(configs, start=1):
        if number <= len(finished):
            print(f"stage {number} of {len(configs)}, {config}: finished before, {finished[number - 1]}", flush=True)
            continue
        name = f"{number}_{Path(config).stem}"
        words = ["fit", "-c", config, *options, "--run.folder", str(folder), "--run.name", name]
        if number > 1:
            words += ["--model.weights", str(RunFolder(Path(finished[-1])).best_checkpoint)]
        stopped_at = programs.last_checkpoint(folder / name)
        if stopped_at is not None:
            words += ["--ckpt_path", str(stopped_at)]
        print(f"stage {number} of {len(configs)}, {config}{', going on' if stopped_at else ''}", flush=True)
        code = _run(words)
        if code != 0:
            return code
        run = find_run(folder / name)
        if not run.best_checkpoint.is_file():
            raise ConfigError(
                f"Stage {number} ended without {run.best_checkpoint}: the next one starts from the best weights, so "
                f"each must validate at least once. Set --trainer.val_check_interval below its steps."
            )
        finished.append(str(run.path))
        _write_state(folder, configs, finished)
    print(f"All {len(configs)} stages are finished: {finished[-1]}")
    return 0


def _run(words: Sequence[str]) -> int:
    """Run a command of ours; hand signals on to it and wait until it has saved."""
    return programs.run(words).code


def _read_state(folder: Path, configs: Sequence[str]) -> list[str]:
    """Return the runs of the stages that are finished."""
    state = read_json(folder / STATE, "delete it to begin with the first stage.")
    if state is None:
        return []
    if state["configs"] != list(configs):
        raise ConfigError(
            f"{folder} holds other stages: {' '.join(state['configs'])}. Give the same ones to go on, or another "
            f"--name."
        )
    return list(state["finished"])


def _write_state(folder: Path, configs: Sequence[str], finished: Sequence[str]) -> None:
    write_json(folder / STATE, {"configs": list(configs), "finished": list(finished)})
