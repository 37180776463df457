"""Reading our own checkpoints: safely, and with clear words where one does not fit."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from ..backbones.weight_files import misfits
from ..errors import CheckpointError
from ..runs import LATEST, expect_checkpoint, resolve_checkpoint
from ..torch_files import BrokenFile, MoreThanData, read_torch_file
from .parts import check_finite, check_parts

FROM_DATA = ("num_classes", "ignore_index", "class_names")
"""Options of a model that follow from its data."""
OF_EVERY_TASK = ("network", "model", "optimizer", "loss", "description")
"""Hyper-parameters that every task saves."""
ON_THE_USERS_WORD = ("download", "cache", "max_pixels")
"""Options of data that fetch, write, or take memory: nothing does so because a file says it."""
PIXELS = ("mean", "std", "pixel_range")
"""What of a data description says how an image's pixels reach the network."""


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint of this framework, or that of a run (its best); nothing in it is executed.

    Raises:
        CheckpointError: The file is missing, torn, or was written by something else.
    """
    path = Path(path)
    if path.is_dir() or path.name == LATEST:
        path = resolve_checkpoint(path)
    expect_checkpoint(path)
    if path.suffix in (".yaml", ".yml"):
        raise CheckpointError(f"{path} is a configuration, expected a checkpoint: give it with -c {path}")
    try:
        checkpoint = read_torch_file(path)
    except MoreThanData as error:
        raise CheckpointError(
            f"{path} holds Python objects besides weights ({error}), which could run code on loading, so it was not "
            f"read. Checkpoints of deeplab_lightning hold plain values only."
        ) from error
    except (OSError, BrokenFile) as error:
        others = [str(entry) for entry in sorted(path.parent.glob("*.ckpt")) if entry != path]
        said = "it is empty" if not path.stat().st_size else error
        raise CheckpointError(
            f"{path} is not a readable checkpoint ({said}). If its writing or copying was cut short, use another one "
            f"of the same run{': ' if others else ''}{', '.join(others)}."
        ) from error
    if not isinstance(checkpoint, dict) or "deeplab_lightning" not in checkpoint:
        found = ", ".join(list(map(str, checkpoint))[:5]) if isinstance(checkpoint, dict) else type(checkpoint).__name__
        raise CheckpointError(
            f"{path} was not written by deeplab_lightning (it holds: {found}). Expected a file from a run's "
            f"checkpoints/ folder."
        )
    check_parts(checkpoint, path)
    return checkpoint


def checkpoint_config(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration that rebuilds a checkpoint's network, training and data, by section.

    What follows from the data is left out, and `pretrained` is off: the weights come from the checkpoint. So is what
    would be fetched or written because a file says so: the user says it again (`proposals`).
    """
    kept = checkpoint["hyper_parameters"]
    model = {"name": kept["network"], **{key: value for key, value in kept["model"].items() if key not in FROM_DATA}}
    if "pretrained" in model:
        model["pretrained"] = False
    config: dict[str, Any] = {"model": model, "optimizer": dict(kept["optimizer"]), "loss": dict(kept["loss"])}
    if data := checkpoint.get("datamodule_hyper_parameters"):
        config["data"] = {key: value for key, value in data.items() if key not in ON_THE_USERS_WORD}
        if isinstance(workers := data.get("num_workers"), int):
            config["data"]["num_workers"] = min(workers, os.cpu_count() or workers)
    return config


def proposals(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options by which a checkpoint's training fetched or wrote files beside its run, with their values."""
    data = checkpoint.get("datamodule_hyper_parameters") or {}
    return {f"--data.{key}": data[key] for key in ON_THE_USERS_WORD if data.get(key)}


def own_hyper_parameters(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a task of the user's own saved besides what every task does: its constructor gets it again."""
    kept = checkpoint["hyper_parameters"]
    return {name: value for name, value in kept.items() if name not in OF_EVERY_TASK}


def training_config(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """Return what else decides the numbers of a training that goes on: seed, validation, settings of the trainer."""
    facts = checkpoint["deeplab_lightning"]
    config = {section: dict(facts.get(section, {})) for section in ("trainer", "evaluation")}
    return config | ({"seed_everything": facts["seed"]} if "seed" in facts else {})


def check_fits(
    task: nn.Module, description: Mapping[str, Any], checkpoint: Mapping[str, Any], path: str | Path
) -> None:
    """Refuse a checkpoint whose classes, pixels or weights are not those of a task.

    Args:
        task: As configured.
        description: Of its data.
        checkpoint: As read.
        path: For the message.

    Raises:
        CheckpointError: What differs, and what to do.
    """
    names, class_names = trained_for(checkpoint).get("class_names"), list(description["class_names"])
    if names is not None and list(names) != class_names:
        raise CheckpointError(
            f"{path} was trained for {len(names)} classes ({some(names, 4)}), but the data has {len(class_names)} "
            f"({some(class_names, 4)}). Choose the data it was trained on (leave out -c and --data), or train anew."
        )
    check_pixels(description, checkpoint, path)
    check_weights(task, checkpoint, path)


def trained_for(checkpoint: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the description of the data that a checkpoint was trained on; empty where there was none."""
    return checkpoint["hyper_parameters"].get("description") or {}


def check_pixels(description: Mapping[str, Any], checkpoint: Mapping[str, Any], path: str | Path) -> None:
    """Refuse data whose pixels reach the network on another scale than in training: no score would show why.

    Raises:
        CheckpointError: Both scales, and the options that make them one.
    """
    theirs = trained_for(checkpoint)
    different = [key for key in PIXELS if theirs and theirs[key] != description[key]]
    if not different:
        return
    said = "; ".join(f"{key} {theirs[key]}, not {description[key]}" for key in different)
    scale = f" and a pixel range of {theirs['pixel_range']}" if "pixel_range" in different else ""
    raise CheckpointError(
        f"{path} was trained on pixels of another scale: {said}. Set --data.mean '{list(theirs['mean'])}' --data.std "
        f"'{list(theirs['std'])}'{scale}."
    )


def check_weights(model: nn.Module, checkpoint: Mapping[str, Any], path: str | Path) -> None:
    """Refuse a checkpoint of another network.

    Raises:
        CheckpointError: What differs.
    """
    ours, theirs = model.state_dict(), checkpoint["state_dict"]
    if wrong := misfits(theirs, ours):
        was = checkpoint["hyper_parameters"]["model"]
        raise CheckpointError(
            f"{path} belongs to another model: it was written by {checkpoint['deeplab_lightning']['task']} with "
            f"backbone {was.get('backbone')!r}, and {len(wrong)} of {len(ours)} weights do not fit "
            f"({some(wrong)}). Leave out the options that change the model, or choose another checkpoint."
        )
    check_finite(checkpoint, path)


def some(words: Sequence[str], count: int = 3) -> str:
    """Return the first words, and a sign that there are more."""
    return ", ".join(words[:count]) + (", ..." if len(words) > count else "")
