"""What stands between a backbone and its classifier or decoder in v3 and v3+: ASPP, or something to compare it with."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Literal

from torch import nn

from .aspp import ASPPConcat
from .attention import SqueezeExcite
from .conv import ConvNormAct, NormOptions, conv3x3, initialise
from .pyramid_pooling import PyramidPooling

Context = Literal["aspp", "aspp_sum", "psp", "conv"]


def context_module(
    kind: Context,
    in_channels: int,
    out_channels: int,
    *,
    atrous_rates: Sequence[int],
    separable: bool,
    norm_between: bool = True,
    image_pooling: bool = True,
    project_kernel_size: int = 1,
    attention: bool = False,
    head_conv: bool = False,
    dropout: float = 0.1,
    norm: NormOptions,
    align_corners: bool,
) -> nn.Sequential:
    """Return the context module of v3 and v3+, `(B, C_in, h, w) -> (B, C_out, h, w)`, its parts named by kind.

    Args:
        kind: `aspp` (v3, v3+); `aspp_sum`, its branches added up instead of concatenated (articles show it, no paper
            does); `psp`: PSPNet's pyramid pooling, which has neither rates nor separable convolutions; or `conv`: one
            dense 3x3, which makes v3 what torchvision calls FCN.
        in_channels: Channels of the deepest feature map.
        out_channels: Channels of the result.
        atrous_rates: Of ASPP, at the map's output stride.
        separable: Atrous separable convolutions in ASPP.
        norm_between: See `AtrousSeparableConv`.
        image_pooling: ASPP's image-level branch.
        project_kernel_size: Of ASPP's projection: 1, or 3 as in mmsegmentation.
        attention: Weigh the result's channels (squeeze-and-excite). No paper of the family has it.
        head_conv: One more 3x3 behind it, as torchvision and segmentation_models_pytorch have and the papers do not.
        dropout: Behind the projection.
        norm: Constants of the batch norms.
        align_corners: Handed to the resizes of pooled maps.
    """
    parts: dict[str, nn.Module] = {}
    if kind == "psp":
        parts["psp"] = PyramidPooling(
            in_channels, out_channels, dropout=dropout, norm=norm, align_corners=align_corners
        )
    elif kind == "conv":
        parts["conv"] = nn.Sequential(*ConvNormAct(in_channels, out_channels, 3, norm=norm), nn.Dropout(dropout))
    else:
        parts["aspp"] = ASPPConcat(
            in_channels,
            out_channels,
            atrous_rates=atrous_rates,
            separable=separable,
            norm_between=norm_between,
            image_pooling=image_pooling,
            dropout=dropout,
            project_kernel_size=project_kernel_size,
            summed=kind == "aspp_sum",
            norm=norm,
            align_corners=align_corners,
        )
    if attention:
        parts["attention"] = SqueezeExcite(out_channels)
    if head_conv:
        parts["head_conv"] = conv3x3(
            out_channels, out_channels, separable=separable, norm=norm, norm_between=norm_between
        )
    for part in parts.values():
        initialise(part)
    return nn.Sequential(OrderedDict(parts))
