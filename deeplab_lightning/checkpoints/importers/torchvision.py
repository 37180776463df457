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
from .resnet import FEATURES, is_resnet, resnet_name, resnet_renames
from .translation import Imported, Renames, renamed, translate, unit_places

NAME = "torchvision"

COUNTERS = {r".*\.num_batches_tracked": "counts batches, which only averages without momentum need"}

ASPP = """
convs.{0..3}    branches.{0..3}
convs.4.{1,2}   branches.4.{conv,norm}
project         project
"""
"""Behind what stands before ASPP: its dense form."""
HEAD = renamed("classifier.{1,2} context.head_conv.{0,1}") | renamed(ASPP, "classifier.0.", "context.aspp.")
FCN = renamed("classifier.{0,1} context.conv.{0,1}")
ENDS = """
classifier.4             classifier
aux_classifier.{0,1}     aux_head.0.{0,1}
aux_classifier.4         aux_head.2
"""
FIRST_UNIT = "0.{0,1} {conv_dw,bn1}\n 1.{0,1} {conv_pw,bn2}"
UNIT = "0.{0,1} {conv_pw,bn1}\n 1.{0,1} {conv_dw,bn2}\n 2.{0,1} {conv_pwl,bn3}"
ATTENDING_UNIT = UNIT.replace("2.", "3.") + "\n 2.fc{1,2} se.{conv_reduce,conv_expand}"
"""Of MobileNetV3 behind `block`."""


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
        name = resnet_name(tensors, "backbone.")
        return Imported(
            NAME,
            f"{'fcn' if fcn else 'deeplabv3'}_{name}",
            "DeepLabV3",
            {"backbone": name, "output_stride": 8, "multi_grid": [], **options},
            num_classes,
            **translate(tensors, resnet_renames("backbone.") | (FCN if fcn else HEAD) | renamed(ENDS), COUNTERS),
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
            renames | HEAD | renamed("classifier.4 classifier"),
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
    renames = renamed("0.{0,1} {conv_stem,bn1}\n 16.{0,1} blocks.6.0.{conv,bn1}", "backbone.", FEATURES)
    for index, (stage, unit) in enumerate(unit_places((1, 2, 3, 4, 2, 3)), start=1):
        attends = f"backbone.{index}.block.2.fc1.weight" in tensors
        table = FIRST_UNIT if index == 1 else ATTENDING_UNIT if attends else UNIT
        renames |= renamed(table, f"backbone.{index}.block.", f"{FEATURES}blocks.{stage}.{unit}.")
    return renames
