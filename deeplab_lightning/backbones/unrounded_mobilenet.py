"""MobileNetV2 with TensorFlow's widths: a depth multiplier without rounding to multiples of 8.

timm's `mobilenetv2_050` has 16 channels where TensorFlow's DeepLab of depth multiplier 0.5 has 12: its weights do not
fit. Batch norms have TensorFlow's epsilon of 0.001.
"""

from __future__ import annotations

import re
from functools import partial
from typing import Any

from timm.models._efficientnet_builder import decode_arch_def, round_channels
from timm.models.efficientnet import EfficientNetFeatures
from torch import nn

NAME = re.compile(r"mobilenetv2_(?P<percent>\d{3})_unrounded")

STAGES = [
    ["ds_r1_k3_s1_c16"],
    ["ir_r2_k3_s2_e6_c24"],
    ["ir_r3_k3_s2_e6_c32"],
    ["ir_r4_k3_s2_e6_c64"],
    ["ir_r3_k3_s1_e6_c96"],
    ["ir_r3_k3_s2_e6_c160"],
    ["ir_r1_k3_s1_e6_c320"],
]
"""timm's notation of the plan (Sandler et al. 2018, table 2): kind, repeats, kernel, stride, expansion, channels."""


def unrounded_mobilenet(name: str, output_stride: int, in_chans: int, **options: Any) -> EfficientNetFeatures:
    """Build the feature extractor `name`, such as `mobilenetv2_050_unrounded`, further options as in timm."""
    match = NAME.fullmatch(name)
    assert match is not None
    return EfficientNetFeatures(
        decode_arch_def(STAGES),
        in_chans=in_chans,
        stem_size=32,
        output_stride=output_stride,
        round_chs_fn=partial(round_channels, multiplier=int(match["percent"]) / 100, divisor=1, round_limit=0.0),
        norm_layer=partial(nn.BatchNorm2d, eps=1e-3),
        act_layer=nn.ReLU6,
        **options,
    )
