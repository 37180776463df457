"""Tasks from checkpoints alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from ..checkpoints.loading import checkpoint_config, own_hyper_parameters, trained_for
from ..checkpoints.parts import check_finite, no_larger_than
from ..errors import CheckpointError, ConfigError, did_you_mean
from ..models import network_named
from ..types import DataDescription
from .base import SegmentationTask
from .generations import task_class_in


def load_task(checkpoint: dict[str, Any], path: str | Path, **model_options: Any) -> SegmentationTask:
    """Rebuild the task of a checkpoint with its weights.

    Args:
        checkpoint: As read by `read_checkpoint`.
        path: Where from, for messages.
        model_options: Override the options of the checkpoint's network.

    Raises:
        CheckpointError: This version has no such network, or the weights do not fit the options or are no numbers.
        ConfigError: An option is unknown.
    """
    config = checkpoint_config(checkpoint)
    model = dict(config["model"])
    name = model.pop("name")
    try:
        network, task_class = network_named(name), task_class_in(checkpoint)
    except ConfigError as error:
        raise CheckpointError(f"{path} holds a {name}, which is not to be had here: {error}") from error
    for option in model_options:
        if option not in model:
            raise ConfigError(f"{name} has no option {option!r}.{did_you_mean(option, model)}")
    with no_larger_than(checkpoint, path):
        task = task_class(
            cast("DataDescription | None", trained_for(checkpoint) or None),
            network=network,
            optimizer=config["optimizer"],
            loss=config["loss"],
            **{**model, **model_options, **own_hyper_parameters(checkpoint)},
        )
    try:
        task.load_state_dict(checkpoint["state_dict"])
    except RuntimeError as error:
        raise CheckpointError(
            f"The weights in {path} do not fit the model with these options ({', '.join(model_options) or 'none'}): "
            f"{str(error).splitlines()[-1].strip()}"
        ) from error
    check_finite(checkpoint, path)
    task.on_load_checkpoint(checkpoint)
    task.weights_from = str(path)
    return task
