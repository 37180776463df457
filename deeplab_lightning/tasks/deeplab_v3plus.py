"""DeepLab v3+ as something to train."""

from __future__ import annotations

from typing import Any

from ..models import DeepLabV3Plus
from ..types import OutputStride
from .base import SegmentationTask


class DeepLabV3PlusTask(SegmentationTask):
    """DeepLab v3+: ASPP encoder, and a decoder that brings back detail from a stride-4 map.

    Args:
        backbone: Name of a timm network that honours output strides (the paper: resnet101, xception65).
        output_stride: Input side over deepest feature side; a checkpoint runs at any of them.
        pretrained: Start the backbone from timm's ImageNet weights, fetched from the network the first time.
        atrous_rates: ASPP rates at output stride 16; scaled for the others.
        separable: Atrous separable convolutions in ASPP and decoder, or dense ones.
        image_pooling: Build ASPP's image-level branch.
        aspp_channels: Width of ASPP.
        decoder: False leaves the decoder out (an ablation of the paper).
        low_level_channels: Width that the low-level map is reduced to.
        decoder_channels: Width of the decoder.
        dropout: After ASPP's projection.
        align_corners: Convention of every resize of the network.
        norm_momentum: Of the batch norms in ASPP and decoder (the paper's 0.0003 needs pretrained statistics).
        kwargs: Data and optimisation, see `SegmentationTask`.
    """

    def __init__(
        self,
        backbone: str = "resnet101",
        output_stride: OutputStride = 16,
        pretrained: bool = False,
        atrous_rates: tuple[int, ...] = (6, 12, 18),
        separable: bool = True,
        image_pooling: bool = True,
        aspp_channels: int = 256,
        decoder: bool = True,
        low_level_channels: int = 48,
        decoder_channels: int = 256,
        dropout: float = 0.1,
        align_corners: bool = True,
        norm_momentum: float = 0.1,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)

    def build_model(self) -> DeepLabV3Plus:
        """Make the network."""
        hparams: Any = self.hparams
        return DeepLabV3Plus(
            self.num_classes,
            backbone=hparams.backbone,
            output_stride=hparams.output_stride,
            pretrained=hparams.pretrained,
            in_channels=self.description["channels"],
            atrous_rates=tuple(hparams.atrous_rates),
            separable=hparams.separable,
            image_pooling=hparams.image_pooling,
            aspp_channels=hparams.aspp_channels,
            decoder=hparams.decoder,
            low_level_channels=hparams.low_level_channels,
            decoder_channels=hparams.decoder_channels,
            dropout=hparams.dropout,
            align_corners=hparams.align_corners,
            norm_momentum=hparams.norm_momentum,
        )
