"""Atrous spatial pyramid pooling: v2 sums scores, v3 and v3+ concatenate features."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, conv2d
from torch.nn.modules.batchnorm import _BatchNorm

from .conv import ConvNormAct, NormOptions, conv3x3
from .resize import resize


class ImagePooling(nn.Module):
    """v3's image-level branch: mean over the whole map, 1x1, batch norm, ReLU, back to the map's size.

    `bins` > 1 makes it a branch of PSPNet's pyramid: means over a grid of bins x bins cells.

    With one image in the batch the pooled map holds a single value per channel, from which no variance can be
    computed. In training the batch norm then uses its running statistics for that batch: a batch of one trains, and
    larger batches are untouched.

    The released TensorFlow code pools over a window of the training crop's size; this pools over whatever it is
    given, as the paper says.
    """

    def __init__(
        self, in_channels: int, out_channels: int, *, norm: NormOptions, align_corners: bool, bins: int = 1
    ) -> None:
        super().__init__()
        self.bins = bins
        self.conv = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.norm = norm.build(out_channels)
        self.align_corners = align_corners

    def forward(self, features: Tensor) -> Tensor:
        """`(B, C_in, h, w) -> (B, C_out, h, w)`."""
        height, width = features.shape[-2:]
        return resize(self.cells(features), (height, width), self.align_corners)

    def cells(self, features: Tensor) -> Tensor:
        """Return the branch before it is resized to the map: `(B, C_in, h, w) -> (B, C_out, bins, bins)`."""
        cells = features.mean(dim=(2, 3), keepdim=True) if self.bins == 1 else adaptive_avg_pool2d(features, self.bins)
        pooled = self.conv(cells)
        if isinstance(self.norm, _BatchNorm) and self.norm.training and pooled.shape[0] == 1 and self.bins == 1:
            norm = self.norm
            pooled = nn.functional.batch_norm(
                pooled, norm.running_mean, norm.running_var, norm.weight, norm.bias, training=False, eps=norm.eps
            )
        else:
            pooled = self.norm(pooled)
        return pooled.relu()


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


class ASPPSum(nn.Module):
    """ASPP as in v2 (section 3.2) on a ResNet: parallel 3x3 convolutions straight to the classes, summed.

    ```
    (B, C_in, h, w) ─┬─ 3x3, rate r1 ─┐
                     ├─ 3x3, rate r2 ─┼─ sum ─> (B, C_out, h, w)
                     └─ ...          ─┘
    ```

    There is no 1x1 branch, no image pooling, no batch norm, no dropout, and every branch has its own bias. One rate
    alone makes the paper's LargeFOV.

    Args:
        in_channels: Channels of the deepest feature map.
        out_channels: The classes.
        atrous_rates: One branch each, at the network's own output stride.
    """

    def __init__(self, in_channels: int, out_channels: int, *, atrous_rates: Sequence[int]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Conv2d(in_channels, out_channels, 3, padding=rate, dilation=rate) for rate in atrous_rates
        )

    def forward(self, features: Tensor) -> Tensor:
        """`(B, C_in, h, w) -> (B, C_out, h, w)`."""
        first, *others = self.branches
        return sum((branch(features) for branch in others), start=first(features))


class ASPPConcat(nn.Module):
    """ASPP as in v3 (section 3.3) and v3+: parallel branches, concatenated and projected.

    ```
    (B, C_in, h, w) ─┬─ 1x1 ───────────────┐
                     ├─ 3x3, rate r1 ──────┤
                     ├─ 3x3, rate r2 ──────┼─ concat ─ 1x1 ─ dropout ─> (B, C_out, h, w)
                     ├─ 3x3, rate r3 ──────┤
                     └─ image pooling ─────┘
    ```

    The order of the branches is torchvision's; TensorFlow's checkpoints have image pooling first. The concatenation is
    not carried out (see `ConvOfParts`); image pooling need not be brought back to the map's size for it.

    Args:
        in_channels: Channels of the deepest feature map.
        out_channels: Channels of every branch and of the result (256 in the papers).
        atrous_rates: One 3x3 branch each; empty leaves the 1x1 (and pooling) alone.
        separable: Use atrous separable convolutions in the 3x3 branches.
        norm_between: See `AtrousSeparableConv`.
        image_pooling: Build the image-level branch. The best Cityscapes model of the v3+ paper does without.
        dropout: Probability of dropping a projected activation (0.1 in the papers).
        project_kernel_size: Of the projection: 1, or 3 as in mmsegmentation.
        summed: Add the branches up instead, as articles about DeepLab show; no paper of the family does.
        norm: Constants of the batch norms.
        align_corners: Handed to the resize of the pooled map.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int = 256,
        *,
        atrous_rates: Sequence[int],
        separable: bool,
        norm_between: bool = True,
        image_pooling: bool = True,
        dropout: float = 0.1,
        project_kernel_size: int = 1,
        summed: bool = False,
        norm: NormOptions,
        align_corners: bool,
    ) -> None:
        super().__init__()
        self.summed = summed
        branches: list[nn.Module] = [ConvNormAct(in_channels, out_channels, norm=norm)]
        branches += [
            conv3x3(
                in_channels, out_channels, atrous_rate=rate, separable=separable, norm=norm, norm_between=norm_between
            )
            for rate in atrous_rates
        ]
        if image_pooling:
            branches.append(ImagePooling(in_channels, out_channels, norm=norm, align_corners=align_corners))
        self.branches = nn.ModuleList(branches)
        width = out_channels if summed else len(branches) * out_channels
        self.project = (
            ConvNormAct(width, out_channels, project_kernel_size, norm=norm)
            if summed
            else nn.Sequential(
                ConvOfParts(
                    width, out_channels, project_kernel_size, padding=(project_kernel_size - 1) // 2, bias=False
                ),
                norm.build(out_channels),
                nn.ReLU(inplace=True),
            )
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, features: Tensor) -> Tensor:
        """`(B, C_in, h, w) -> (B, C_out, h, w)`."""
        if self.summed:
            return self.dropout(self.project(torch.stack([branch(features) for branch in self.branches]).sum(0)))
        parts = [
            branch.cells(features) if isinstance(branch, ImagePooling) else branch(features) for branch in self.branches
        ]
        return self.dropout(self.project(parts))
