"""Which backbones can be made denser without changing what they compute.

Removing a stride and dilating what follows must leave the features at the old sampling points as they were (the
"atrous consistency" of the papers): only then does one set of weights serve output strides 32, 16 and 8. Not every
network that accepts `output_stride` keeps that promise; the table was measured with random weights on timm 1.0.31 and
is checked by `tests/backbones/test_atrous.py`.
"""

from __future__ import annotations

import re
from typing import Literal

AtrousSupport = Literal["exact", "approximate", "unknown"]

EXACT = re.compile(
    r"(resnet(18|34|26|50|101|152)|resnext\d+_\d+x\d+d|wide_resnet\d+_2|xception(41|65|71)|mobilenetv2_\w+)"
)
"""Dense features, subsampled, equal the strided ones to rounding."""

APPROXIMATE = re.compile(r"(seresnet|regnet|mobilenetv3|resnet\w*d$|resnest|efficientnet|tf_efficientnet|mnasnet)")
"""Accept an output stride but drift from the strided network: squeeze-and-excite and average pools see other maps."""


def atrous_support(name: str) -> AtrousSupport:
    """Return how faithfully the timm backbone `name` can be run at output strides 8 and 16."""
    architecture = name.split(".")[0]
    if EXACT.fullmatch(architecture):
        return "exact"
    if APPROXIMATE.match(architecture):
        return "approximate"
    return "unknown"


def scale_rates(rates_at_16: tuple[int, ...], output_stride: int) -> tuple[int, ...]:
    """Scale atrous rates stated for output stride 16, so that they span the same part of the picture.

    (6, 12, 18) becomes (12, 24, 36) at output stride 8 and (3, 6, 9) at 32.
    """
    return tuple(max(1, round(rate * 16 / output_stride)) for rate in rates_at_16)
