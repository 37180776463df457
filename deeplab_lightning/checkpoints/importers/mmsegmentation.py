"""mmsegmentation: DeepLab v3 (`ASPPHead`) and v3+ (`DepthwiseSeparableASPPHead`) on ResNets.

ASPP has 512 channels and image pooling in the first place, and is projected by a 3x3. Corners are not aligned (but in
the configurations for crops of 769: set `align_corners` there). The output stride is 8 with rates of 12, 24, 36; a
stage that lost its stride keeps the previous rate in its first unit (`contract_dilation`). Its ResNets begin with three
3x3 convolutions (V1c), or one 7x7. Neither rates nor output stride stand in a state dict: the defaults are taken.
"""

from __future__ import annotations

from typing import Any

from ...errors import CheckpointError
from ..reading import ForeignFile
from .resnet import BASIC, RESNEXTS, resnet_name
from .torchvision import COUNTERS
from .translation import Imported, Renames, first_last, translate

NAME = "mmsegmentation"

_RESNET: Renames = [
    (r"backbone\.stem\.([01346]\..+)", r"backbone.features.conv1.\1"),
    (r"backbone\.stem\.7\.(.+)", r"backbone.features.bn1.\1"),
    (r"backbone\.((?:conv1|bn1|layer\d)\..+)", r"backbone.features.\1"),
]
_AUXILIARY: Renames = [
    (r"auxiliary_head\.convs\.0\.conv\.(.+)", r"aux_head.0.0.\1"),
    (r"auxiliary_head\.convs\.0\.bn\.(.+)", r"aux_head.0.1.\1"),
    (r"auxiliary_head\.conv_seg\.(.+)", r"aux_head.2.\1"),
]


def recognise(file: ForeignFile) -> Imported | None:
    """Return the network, if the file is one of these."""
    tensors = file.tensors
    logits = tensors.get("decode_head.conv_seg.weight")
    if logits is None:
        return None
    aspp = tensors.get("decode_head.bottleneck.conv.weight")
    if aspp is None or "decode_head.aspp_modules.0.conv.weight" not in tensors:
        raise CheckpointError(
            f"{file.path} is a network of mmsegmentation, but no DeepLab: it has no decode_head.aspp_modules. Its "
            f"DeepLab v3 and v3+ on ResNets can be taken over."
        )
    if "backbone.layer4.0.conv1.weight" not in tensors:
        raise CheckpointError(
            f"{file.path} is a DeepLab of mmsegmentation, but not on a ResNet: those are known alone."
        )
    backbone = resnet_name(tensors, r"backbone\.")
    deep_stem = "backbone.stem.0.weight" in tensors
    if deep_stem and backbone in (*BASIC.values(), *RESNEXTS):
        raise CheckpointError(
            f"Its backbone is a {backbone} with three 3x3 convolutions at its start, which timm does not have."
        )
    plus = "decode_head.c1_bottleneck.conv.weight" in tensors
    low_level = tensors.get("decode_head.c1_bottleneck.conv.weight")
    options: dict[str, Any] = {
        "backbone": backbone + "c" * deep_stem,
        "output_stride": 8,
        "multi_grid": [],
        "aspp_channels": aspp.shape[0],
        "project_kernel_size": aspp.shape[2],
        "separable": plus,
        "aux_head": "auxiliary_head.conv_seg.weight" in tensors,
        "align_corners": False,
    }
    if low_level is not None:
        options |= {"decoder_channels": logits.shape[1], "low_level_channels": low_level.shape[0]}
    imported = Imported(
        NAME,
        f"DeepLab v3{'+' if plus else ''} on {options['backbone']}",
        "DeepLabV3Plus" if plus else "DeepLabV3",
        options,
        logits.shape[0],
        **translate(tensors, [*_RESNET, *_head(plus), *_AUXILIARY], COUNTERS),
        notes=[
            "dilation: a stage that lost its stride keeps the previous rate in its first unit (lag)",
            "ASPP's rates and the output stride (8) are the program's defaults: the file does not tell them",
            "corners are not aligned, as in all its configurations but those for crops of 769",
            "concatenation: image pooling moved from the first to the last place",
        ],
    )
    projection = "context.aspp.project.0.weight"
    imported.state[projection] = first_last(imported.state[projection], aspp.shape[0])
    return imported


def _head(plus: bool) -> Renames:
    head = r"decode_head\."
    renames = [
        *_conv(rf"{head}image_pool\.1", "context.aspp.branches.4.conv", "context.aspp.branches.4.norm"),
        *_conv(rf"{head}aspp_modules\.0", "context.aspp.branches.0.0", "context.aspp.branches.0.1"),
        *_conv(rf"{head}bottleneck", "context.aspp.project.0", "context.aspp.project.1"),
        (rf"{head}conv_seg\.(.+)", r"classifier.\1"),
    ]
    for branch in (1, 2, 3):
        theirs, ours = rf"{head}aspp_modules\.{branch}", f"context.aspp.branches.{branch}"
        renames += _separable(theirs, ours) if plus else _conv(theirs, f"{ours}.0", f"{ours}.1")
    if plus:
        renames += _conv(rf"{head}c1_bottleneck", "decoder.reduce.0.0", "decoder.reduce.0.1")
        for place in (0, 1):
            renames += _separable(rf"{head}sep_bottleneck\.{place}", f"decoder.refine.0.{place}")
    return renames


def _conv(theirs: str, conv: str, norm: str) -> Renames:
    return [(rf"{theirs}\.conv\.(.+)", rf"{conv}.\1"), (rf"{theirs}\.bn\.(.+)", rf"{norm}.\1")]


def _separable(theirs: str, ours: str) -> Renames:
    return [
        *_conv(rf"{theirs}\.depthwise_conv", f"{ours}.0.0", f"{ours}.0.1"),
        *_conv(rf"{theirs}\.pointwise_conv", f"{ours}.1.0", f"{ours}.1.1"),
    ]
