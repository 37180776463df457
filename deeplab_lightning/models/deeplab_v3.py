"""DeepLab v3 (Chen et al., "Rethinking Atrous Convolution for Semantic Image Segmentation", 2017): ASPP, or a cascade.

```
DeepLabV3         image ── backbone, output stride 16, multi-grid (1, 2, 4) ── ASPP, 256 ── 1x1 ── resize to full size
DeepLabV3Cascade  image ── backbone (block1-4) ── block5 ── block6 ── block7 ── 1x1 ── resize to full size
                           multi-grid (1, 2, 1); at output stride 16 the blocks' rates are 2, 4, 8, 16
```

Departures from the paper, and why:

- Backbones are timm's: a ResNet has torchvision's stem and the stride of a stage in its first unit, which keeps the
  previous rate where the stride is gone, so that ImageNet weights compute what they did. `beta_stem` and
  `stride_place="previous"` are the paper's (as in `configs/paper/`).
- New layers start from He's normal distribution (`layers.conv.initialise`), which suits training from scratch.
- Batch-norm momentum is 0.1 instead of 0.0003 unless set: the paper's value needs pretrained statistics.
- Image pooling takes the mean of the whole map; the released code's window is as large as the training crop.

What other code bases do and the paper does not: `head_conv`, `aux_head` and `align_corners=False` together are
torchvision's network, with `dropout=0.5`, `multi_grid=()` and output stride 8; with `context="conv"` it is what
torchvision calls FCN. mmsegmentation has `project_kernel_size=3`, 512 channels and timm's `resnet50c`, at output
stride 8 too.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ..backbones import TimmBackbone
from ..backbones.atrous import scale_rates
from ..backbones.resnet_variants import FirstUnit, StridePlace, is_resnet
from ..errors import ConfigError
from ..layers import NormOptions, resize
from ..layers.context import Context, context_module
from ..layers.conv import classifier
from ..layers.heads import auxiliary_head
from ..types import OutputStride, SideRemainder


class DeepLabV3(nn.Module):
    """DeepLab v3 with atrous spatial pyramid pooling.

    Args:
        num_classes: Classes to tell apart, background included.
        backbone: timm's name of the network (the paper: `resnet50`, `resnet101`).
        output_stride: Input side over deepest feature side. The same weights run at 32, 16 and 8.
        pretrained: Start the backbone from ImageNet weights: timm's (True), or those in a file.
        in_channels: Channels of the image.
        multi_grid: Unit rates of a ResNet's last stage; None for the paper's (1, 2, 4) where it fits.
        first_unit: See `backbones/resnet_variants.py`.
        stride_place: Likewise.
        beta_stem: Likewise.
        context: aspp, or something to compare it with: aspp_sum (branches added up), psp (PSPNet's pyramid pooling),
            conv (one 3x3).
        atrous_rates: ASPP rates at output stride 16; they are scaled with the output stride. Empty, with image pooling:
            the lite form that TensorFlow's MobileNetV2 models have.
        separable: Atrous separable convolutions in ASPP.
        norm_between: See `AtrousSeparableConv`.
        image_pooling: Build ASPP's image-level branch.
        aspp_channels: Width of ASPP.
        project_kernel_size: Of ASPP's projection: 1, or 3 as in mmsegmentation.
        attention: Weigh ASPP's channels by squeeze-and-excite.
        head_conv: One more 3x3 behind ASPP.
        dropout: Probability of dropping an activation after ASPP's projection.
        aux_head: Build an auxiliary classifier on the last map but one, for the loss alone.
        align_corners: Convention of every resize in this network (all of Google's code: True).
        side_remainder: With corners aligned, sides that images are padded to leave this when divided by the output
            stride: 1, where corners meet; 0 as in segmentation_models_pytorch. Evaluation reads it; the network itself
            takes any size.
        norm_momentum: Of the new batch norms, PyTorch's convention (1 - TensorFlow's decay).
    """

    def __init__(
        self,
        num_classes: int,
        backbone: str = "resnet101",
        output_stride: OutputStride = 16,
        pretrained: bool | str | Path = False,
        in_channels: int = 3,
        *,
        multi_grid: tuple[int, ...] | None = None,
        first_unit: FirstUnit = "lag",
        stride_place: StridePlace = "conv2",
        beta_stem: bool = False,
        context: Context = "aspp",
        atrous_rates: tuple[int, ...] = (6, 12, 18),
        separable: bool = False,
        norm_between: bool = True,
        image_pooling: bool = True,
        aspp_channels: int = 256,
        project_kernel_size: int = 1,
        attention: bool = False,
        head_conv: bool = False,
        dropout: float = 0.1,
        aux_head: bool = False,
        align_corners: bool = True,
        side_remainder: SideRemainder = 1,
        norm_momentum: float = 0.1,
    ) -> None:
        super().__init__()
        self.output_stride = output_stride
        self.align_corners = align_corners
        self.side_remainder = side_remainder
        norm = NormOptions(momentum=norm_momentum)
        self.backbone = TimmBackbone(
            backbone,
            output_stride,
            pretrained,
            in_channels,
            multi_grid=multi_grid,
            default_multi_grid=(1, 2, 4),
            first_unit=first_unit,
            stride_place=stride_place,
            beta_stem=beta_stem,
        )
        self.context = context_module(
            context,
            self.backbone.high_level_channels,
            aspp_channels,
            atrous_rates=scale_rates(tuple(atrous_rates), output_stride),
            separable=separable,
            norm_between=norm_between,
            image_pooling=image_pooling,
            project_kernel_size=project_kernel_size,
            attention=attention,
            head_conv=head_conv,
            dropout=dropout,
            norm=norm,
            align_corners=align_corners,
        )
        self.classifier = classifier(aspp_channels, num_classes)
        self.aux_head = auxiliary_head(self.backbone.stage_channels[-2], num_classes, norm=norm) if aux_head else None

    def forward(self, image: Tensor) -> Tensor:
        """Segment an image of any size.

        Args:
            image: `(B, in_channels, H, W)` float, normalised.

        Returns:
            Logits `(B, num_classes, H, W)`.
        """
        height, width = image.shape[-2:]
        return resize(self.coarse_logits(image), (height, width), self.align_corners)

    def coarse_logits(self, image: Tensor) -> Tensor:
        """Return the logits before the resize: `(B, num_classes, ceil(H/output_stride), ceil(W/output_stride))`."""
        return self.classifier(self.context(self.backbone(image).high_level))

    def logits_with_auxiliary(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits and those of the auxiliary head, both `(B, num_classes, H, W)`."""
        assert self.aux_head is not None
        height, width = image.shape[-2:]
        stages = self.backbone(image).stages
        logits, aux_logits = self.classifier(self.context(stages[-1])), self.aux_head(stages[-2])
        return (
            resize(logits, (height, width), self.align_corners),
            resize(aux_logits, (height, width), self.align_corners),
        )


class DeepLabV3Cascade(nn.Module):
    """DeepLab v3 with copies of the last block in cascade (section 3.2).

    Args:
        num_classes: Classes to tell apart, background included.
        backbone: A ResNet of bottlenecks (the paper: `resnet50`, `resnet101`).
        output_stride: Input side over deepest feature side. The same weights run at 32, 16 and 8.
        pretrained: Start the backbone from ImageNet weights: timm's (True), or those in a file. The copies start from
            scratch (as in the paper, as far as it says).
        in_channels: Channels of the image.
        last_block: 4 for none, up to 7.
        multi_grid: Unit rates of block4 and of its copies (the best of the paper: (1, 2, 1)).
        first_unit: See `backbones/resnet_variants.py`; the copies' first units always have their block's rate.
        stride_place: Likewise.
        beta_stem: Likewise.
        align_corners: Convention of the resize.
    """

    def __init__(
        self,
        num_classes: int,
        backbone: str = "resnet101",
        output_stride: OutputStride = 16,
        pretrained: bool | str | Path = False,
        in_channels: int = 3,
        *,
        last_block: int = 7,
        multi_grid: tuple[int, ...] = (1, 2, 1),
        first_unit: FirstUnit = "lag",
        stride_place: StridePlace = "conv2",
        beta_stem: bool = False,
        align_corners: bool = True,
    ) -> None:
        super().__init__()
        if not 4 <= last_block <= 7:
            raise ConfigError(f"last_block is {last_block}: the cascade ends with block 4 (no copies), 5, 6 or 7.")
        self.output_stride = output_stride
        self.align_corners = align_corners
        self.backbone = TimmBackbone(
            backbone,
            output_stride,
            pretrained,
            in_channels,
            multi_grid=tuple(multi_grid),
            first_unit=first_unit,
            stride_place=stride_place,
            beta_stem=beta_stem,
        )
        if not is_resnet(self.backbone.features) or not hasattr(self.backbone.features.layer4[0], "conv3"):
            raise ConfigError(f"The cascade copies a ResNet's last block, and {backbone!r} has none: take resnet101.")
        base_rate = 32 // output_stride
        self.cascade = nn.Sequential(
            *(
                self._copy_of_last_block(base_rate * 2 ** (block - 4), tuple(multi_grid))
                for block in range(5, last_block + 1)
            )
        )
        self.classifier = classifier(self.backbone.high_level_channels, num_classes)

    def _copy_of_last_block(self, rate: int, multi_grid: tuple[int, ...]) -> nn.Sequential:
        unit: Any = self.backbone.features.layer4[-1]
        channels, width = unit.conv1.in_channels, unit.conv1.out_channels
        copies = [
            type(unit)(channels, width, dilation=rate * factor, first_dilation=rate * factor) for factor in multi_grid
        ]
        for copy in copies:
            for conv in (copy.conv1, copy.conv2, copy.conv3):
                nn.init.kaiming_normal_(conv.weight, mode="fan_out")
        return nn.Sequential(*copies)

    def forward(self, image: Tensor) -> Tensor:
        """Segment an image of any size: `(B, in_channels, H, W)` -> logits `(B, num_classes, H, W)`."""
        height, width = image.shape[-2:]
        return resize(self.coarse_logits(image), (height, width), self.align_corners)

    def coarse_logits(self, image: Tensor) -> Tensor:
        """Return the logits before the resize: `(B, num_classes, ceil(H/output_stride), ceil(W/output_stride))`."""
        return self.classifier(self.cascade(self.backbone(image).high_level))
