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
from .translation import Imported, Renames, translate

NAME = "jfzhang95"

BRANCHES: Renames = [
    pair
    for index in range(4)
    for pair in (
        (rf"aspp\.aspp{index + 1}\.atrous_conv\.(.+)", rf"context.aspp.branches.{index}.0.\1"),
        (rf"aspp\.aspp{index + 1}\.bn\.(.+)", rf"context.aspp.branches.{index}.1.\1"),
    )
]
RENAMES: Renames = [
    *BRANCHES,
    (r"aspp\.global_avg_pool\.1\.(.+)", r"context.aspp.branches.4.conv.\1"),
    (r"aspp\.global_avg_pool\.2\.(.+)", r"context.aspp.branches.4.norm.\1"),
    (r"aspp\.conv1\.(.+)", r"context.aspp.project.0.\1"),
    (r"aspp\.bn1\.(.+)", r"context.aspp.project.1.\1"),
    (r"decoder\.conv1\.(.+)", r"decoder.reduce.0.0.\1"),
    (r"decoder\.bn1\.(.+)", r"decoder.reduce.0.1.\1"),
    (r"decoder\.last_conv\.([01])\.(.+)", r"decoder.refine.0.0.\1.\2"),
    (r"decoder\.last_conv\.4\.(.+)", r"decoder.refine.0.1.0.\1"),
    (r"decoder\.last_conv\.5\.(.+)", r"decoder.refine.0.1.1.\1"),
    (r"decoder\.last_conv\.8\.(.+)", r"classifier.\1"),
]


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
    backbone = resnet_name(tensors, r"backbone\.")
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
        **translate(tensors, [*resnet_renames(r"backbone\."), *RENAMES], COUNTERS),
        notes=[
            "dilation: all units of a dilated stage have its rate (full), multi-grid 1, 2, 4",
            "output stride 16, its default: the file does not tell it",
            "its decoder drops activations in training (0.5 and 0.1), ours none",
        ],
    )
