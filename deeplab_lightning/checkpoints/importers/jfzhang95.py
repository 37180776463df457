"""jfzhang95's pytorch-deeplab-xception: v3+ on ResNet-101.

Multi-grid (1, 2, 4), all units of a dilated stage at its rate, dense convolutions, corners aligned. Its other backbones
(the original Xception, DRN, a MobileNet that pads before the expansion) are no networks of ours.
"""

from __future__ import annotations

from typing import Any

from ...errors import CheckpointError
from ..reading import ForeignFile
from .resnet import is_resnet, resnet_name, resnet_renames
from .torchvision import COUNTERS
from .translation import Imported, renamed, translate

NAME = "jfzhang95"

RENAMES = renamed("""
aspp.aspp{1..4}.{atrous_conv,bn}   context.aspp.branches.{0..3}.{0,1}
aspp.global_avg_pool.{1,2}         context.aspp.branches.4.{conv,norm}
aspp.{conv1,bn1}                   context.aspp.project.{0,1}
decoder.{conv1,bn1}                decoder.reduce.0.{0,1}
decoder.last_conv.{0,1}            decoder.refine.0.0.{0,1}
decoder.last_conv.{4,5}            decoder.refine.0.1.{0,1}
decoder.last_conv.8                classifier
""") | resnet_renames("backbone.")


def recognise(file: ForeignFile) -> Imported | None:
    """Return the network, if the file is one of these."""
    tensors = file.tensors
    if "aspp.aspp1.atrous_conv.weight" not in tensors or "decoder.last_conv.8.weight" not in tensors:
        return None
    if not is_resnet(tensors, "backbone."):
        raise CheckpointError(
            f"{file.path} is a network of jfzhang95's code, but not on its ResNet: its other backbones compute "
            f"something else than ours."
        )
    backbone = resnet_name(tensors, "backbone.")
    logits = tensors["decoder.last_conv.8.weight"]
    options: dict[str, Any] = {
        "backbone": backbone,
        "output_stride": 16,
        "multi_grid": [1, 2, 4],
        "first_unit": "full",
        "separable": False,
        "aspp_channels": tensors["aspp.conv1.weight"].shape[0],
        "low_level_channels": tensors["decoder.conv1.weight"].shape[0],
        "decoder_channels": logits.shape[1],
        "dropout": 0.5,
    }
    return Imported(
        NAME,
        f"DeepLab v3+ on {backbone}",
        "DeepLabV3Plus",
        options,
        logits.shape[0],
        **translate(tensors, RENAMES, COUNTERS),
        notes=[
            "dilation: all units of a dilated stage have its rate (full), multi-grid 1, 2, 4",
            "output stride 16, its default: the file does not tell it",
            "its decoder drops activations in training (0.5 and 0.1), ours none",
        ],
    )
