"""Encoders of segmentation_models_pytorch that have the weights of a network of timm, and compute something else.

| `smp_` and its name | timm's network | what it does otherwise |
|---|---|---|
| `mobilenet_v2` | `mobilenetv2_100` | ends with the 1x1 to 1280 channels, which timm counts as classifier |
| `efficientnet_b0` ... `_b7` | `tf_efficientnet_b0` ... | pads always as TensorFlow does on images of one size |
| `se_resnet50`, `_101`, `_152` | `seresnet50` ... | pools without padding; a stage's stride is in its first 1x1 |
| `se_resnext50_32x4d`, `_101_` | `seresnext50_32x4d` ... | pools without padding |
| `senet154` | `senet154` | pools without padding |
| `mobileone_s0` ... `_s4` | `mobileone_s0` ... | |

In all, every convolution of a dilated stage has the stage's rate, that of its first unit and of its shortcut too. In
`efficientnet_b0` the last stage begins two units early, at stride 16: an index in the program that is off by two, which
networks have been trained with.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import partial
from typing import Any

import timm
from timm.layers import Conv2dSame
from timm.models._efficientnet_builder import decode_arch_def, round_channels
from timm.models.efficientnet import EfficientNetFeatures
from torch import nn

from .resnet_variants import set_rate
from .unrounded_mobilenet import STAGES

NAME = re.compile(
    r"smp_(mobilenet_v2|efficientnet_b[0-7]|se_resnet(50|101|152)|se_resnext(50|101)_32x4d|senet154|mobileone_s[0-4])"
)
SIDES = {"b0": 224, "b1": 240, "b2": 260, "b3": 300, "b4": 380, "b5": 456, "b6": 528, "b7": 600}
"""Of the images that EfficientNets were trained on (Tan and Le 2019)."""


def smp_encoder(name: str, output_stride: int, in_chans: int, **options: Any) -> Any:
    """Build the feature extractor `name`, such as `smp_mobilenet_v2`, further options as in timm."""
    kind = name.removeprefix("smp_")
    options |= {"output_stride": output_stride, "in_chans": in_chans}
    at_16: Iterable[nn.Module]
    at_32: Iterable[nn.Module]
    if kind == "mobilenet_v2":
        features = _mobilenet_v2(**options)
        at_16, at_32 = features.blocks[3:5], features.blocks[5:]
    elif kind.startswith("efficientnet"):
        features = timm.create_model(f"tf_{kind}", features_only=True, **options)
        _pad_as_on(features, SIDES[kind.removeprefix("efficientnet_")])
        blocks = features.blocks
        at_16, at_32 = blocks[3:5], blocks[5:]
        if kind == "efficientnet_b0":
            at_16, at_32 = (blocks[3], blocks[4][:1]), (blocks[4][1:], *blocks[5:])
    elif kind.startswith("mobileone"):
        features = timm.create_model(kind, features_only=True, **options)
        at_16, at_32 = [features.stages_2], [features.stages_3]
    else:
        features = timm.create_model(kind.replace("se_", "se"), features_only=True, **options)
        features.maxpool.padding, features.maxpool.ceil_mode = 0, True
        if kind.startswith("se_resnet"):
            for first in (features.layer2[0], features.layer3[0], features.layer4[0]):
                first.conv1.stride, first.conv2.stride = first.conv2.stride, (1, 1)
        at_16, at_32 = [features.layer3], [features.layer4]
    for stride, stages in ((16, at_16), (32, at_32)):
        if stride > output_stride:
            for conv in (part for stage in stages for part in stage.modules() if isinstance(part, nn.Conv2d)):
                set_rate(conv, stride // output_stride)
    return features


def _mobilenet_v2(**options: Any) -> Any:
    return EfficientNetFeatures(
        decode_arch_def([*STAGES, ["cn_r1_k1_s1_c1280"]]),
        stem_size=32,
        round_chs_fn=round_channels,
        norm_layer=nn.BatchNorm2d,
        act_layer=nn.ReLU6,
        **options,
    )


def _pad_as_on(features: nn.Module, side: int) -> None:
    """Fix the paddings of strided convolutions to those on an image of `side` x `side`.

    TensorFlow pads a map of even side by one more at its end than at its start, of odd side by as much. Maps of
    images whose sides the output stride divides are even, and `Conv2dSame` then does the former by itself.
    """
    strided = [(path, conv) for path, conv in features.named_modules() if isinstance(conv, Conv2dSame)]
    for path, conv in strided:
        if side % 2:
            make = partial(nn.Conv2d, conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride, bias=False)
            even = make(padding=conv.kernel_size[0] // 2, groups=conv.groups)
            even.weight = conv.weight
            features.set_submodule(path, even)
        side = (side + 1) // 2
