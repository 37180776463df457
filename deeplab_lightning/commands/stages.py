"""`stages`: several configurations one after the other, each starting from the best weights of the one before.

The recipe of v3 is of two stages, output stride 16 with trained batch norms and then 8 with frozen ones; a teacher and
its student are two as well. Every stage is a `fit` of its own, in a process of its own: what it could do alone, it does
here. What is finished is written down, so that the same command goes on wherever it was stopped.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from ..command_line import ConfigurationWords
from ..config_words import without_option
from ..errors import ConfigError
from ..ledger import Ledger
from ..options import Written

STATE = "stages"


def stages(
    configs: Annotated[list[str], Written(metavar="STAGE.yaml")],
    /,
    *,
    name: str | None = None,
    folder: Path = Path("runs"),
    configuration: ConfigurationWords = (),
) -> int:
    """Train configurations in turn, each from the last one's best.

    Every stage is a fit of its own, which starts from the best weights of the one before. Stopped at any point, the
    same command goes on there.

    Args:
        configs: Configurations, one file for each stage.
        name: Name of the whole; the configurations' stems if not given.
        folder: Folder of all runs.
        configuration: All other options are handed to fit in every stage, such as -c configs/data/voc.yaml or
            --data.root.

    Returns:
        0, or the exit code of the first stage that fails.

    Raises:
        ConfigError: A file is missing, or an option says what stages decide themselves.
    """
    for option, why in (
        ("--ckpt_path", "a stage that was stopped goes on by itself"),
        ("--model.weights", "every stage starts from the one before; put the first one's into its file"),
        ("--run.name", "use --name"),
        ("--run.folder", "use --folder"),
    ):
        if len(without_option(configuration, option)) != len(configuration):
            raise ConfigError(f"stages takes no {option}: {why}.")
    missing = [path for path in configs if not Path(path).is_file()]
    if missing:
        raise ConfigError(f"There is no configuration {missing[0]}; stages takes one file for each stage.")
    name = name or "-".join(Path(path).stem for path in configs)
    return run_stages(configs, folder / name, configuration)


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
    from ..runs import RunFolder, find_run
    from ..studies import programs

    ledger = Ledger(folder)
    before = ledger.read(STATE) or {"configs": list(configs), "finished": []}
    ledger.expect_same(before, {"configs": list(configs)}, "choose another --name")
    finished = list(before["finished"])
    for number, config in enumerate(configs, start=1):
        if number <= len(finished):
            print(f"stage {number} of {len(configs)}, {config}: finished before, {finished[number - 1]}", flush=True)
            continue
        name = f"{number}_{Path(config).stem}"
        words = ["fit", "-c", config, *options, "--run.folder", str(folder), "--run.name", name]
        if number > 1:
            words += ["--model.weights", str(RunFolder(Path(finished[-1])).checkpoint())]
        stopped_at = programs.last_checkpoint(folder / name)
        if stopped_at is not None:
            words += ["--ckpt_path", str(stopped_at)]
        print(f"stage {number} of {len(configs)}, {config}{', going on' if stopped_at else ''}", flush=True)
        code = _run(words)
        if code != 0:
            return code
        run = find_run(folder / name)
        run.checkpoint()  # the next one starts from it
        finished.append(str(run.path))
        ledger.write(STATE, {"configs": list(configs), "finished": finished})
    print(f"All {len(configs)} stages are finished: {finished[-1]}")
    return 0


def _run(words: Sequence[str]) -> int:
    """Run a command of ours; hand signals on to it and wait until it has saved."""
    from ..studies import programs

    return programs.run(words).code
