"""`import`: weights that another program trained become a checkpoint of this framework."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..checkpoints.importers import Imported, Report
    from ..labels import LabelSet
    from ..types import DataDescription


def main(arguments: Sequence[str]) -> int:
    """Run the command; the exit code is 1 if a dry run found that weights are missing or left over."""
    parser = argparse.ArgumentParser(
        prog="python -m deeplab_lightning import",
        description="Turn weights that another program trained into a checkpoint: the network is recognised by their "
        "names and shapes, and every one of them must find its place. See docs/import.md.",
        allow_abbrev=False,
    )
    parser.add_argument("file", metavar="FILE", help="the weights; of a TensorFlow checkpoint its .index file")
    parser.add_argument("-o", "--output", help="checkpoint to write (FILE's name with .ckpt, in the working folder)")
    parser.add_argument("--format", help="the program that wrote it, if it is not recognised by itself")
    parser.add_argument("--backbone", help="timm's name of the encoder, where several have the same weights")
    parser.add_argument(
        "--classes",
        help="name of a data set, such as voc or cityscapes, or a text file with one name a line (by their number if "
        "left out)",
    )
    parser.add_argument("--mean", type=float, nargs="+", help="of the pixels, 0..1 per channel, if not the program's")
    parser.add_argument("--std", type=float, nargs="+", help="likewise")
    parser.add_argument("--pixel_range", type=float, default=255.0, help="stored value that means 1.0 (%(default)g)")
    parser.add_argument(
        "--trust", action="store_true", help="run what a pickle asks for, where it holds more than weights"
    )
    parser.add_argument("--dry_run", action="store_true", help="report, and write nothing")
    options = parser.parse_args(arguments)
    return import_file(
        Path(options.file),
        None if options.dry_run else Path(options.output or f"{Path(options.file).stem}.ckpt"),
        options.format,
        options.classes,
        options.mean,
        options.std,
        options.pixel_range,
        options.trust,
        options.backbone,
    )


def import_file(
    path: Path,
    output: Path | None,
    format: str | None = None,
    classes: str | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    pixel_range: float = 255.0,
    trust: bool = False,
    backbone: str | None = None,
) -> int:
    """Import `path`, and print what was recognised, what became of every weight, and how to go on.

    Args:
        path: Another program's file.
        output: The checkpoint to write; beside it goes a configuration for fine-tuning. None writes nothing.
        format: The program that wrote it; found out if not given.
        classes: Name of a label set, or a text file of names; by their number if not given.
        mean: Per channel, of pixels divided by `pixel_range`; the program's if not given.
        std: Likewise.
        pixel_range: The stored value that means 1.0.
        trust: Run what a pickle asks for.
        backbone: timm's name of the encoder, needed where several have the same weights.

    Returns:
        0, or 1 if nothing was to be written and the weights would not have fitted.

    Raises:
        CheckpointError: The file cannot be read or is not recognised, or some of its weights do not fit.
        ConfigError: The classes are not as many as the network's, or their file cannot be read.
    """
    import torch

    from .. import tasks
    from ..checkpoints.importers import place, recognise
    from ..checkpoints.reading import read_foreign
    from ..errors import CheckpointError

    imported = recognise(read_foreign(path, trust), format, backbone)
    print(f"{path}: {imported.network}, {imported.num_classes} classes, as {imported.format} writes it")
    description, origin = describe(imported, classes, mean, std, pixel_range)
    with torch.device("meta"):  # its shapes are all that is needed
        task = getattr(tasks, imported.task)(**imported.options, description=description)
    report = place(imported, task.model)
    _print_report(report, description, origin)
    if output is None:
        return 0 if report.complete else 1
    if not report.complete:
        raise CheckpointError(
            f"{path} was recognised, but not all of its weights have their place (see above), so nothing was written: "
            f"the network would not be the one that was trained."
        )
    settings = write(output, task, imported, path)
    print(f"\nwritten: {output}, and {settings} for training on\nnext:")
    print(f"  python -m deeplab_lightning predict IMAGE --ckpt_path {output}")
    print(f"  python -m deeplab_lightning fit -c {settings} -c configs/data/YOURS.yaml")
    return 0


def describe(
    imported: Imported,
    classes: str | None,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
    pixel_range: float,
) -> tuple[DataDescription, str]:
    """Return what the network must know of its data, and where its classes are known from, in words."""
    from ..errors import ConfigError

    labels, origin = _labels(imported.num_classes, classes)
    if labels.num_classes != imported.num_classes:
        raise ConfigError(
            f"--classes {classes} has {labels.num_classes} classes, and the network tells {imported.num_classes} "
            f"apart. Give a text file with that many names, one a line."
        )
    first = (f"backbone.features.{conv}.weight" for conv in ("conv_stem", "conv1", "conv1.0", "stem.conv_kxk.0.conv"))
    channels = next((imported.state[key].shape[1] for key in first if key in imported.state), 3)
    means, stds = list(mean or imported.mean), list(std or imported.std)
    if not len(means) == len(stds) == channels or min(stds) <= 0:
        raise ConfigError(
            f"The network takes images of {channels} channels, and there are {len(means)} means and {len(stds)} "
            f"standard deviations: give --mean and --std with {channels} numbers each, deviations above 0."
        )
    return {
        "class_names": list(labels.class_names),
        "palette": [list(colour) for colour in labels.palette],
        "ignore_index": labels.ignore_index,
        "channels": channels,
        "mean": means,
        "std": stds,
        "pixel_range": pixel_range,
    }, origin


def _labels(count: int, classes: str | None) -> tuple[LabelSet, str]:
    from ..data.sets import published
    from ..errors import ConfigError, did_you_mean
    from ..labels import LabelSet, voc_palette

    known = published()
    if classes is None:
        of_size = [name for name, found in known.items() if found.known_by_number and found.labels.num_classes == count]
        if of_size:
            return known[of_size[0]].labels, f"{of_size[0]}'s, taken from their number; --classes says otherwise"
        names = tuple(f"class_{index}" for index in range(count))
        return LabelSet(names, voc_palette(count)), "numbered; name them with --classes names.txt"
    if classes in known:
        return known[classes].labels, f"{classes}'s, as given"
    if not Path(classes).is_file():
        raise ConfigError(
            f"--classes {classes} is neither a file nor one of {', '.join(known)}.{did_you_mean(classes, known)}"
        )
    try:
        lines = Path(classes).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"--classes {classes} cannot be read as text: {error}. One name a line is expected."
        ) from error
    names = tuple(line.strip() for line in lines if line.strip())
    return LabelSet(names, voc_palette(len(names))), f"from {classes}"


def _print_report(report: Report, description: DataDescription, origin: str) -> None:
    imported, names = report.imported, description["class_names"]
    options = ", ".join(f"{key} {value}" for key, value in imported.options.items())
    print(f"network: {imported.task} ({options})")
    print(f"classes: {', '.join(names[:4])}{', ...' if len(names) > 4 else ''} ({origin})")
    print(f"pixels: (value / {description['pixel_range']:g} - mean) / std, mean {_numbers(description['mean'])}, "
          f"std {_numbers(description['std'])}")  # fmt: skip
    for note in imported.notes:
        print(f"note: {note}")
    print("\n".join(report.lines()))


def _numbers(values: Sequence[float]) -> str:
    return " ".join(f"{value:.4g}" for value in values)


def write(output: Path, task: Any, imported: Imported, source: Path) -> Path:
    """Write the checkpoint, and beside it a configuration that trains on from it; returns the latter's path."""
    import lightning
    import torch

    from .. import __version__
    from ..data.sets import published
    from ..errors import ConfigError
    from ..files import atomic_open, write_text

    description = task.description
    pixels = {"mean": description["mean"], "std": description["std"]}
    same = [found for found in published().values() if list(found.labels.class_names) == description["class_names"]]
    data = {"name": same[0].name_in_yaml(), **pixels} if same else {}
    checkpoint = {
        "deeplab_lightning": {"task": imported.task, "version": __version__},
        "imported": {"format": imported.format, "file": source.name, "notes": imported.notes},
        "pytorch-lightning_version": lightning.__version__,
        "epoch": 0,
        "global_step": 0,
        "state_dict": {f"model.{key}": value.contiguous().clone() for key, value in imported.state.items()},
        "hparams_name": "kwargs",
        "hyper_parameters": dict(task.hparams),
        "datamodule_hparams_name": "kwargs",
        "datamodule_hyper_parameters": data,
    }
    settings = output.with_suffix(".yaml")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with atomic_open(output) as file:
            torch.save(checkpoint, file)
        write_text(settings, _fine_tuning(output, imported, pixels))
    except OSError as error:
        raise ConfigError(f"Cannot write {output}: {error.strerror}. Choose another place with -o.") from error
    return settings


def _fine_tuning(output: Path, imported: Imported, pixels: dict[str, Any]) -> str:
    """Return a configuration, as YAML."""
    options = {**imported.options, "weights": str(output), "lr": 0.001, "head_lr_multiplier": 10.0}
    lines = [
        f"# Trains on from {output}, on other classes too: a new classifier then learns at lr * head_lr_multiplier.",
        "# Add the data: -c configs/data/camvid.yaml, for one. Its pixels are scaled as this network is used to.",
        "",
        "model:",
        f"  class_path: {imported.task}",
        "  init_args:",
        *(f"    {key}: {json.dumps(value)}" for key, value in options.items()),
        "",
        "data:",
        *(f"  {key}: {json.dumps(value)}" for key, value in pixels.items()),
        "",
    ]
    return "\n".join(lines)
