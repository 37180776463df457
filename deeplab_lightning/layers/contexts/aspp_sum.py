"""ASPP whose branches are added up instead of concatenated, as articles about DeepLab show it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..conv import ConvNormAct
from .aspp import ASPP
from .base import ContextOptions


class SummedASPP(ASPP):
    """The branches of v3's ASPP, added up before the projection; no paper of the family does so."""

    name = "aspp_sum"

    def projection(self, options: ContextOptions) -> nn.Sequential:
        """Return what follows the sum."""
        width = options.aspp_channels
        return ConvNormAct(width, width, options.project_kernel_size, momentum=options.norm_momentum)

    def forward(self, features: Tensor) -> Tensor:
        """`(B, C_in, h, w) -> (B, C_out, h, w)`."""
        return self.dropout(self.project(torch.stack([branch(features) for branch in self.branches]).sum(0)))
