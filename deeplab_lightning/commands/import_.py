"""`import`: weights that another program trained become a checkpoint of this framework."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from ..errors import CheckpointError, ConfigError, did_you_mean, shown
from ..files import read_text, write_text, writing
from ..options import Written, above

if TYPE_CHECKING:
    from ..checkpoints.importers import Imported, ImportReport
    from ..labels import LabelSet
    from ..types import DataDescription


def import_file(
    file: Path,
    /,
    *,
    output: Annotated[Path | None, Written("--output", "-o", metavar="FILE.ckpt")] = None,
    format: str | None = None,
    backbone: str | None = None,
    classes: str | None = None,
    mean: list[float] | None = None,
    std: list[Annotated[float, above(0)]] | None = None,
    pixel_range: Annotated[float, above(0)] = 255.0,
    trust: bool = False,
    dry_run: bool = False,
) -> int:
    """Take over weights that another program trained.

    They become a checkpoint, with a configuration for training on beside it: the network is recognised by the weights'
    names and shapes, and every one of them must find its place. Prints what was recognised, what became of every
    weight, and how to go on. See docs/import.md.

    Args:
        file: The weights; of a TensorFlow checkpoint its .index file.
        output: Checkpoint to write; FILE's name with .ckpt, in the working folder, if not given.
        format: The program that wrote the weights, if it is not recognised by itself.
        backbone: timm's name of the encoder, where several have the same weights.
        classes: Names of the classes: voc, cityscapes, ade20k or camvid, or a text file with one name a line; taken
            from their number if not given.
        mean: Mean of the pixels divided by the pixel range, one number per channel; the program's if not given.
        std: Standard deviation of the pixels divided by the pixel range, one number per channel; the program's if not
            given.
        pixel_range: The stored value that means 1.0.
        trust: Run what a pickle asks for, where it holds more than weights.
        dry_run: Report, and write nothing; the exit code is 1 if weights are missing or left over.

    Returns:
        0, or 1 if nothing was to be written and the weights would not have fitted.

    Raises:
        CheckpointError: The file cannot be read or is not recognised, or some of its weights do not fit.
        ConfigError: The classes are not as many as the network's, or their file cannot be read.
    """
    import torch

    from ..checkpoints.importers import place, recognise
    from ..checkpoints.reading import read_foreign
    from ..models import network_named
    from ..tasks import task_class_of

    imported = recognise(read_foreign(file, trust), format, backbone)
    print(shown(f"{file}: {imported.network}, {imported.num_classes} classes, as {imported.format} writes it"))
    description, origin = describe(imported, classes, mean, std, pixel_range)
    with torch.device("meta"):  # its shapes are all that is needed
        network = network_named(imported.generation)
        task = task_class_of(network)(description, network=network, **imported.options)
    report = place(imported, task.model)
    _print_report(report, description, origin)
    if dry_run:
        return 0 if report.complete else 1
    if not report.complete:
        raise CheckpointError(
            f"{file} was recognised, but not all of its weights have their place (see above), so nothing was written: "
            f"the network would not be the one that was trained."
        )
    output = output or Path(f"{file.stem}.ckpt")
    settings = write(output, task, imported, file)
    print(f"\nwritten: {output}, and {settings} for training on\nnext:")
    print(f"  python -m deeplab_lightning predict IMAGE --ckpt_path {output}")
    print(f"  python -m deeplab_lightning fit -c configs/data/YOURS.yaml -c {settings}")
    return 0


def describe(
    imported: Imported,
    classes: str | None,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
    pixel_range: float,
) -> tuple[DataDescription, str]:
    """Return what the network must know of its data, and where its classes are known from, in words."""
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
        lines = read_text(Path(classes)).splitlines()
    except OSError as error:
        raise ConfigError(
            f"--classes {classes} cannot be read as text: {error.strerror}. One name a line is expected."
        ) from error
    names = tuple(line.strip() for line in lines if line.strip())
    return LabelSet(names, voc_palette(len(names))), f"from {classes}"


def _print_report(report: ImportReport, description: DataDescription, origin: str) -> None:
    imported, names = report.imported, description["class_names"]
    options = ", ".join(f"{key} {value}" for key, value in imported.options.items())
    print(shown(f"network: {imported.generation} ({options})"))
    print(shown(f"classes: {', '.join(names[:4])}{', ...' if len(names) > 4 else ''} ({origin})"))
    mean, std = (" ".join(f"{one:.4g}" for one in values) for values in (description["mean"], description["std"]))
    print(f"pixels: (value / {description['pixel_range']:g} - mean) / std, mean {mean}, std {std}")
    for note in imported.notes:
        print(shown(f"note: {note}"))
    print("\n".join(map(shown, report.lines())))


def write(output: Path, task: Any, imported: Imported, source: Path) -> Path:
    """Write the checkpoint, and beside it a configuration that trains on from it; returns the latter's path."""
    from ..checkpoints.writing import write_checkpoint
    from ..data.sets import published

    description = task.description
    pixels = {"mean": description["mean"], "std": description["std"]}
    same = [found for found in published().values() if list(found.labels.class_names) == description["class_names"]]
    data = {"name": same[0].name_in_yaml(), **pixels} if same else {}
    facts = {"format": imported.format, "file": source.name, "notes": imported.notes}
    write_checkpoint(output, task, imported.state, data, imported=facts)
    settings = output.with_suffix(".yaml")
    with writing(settings, "Choose another place with -o.", ConfigError):
        write_text(settings, _fine_tuning(output, imported, pixels))
    return settings


def _fine_tuning(output: Path, imported: Imported, pixels: dict[str, Any]) -> str:
    """Return a configuration, as YAML."""
    options = {"name": imported.generation, **imported.options, "weights": str(output)}
    lines = [
        f"# Trains on from {output}, on other classes too: a new classifier then learns at lr * head_lr_multiplier.",
        "# The data stand before it, as in -c configs/data/camvid.yaml -c THIS.yaml: pixels are scaled as this network",
        "# is used to, and the optimiser is for trained networks (docs/planner.md).",
        "",
        "model:",
        *(f"  {key}: {json.dumps(value)}" for key, value in options.items()),
        "",
        "optimizer:",
        "  name: adamw",
        "  lr: 0.0005",
        "  weight_decay: 0.01",
        "  warmup_steps: 0",
        "  head_lr_multiplier: 10.0",
        "",
        "data:",
        *(f"  {key}: {json.dumps(value)}" for key, value in pixels.items()),
        "",
    ]
    return "\n".join(lines)
