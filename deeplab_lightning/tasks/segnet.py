"""SegNet as something to train."""

from __future__ import annotations

from typing import Any

from ..models import SegNet
from ..models.segnet import Variant
from .base import SegmentationTask


class SegNetTask(SegmentationTask):
    """SegNet: the decoder unpools to where the encoder's maxima were.

    The authors keep the learning rate fixed (SegNet 0.001, SegNet-Basic 0.1) for 40,000 steps of 4 images; here it
    falls as everywhere, unless `schedule` is step with a `step_every` longer than the run.

    Args:
        variant: vgg16, or basic: four levels of one 7x7 convolution with 64 channels.
        pretrained: Start the encoder from VGG16's ImageNet weights: true for timm's, or a file of timm or torchvision.
        lr: Base learning rate, for pretrained weights; from scratch start higher.
        weight_decay: On the kernels of convolutions, PyTorch's convention.
        kwargs: Data and the rest of the optimisation, see `SegmentationTask`.
    """

    def __init__(
        self,
        variant: Variant = "vgg16",
        pretrained: bool | str = False,
        lr: float = 1e-3,
        weight_decay: float = 5e-4,
        **kwargs: Any,
    ) -> None:
        super().__init__(lr=lr, weight_decay=weight_decay, **kwargs)

    def build_model(self) -> SegNet:
        """Make the network."""
        return self.build(SegNet)
