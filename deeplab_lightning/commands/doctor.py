"""`doctor`: look at a data set before it costs hours, and say what fixes it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

from ..command_line import ConfigurationWords
from ..errors import ConfigError, shown
from ..files import write_json, writing
from ..options import Between, Written, at_least

if TYPE_CHECKING:
    from ..config import Configuration
    from ..data.datamodule import SegmentationDataModule
    from ..doctor.cost import Cost
    from ..doctor.examination import Examination
    from ..doctor.layouts import Proposal
    from ..doctor.plan import Plan

RUNS = Path("runs/doctor")
DEFAULT_MODEL = ("--model", "DeepLabV3Plus", "--model.backbone", "mobilenetv2_100")
"""What is tried on a folder that comes without a configuration: the model of `configs/v3plus.yaml`."""
BACKBONES = ("efficientnet_lite0", "mobilenetv2_100", "resnet50")
"""Those that a plan takes where their ImageNet weights lie on this machine, the first of them."""
TOO_SLOW = 2.0
"""How much longer an image may take in a further precision before its trial is given up."""


def doctor(
    folder: Path | None = None,
    /,
    *,
    configuration: ConfigurationWords = (),
    write: Annotated[Path | None, Written(metavar="FILE.yaml")] = None,
    overwrite: bool = False,
    out: Annotated[Path | None, Written(metavar="FOLDER")] = None,
    limit: Annotated[int, at_least(1)] | None = None,
    minutes: Annotated[float, Between(0, math.inf, open_low=True, near=30)] | None = None,
    explain: bool = False,
    no_trial: bool = False,
    strict: bool = False,
) -> int:
    """Look at a data set before training: doctor FOLDER.

    Missing, unreadable and strange files, sizes, labels, duplicates, leaks between splits, classes; and what would suit
    it: crop, batch (measured), class weights, workers. FOLDER may have any known layout: VOC2012, Cityscapes, CamVid,
    ADE20K, images/ and masks/, LabelMe, COCO. The exit code is 1 if there are errors. With --minutes a whole
    configuration is planned, which trains on it for so long on this machine.

    Args:
        folder: Folder of a data set, whose layout is found out; without it the configuration says what to read.
        configuration: -c FILE.yaml, --model.option and --data.option are those of fit.
        write: File for a configuration that reads FOLDER; with --minutes, that trains on it, too.
        overwrite: Write the configuration even if its file exists.
        out: Folder for report.json and overview.png; runs/doctor/NAME if not given.
        limit: Look at so many images of each split; at all if not given.
        minutes: How long training may take on this machine: network, optimiser, precision, crop and length are chosen
            for it; --model.option and the like are kept, and of -c FILE.yaml what is read and by which network.
        explain: Say of each of these choices why, and what was not taken.
        no_trial: Leave out the trial steps and the loader's speed.
        strict: Let the exit code be 1 for warnings too.

    Returns:
        0, or 1 if something is wrong.

    Raises:
        ConfigError: There is nothing to look at, or an option cannot be used.
        DataError: The layout is not known, or a file cannot be written.
    """
    if folder is None and not configuration:
        raise ConfigError("doctor needs a folder, or what fit would read: -c configs/v3plus.yaml -c my_data.yaml.")
    if write is not None and folder is None and minutes is None:
        raise ConfigError("--write is for a folder whose layout is found out: doctor FOLDER --write my_data.yaml")
    if minutes is not None and no_trial:
        raise ConfigError("--minutes are planned with by trial steps: leave out --no_trial.")
    if explain and minutes is None:
        raise ConfigError("--explain is about a plan: say how long training may take, as in --minutes 30.")
    if write is not None and write.suffix not in (".yaml", ".yml"):
        raise ConfigError(f"The configuration is YAML: name it {write.with_suffix('.yaml')} instead of {write}.")
    if write is not None and write.exists() and not overwrite:
        raise ConfigError(f"{write} exists. Name another file, or add --overwrite.")
    from ..config import Configuration
    from ..doctor.examination import by_split, class_table, examine
    from ..doctor.findings import Severity, as_text, counted, exit_code, stops_training
    from ..doctor.overview import write_overview

    out = out or RUNS / _name(folder, configuration)
    arguments = list(configuration)
    proposal = None
    if folder is not None:
        proposal = _propose(folder, out)
        chosen = [] if any(word.partition("=")[0] in ("-c", "--config", "--model") for word in arguments) else [
            *DEFAULT_MODEL
        ]  # fmt: skip
        # The data's behind the user's: fit takes files in their order, and options after them.
        arguments = [*chosen, *arguments, "-c", str(out / "data.yaml")]
    try:
        configured = Configuration(arguments, needs_model=False)
    except ConfigError as error:
        if proposal is None:
            raise
        raise ConfigError(f"{error} So says {out / 'data.yaml'}, which doctor made of {folder}: edit it.") from error
    datamodule, options = configured.datamodule(), configured.data.plain()
    where = options.get("root", "drawn on the fly")
    print(
        shown(f"{type(datamodule).__name__}, {where}") + (f": layout {proposal.layout}" if proposal else ""), flush=True
    )
    for remark in proposal.remarks if proposal else ():
        print(shown(f"  note: {remark}"), flush=True)
    done = examine(datamodule, configured.describes, options, limit)
    cost, rate = (None, None) if no_trial or minutes is not None else _try(datamodule, done, arguments)
    everything = [*done.findings, *done.advice]
    code = exit_code(everything, strict)

    print(f"looked at {by_split(done.looks)} images\n")
    print(as_text(done.findings) or "nothing is wrong")
    if done.advice:
        print(f"\nwhat is true of the data, and would suit it\n{as_text(done.advice)}")
    report = {
        "data": {"name": datamodule.name_in_yaml(), **options},
        "images": {split: len(looks) for split, looks in done.looks.items()},
        "findings": [asdict(found) for found in done.findings],
        "advice": [asdict(found) for found in done.advice],
        "classes": class_table(done),
        "images_per_second": rate,
        "trial": None if cost is None else vars(cost) | {"largest_batch": cost.largest_batch()},
        "exit_code": code,
    }
    with writing(f"to {out}", "Choose another folder with --out."):
        out.mkdir(parents=True, exist_ok=True)
        write_json(out / "report.json", report)
        if any(done.loadable(split) for split in done.looks):
            title = f"{_name(folder, configuration)}: {by_split(done.looks)} images"
            write_overview(done, title, out / "overview.png")
    severities = [found.severity for found in (*done.findings, *done.advice)]
    counts = [counted(severities.count(severity), severity) for severity in get_args(Severity)]
    print(f"\n{', '.join(counts)}: {out}/report.json, {out}/overview.png")
    if minutes is not None:
        if exit_code(everything, strict=False):
            print("no plan before the errors are mended")
            return code
        planned = write or out / "plan.yaml"
        plan = make_plan(done, configured, proposal, configuration, minutes, planned)
        if explain:
            print(f"\n{plan.explained()}\n")
        print(f"plan for {minutes:g} minutes: {planned}\n  python -m deeplab_lightning fit -c {planned}")
    elif write is not None:
        with writing(write, "Choose another place."):
            write.parent.mkdir(parents=True, exist_ok=True)
            write.write_text(_configuration(proposal, folder, write), encoding="utf-8")
        print(f"configuration: {write}")
        if stops_training(everything):
            print("`fit` will refuse it before the errors are mended: edit the file, then doctor -c it")
        else:
            if exit_code(everything, strict=False):
                print("`fit` will train on it, and its scores mean nothing before the errors are mended:")
            print(f"  python -m deeplab_lightning fit -c configs/v3plus.yaml -c {write}")
    return code


def build_for_trial(arguments: Sequence[str]) -> tuple[Any, dict[str, Any]]:
    """Make the configured task, without pretrained weights, and the Trainer options that decide what a step costs."""
    from ..config import Configuration

    configured = Configuration(arguments, needs_model=False)
    trainer = configured.trainer_options
    decisive = ("accelerator", "precision", "gradient_clip_val", "gradient_clip_algorithm")
    return configured.make_task(untrained=True), {name: trainer[name] for name in decisive}


def _try(
    datamodule: SegmentationDataModule, done: Examination, arguments: Sequence[str]
) -> tuple[Cost | None, float | None]:
    """Make the trial steps and draw from the loader; add what they say to the advice."""
    from ..doctor.cost import batch
    from ..doctor.findings import finding
    from ..doctor.throughput import images_per_second, speed
    from ..doctor.trial import TrialError, measure

    cost = rate = None
    crop_size, batch_size = datamodule.options.crop_size, datamodule.options.batch_size
    print(f"trial: training steps of 1 and 2 images at crop {crop_size} ...", flush=True)
    try:
        cost = measure(partial(build_for_trial, list(arguments)), crop_size)
        images = len(done.datasets["train"]) if "train" in done.datasets else batch_size
        done.advice += batch(cost, batch_size, images)
    except TrialError as error:
        what = f"The training step of 2 images at crop {crop_size} failed: {error}."
        done.advice.append(finding("warning", "trial", what, "fix what it says; or leave it out with --no_trial"))
    if done.loadable("train") and len(done.datasets["train"]) >= batch_size:
        rate = images_per_second(datamodule)
        done.advice += speed(rate, cost, datamodule.options.num_workers)
    return cost, rate


def make_plan(
    done: Examination,
    configured: Configuration,
    proposal: Proposal | None,
    words: Sequence[str],
    minutes: float,
    path: Path,
) -> Plan:
    """Plan a training of so many minutes, and write it to `path`.

    Args:
        done: What was found out about the data.
        configured: The configuration that it was read by.
        proposal: What was found out about the folder's layout, if it was.
        words: What the user said.
        minutes: How long it may take.
        path: Of the YAML file.
    """
    from ..backbones.at_hand import first_at_hand
    from ..config import Configuration
    from ..config_words import config_files, said_in, without_config_files
    from ..doctor.facts import facts_of
    from ..doctor.plan import (
        PLANNED,
        PRECISIONS,
        PROBE_BATCHES,
        PROBE_CROP,
        Choice,
        Plan,
        choose_learning,
        choose_length,
        choose_network,
        choose_precision,
        said,
    )
    from ..doctor.throughput import images_per_second
    from ..doctor.trial import TrialError, measure

    typed = without_config_files(words)
    kept, lost = said(said_in([word for path in config_files(words) for word in ("-c", str(path))]), said_in(typed))
    if proposal is not None:
        read = {
            f"data.{name}": Choice(value, proposal.comments.get(name, "")) for name, value in proposal.options.items()
        }
        kept = {"data.name": Choice(proposal.name, "")} | {k: v for k, v in read.items() if k not in PLANNED} | kept
    plan = Plan(kept, rejected=lost)
    facts = facts_of(done, configured.describes, minutes)
    choose_network(plan, first_at_hand(BACKBONES))
    choose_learning(plan, facts)

    def write_plan() -> None:
        head = (
            f"{minutes:g} minutes on this machine, planned by `doctor`: {facts.train_images} training images, "
            f"{facts.val_images} validation images.\n  python -m deeplab_lightning fit -c {path}"
        )
        with writing(path, "Choose another place."):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(plan.as_yaml(head + "".join(f"\nNot taken: {what}" for what in plan.rejected)), "utf-8")

    write_plan()
    probe = min(PROBE_CROP, facts.largest_crop)
    costs: dict[str, Cost | str] = {}
    at_most = math.inf
    precisions = [plan.value("trainer.precision")] if "trainer.precision" in kept else PRECISIONS
    for precision in precisions:
        print(f"trial: training steps in {precision} ...", flush=True)
        trial = partial(build_for_trial, ["-c", str(path), f"--trainer.precision={precision}"])
        try:
            costs[precision] = cost = measure(trial, probe, PROBE_BATCHES, at_most=at_most)
            at_most = TOO_SLOW * cost.seconds_per_image
        except TrialError as error:
            costs[precision] = str(error)
    cost = choose_precision(plan, costs)
    probed = Configuration(["-c", str(path), f"--data.crop_size={probe}"])
    choose_length(plan, replace(facts, images_per_second=images_per_second(probed.datamodule())), cost)
    write_plan()
    return plan


def _propose(folder: Path, out: Path) -> Proposal:
    """Recognise a folder's layout, and write the configuration that reads it, which is looked at next."""
    from ..doctor.layouts import propose

    proposal = propose(folder)
    path = out / "data.yaml"
    with writing(path, "Choose another place."):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_configuration(proposal, folder, path), encoding="utf-8")
    return proposal


def _configuration(proposal: Proposal | None, folder: Path | None, path: Path) -> str:
    """Return a proposal as a file that says how to use it."""
    assert proposal is not None
    title = f"Written by `doctor {folder}`: layout {proposal.layout}. On top of a model's configuration:"
    first, rest = proposal.as_yaml(title).split("\n", 1)
    return f"{first}\n#   python -m deeplab_lightning fit -c configs/v3plus.yaml -c {path}\n{rest}"


def _name(folder: Path | None, configuration: Sequence[str]) -> str:
    """Name the report after the folder, or after the last configuration file."""
    from ..config_words import config_files

    if folder is not None:
        return folder.resolve().name or "data"
    files = config_files(configuration)
    return files[-1].stem if files else "data"
