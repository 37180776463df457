"""`reproduce`: the exact command that makes a run again, and what is not here as it was then."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

from ..command_line import ConfigurationWords
from ..config_words import option_value, read_config
from ..errors import ConfigError, DeepLabError
from ..options import Written
from ..plugins import named_by_user

if TYPE_CHECKING:
    from ..data.datamodule import Split
    from ..reporting.card import Difference
    from ..runs import RunFolder


def reproduce(
    folder: Annotated[Path, Written(metavar="RUN")],
    /,
    *,
    configuration: ConfigurationWords = (),
    run: bool = False,
) -> int:
    """Make a run again, and say what differs here.

    Prints the command that makes a run again, from its config.yaml and its environment.json, and says what differs on
    this machine: versions, code, hardware, data.

    Args:
        folder: Folder of a run, runs/NAME or runs/NAME/version_0.
        configuration: Options of fit, such as --data.root, are handed on: for what must differ here.
        run: Run the command, and compare the scores; the new run gets a folder of its own.

    Returns:
        0, or the exit code of `fit`.
    """
    from ..reporting.card import describe_energy, read_card, wall_seconds
    from ..runs import find_run

    old = find_run(folder)
    if old.path.parent.name in ("validate", "test") or not old.config.is_file():
        raise ConfigError(
            f"{old.path} is no run of fit with a config.yaml: reproduce takes the folder that training left."
        )
    card = read_card(old)
    words = command(old, card, configuration)
    seconds = wall_seconds(card)
    took = "not recorded" if seconds is None else f"{seconds / 60:.1f} minutes, energy: {describe_energy(card)}"
    print(f"{old.path}, {card.get('date', 'date not recorded')}\ntook: {took}")
    sessions = card.get("sessions") or []
    changes = [f"{name} {now} ({then} before) from step {session['from_step']} on"
               for session in sessions for name, (then, now) in session.get("changed", {}).items()]  # fmt: skip
    if "branch_of" in card:
        print(f"It is a branch of {card['branch_of']}; made again from the start, it is another run.")
    elif changes:
        print(f"It went on with other settings, {', '.join(changes)}; made again in one go, it is another run.")
    elif len(sessions) > 1:
        print(f"It was stopped and went on {len(sessions) - 1} times; made again in one go, it is the same run.")
    print("\ncommand:")
    for line in (*_code_steps(old, card), f"python -m deeplab_lightning {shlex.join(words)}"):
        print(f"  {line}")
    found, unknown = _look_here(card, words, old.config)
    print("\ndiffers here:" if found else "\nNothing that the card tells differs here.")
    width = max((len(difference.what) for difference in found), default=0)
    for difference in found:
        print(f"  {difference.what:<{width}}  {difference.then} -> {difference.now}")
    for line in unknown:
        print(f"  {line}")
    if not run:
        return 0
    if named := sorted(_modules_named(read_config(old.config))):
        raise ConfigError(
            f"{old.config} names classes of {', '.join(named)}, and nothing is imported because a file names it. If "
            f"you know the modules and trust them: {' '.join(f'--import {shlex.quote(module)}' for module in named)}"
        )
    from ..studies import programs

    print("\nrunning it:", flush=True)
    code = programs.run(words).code
    if code == 0:
        made = Path(option_value(words, "--run.folder") or "") / (option_value(words, "--run.name") or "")
        print(_compared(old, find_run(made)))
    return code


def command(run: RunFolder, card: Mapping[str, Any], handed_on: Sequence[str]) -> list[str]:
    """Return the words after the program's name that make the run again, in a folder beside it."""
    words = ["fit", "-c", str(run.config), "--run.folder", str(run.path.parent.parent), "--run.name"]
    words.append(f"{run.path.parent.name}-again")
    if card.get("devices"):
        # `auto` takes what there is, and the number of processes decides which image comes when.
        words += ["--trainer.devices", str(card["devices"])]
    return [*words, *handed_on]


def _code_steps(run: RunFolder, card: Mapping[str, Any]) -> list[str]:
    """Return what brings the source code to the run's state, if it is not there."""
    from ..reporting.card import code_state

    commit = card.get("git_commit")
    if not commit:
        version = shlex.quote(f"deeplab-lightning=={card.get('deeplab_lightning', '?')}")
        return [f"pip install {version}   # it ran from no checkout"]
    here = code_state()
    diff = run.code_diff if card.get("git_diff") else None
    steps = []
    if here.commit != commit:
        steps.append(f"git checkout {shlex.quote(str(commit))}")
    if card.get("git_dirty") and diff is None and not card.get("git_untracked"):
        steps.append("# files differed from that commit, and the run is from before differences were kept")
    if diff is not None and not (here.commit == commit and diff.is_file() and here.diff == diff.read_bytes()):
        steps.append(f"git apply {shlex.quote(str(diff))}")
    if card.get("git_untracked"):
        steps.append(f"# besides, these files were in no commit: {', '.join(card['git_untracked'])}")
    return steps


def _modules_named(value: Any) -> set[str]:
    """Return the modules that a configuration would import, but for ours, Lightning's, and what the user named."""
    if isinstance(value, list):
        return {module for each in value for module in _modules_named(each)}
    if not isinstance(value, Mapping):
        return set()
    found = {module for each in value.values() for module in _modules_named(each)}
    paths = [value.get("class_path")]
    paths += [(value.get(key) or {}).get("name") for key in ("model", "data") if isinstance(value.get(key), Mapping)]
    arguments = value.get("init_args")
    paths += list(arguments.values()) if isinstance(arguments, Mapping) else []  # functions are named like classes
    for path in paths:
        if isinstance(path, str) and re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+", path):
            module = path.rpartition(".")[0]
            if module.split(".")[0] not in ("lightning", "deeplab_lightning") and not named_by_user(module):
                found.add(module)
    return found


def _look_here(card: Mapping[str, Any], words: Sequence[str], config: Path) -> tuple[list[Difference], list[str]]:
    """Return what differs on this machine, and what could not be compared."""
    import torch

    from ..config import Configuration
    from ..data.fingerprint import fingerprint
    from ..reporting.card import differences, environment, file_hash
    from ..runs import resolve_checkpoint

    gpus = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    now = environment(card.get("seed"), gpus)
    unknown = []
    try:
        configured = Configuration(words[1:], of_others=[config])
        datamodule, weights = configured.datamodule(), configured.task.weights
        splits = cast("list[Split]", list(card.get("data") or {}))
        now["data"] = {split: fingerprint(datamodule.dataset(split)) for split in splits}
        if card.get("weights"):
            now["weights"] = None if weights is None else file_hash(resolve_checkpoint(weights))
    except DeepLabError as error:
        unknown.append(f"The data cannot be compared: {error}")
    if not card.get("data"):
        unknown.append("The card has no fingerprint of the data.")
    return differences(card, now), unknown


def _compared(old: RunFolder, new: RunFolder) -> str:
    """Say whether the new run scored as the old one did."""
    import numpy as np

    from ..metrics.per_image import ImageCounts
    from ..metrics.scores import scores_from_confusion

    totals = [ImageCounts.load(run.per_image) for run in (old, new)]
    then, again = (scores_from_confusion(counts.total(), counts.class_names).mIoU for counts in totals)
    if np.array_equal(totals[0].total(), totals[1].total()):
        return f"The same to the last pixel: mIoU {again:.4f}, in {new.path}"
    return f"mIoU {then:.4f} then, {again:.4f} now ({again - then:+.4f}): {new.path}"
