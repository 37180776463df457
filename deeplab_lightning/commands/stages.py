"""`stages`: several configurations one after the other, each starting from the best weights of the one before.

The recipe of v3 is of two stages, output stride 16 with trained batch norms and then 8 with frozen ones; a teacher and
its student are two as well. Every stage is a `fit` of its own, in a process of its own: what it could do alone, it does
here. What is finished is written down, so that the same command goes on wherever it was stopped.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from ..command_line import ConfigurationWords
from ..config_words import config_files, without_option
from ..errors import ConfigError
from ..files import expect_name
from ..ledger import Ledger
from ..options import Written
from ..packaged_files import find_file, nearest_name

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
    missing = [path for path in configs if not find_file(path).is_file()]
    if missing:
        raise ConfigError(
            f"There is no configuration {missing[0]}; stages takes one file for each stage.{nearest_name(missing[0])}"
        )
    from ..runs import RunFolder, find_run
    from ..studies import programs
    from ..studies.options import content_key, merged

    if name is not None:
        expect_name("--name", name)
    whole = folder / (name or "-".join(Path(path).stem for path in configs))
    ledger = Ledger(whole)
    before = ledger.read(STATE) or {"configs": configs, "finished": []}
    ledger.expect_same(before, {"configs": configs}, "choose another --name")
    finished = list(before["finished"])
    contents = [content_key(merged([find_file(config), *config_files(configuration)], {})) for config in configs]
    for number, config in enumerate(configs, start=1):
        if number <= len(finished):
            if before["contents"][number - 1] != contents[number - 1]:
                raise ConfigError(
                    f"Stage {number}, {config}, was finished with other content than it has now, in "
                    f"{finished[number - 1]}. Restore it to go on, or choose another --name."
                )
            print(f"stage {number} of {len(configs)}, {config}: finished before, {finished[number - 1]}", flush=True)
            continue
        of_stage = f"{number}_{Path(config).stem}"
        words = ["fit", "-c", config, *configuration, "--run.folder", str(whole), "--run.name", of_stage]
        if number > 1:
            words += ["--model.weights", str(RunFolder(Path(finished[-1])).checkpoint())]
        going_on = programs.going_on(whole / of_stage)
        print(f"stage {number} of {len(configs)}, {config}{', going on' if going_on else ''}", flush=True)
        code = programs.run([*words, *going_on]).code
        if code != 0:
            return code
        run = find_run(whole / of_stage)
        run.checkpoint()  # the next one starts from it
        finished.append(str(run.path))
        ledger.write(STATE, {"configs": configs, "contents": contents, "finished": finished})
    print(f"All {len(configs)} stages are finished: {finished[-1]}")
    return 0
