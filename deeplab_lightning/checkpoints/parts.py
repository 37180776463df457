"""What a checkpoint must hold before anything of it is used: it may come from anywhere, and be made by anyone."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from ..errors import CheckpointError

NAMES, NUMBER = Mapping, (int, float)
PARTS: dict[str, Any] = {
    "state_dict": NAMES,
    "deeplab_lightning": NAMES,
    "deeplab_lightning.task": str,
    "hyper_parameters": NAMES,
    "hyper_parameters.network": str,
    "hyper_parameters.model": NAMES,
    "hyper_parameters.optimizer": NAMES,
    "hyper_parameters.loss": NAMES,
}
"""What every checkpoint has, and of what type it is."""
PERHAPS: dict[str, Any] = {
    "epoch": int,
    "global_step": int,
    "datamodule_hyper_parameters": NAMES,
    "datamodule_hyper_parameters.name": str,
    "current_model_state": NAMES,
    "distillation": NAMES,
    "optimizer_states": list,
    "deeplab_lightning.new_layers": list,
    "deeplab_lightning.seed": int,
    "deeplab_lightning.trainer": NAMES,
    "deeplab_lightning.evaluation": NAMES,
    "deeplab_lightning.processes": int,
    "deeplab_lightning.threshold": NUMBER,
    "hyper_parameters.description": NAMES,
}
"""What some have; None stands for nothing."""
SETTINGS = (
    *("hyper_parameters.model", "hyper_parameters.optimizer", "hyper_parameters.loss", "hyper_parameters.description"),
    *("datamodule_hyper_parameters", "deeplab_lightning.trainer", "deeplab_lightning.evaluation"),
)
"""Parts of plain values alone, as they stand in YAML."""
DESCRIPTION: dict[str, Any] = {
    "class_names": list, "palette": list, "ignore_index": int, "channels": int, "mean": list, "std": list,
    "pixel_range": NUMBER,
}  # fmt: skip
MOST_VALUES, DEEPEST = 200_000, 20
"""In the settings."""
LARGEST_NUMBER = 1 << 53
SPARE = 1 << 24
"""Weights that may be made while a network is built, besides four times those of its checkpoint: a backbone is built
twice to look at its maps, and classifiers of ImageNet are thrown away."""


def check_parts(checkpoint: Mapping[Any, Any], path: str | Path) -> None:
    """Refuse a checkpoint whose parts are missing, or not what they should be.

    Raises:
        CheckpointError: Which part it is.
    """

    def refuse(part: str, what: str) -> CheckpointError:
        return CheckpointError(
            f"{path} is no whole checkpoint: its {part} {what}. It was damaged or made by something else: use another."
        )

    for part, kind in {**PARTS, **PERHAPS}.items():
        value = _part(checkpoint, part)
        if value is None and part in PARTS:
            raise refuse(part, "is missing")
        if value is not None and (not isinstance(value, kind) or isinstance(value, bool)):
            raise refuse(part, f"is {type(value).__name__}")
    for name in ("state_dict", "current_model_state"):
        for key, value in (checkpoint.get(name) or {}).items():
            if not isinstance(key, str) or not isinstance(value, Tensor):
                raise refuse(name, f"holds {type(value).__name__} among the weights")
            if value.numel() * value.element_size() > value.untyped_storage().nbytes():
                raise refuse(name, f"holds {key!r} of shape {tuple(value.shape)}, more than its bytes are")
    left = [MOST_VALUES]
    for part in SETTINGS:
        if (problem := _not_plain(_part(checkpoint, part), left, 0)) is not None:
            raise refuse(part, problem)
    if (problem := _not_described(_part(checkpoint, "hyper_parameters.description"))) is not None:
        raise refuse("hyper_parameters.description", problem)


def _part(checkpoint: Mapping[Any, Any], name: str) -> Any:
    value: Any = checkpoint
    for key in name.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _not_plain(value: Any, left: list[int], depth: int) -> str | None:
    """Say what in a value is not as it could stand in YAML; `left` counts down, over all of them."""
    left[0] -= 1
    if left[0] < 0 or depth > DEEPEST:
        return "holds more values than any network has options"
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str | int):
                return f"has {type(key).__name__} for a name"
        inner = list(value.values())
    elif isinstance(value, list | tuple):
        inner = list(value)
    else:
        plain = value is None or type(value) in (bool, int, float, str)
        if type(value) is int and abs(value) > LARGEST_NUMBER:
            return "holds a number far above all that can be set"
        return None if plain else f"holds {type(value).__name__}, which is no setting"
    return next((problem for each in inner if (problem := _not_plain(each, left, depth + 1)) is not None), None)


def _not_described(description: Mapping[str, Any] | None) -> str | None:
    """Say what is wrong with what a checkpoint tells of its data."""
    if not description:
        return None
    for key, kind in DESCRIPTION.items():
        value = description.get(key)
        if not isinstance(value, tuple if kind is list and isinstance(value, tuple) else kind) or isinstance(
            value, bool
        ):
            return f"has {key} {value!r}"[:120]
    names, palette = description["class_names"], description["palette"]
    colours = [colour for colour in palette if isinstance(colour, list | tuple) and len(colour) == 3]
    if not 1 <= len(names) == len(palette) == len(colours) <= 65536 or not all(isinstance(name, str) for name in names):
        return f"has {len(names)} names of classes and {len(colours)} colours"
    if not all(isinstance(one, int) and 0 <= one <= 255 for colour in colours for one in colour):
        return "has colours that are not of 0..255"
    numbers = [*description["mean"], *description["std"], description["pixel_range"]]
    if not all(isinstance(one, int | float) and math.isfinite(one) for one in numbers):
        return "has pixels of a scale that is no number"
    channels = description["channels"]
    if not 1 <= channels <= 1024 or not len(description["mean"]) == len(description["std"]) == channels:
        return f"has {channels} channels, {len(description['mean'])} means and {len(description['std'])} deviations"
    if min(description["std"]) <= 0 or description["pixel_range"] <= 0:
        return "has deviations or a pixel range that are not above 0"
    things = description.get("things", [])
    if not isinstance(things, list | tuple) or not all(type(one) is int and 0 <= one < len(names) for one in things):
        return f"has things {things!r}"[:120]
    return None


def check_finite(checkpoint: Mapping[str, Any], path: str | Path) -> None:
    """Refuse weights that are NaN or infinite: no class can be made of what they compute.

    Raises:
        CheckpointError: Names some of them.
    """
    weights: Mapping[str, Tensor] = checkpoint["state_dict"]
    floats = {name: value for name, value in weights.items() if value.is_floating_point() and not value.is_meta}
    bad = [name for name, value in floats.items() if not bool(value.isfinite().all())]
    if bad:
        raise CheckpointError(
            f"{path} holds weights that are NaN or infinite, {len(bad)} of {len(weights)}: {', '.join(bad[:3])}"
            f"{', ...' if len(bad) > 3 else ''}. Its training diverged, or the file was damaged: use an earlier one."
        )


@contextmanager
def no_larger_than(checkpoint: Mapping[str, Any], path: str | Path) -> Iterator[None]:
    """Refuse a network, built inside, of far more weights than its checkpoint has: options alone could fill memory.

    Raises:
        CheckpointError: The options and the weights do not belong together.
    """
    most = 4 * sum(value.numel() for value in checkpoint["state_dict"].values()) + SPARE
    so_far = 0

    def count(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        nonlocal so_far
        so_far += 0 if parameter is None else parameter.numel()
        if so_far > most:
            raise CheckpointError(
                f"{path} names options of a network of more than {so_far:,} weights, and holds far fewer: it was "
                f"damaged, or made by something else."
            )

    hook = register_module_parameter_registration_hook(count)
    try:
        yield
    except RuntimeError as error:
        if "memory" not in str(error) and "overflow" not in str(error):
            raise
        raise CheckpointError(f"{path} names options of a network that does not fit into memory: {error}") from error
    finally:
        hook.remove()
