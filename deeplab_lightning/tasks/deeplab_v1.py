"""DeepLab v1 as something to train."""

from __future__ import annotations

from typing import Any, Literal

from torch import Tensor

from ..backbones.vgg_atrous import FC6
from ..losses.shrink import shrink_labels
from ..models import DeepLabV1
from .base import SegmentationTask, TrainedMaps


class DeepLabV1Task(SegmentationTask):
    """DeepLab v1: VGG16 made dense by the hole algorithm, trained at stride 8.

    Args:
        fc6: largefov (3x3, 1024 filters), 7x7 or 4x4 (4096 filters), the variants of the paper.
        fc6_rate: Atrous rate of fc6; null for the variant's own (12, 4, 4).
        multi_scale_features: Build the MSc heads on the image and on pool1 to pool4.
        pretrained: Start from VGG16's ImageNet weights: true for timm's, or a file of timm or torchvision.
        dropout: After fc6 and after fc7.
        align_corners: Convention of the resize to full size.
        lr: Base learning rate, for the backbone with fc6 and fc7.
        weight_decay: On the kernels of convolutions, PyTorch's convention.
        head_lr_multiplier: How much faster the classifier (fc8) and the MSc heads learn.
        bias_lr_multiplier: How much faster biases learn.
        schedule: Of the learning rate; step in the paper.
        step_every: Optimiser steps between two falls of the learning rate.
        kwargs: Data and the rest of the optimisation, see `SegmentationTask`.
    """

    def __init__(
        self,
        fc6: FC6 = "largefov",
        fc6_rate: int | None = None,
        multi_scale_features: bool = False,
        pretrained: bool | str = False,
        dropout: float = 0.5,
        align_corners: bool = True,
        lr: float = 1e-3,
        weight_decay: float = 5e-4,
        head_lr_multiplier: float = 10.0,
        bias_lr_multiplier: float = 2.0,
        schedule: Literal["poly", "step", "cosine"] = "step",
        step_every: int = 2000,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            lr=lr,
            weight_decay=weight_decay,
            head_lr_multiplier=head_lr_multiplier,
            bias_lr_multiplier=bias_lr_multiplier,
            schedule=schedule,
            step_every=step_every,
            **kwargs,
        )

    def build_model(self) -> DeepLabV1:
        """Make the network."""
        return self.build(DeepLabV1)

    def loss_of(self, maps: TrainedMaps, mask: Tensor) -> Tensor:
        """The loss at stride 8, against the label nearest to each coarse pixel.

        The papers add the pixels up. The mean gives a learning rate the same meaning whatever the crop, the batch and
        the share of void.

        Args:
            maps: Of `trained_maps`.
            mask: `(B, H, W)` train ids.
        """
        model: Any = self.model
        height, width = maps.main.shape[-2:]
        return self.criterion(maps.main, shrink_labels(mask, (height, width), model.align_corners))
