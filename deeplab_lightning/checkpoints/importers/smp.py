"""segmentation_models_pytorch: `DeepLabV3` and `DeepLabV3Plus` on ResNets and on timm's networks (`tu-`).

Both have one more 3x3 behind ASPP, corners aligned on sides that the output stride divides (`side_remainder`; it takes
no others), all units of a dilated stage at its rate (its own ResNets; timm's are left as timm has them), and no batch
norm within separable convolutions. v3+ has one
convolution in the decoder, and by default rates of 12, 24, 36 at output stride 16; v3 the same at 8. Neither the rates
nor the output stride stand in a state dict: the defaults are taken.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ...backbones.by_weights import ExactNetwork, exact_networks, networks_with
from ...errors import CheckpointError
from ..reading import ForeignFile
from .resnet import is_resnet, resnet_name, resnet_renames
from .torchvision import COUNTERS
from .translation import Imported, Renames, translate

NAME = "segmentation_models_pytorch"
TIMM = "encoder.model."

_POOLING: Renames = [
    (r"aspp\.convs\.4\.1\.(.+)", r"context.aspp.branches.4.conv.\1"),
    (r"aspp\.convs\.4\.2\.(.+)", r"context.aspp.branches.4.norm.\1"),
    (r"aspp\.convs\.0\.([01]\..+)", r"context.aspp.branches.0.\1"),
    (r"aspp\.project\.([01]\..+)", r"context.aspp.project.\1"),
    (r"segmentation_head\.0\.(.+)", r"classifier.\1"),
]
V3: Renames = [
    *_POOLING,
    (r"aspp\.convs\.([1-3])\.([01]\..+)", r"context.aspp.branches.\1.\2"),
    (r"decoder\.conv\.(.+)", r"context.head_conv.0.\1"),
    (r"decoder\.bn\.(.+)", r"context.head_conv.1.\1"),
]
V3PLUS: Renames = [
    *_POOLING,
    (r"aspp\.convs\.([1-3])\.0\.0\.(.+)", r"context.aspp.branches.\1.0.\2"),
    (r"aspp\.convs\.([1-3])\.0\.1\.(.+)", r"context.aspp.branches.\1.1.0.\2"),
    (r"aspp\.convs\.([1-3])\.1\.(.+)", r"context.aspp.branches.\1.1.1.\2"),
    (r"decoder\.aspp\.1\.0\.(.+)", r"context.head_conv.0.\1"),
    (r"decoder\.aspp\.1\.1\.(.+)", r"context.head_conv.1.0.\1"),
    (r"decoder\.aspp\.2\.(.+)", r"context.head_conv.1.1.\1"),
    (r"decoder\.block1\.([01]\..+)", r"decoder.reduce.0.\1"),
    (r"decoder\.block2\.0\.0\.(.+)", r"decoder.refine.0.0.0.\1"),
    (r"decoder\.block2\.0\.1\.(.+)", r"decoder.refine.0.0.1.0.\1"),
    (r"decoder\.block2\.1\.(.+)", r"decoder.refine.0.0.1.1.\1"),
]
_UNUSED = {r"encoder\.fc\..+": "the classifier of ImageNet's classes"}


def recognise(file: ForeignFile) -> Imported | None:
    """Return the network, if the file is one of these."""
    tensors = file.tensors
    plus = "decoder.aspp.0.convs.0.0.weight" in tensors and "decoder.block1.0.weight" in tensors
    of_timm = any(name.startswith(TIMM) for name in tensors)
    if "segmentation_head.0.weight" not in tensors or not (of_timm or is_resnet(tensors, "encoder.")):
        return None
    # Before version 0.4 the decoder of v3 was a plain sequence.
    old = {"decoder.0.": "decoder.aspp.", "decoder.1.": "decoder.conv.", "decoder.2.": "decoder.bn."}
    renamed = {}
    for name, tensor in tensors.items():
        start = next((start for start in old if name.startswith(start)), None)
        renamed[name if start is None else old[start] + name.removeprefix(start)] = tensor
    if not plus and "decoder.aspp.convs.0.0.weight" not in renamed:
        return None
    pictures: dict[str, Any] = {}
    if of_timm:
        encoder, *others = timm_encoders(tensors)
        backbone, encoder_renames = encoder.name, [(r"encoder\.model\.(.+)", r"backbone.features.\1")]
        mean, std = encoder.normalisation()
        pictures = {"mean": mean, "std": std, "norm_eps": {"": 1e-5, "backbone": min(encoder.norm_eps)}}
        notes = ["dilation: as timm does it (lag)"]
        if others:
            names = ", ".join(other.name for other in others)
            notes.append(f"its weights fit {names} as well: {encoder.name} is taken")
    else:
        backbone, encoder_renames = resnet_name(tensors, r"encoder\."), [*resnet_renames(r"encoder\.")]
        notes = ["dilation: all units of a dilated stage have its rate (full)"]
    head = tensors["segmentation_head.0.weight"]
    options: dict[str, Any] = {
        "backbone": backbone,
        "multi_grid": [],
        "first_unit": "lag" if of_timm else "full",
        "aspp_channels": head.shape[1],
        "head_conv": True,
        "side_remainder": 0,
        "dropout": 0.5,
    }
    renames = [(pattern.replace(r"aspp\.", r"decoder\.aspp\.0\." if plus else r"decoder\.aspp\.", 1), ours)
               if pattern.startswith(r"aspp\.") else (pattern, ours)
               for pattern, ours in (V3PLUS if plus else V3)]  # fmt: skip
    if plus:
        options |= {
            "output_stride": 16,
            "atrous_rates": [12, 24, 36],
            "norm_between": False,
            "decoder_convs": 1,
            "decoder_channels": head.shape[1],
            "low_level_channels": tensors["decoder.block1.0.weight"].shape[0],
        }
    else:
        options["output_stride"] = 8
    return Imported(
        NAME,
        f"DeepLabV3{'Plus' if plus else ''} on {backbone}",
        "DeepLabV3PlusTask" if plus else "DeepLabV3Task",
        options,
        head.shape[0],
        **translate(renamed, [*encoder_renames, *renames], COUNTERS | _UNUSED),
        **pictures,
        notes=[
            *notes,
            f"ASPP's rates and the output stride ({options['output_stride']}) are the program's defaults: the file "
            f"does not tell them",
        ],
    )


def timm_encoders(tensors: Mapping[str, Tensor]) -> list[ExactNetwork]:
    """Return the networks of timm that have the encoder's weights; one, as a rule.

    Raises:
        CheckpointError: None has, or its batch norms add several values.
    """
    shapes = {name.removeprefix(TIMM): tuple(value.shape) for name, value in tensors.items() if name.startswith(TIMM)}
    fitting = networks_with(shapes)
    if not fitting:
        raise CheckpointError(
            f"Its encoder ({len(shapes)} tensors behind {TIMM!r}) is none of timm's {len(exact_networks())} networks "
            f"that compute the same at every output stride; docs/backbones.md has the families."
        )
    if len(fitting[0].norm_eps) > 1:
        raise CheckpointError(
            f"Its encoder, {fitting[0].name}, has batch norms of several eps: {sorted(fitting[0].norm_eps)}."
        )
    return fitting
