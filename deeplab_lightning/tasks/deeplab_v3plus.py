"""DeepLab v3+ as something to train."""

from __future__ import annotations

from typing import Any

from ..backbones.resnet_variants import FirstUnit, StridePlace
from ..backbones.timm_backbone import LowLevelMap
from ..layers.context import Context
from ..models import DeepLabV3Plus
from ..types import OutputStride, SideRemainder
from .base import SegmentationTask


class DeepLabV3PlusTask(SegmentationTask):
    """DeepLab v3+: ASPP encoder, and a decoder that brings back detail from a stride-4 map.

    Args:
        backbone: Name of a timm network that honours output strides (the paper: resnet101, xception65).
        output_stride: Input side over deepest feature side; a checkpoint runs at any of them.
        pretrained: Start from ImageNet weights: true for timm's, which are fetched, or a file of timm or torchvision.
        multi_grid: Unit rates of a ResNet's last stage; null for the paper's (1, 2, 4) where it fits.
        first_unit: Rate of the first unit of a ResNet stage that lost its stride: the previous stage's, or its own.
        stride_place: Which convolution carries the stride of a ResNet stage; TensorFlow's is in the stage before.
        beta_stem: Three 3x3 convolutions instead of a ResNet's 7x7, as in the paper.
        context: aspp, or something to compare it with: aspp_sum (branches added up), psp (PSPNet's pyramid pooling),
            conv (one 3x3).
        atrous_rates: ASPP rates at output stride 16; scaled for the others.
        separable: Atrous separable convolutions in ASPP and decoder, or dense ones.
        norm_between: Batch norm and ReLU between the two parts of a separable convolution (some ports: neither).
        image_pooling: Build ASPP's image-level branch.
        aspp_channels: Width of ASPP.
        project_kernel_size: Of ASPP's projection (mmsegmentation: 3; not in the paper).
        attention: Weigh ASPP's channels by squeeze-and-excite (not in the paper).
        head_conv: One more 3x3 behind ASPP (torchvision; not in the paper).
        decoder: False leaves the decoder out (an ablation of the paper).
        low_level_map: Where the stride-4 map is taken: at the end of timm's stage, or TensorFlow's tensor.
        low_level_channels: Width that the low-level map is reduced to.
        decoder_channels: Width of the decoder.
        decoder_convs: How many convolutions follow the decoder's concatenation.
        decoder_kernel_size: Their kernel, 3 or 1.
        additive_decoder: Add the reduced low-level map instead of concatenating it (articles show it, no paper does).
        decoder_strides: Strides of the maps that are merged: [4], or [8, 4] for the paper's "Conv2 + Conv3".
        dropout: After ASPP's projection.
        aux_head: Build an auxiliary classifier on the last map but one (not in the paper).
        aux_loss_weight: Of its loss.
        align_corners: Convention of every resize of the network.
        side_remainder: With corners aligned, sides that images are padded to in evaluation leave this when divided by
            the output stride: 1, where corners meet; 0 as in segmentation_models_pytorch (train on such crops, too).
        norm_momentum: Of the batch norms in ASPP and decoder (the paper's 0.0003 needs pretrained statistics).
        kwargs: Data and optimisation, see `SegmentationTask`.
    """

    def __init__(
        self,
        backbone: str = "resnet101",
        output_stride: OutputStride = 16,
        pretrained: bool | str = False,
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
        aux_loss_weight: float = 0.4,
        align_corners: bool = True,
        side_remainder: SideRemainder = 1,
        norm_momentum: float = 0.1,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)

    def build_model(self) -> DeepLabV3Plus:
        """Make the network."""
        return self.build(DeepLabV3Plus)
