"""Atrous spatial pyramid pooling as in v3 and v3+: parallel branches, concatenated and projected."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn.functional import conv2d

from ..conv import ConvNormAct, conv3x3
from ..image_pooling import ImagePooling
from .base import ContextHead, ContextOptions


class ConvOfParts(nn.Conv2d):
    """A convolution of the concatenation of several maps, which is never made: each goes through its own columns.

    The sum of the parts' convolutions is that of the whole. It saves writing the concatenation and reading it again,
    forwards and backwards. To a 1x1, a part that is one value per channel stays `(B, C, 1, 1)`: a bias for each
    image. `forward` alone differs from `Conv2d`'s: names and shapes of the weights are the same.
    """

    def forward(self, parts: Sequence[Tensor]) -> Tensor:  # type: ignore[override]
        """`(B, C_1, h, w), (B, C_2, h or 1, w or 1), ... -> (B, C_out, h, w)`; the first part has the whole size."""
        kernels = self.weight.split([part.shape[1] for part in parts], dim=1)
        size = parts[0].shape[-2:]
        wanted = parts if self.kernel_size == (1, 1) else [part.expand(*part.shape[:2], *size) for part in parts]
        total, *others = (
            conv2d(part, kernel, padding=self.padding) for part, kernel in zip(wanted, kernels, strict=True)
        )
        for other in others:
            total += other
        return total if self.bias is None else total + self.bias.view(-1, 1, 1)


class ASPP(ContextHead):
    """ASPP as in v3 (section 3.3) and v3+.

    ```
    (B, C_in, h, w) ─┬─ 1x1 ───────────────┐
                     ├─ 3x3, rate r1 ──────┤
                     ├─ 3x3, rate r2 ──────┼─ concat ─ 1x1 ─ dropout ─> (B, C_out, h, w)
                     ├─ 3x3, rate r3 ──────┤
                     └─ image pooling ─────┘
    ```

    The order of the branches is torchvision's; TensorFlow's checkpoints have image pooling first. The concatenation is
    not carried out (see `ConvOfParts`); image pooling need not be brought back to the map's size for it.
    """

    name = "aspp"
    part = "aspp"

    def __init__(self, options: ContextOptions, in_channels: int) -> None:
        super().__init__()
        width, momentum = options.aspp_channels, options.norm_momentum
        branches: list[nn.Module] = [ConvNormAct(in_channels, width, momentum=momentum)]
        branches += [conv3x3(in_channels, width, options, atrous_rate=rate) for rate in options.rates]
        if options.image_pooling:
            branches.append(ImagePooling(in_channels, width, momentum=momentum, align_corners=options.align_corners))
        self.branches = nn.ModuleList(branches)
        self.project = self.projection(options)
        self.dropout = nn.Dropout(options.dropout)

    def projection(self, options: ContextOptions) -> nn.Sequential:
        """Return what makes one map of the branches'."""
        width, kernel_size = options.aspp_channels, options.project_kernel_size
        return nn.Sequential(
            ConvOfParts(len(self.branches) * width, width, kernel_size, padding=kernel_size // 2, bias=False),
            nn.BatchNorm2d(width, momentum=options.norm_momentum),
            nn.ReLU(inplace=True),
        )

    def forward(self, features: Tensor) -> Tensor:
        """`(B, C_in, h, w) -> (B, C_out, h, w)`."""
        parts = [
            branch.cells(features) if isinstance(branch, ImagePooling) else branch(features) for branch in self.branches
        ]
        return self.dropout(self.project(parts))
