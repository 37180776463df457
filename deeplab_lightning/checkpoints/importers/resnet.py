"""Which ResNet a file holds, where its stages and units have torchvision's names, which are timm's as well."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from ...errors import CheckpointError
from .translation import Renames, renamed, units

BOTTLENECKS: dict[tuple[int, ...], str] = {
    (2, 2, 2, 2): "resnet26",
    (3, 4, 6, 3): "resnet50",
    (3, 4, 23, 3): "resnet101",
    (3, 8, 36, 3): "resnet152",
}
FEATURES = "backbone.features."
"""What all our names of a timm network begin with."""
BASIC: dict[tuple[int, ...], str] = {(2, 2, 2, 2): "resnet18", (3, 4, 6, 3): "resnet34"}

RESNEXTS = (
    *("resnext50_32x4d", "resnext101_32x4d", "resnext101_32x8d"),
    *("resnext101_32x16d", "resnext101_32x32d", "resnext101_64x4d"),
)


def resnet_name(tensors: Mapping[str, Tensor], prefix: str) -> str:
    """Return timm's name of the ResNet whose weights are `prefix` + `layer1.0.conv1.weight` and so on.

    Raises:
        CheckpointError: No ResNet has so many units.
    """
    counts = units(tensors, rf"{re.escape(prefix)}layer(\d+)\.(\d+)\.conv1\.weight")
    deep = f"{prefix}layer1.0.conv3.weight" in tensors
    kernel = tuple(tensors[f"{prefix}layer1.0.conv2.weight"].shape)
    name = (BOTTLENECKS if deep else BASIC).get(counts)
    width, per_group = kernel[:2]
    if name is not None and width != per_group:
        grouped = f"{name.replace('resnet', 'resnext')}_{width // per_group}x{per_group}d"
        name = grouped if grouped in RESNEXTS else None
    elif width != 64:
        name = None
    if name is None:
        known = ", ".join([*BASIC.values(), *BOTTLENECKS.values(), *RESNEXTS])
        raise CheckpointError(
            f"Its backbone has stages of {counts} units with a first 3x3 of shape {kernel}; known, of plain width, are "
            f"{known}."
        )
    return name


def is_resnet(tensors: Mapping[str, Tensor], prefix: str) -> bool:
    """Tell whether there is a ResNet by torchvision's names behind `prefix`."""
    return all(f"{prefix}{name}.weight" in tensors for name in ("conv1", "layer1.0.conv2", "layer4.0.conv1"))


def resnet_renames(prefix: str) -> Renames:
    """Return its renames."""
    return renamed("{conv1,bn1,layer1,layer2,layer3,layer4} {conv1,bn1,layer1,layer2,layer3,layer4}", prefix, FEATURES)
