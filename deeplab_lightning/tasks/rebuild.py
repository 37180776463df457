"""Tasks from checkpoints alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .. import tasks
from ..checkpoints.loading import checkpoint_config
from ..errors import CheckpointError, ConfigError, did_you_mean
from .base import SegmentationTask


def load_task(checkpoint: dict[str, Any], path: str | Path, **model_options: Any) -> SegmentationTask:
    """Rebuild the task of a checkpoint with its weights.

    Args:
        checkpoint: As read by `read_checkpoint`.
        path: Where from, for messages.
        model_options: Override the checkpoint's hyper-parameters.

    Raises:
        CheckpointError: This version has no such task, or the weights do not fit the options.
        ConfigError: An option is unknown.
    """
    model = checkpoint_config(checkpoint)["model"]
    name = model["class_path"]
    task_class = getattr(tasks, name, None)
    if task_class is None:
        raise CheckpointError(
            f"{path} holds a {name}, which this version does not have.{did_you_mean(name, tasks.__all__)}"
        )
    for option in model_options:
        if option not in model["init_args"]:
            raise ConfigError(f"{name} has no option {option!r}.{did_you_mean(option, model['init_args'])}")
    description = checkpoint["hyper_parameters"]["description"] or None
    from_data = (
        {}
        if description
        else {key: checkpoint["hyper_parameters"][key] for key in ("num_classes", "ignore_index", "class_names")}
    )
    task: SegmentationTask = task_class(**{**model["init_args"], **model_options}, description=description, **from_data)
    try:
        task.load_state_dict(checkpoint["state_dict"])
    except RuntimeError as error:
        raise CheckpointError(
            f"The weights in {path} do not fit the model with these options ({', '.join(model_options) or 'none'}): "
            f"{str(error).splitlines()[-1].strip()}"
        ) from error
    task.on_load_checkpoint(checkpoint)
    return task
