"""torchvision: `deeplabv3_resnet50`, `_resnet101` and `_mobilenet_v3_large`; `fcn_resnet50` and `_resnet101`.

Its ASPP has rates of 12, 24, 36 at output stride 8 (and at 16 on MobileNetV3), a 3x3 convolution follows, corners are
not aligned. A stage that lost its stride keeps the previous rate in its first unit (ResNet), or has its own in all
(MobileNetV3, whose batch norms add 0.001). What it calls FCN has one 3x3 of 512 channels in place of ASPP: our v3 with
`context: conv`, not the FCN of the paper.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ...errors import CheckpointError
from ..reading import ForeignFile
from .resnet import is_resnet, resnet_name, resnet_renames
from .translation import Imported, Renames, translate

NAME = "torchvision"

COUNTERS = {r".*\.num_batches_tracked": "counts batches, which only averages without momentum need"}

ASPP: Renames = [
    (r"classifier\.0\.convs\.([0-3])\.([01]\..+)", r"context.aspp.branches.\1.\2"),
    (r"classifier\.0\.convs\.4\.1\.(.+)", r"context.aspp.branches.4.conv.\1"),
    (r"classifier\.0\.convs\.4\.2\.(.+)", r"context.aspp.branches.4.norm.\1"),
    (r"classifier\.0\.project\.([01]\..+)", r"context.aspp.project.\1"),
    (r"classifier\.1\.(.+)", r"context.head_conv.0.\1"),
    (r"classifier\.2\.(.+)", r"context.head_conv.1.\1"),
    (r"classifier\.4\.(.+)", r"classifier.\1"),
]
FCN: Renames = [
    (r"classifier\.0\.(.+)", r"context.conv.0.\1"),
    (r"classifier\.1\.(.+)", r"context.conv.1.\1"),
    (r"classifier\.4\.(.+)", r"classifier.\1"),
]
AUXILIARY: Renames = [
    (r"aux_classifier\.([01])\.(.+)", r"aux_head.0.\1.\2"),
    (r"aux_classifier\.4\.(.+)", r"aux_head.2.\1"),
]


def recognise(file: ForeignFile) -> Imported | None:
    """Return the network, if the file is one of these."""
    tensors = file.tensors
    if "classifier.4.weight" not in tensors or not any(name.startswith("backbone.") for name in tensors):
        return None
    fcn = "classifier.0.convs.0.0.weight" not in tensors
    if fcn and ("classifier.0.weight" not in tensors or not is_resnet(tensors, "backbone.")):
        return None
    options: dict[str, Any] = {"aux_head": "aux_classifier.0.weight" in tensors, "align_corners": False}
    if fcn:
        options |= {"context": "conv", "dropout": 0.1, "aspp_channels": tensors["classifier.0.weight"].shape[0]}
    else:
        options |= {"head_conv": True, "dropout": 0.5, "aspp_channels": tensors["classifier.1.weight"].shape[0]}
    num_classes = tensors["classifier.4.weight"].shape[0]
    if is_resnet(tensors, "backbone."):
        name = resnet_name(tensors, r"backbone\.")
        return Imported(
            NAME,
            f"{'fcn' if fcn else 'deeplabv3'}_{name}",
            "DeepLabV3",
            {"backbone": name, "output_stride": 8, "multi_grid": [], **options},
            num_classes,
            **translate(tensors, [*resnet_renames(r"backbone\."), *(FCN if fcn else ASPP), *AUXILIARY], COUNTERS),
            notes=["dilation: a stage that lost its stride keeps the previous rate in its first unit (lag)"],
        )
    renames = _mobilenet_v3_large(tensors)
    return Imported(
        NAME,
        "deeplabv3_mobilenet_v3_large",
        "DeepLabV3",
        {
            **options,
            "backbone": "mobilenetv3_large_100",
            "output_stride": 16,
            "first_unit": "full",
            "atrous_rates": [12, 24, 36],
            "aux_head": False,
        },
        num_classes,
        **translate(
            tensors,
            [*renames, *ASPP],
            COUNTERS | {r"aux_classifier\..+": "an auxiliary head on another map than ours, for training alone"},
        ),
        norm_eps={"": 1e-5, "backbone.": 1e-3},
        notes=["dilation: all units of the last stage have its rate (full)", "batch norms of the backbone: eps 0.001"],
    )


def _mobilenet_v3_large(tensors: Mapping[str, Tensor]) -> Renames:
    """Return the renames of the backbone's 17 parts: stem, 15 units in stages of 1, 2, 3, 4, 2, 3, and a last 1x1."""
    if "backbone.16.0.weight" not in tensors or "backbone.15.block.0.0.weight" not in tensors:
        raise CheckpointError(
            "It is built like torchvision's DeepLab v3, but on another backbone than ResNet or MobileNetV3 large."
        )
    renames = [
        (r"backbone\.0\.0\.(.+)", r"backbone.features.conv_stem.\1"),
        (r"backbone\.0\.1\.(.+)", r"backbone.features.bn1.\1"),
        (r"backbone\.16\.0\.(.+)", r"backbone.features.blocks.6.0.conv.\1"),
        (r"backbone\.16\.1\.(.+)", r"backbone.features.blocks.6.0.bn1.\1"),
    ]
    index = 0
    for stage, count in enumerate((1, 2, 3, 4, 2, 3)):
        for unit in range(count):
            index += 1
            theirs, ours = rf"backbone\.{index}\.block\.", f"backbone.features.blocks.{stage}.{unit}."
            attends = f"backbone.{index}.block.{2 if index > 1 else 1}.fc1.weight" in tensors
            convs = ["conv_dw", "conv_pw"] if index == 1 else ["conv_pw", "conv_dw", "conv_pwl"]
            places = [0, 1] if index == 1 else [0, 1, 3 if attends else 2]
            for number, (place, conv) in enumerate(zip(places, convs, strict=True), start=1):
                renames += [
                    (rf"{theirs}{place}\.0\.(.+)", rf"{ours}{conv}.\1"),
                    (rf"{theirs}{place}\.1\.(.+)", rf"{ours}bn{number}.\1"),
                ]
            if attends:
                renames += [
                    (rf"{theirs}2\.fc1\.(.+)", rf"{ours}se.conv_reduce.\1"),
                    (rf"{theirs}2\.fc2\.(.+)", rf"{ours}se.conv_expand.\1"),
                ]
    return renames
