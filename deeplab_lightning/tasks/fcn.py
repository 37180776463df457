"""FCN as something to train."""

from __future__ import annotations

from typing import Any

from ..models import FCN
from ..types import OutputStride
from .base import SegmentationTask


class FCNTask(SegmentationTask):
    """FCN: VGG16 as a fully convolutional network, whose scores at three strides are summed.

    Departures from the paper's training: it adds the loss of all pixels of one image up, with a momentum of 0.99 and
    fixed learning rates of 1e-10 (32s), 1e-12 (16s) and 1e-14 (8s), for 100,000 steps each, every network starting from
    the coarser one (`weights` wants the same network: load the coarser weights by hand); at once, 1e-10 for
    300,000 steps. Here the loss is the mean over the labelled pixels, with the momentum and the schedule of this
    framework: a learning rate keeps its meaning when the crop, the batch or the share of void changes.

    Args:
        output_stride: 32, 16 or 8, for FCN-32s, 16s and 8s.
        pretrained: Start from VGG16's ImageNet weights, fc6 and fc7 included: true for timm's, or a file of timm or
            torchvision.
        dropout: After fc6 and after fc7.
        at_once: Scale pool4 by 0.01 and pool3 by 0.0001 before scoring, for training all scores together.
        lr: Base learning rate.
        weight_decay: On the kernels of convolutions, PyTorch's convention.
        bias_lr_multiplier: How much faster biases learn.
        kwargs: Data and the rest of the optimisation, see `SegmentationTask`.
    """

    features_fit_the_image = False  # the image is padded by 100 pixels, and fc7 reads far beyond it

    def __init__(
        self,
        output_stride: OutputStride = 8,
        pretrained: bool | str = False,
        dropout: float = 0.5,
        at_once: bool = False,
        lr: float = 1e-3,
        weight_decay: float = 5e-4,
        bias_lr_multiplier: float = 2.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(lr=lr, weight_decay=weight_decay, bias_lr_multiplier=bias_lr_multiplier, **kwargs)

    def build_model(self) -> FCN:
        """Make the network."""
        return self.build(FCN)
