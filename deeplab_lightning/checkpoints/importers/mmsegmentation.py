"""mmsegmentation: recognised, and not taken over.

Its DeepLab v3 and v3+ project ASPP's branches by a 3x3 convolution (`decode_head.bottleneck`), where the papers and our
networks have a 1x1: the weights have no place here.
"""

from __future__ import annotations

from ...errors import CheckpointError
from ..reading import ForeignFile
from .translation import Imported

NAME = "mmsegmentation"


def recognise(file: ForeignFile) -> Imported | None:
    """Refuse its networks in words; return None for others."""
    if "decode_head.conv_seg.weight" not in file.tensors:
        return None
    raise CheckpointError(
        f"{file.path} is a network of mmsegmentation. Its DeepLabs project ASPP by a 3x3 convolution, ours, as the "
        f"papers', by a 1x1: they cannot be taken over. The same backbones are there with ImageNet weights: "
        f"--model.backbone resnet50c --model.pretrained true."
    )
