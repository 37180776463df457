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
from .resnet import BASIC, RESNEXTS, resnet_name, resnet_renames
from .torchvision import COUNTERS
from .translation import Imported, first_last, renamed, translate

NAME = "mmsegmentation"

RENAMES = renamed("""
backbone.stem.{0,1,3,4,6}                 backbone.features.conv1.{0,1,3,4,6}
backbone.stem.7                           backbone.features.bn1
decode_head.image_pool.1.{conv,bn}        context.aspp.branches.4.{conv,norm}
decode_head.aspp_modules.{0..3}.{conv,bn} context.aspp.branches.{0..3}.{0,1}
decode_head.aspp_modules.{1..3}.{depthwise,pointwise}_conv.{conv,bn} context.aspp.branches.{1..3}.{0,1}.{0,1}
decode_head.bottleneck.{conv,bn}          context.aspp.project.{0,1}
decode_head.c1_bottleneck.{conv,bn}       decoder.reduce.0.{0,1}
decode_head.sep_bottleneck.{0,1}.{depthwise,pointwise}_conv.{conv,bn} decoder.refine.0.{0,1}.{0,1}.{0,1}
decode_head.conv_seg                      classifier
auxiliary_head.convs.0.{conv,bn}          aux_head.0.{0,1}
auxiliary_head.conv_seg                   aux_head.2
""") | resnet_renames("backbone.")


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
    backbone = resnet_name(tensors, "backbone.")
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
        **translate(tensors, RENAMES, COUNTERS),
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
