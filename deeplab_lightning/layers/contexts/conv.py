"""One dense 3x3 convolution, which makes v3 what torchvision calls FCN."""

from __future__ import annotations

from torch import nn

from ..conv import ConvNormAct
from .base import ContextHead, ContextOptions


class SingleConv(nn.Sequential, ContextHead):
    """A dense 3x3 convolution with batch norm, ReLU and dropout: `(B, C_in, h, w) -> (B, C_out, h, w)`."""

    name = "conv"
    part = "conv"

    def __init__(self, options: ContextOptions, in_channels: int) -> None:
        block = ConvNormAct(in_channels, options.aspp_channels, 3, momentum=options.norm_momentum)
        super().__init__(*block, nn.Dropout(options.dropout))
