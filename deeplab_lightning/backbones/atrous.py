"""Which backbones can be made denser without changing what they compute.

Removing a stride and dilating what follows must leave the features at the old sampling points as they were (the
"atrous consistency" of the papers): only then does one set of weights serve output strides 32, 16 and 8. Not every
network that accepts `output_stride` keeps that promise. Both tables were measured on timm 1.0.31 with random weights
and batch-norm statistics, in float64, at output strides 16 and 8 on images of odd and even size;
`tests/backbones/test_atrous.py` repeats it for members of each. Larger members of a measured family are taken to
behave as the measured ones.
"""

from __future__ import annotations

import re
from typing import Literal

from .smp_encoders import NAME as SMP_ENCODER

EXACT = re.compile(
    r"resnet(18|26|34|50|101|152)|resnet(50|101|152)[cs]|resnet(32|33)ts|resnet(51|61)q|resnetv2_(18|34|50|101|152)"
    r"|resnext\d+_\d+x\d+d|resnext26ts|wide_resnet\d+_2|regnetx_\w+"
    r"|xception(41|65|71)|xception(41|65)p"
    r"|mobilenetv[12]_\w+|mobilenetv4_conv_(small|medium|large)\w*|mnasnet_\d+|fbnetc_100|spnasnet_100"
    r"|efficientnet_(lite\d|e[slm])(_pruned)?|repvgg_[ab]\w+|(csp)?darknet\d+|cspresnet50[dw]?|cspresnext50"
)
"""Dense features, subsampled, equal the strided ones to rounding (`xception71` with help, see `timm_backbone.py`)."""

APPROXIMATE = re.compile(
    # squeeze-and-excite and other attention over the whole map, which sees other maps
    r"seresne\w+|senet154|skresne\w+|ecaresnet\w+|(eca_|gc|se)resne\w+ts|regnet[yzv]_\w+|(tf_)?mobilenetv3_\w+"
    r"|mobilenetv4_hybrid_\w+|(gc_|tf_)?efficientnetv2_\w+|(tf_)?efficientnet_(\w+_)?b\d\w*|mixnet_\w+|mnasnet_small"
    r"|semnasnet_\w+|fbnetv3_\w+|(tf_)?lcnet_\w+|tinynet_\w+|hardcorenas_\w+|rexnet_\w+|resnest\w+|resnetrs\w+"
    r"|mobilevit_\w+|repvgg_d2se|cspnext_\w+"
    # average pools or blurs in shortcuts, and statistics over the map
    r"|resnet\d+[dt]|resnetv2_\d+([dt]|x\d+_bit)\w*|resnext\d+d_\w+|resnet(aa|blur)\w+|res2net\w+|resnet\d+_(clip|gn)"
    r"|mobilenetv4_conv_(aa|blur)_\w+|darknetaa53|(dm_)?nfnet_\w+|nf_resnet\w+"
    # shortcuts that appear where a stride went, even kernels, TensorFlow's one-sided padding
    r"|mobileone_\w+|convnext\w+|tf_efficientnet_(lite|e)\w+"
)
"""Accept an output stride, but then compute something else than the strided network."""


def atrous_support(name: str) -> Literal["exact", "approximate", "unknown"]:
    """Return how faithfully the timm backbone `name` can be run at output strides 8 and 16."""
    architecture = name.split(".")[0]
    if EXACT.fullmatch(architecture):
        return "exact"
    if APPROXIMATE.fullmatch(architecture) or SMP_ENCODER.fullmatch(architecture):  # the latter's first units
        return "approximate"
    return "unknown"
