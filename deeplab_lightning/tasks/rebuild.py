"""Tasks from checkpoints alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from ..checkpoints.loading import checkpoint_config, trained_for
from ..errors import CheckpointError, ConfigError, did_you_mean
from ..models import networks
from ..types import DataDescription
from .base import SegmentationTask
from .generations import task_class_of


def load_task(checkpoint: dict[str, Any], path: str | Path, **model_options: Any) -> SegmentationTask:
    """Rebuild the task of a checkpoint with its weights.

    Args:
        checkpoint: As read by `read_checkpoint`.
        path: Where from, for messages.
        model_options: Override the options of the checkpoint's network.

    Raises:
        CheckpointError: This version has no such network, or the weights do not fit the options.
        ConfigError: An option is unknown.
    """
    config = checkpoint_config(checkpoint)
    model = dict(config["model"])
    name = model.pop("name")
    if name not in networks():
        raise CheckpointError(
            f"{path} holds a {name}, which this version does not have.{did_you_mean(name, networks())}"
        )
    for option in model_options:
        if option not in model:
            raise ConfigError(f"{name} has no option {option!r}.{did_you_mean(option, model)}")
    network = networks()[name]
    task = task_class_of(network)(
        cast("DataDescription | None", trained_for(checkpoint) or None),
        network=network,
        optimizer=config["optimizer"],
        loss=config["loss"],
        **{**model, **model_options},
    )
    try:
        task.load_state_dict(checkpoint["state_dict"])
    except RuntimeError as error:
        raise CheckpointError(
            f"The weights in {path} do not fit the model with these options ({', '.join(model_options) or 'none'}): "
            f"{str(error).splitlines()[-1].strip()}"
        ) from error
    task.on_load_checkpoint(checkpoint)
    task.weights_from = str(path)
    return task
