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
from .torchvision import COUNTERS
from .translation import Imported, Renames, first_last, translate

NAME = "vainf"

LOW_LEVEL_WIDTH = 48
_ASPP: Renames = [
    (r"ASPP\.convs\.4\.1\.(.+)", r"context.aspp.branches.4.conv.\1"),
    (r"ASPP\.convs\.4\.2\.(.+)", r"context.aspp.branches.4.norm.\1"),
    (r"ASPP\.convs\.([1-3])\.0\.body\.0\.(.+)", r"context.aspp.branches.\1.0.\2"),
    (r"ASPP\.convs\.([1-3])\.0\.body\.1\.(.+)", r"context.aspp.branches.\1.1.0.\2"),
    (r"ASPP\.project\.([01]\..+)", r"context.aspp.project.\1"),
]
_DENSE: Renames = [(r"ASPP\.convs\.([0-3])\.([01]\..+)", r"context.aspp.branches.\1.\2")]
_SEPARABLE: Renames = [
    (r"ASPP\.convs\.0\.([01]\..+)", r"context.aspp.branches.0.\1"),
    (r"ASPP\.convs\.([1-3])\.1\.(.+)", r"context.aspp.branches.\1.1.1.\2"),
]


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
    backbone = resnet_name(tensors, r"backbone\.")
    aspp = r"classifier\.aspp\." if plus else r"classifier\.classifier\.0\."
    renames = [(pattern.replace(r"ASPP\.", aspp), ours)
               for pattern, ours in [*_ASPP, *(_SEPARABLE if separable else _DENSE)]]  # fmt: skip
    renames += _decoder(separable) if plus else _head(separable)
    options: dict[str, Any] = {
        "backbone": backbone,
        "output_stride": 16,
        "multi_grid": [],
        "separable": separable,
        "norm_between": False,
        "aspp_channels": tensors[f"{'classifier.aspp' if plus else 'classifier.classifier.0'}.project.0.weight"].shape[
            0
        ],
        "align_corners": False,
    }
    options |= {"decoder_convs": 1, "decoder_channels": logits.shape[1]} if plus else {"head_conv": True}
    imported = Imported(
        NAME,
        f"DeepLab v3{'+' if plus else ''} on {backbone}",
        "DeepLabV3Plus" if plus else "DeepLabV3",
        options,
        logits.shape[0],
        **translate(tensors, [*resnet_renames(r"backbone\."), *renames], COUNTERS),
        notes=[
            "dilation: a stage that lost its stride keeps the previous rate in its first unit (lag)",
            "output stride 16, its default: the file does not tell it",
        ],
    )
    first = "decoder.refine.0.0.0.weight"  # dense, or the depthwise part of a separable convolution
    if plus and first in imported.state:
        if separable:
            imported.state[first] = first_last(imported.state[first].transpose(0, 1), LOW_LEVEL_WIDTH).transpose(0, 1)
            first = "decoder.refine.0.0.1.0.weight"
        imported.state[first] = first_last(imported.state[first], LOW_LEVEL_WIDTH)
        imported.notes.append("concatenation: the low-level map moved from the first to the last place")
    return imported


def _decoder(separable: bool) -> Renames:
    refine: Renames = [
        (r"classifier\.classifier\.0\.body\.0\.(.+)", r"decoder.refine.0.0.0.\1"),
        (r"classifier\.classifier\.0\.body\.1\.(.+)", r"decoder.refine.0.0.1.0.\1"),
        (r"classifier\.classifier\.0\.(.+)", r"decoder.refine.0.0.0.\1"),
        (r"classifier\.classifier\.1\.(.+)", rf"decoder.refine.0.0.{'1.1' if separable else '1'}.\1"),
        (r"classifier\.classifier\.3\.(.+)", r"classifier.\1"),
        (r"classifier\.project\.([01]\..+)", r"decoder.reduce.0.\1"),
    ]
    return refine


def _head(separable: bool) -> Renames:
    return [
        (r"classifier\.classifier\.1\.body\.0\.(.+)", r"context.head_conv.0.\1"),
        (r"classifier\.classifier\.1\.body\.1\.(.+)", r"context.head_conv.1.0.\1"),
        (r"classifier\.classifier\.1\.(.+)", r"context.head_conv.0.\1"),
        (r"classifier\.classifier\.2\.(.+)", rf"context.head_conv.{'1.1' if separable else '1'}.\1"),
        (r"classifier\.classifier\.4\.(.+)", r"classifier.\1"),
    ]
