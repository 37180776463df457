"""DeepLab v3+ (Chen et al., "Encoder-Decoder with Atrous Separable Convolution", ECCV 2018).

```
image (B, 3, H, W)
  │ backbone, output stride 16 (or 8, 32)
  ├── high_level (B, C, H/16, W/16) ── ASPP, 256 ──> resize to stride 4 ─┐
  └── low_level  (B, c, H/4,  W/4)  ── 1x1, 48 ──────────────────────────┴─ concat ─ 3x3 ─ 3x3 ─ 1x1 ─┐
logits (B, num_classes, H, W) <──────────────────────────────────────────────── resize to full size ──┘
```

Departures from the paper, and why:

- Backbones are timm's, as in `deeplab_v3.py`; low-level maps are the ends of timm's stages unless `low_level_map` says
  `tensorflow` (see `backbones/feature_hooks.py`).
- New layers start from He's normal distribution (`layers.conv.initialise`), which suits training from scratch.
- Batch-norm momentum is 0.1 instead of 0.0003 unless set: the paper's value needs pretrained statistics.

What other code bases do and the paper does not: segmentation_models_pytorch has `norm_between=False`, `head_conv`, one
convolution in the decoder (`decoder_convs=1`), every unit at its stage's rate (`first_unit="full"`) without multi-grid,
ASPP rates of 12, 24, 36 at output stride 16, and dropout 0.5.
"""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from ..backbones import TimmBackbone
from ..backbones.atrous import scale_rates
from ..backbones.resnet_variants import FirstUnit, StridePlace
from ..backbones.timm_backbone import LowLevelMap
from ..errors import ConfigError
from ..layers import DecoderV3Plus, NormOptions, resize
from ..layers.context import Context, context_module
from ..layers.conv import classifier, initialise
from ..layers.heads import auxiliary_head
from ..types import OutputStride, SideRemainder


class DeepLabV3Plus(nn.Module):
    """DeepLab v3+ with a timm backbone.

    Args:
        num_classes: Classes to tell apart, background included.
        backbone: timm's name of the network (the paper: `resnet101`, `xception65`).
        output_stride: Input side over deepest feature side. The same weights run at 32, 16 and 8.
        pretrained: Start the backbone from ImageNet weights: timm's (True), or those in a file.
        in_channels: Channels of the image.
        multi_grid: Unit rates of a ResNet's last stage; None for the paper's (1, 2, 4) where it fits.
        first_unit: See `backbones/resnet_variants.py`.
        stride_place: Likewise.
        beta_stem: Likewise.
        context: aspp, or something to compare it with: aspp_sum (branches added up), psp (PSPNet's pyramid pooling),
            conv (one 3x3).
        atrous_rates: ASPP rates at output stride 16; they are scaled with the output stride.
        separable: Atrous separable convolutions in ASPP and decoder (the paper's best); False for dense ones.
        norm_between: See `AtrousSeparableConv`.
        image_pooling: Build ASPP's image-level branch.
        aspp_channels: Width of ASPP.
        project_kernel_size: Of ASPP's projection: 1, or 3 as in mmsegmentation.
        attention: Weigh ASPP's channels by squeeze-and-excite.
        head_conv: One more 3x3 behind ASPP.
        decoder: False leaves the decoder out, as in the paper's ablation: logits straight from ASPP.
        low_level_map: Where the stride-4 map is taken: at the end of timm's stage, or TensorFlow's tensor.
        low_level_channels: Width that the low-level map is reduced to.
        decoder_channels: Width of the decoder's convolutions.
        decoder_convs: How many there are.
        decoder_kernel_size: Their kernel, 3 or 1.
        additive_decoder: Add the reduced low-level map instead of concatenating it (articles show it, no paper does).
        decoder_strides: Strides of the maps that are merged: (4,), or (8, 4) for the paper's "Conv2 + Conv3".
        dropout: Probability of dropping an activation after ASPP's projection.
        aux_head: Build an auxiliary classifier on the last map but one, for the loss alone.
        align_corners: Convention of every resize in this network (all of Google's code: True).
        side_remainder: With corners aligned, sides that images are padded to leave this when divided by the output
            stride: 1, where corners meet; 0 as in segmentation_models_pytorch. Evaluation reads it; the network itself
            takes any size.
        norm_momentum: Of the batch norms in ASPP and decoder, PyTorch's convention (1 - TensorFlow's decay).
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
        separable: bool = True,
        norm_between: bool = True,
        image_pooling: bool = True,
        aspp_channels: int = 256,
        project_kernel_size: int = 1,
        attention: bool = False,
        head_conv: bool = False,
        decoder: bool = True,
        low_level_map: LowLevelMap = "stage",
        low_level_channels: int = 48,
        decoder_channels: int = 256,
        decoder_convs: int = 2,
        decoder_kernel_size: int = 3,
        additive_decoder: bool = False,
        decoder_strides: tuple[int, ...] = (4,),
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
            low_level_map=low_level_map,
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
        self.decoder_strides = tuple(decoder_strides)
        self.decoder: DecoderV3Plus | None = None
        if decoder:
            self._merged = [self._stage_at(stride) for stride in decoder_strides]
            self.decoder = DecoderV3Plus(
                aspp_channels,
                [self.backbone.stage_channels[stage] for stage in self._merged],
                low_level_channels=low_level_channels,
                decoder_channels=decoder_channels,
                convs=decoder_convs,
                kernel_size=decoder_kernel_size,
                additive=additive_decoder,
                separable=separable,
                norm_between=norm_between,
                norm=norm,
                align_corners=align_corners,
            )
            initialise(self.decoder)
        self.classifier = classifier(decoder_channels if decoder else aspp_channels, num_classes)
        self.aux_head = auxiliary_head(self.backbone.stage_channels[-2], num_classes, norm=norm) if aux_head else None

    def _stage_at(self, stride: int) -> int:
        reductions = self.backbone.stage_reductions
        if stride not in reductions:
            raise ConfigError(
                f"decoder_strides has {stride}, but the maps of {self.backbone.name!r} have strides {reductions}: take "
                f"[4], or [8, 4] for two of them."
            )
        return reductions.index(stride)

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
        """Return the logits before the last resize: `(B, num_classes, ceil(H/4), ceil(W/4))`.

        Without the decoder they have ASPP's size, `ceil(H/output_stride)`.
        """
        return self._decode(self.backbone(image).stages)

    def logits_with_auxiliary(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits and those of the auxiliary head, both `(B, num_classes, H, W)`."""
        assert self.aux_head is not None
        height, width = image.shape[-2:]
        stages = self.backbone(image).stages
        return (
            resize(self._decode(stages), (height, width), self.align_corners),
            resize(self.aux_head(stages[-2]), (height, width), self.align_corners),
        )

    def _decode(self, stages: tuple[Tensor, ...]) -> Tensor:
        encoded = self.context(stages[-1])
        if self.decoder is None:
            return self.classifier(encoded)
        return self.classifier(self.decoder(encoded, [stages[stage] for stage in self._merged]))
