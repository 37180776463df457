"""Which ResNet a file holds, where its stages and units have torchvision's names, which are timm's as well."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from ...errors import CheckpointError
from .translation import Renames, units

BOTTLENECKS: dict[tuple[int, ...], str] = {
    (2, 2, 2, 2): "resnet26",
    (3, 4, 6, 3): "resnet50",
    (3, 4, 23, 3): "resnet101",
    (3, 8, 36, 3): "resnet152",
}
BASIC: dict[tuple[int, ...], str] = {(2, 2, 2, 2): "resnet18", (3, 4, 6, 3): "resnet34"}


def resnet_name(tensors: Mapping[str, Tensor], prefix: str) -> str:
    """Return timm's name of the ResNet whose weights are `prefix` + `layer1.0.conv1.weight` and so on.

    Raises:
        CheckpointError: No ResNet has so many units.
    """
    counts = units(tensors, rf"{prefix}layer(\d+)\.(\d+)\.conv1\.weight")
    deep = f"{prefix}layer1.0.conv3.weight".replace("\\", "") in tensors
    wide = tensors[f"{prefix}layer1.0.conv2.weight".replace("\\", "")]
    name = (BOTTLENECKS if deep else BASIC).get(counts)
    if name is None or tuple(wide.shape[:2]) != (64, 64):
        raise CheckpointError(
            f"Its backbone has stages of {counts} units with a first 3x3 of shape {tuple(wide.shape)}; known are the "
            f"ResNets {', '.join([*BASIC.values(), *BOTTLENECKS.values()])}, without groups and of plain width."
        )
    return name


def is_resnet(tensors: Mapping[str, Tensor], prefix: str) -> bool:
    """Tell whether there is a ResNet by torchvision's names behind `prefix`."""
    return all(f"{prefix}{name}.weight" in tensors for name in ("conv1", "layer1.0.conv2", "layer4.0.conv1"))


def resnet_renames(prefix: str) -> Renames:
    """Return its renames; `prefix` is a pattern."""
    return [(rf"{prefix}((?:conv1|bn1|layer\d)\..+)", r"backbone.features.\1")]
