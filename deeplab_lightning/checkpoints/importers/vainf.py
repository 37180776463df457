"""VainF's DeepLabV3Plus-Pytorch: v3 and v3+ on ResNets, dense or with separable convolutions.

v3+ concatenates the low-level map first and has one 3x3 behind it; v3 is built as torchvision's. Corners are not
aligned; a stage that lost its stride keeps the previous rate in its first unit. Its MobileNet pads before the expansion
instead of after it, and its Xception is the original one: neither is a network of ours.
"""

from __future__ import annotations

from typing import Any

from ...errors import CheckpointError
from ..reading import ForeignFile
from .resnet import is_resnet, resnet_name, resnet_renames
from .torchvision import ASPP, COUNTERS
from .translation import Imported, low_level_last, renamed, translate

NAME = "vainf"

LOW_LEVEL_WIDTH = 48
_SEPARABLE = """
convs.{1..3}.0.body.{0,1}   branches.{1..3}.{0,1.0}
convs.{1..3}.1              branches.{1..3}.1.1
"""
_DECODER = """
classifier.project              decoder.reduce.0
classifier.classifier.0         decoder.refine.0.0.0
classifier.classifier.0.body.{0,1}  decoder.refine.0.0.{0,1.0}
classifier.classifier.3         classifier
"""
_HEAD = """
classifier.classifier.1         context.head_conv.0
classifier.classifier.1.body.{0,1}  context.head_conv.{0,1.0}
classifier.classifier.4         classifier
"""


def recognise(file: ForeignFile) -> Imported | None:
    """Return the network, if the file is one of these."""
    tensors = file.tensors
    plus = "classifier.aspp.project.0.weight" in tensors
    if not plus and "classifier.classifier.0.project.0.weight" not in tensors:
        return None
    if not is_resnet(tensors, "backbone."):
        raise CheckpointError(
            f"{file.path} is a network of VainF's code, but not on a ResNet: its MobileNet and Xception compute "
            f"something else than ours with the same weights."
        )
    separable = any(".body." in name for name in tensors)
    logits = tensors[f"classifier.classifier.{3 if plus else 4}.weight"]
    backbone = resnet_name(tensors, "backbone.")
    aspp = "classifier.aspp." if plus else "classifier.classifier.0."
    renames = resnet_renames("backbone.") | renamed(ASPP + _SEPARABLE * separable, aspp, "context.aspp.")
    renames |= renamed(_DECODER if plus else _HEAD)
    norm = "1.1" if separable else "1"
    if plus:
        renames["classifier.classifier.1"] = f"decoder.refine.0.0.{norm}"
    else:
        renames["classifier.classifier.2"] = f"context.head_conv.{norm}"
    options: dict[str, Any] = {
        "backbone": backbone,
        "output_stride": 16,
        "multi_grid": [],
        "separable": separable,
        "norm_between": False,
        "aspp_channels": tensors[f"{aspp}project.0.weight"].shape[0],
        "align_corners": False,
    }
    options |= {"decoder_convs": 1, "decoder_channels": logits.shape[1]} if plus else {"head_conv": True}
    imported = Imported(
        NAME,
        f"DeepLab v3{'+' if plus else ''} on {backbone}",
        "DeepLabV3Plus" if plus else "DeepLabV3",
        options,
        logits.shape[0],
        **translate(tensors, renames, COUNTERS),
        notes=[
            "dilation: a stage that lost its stride keeps the previous rate in its first unit (lag)",
            "output stride 16, its default: the file does not tell it",
        ],
    )
    if plus:
        low_level_last(imported, LOW_LEVEL_WIDTH, separable)
    return imported
