"""DeepLab v2 as something to train."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..backbones.resnet_variants import StridePlace
from ..losses.shrink import shrink_labels
from ..models import DeepLabV2
from ..types import OutputStride
from .base import SegmentationTask, TrainedMaps


class DeepLabV2Task(SegmentationTask):
    """DeepLab v2: ASPP that sums scores, and multi-scale inputs fused by the maximum.

    The paper freezes the batch norms of its pretrained ResNet (`freeze_batch_norm`); from scratch they must learn.

    Args:
        backbone: vgg16, or the name of a timm network that honours output strides (the paper: resnet101).
        output_stride: Input side over deepest feature side; 8 in the paper.
        pretrained: Start from ImageNet weights: true for timm's, or a file of timm or torchvision.
        atrous_rates: ASPP's at output stride 8: 6, 12, 18, 24 (ASPP-L), 2, 4, 8, 12 (ASPP-S), or 12 alone (LargeFOV).
        scales: Of the image, fused by the maximum; 1.0 alone leaves multi-scale inputs out.
        dropout: After fc6 and after fc7 (vgg16 only).
        stride_place: Which convolution of a ResNet carries a stage's stride: conv2 (timm) or conv1 (Caffe).
        ceil_mode: Round sizes up at a ResNet's pooling, as Caffe does.
        align_corners: Convention of every resize of the network.
        lr: Base learning rate, for the backbone.
        weight_decay: On the kernels of convolutions, PyTorch's convention.
        head_lr_multiplier: How much faster the classifiers learn.
        bias_lr_multiplier: How much faster biases learn.
        kwargs: Data and the rest of the optimisation, see `SegmentationTask`.
    """

    features_fit_the_image = False  # several scales, and scores read at once by several branches

    def __init__(
        self,
        backbone: str = "resnet101",
        output_stride: OutputStride = 8,
        pretrained: bool | str = False,
        atrous_rates: tuple[int, ...] = (6, 12, 18, 24),
        scales: tuple[float, ...] = (0.5, 0.75, 1.0),
        dropout: float = 0.5,
        stride_place: StridePlace = "conv2",
        ceil_mode: bool = False,
        align_corners: bool = True,
        lr: float = 2.5e-4,
        weight_decay: float = 5e-4,
        head_lr_multiplier: float = 10.0,
        bias_lr_multiplier: float = 2.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            lr=lr,
            weight_decay=weight_decay,
            head_lr_multiplier=head_lr_multiplier,
            bias_lr_multiplier=bias_lr_multiplier,
            **kwargs,
        )

    def build_model(self) -> DeepLabV2:
        """Make the network."""
        return self.build(DeepLabV2)

    def trained_maps(self, image: Tensor) -> TrainedMaps:
        """Return the fused logits, and those of every scale at its own size (a single scale has nothing to fuse)."""
        model: Any = self.model
        *scales, fused = model.all_logits(image)
        return TrainedMaps(fused, tuple(scales))

    def loss_of(self, maps: TrainedMaps, mask: Tensor) -> Tensor:
        """Sum of the losses of every scale and of the fused map, each against labels of its own size.

        The papers add the pixels up. The mean gives a learning rate the same meaning whatever the crop, the batch and
        the share of void.

        Args:
            maps: Of `trained_maps`.
            mask: `(B, H, W)` train ids.
        """
        model: Any = self.model
        losses = []
        for logits in (*maps.further, maps.main):
            height, width = logits.shape[-2:]
            losses.append(self.criterion(logits, shrink_labels(mask, (height, width), model.align_corners)))
        return torch.stack(losses).sum()
