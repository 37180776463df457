"""U-Net as something to train."""

from __future__ import annotations

from typing import Any

from ..models import UNet
from ..models.unet import Padding
from .base import SegmentationTask


class UNetTask(SegmentationTask):
    """U-Net: every level of the encoder is handed over to the decoder.

    The loss is this framework's cross-entropy; the paper weighs the pixels between touching cells more.

    Args:
        base_width: Channels of the first level; each further one doubles them.
        padding: same, or valid as published, with the image extended by mirroring.
        norm: Batch norm behind every 3x3 convolution; the paper has none.
        kwargs: Data and optimisation, see `SegmentationTask`.
    """

    def __init__(self, base_width: int = 64, padding: Padding = "same", norm: bool = True, **kwargs: Any) -> None:
        self.features_fit_the_image = padding == "same"  # valid: a tile, of which the image is the middle
        super().__init__(**kwargs)

    def build_model(self) -> UNet:
        """Make the network."""
        return self.build(UNet)
