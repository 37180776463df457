"""segmentation_models_pytorch: `DeepLabV3` and `DeepLabV3Plus`; `smp_encoders.py` has the encoders.

Both have one more 3x3 behind ASPP, corners aligned on sides that the output stride divides (`side_remainder`; it takes
no others), and no batch norm within separable convolutions. v3+ has one convolution in the decoder, and by default
rates of 12, 24, 36 at output stride 16; v3 the same at 8. Neither the rates nor the output stride stand in a state
dict: the defaults are taken.
"""

from __future__ import annotations

from typing import Any

from ...errors import CheckpointError
from ..reading import ForeignFile
from .smp_encoders import find_encoder
from .torchvision import ASPP, COUNTERS
from .translation import Imported, renamed, translate

NAME = "segmentation_models_pytorch"

V3 = renamed(ASPP, "decoder.aspp.", "context.aspp.") | renamed("decoder.{conv,bn} context.head_conv.{0,1}")
V3PLUS = renamed(ASPP, "decoder.aspp.0.", "context.aspp.") | renamed("""
decoder.aspp.0.convs.{1..3}.0.{0,1}   context.aspp.branches.{1..3}.{0,1.0}
decoder.aspp.0.convs.{1..3}.1         context.aspp.branches.{1..3}.1.1
decoder.aspp.1.{0,1}                  context.head_conv.{0,1.0}
decoder.aspp.2                        context.head_conv.1.1
decoder.block1                        decoder.reduce.0
decoder.block2.0.{0,1}                decoder.refine.0.0.{0,1.0}
decoder.block2.1                      decoder.refine.0.0.1.1
""")
_UNUSED = {
    r"encoder\.fc\..+": "the classifier of ImageNet's classes",
    r"classification_head\..+": "a classifier of whole images",
}


def recognise(file: ForeignFile, backbone: str | None = None) -> Imported | None:
    """Return the network, if the file is one of these.

    Args:
        file: As read.
        backbone: timm's name of a `tu-` encoder, where weights alone do not tell.
    """
    # Before version 0.4 the decoder of v3 was a plain sequence.
    old = {"decoder.0.": "decoder.aspp.", "decoder.1.": "decoder.conv.", "decoder.2.": "decoder.bn."}
    tensors = {}
    for name, tensor in file.tensors.items():
        start = next((start for start in old if name.startswith(start)), None)
        tensors[name if start is None else old[start] + name.removeprefix(start)] = tensor
    plus = "decoder.aspp.0.convs.0.0.weight" in tensors and "decoder.block1.0.weight" in tensors
    if "segmentation_head.0.weight" not in tensors or not any(name.startswith("encoder.") for name in tensors):
        return None
    if not plus and "decoder.aspp.convs.0.0.weight" not in tensors:
        raise CheckpointError(
            f"{file.path} is a network of segmentation_models_pytorch, but no DeepLab: taken over are DeepLabV3 and "
            f"DeepLabV3Plus."
        )
    encoder = find_encoder(tensors, backbone)
    head = tensors["segmentation_head.0.weight"]
    options: dict[str, Any] = {
        "backbone": encoder.backbone,
        "multi_grid": [],
        **encoder.options,
        "aspp_channels": head.shape[1],
        "head_conv": True,
        "side_remainder": 0,
        "dropout": 0.5,
        "output_stride": 16 if plus else 8,
    }
    renames = {"segmentation_head.0": "classifier", **encoder.renames, **(V3PLUS if plus else V3)}
    if plus:
        options |= {
            "atrous_rates": [12, 24, 36],
            "norm_between": False,
            "decoder_convs": 1,
            "decoder_channels": head.shape[1],
            "low_level_channels": tensors["decoder.block1.0.weight"].shape[0],
        }
    return Imported(
        NAME,
        f"DeepLabV3{'Plus' if plus else ''} on {encoder.backbone}",
        "DeepLabV3Plus" if plus else "DeepLabV3",
        options,
        head.shape[0],
        **translate(tensors, renames, COUNTERS | _UNUSED | encoder.not_needed),
        mean=encoder.mean,
        std=encoder.std,
        norm_eps={"": 1e-5, "backbone.": None},
        notes=[
            *encoder.notes,
            f"ASPP's rates and the output stride ({options['output_stride']}) are the program's defaults: the file "
            f"does not tell them",
        ],
    )
