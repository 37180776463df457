"""The ResNets of the papers, made out of timm's: multi-grid, the place of a stage's stride, Caffe's pooling.

timm builds torchvision's ResNet: the stride of a stage sits in the 3x3 convolution of its first unit, and where a stage
loses its stride that unit keeps the previous rate ("lag"). All variants hold the same weights under the same names;
only strides, rates and pooling differ.

| | stride of a stage | first unit of a dilated stage |
|---|---|---|
| torchvision, timm | first unit, 3x3 (`conv2`) | previous rate (`lag`) |
| DeepLab ports (jfzhang95, segmentation_models_pytorch) | first unit, 3x3 (`conv2`) | the stage's rate (`full`) |
| Caffe (DeepLab v2) | first unit, first 1x1 (`conv1`) | the stage's rate (`full`) |
| TensorFlow (DeepLab v3, v3+) | last unit of the stage before (`previous`) | the stage's rate |
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any, Literal

from torch import nn

from ..errors import ConfigError
from ..options import Options, at_least

FirstUnit = Literal["lag", "full"]
StridePlace = Literal["conv2", "conv1", "previous"]

_STAGES = ("layer1", "layer2", "layer3", "layer4")


@dataclass(frozen=True)
class ResNetOptions(Options):
    """How a ResNet departs from timm's."""

    multi_grid: tuple[Annotated[int, at_least(1)], ...] | None = None
    """Factors of the atrous rates in a ResNet's last stage, one for each unit (v3 paper, section 3.2.1): null for those
    of the generation, (1, 2, 4) in v3 and v3+, where the stage has as many bottlenecks; () for none."""
    first_unit: FirstUnit | None = None
    """Atrous rate of the first unit of a stage that lost its stride, in ResNets and MobileNets: lag for the previous
    stage's, which computes just what the strided network does, full for the stage's own; null for the generation's,
    full in v2's ResNets and else lag."""
    stride_place: StridePlace = "conv2"
    """Convolution of a ResNet that carries the stride of a stage: conv2, the first unit's 3x3, as in timm; conv1, its
    first 1x1, as in Caffe; previous, the last unit of the stage before, as in TensorFlow."""
    ceil_mode: bool = False
    """Round the size up at a ResNet's first pooling, as Caffe does; the same for sides of 8 k + 1 pixels."""
    beta_stem: bool = False
    """Begin a ResNet with three 3x3 convolutions (64, 64, 128 channels) instead of its 7x7: TensorFlow's "beta" form,
    on which the v3 and v3+ papers rest."""


AS_IN_TIMM = ResNetOptions()


def is_resnet(features: nn.Module) -> bool:
    """Tell whether timm's network has the parts that the variants change."""
    children: dict[str, Any] = dict(features.named_children())
    return {"conv1", "maxpool", *_STAGES} <= set(children) and hasattr(children["layer4"][0], "conv2")


def apply_variant(features: Any, options: ResNetOptions, generation: ResNetOptions, name: str) -> None:
    """Change strides, rates and pooling of timm's network `name` in place.

    Args:
        features: The network.
        options: What is asked for.
        generation: Whose multi-grid and first unit are taken where they are not asked for and fit.
        name: For messages.

    Raises:
        ConfigError: The network has not the parts that an option changes.
    """
    multi_grid = _fitting(features, generation.multi_grid) if options.multi_grid is None else options.multi_grid
    first_unit = options.first_unit or (is_resnet(features) and generation.first_unit) or "lag"
    if options.stride_place == "conv2" and not options.ceil_mode and not multi_grid:
        if first_unit == "lag":
            return
        if hasattr(features, "blocks"):
            for stage in features.blocks:  # of inverted residuals (MobileNet v2 and v3): as torchvision does
                depthwise = [unit.conv_dw for unit in stage if hasattr(unit, "conv_dw")]
                for conv in depthwise:
                    set_rate(conv, depthwise[-1].dilation[0])
            return
    if not is_resnet(features):
        raise ConfigError(
            f"multi_grid, first_unit, stride_place and ceil_mode are made for ResNets, and {name!r} is none: leave "
            f"them out, or take resnet50 or resnet101."
        )
    stages: list[Any] = [features.get_submodule(stage) for stage in _STAGES]
    if first_unit == "full" or options.stride_place == "previous":
        for stage in stages:
            for conv in _spatial(stage[0]):
                set_rate(conv, _spatial(stage[-1])[-1].dilation[0])
    if options.stride_place != "conv2":
        _move_strides(stages, options.stride_place, name)
    if multi_grid:
        last = stages[-1]
        if len(last) != len(multi_grid):
            raise ConfigError(
                f"multi_grid {multi_grid} has {len(multi_grid)} factors, the last stage of {name!r} {len(last)} units."
            )
        for unit, factor in zip(last, multi_grid, strict=True):
            for conv in _spatial(unit):
                set_rate(conv, conv.dilation[0] * factor)
    if options.ceil_mode:
        features.get_submodule("maxpool").ceil_mode = True


def _fitting(features: nn.Module, multi_grid: tuple[int, ...] | None) -> tuple[int, ...]:
    """Return a generation's multi-grid where it fits: on ResNets of bottlenecks with as many units at the end."""
    if multi_grid is None or not is_resnet(features):
        return ()
    units: Any = features.get_submodule("layer4")
    return multi_grid if hasattr(units[0], "conv3") and len(units) == len(multi_grid) else ()


def _move_strides(stages: list[Any], place: StridePlace, name: str) -> None:
    for before, stage in pairwise(stages):
        first = stage[0]
        plain = (
            hasattr(first, "conv3") and isinstance(first.aa, nn.Identity) and isinstance(first.downsample[0], nn.Conv2d)
        )
        if not plain:
            raise ConfigError(
                f"stride_place {place!r} needs bottleneck units with plain 1x1 shortcuts, which {name!r} has not: take "
                f"resnet50 or resnet101, or leave stride_place at 'conv2'."
            )
        stride = first.conv2.stride
        first.conv2.stride = (1, 1)
        if place == "conv1":
            first.conv1.stride = stride
        elif stride != (1, 1):
            first.downsample[0].stride = (1, 1)
            before[-1].conv2.stride = stride
            before[-1].downsample = nn.MaxPool2d(1, stride)  # the shortcut is sampled, as TensorFlow does


def _spatial(unit: Any) -> list[nn.Conv2d]:
    """Return the 3x3 convolutions of a unit: one in a bottleneck, two in a basic one."""
    return [conv for conv in (unit.conv1, unit.conv2) if conv.kernel_size != (1, 1)]


def set_rate(conv: nn.Conv2d, rate: int) -> None:
    """Dilate a convolution, and pad it so that the map keeps its size."""
    conv.dilation = (rate, rate)
    conv.padding = (rate * (conv.kernel_size[0] // 2),) * 2
