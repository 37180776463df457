"""Where TensorFlow's DeepLab takes its low-level features: inside a unit, where timm offers the end of a stage.

| family | TensorFlow's tensor | channels | end of the stage |
|---|---|---:|---|
| ResNet | residual branch of layer1's second unit, before sum and ReLU | 256 | 256 |
| Xception-41, -65, -71 | the last stride-4 separable convolution, before its ReLU | 256 | same, after ReLU |
| MobileNetV2 | expansion of the last stride-4 unit, after its depthwise convolution | 144 | 24 |

Each function walks a timm network by hand and returns its maps from stride 4 to the deepest.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor, nn

Walk = Callable[[Any, Tensor], list[Tensor]]


def resnet_stages(features: Any, image: Tensor, residual_branch: bool = False) -> list[Tensor]:
    """Take the ends of the stages, or what enters their last units where those carry the next stage's stride.

    With `residual_branch`, of layer1 what its second unit adds to its shortcut.
    """
    x = features.maxpool(features.act1(features.bn1(features.conv1(image))))
    maps: list[Tensor] = []
    for stage in (features.layer1, features.layer2, features.layer3, features.layer4):
        before = branch = x
        for index, unit in enumerate(stage):
            before = x
            if residual_branch and stage is features.layer1 and index == 1:
                branch = unit.act1(unit.bn1(unit.conv1(x)))
                branch = unit.act2(unit.bn2(unit.conv2(branch)))
                branch = unit.bn3(unit.conv3(branch))
                x = unit.act3(branch + x)
            else:
                x = unit(x)
        strided = isinstance(stage[-1].downsample, nn.MaxPool2d)
        maps.append(branch if residual_branch and not maps else before if strided else x)
    return maps


resnet_tensorflow = partial(resnet_stages, residual_branch=True)


def xception_tensorflow(features: Any, image: Tensor) -> list[Tensor]:
    """Take what enters the strided separable convolution of the last block that works at stride 4."""
    low_level = x = image
    for name, block in features.items():
        last = block.stack.conv3.conv_dw if name.startswith("blocks") else None
        if last is not None and last.stride[0] == 2 and last.in_channels == _XCEPTION_CHANNELS:
            stack, shortcut = block.stack, block.shortcut(x)
            low_level = stack.conv2(stack.act2(stack.conv1(stack.act1(x) if hasattr(stack, "act1") else x)))
            x = stack.conv3(stack.act3(low_level.clone())) + shortcut  # that ReLU works in place
        else:
            x = block(x)
    return [low_level, x]


def mobilenet_tensorflow(features: Any, image: Tensor) -> list[Tensor]:
    """Take the expanded map of the last stride-4 unit, after its depthwise convolution and ReLU6."""
    x = features.bn1(features.conv_stem(image))
    stem, stride_4, *rest = features.blocks
    *before, last = stride_4
    x = stem(x)
    for unit in before:
        x = unit(x)
    expanded = last.bn2(last.conv_dw(last.bn1(last.conv_pw(x))))
    x = last.bn3(last.conv_pwl(expanded)) + x
    for stage in rest:
        x = stage(x)
    return [expanded, x]


_XCEPTION_CHANNELS = 256


def tensorflow_low_level_map(name: str, features: nn.Module) -> tuple[Walk, int] | None:
    """Return how to walk the timm network `name` with TensorFlow's low-level map, and its channels; None if unknown."""
    net: Any = features
    if name.startswith("resnet") and hasattr(features, "layer1") and hasattr(net.layer1[0], "conv3"):
        return resnet_tensorflow, net.layer1[1].conv3.out_channels
    if name in ("xception41", "xception65", "xception71"):
        return xception_tensorflow, _XCEPTION_CHANNELS
    if name.startswith("mobilenetv2"):
        return mobilenet_tensorflow, net.blocks[1][-1].conv_dw.out_channels
    return None
