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
- New layers start from He's uniform distribution and the classifier from Xavier's, which get further in few steps (the
  released code: Xavier's, and N(0, 0.01): `classifier_start="normal"`, as in `configs/paper/`). Those of the cascade
  start from his normal one and from N(0, 0.01).
- Batch-norm momentum is 0.1 instead of 0.0003 unless set: the paper's value needs pretrained statistics.
- Image pooling takes the mean of the whole map; the released code's window is as large as the training crop.

What other code bases do and the paper does not: `head_conv`, `aux_head` and `align_corners=False` together are
torchvision's network, with `dropout=0.5`, `multi_grid=()` and output stride 8; with `context="conv"` it is what
torchvision calls FCN. mmsegmentation has `project_kernel_size=3`, 512 channels and timm's `resnet50c`, at output
stride 8 too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from torch import Tensor, nn

from ..backbones import BackboneOptions, TimmBackbone
from ..backbones.resnet_variants import is_resnet
from ..errors import ConfigError
from ..layers.conv import classifier
from ..layers.grid import ResizeOptions
from ..options import Between, at_least
from .base import Network, NetworkOptions
from .with_context import ContextNetwork, ContextNetworkOptions


class DeepLabV3(ContextNetwork):
    """DeepLab v3 with atrous spatial pyramid pooling."""

    Options = ContextNetworkOptions

    def build(self, num_classes: int, in_channels: int) -> None:
        """Make backbone, context module and classifiers."""
        self.build_encoder(in_channels)
        self.build_classifiers(self.options.aspp_channels, num_classes)

    def logits_of(self, stages: tuple[Tensor, ...]) -> Tensor:
        """Return logits `(B, num_classes, ceil(H/output_stride), ceil(W/output_stride))`."""
        return self.classifier(self.context(stages[-1]))


@dataclass(frozen=True)
class DeepLabV3CascadeOptions(NetworkOptions, ResizeOptions, BackboneOptions):
    """Options of DeepLab v3's cascade."""

    multi_grid: tuple[Annotated[int, at_least(1)], ...] = (1, 2, 1)
    """Factors of the atrous rates of the units in the last block and in each of its copies: the best of the v3 paper's
    cascades is (1, 2, 1)."""
    last_block: Annotated[int, Between(4, 7)] = 7
    """Number of the block that ends the cascade: 4 for no copies, up to 7 for three; at output stride 16 the rates of
    blocks 4 to 7 are 2, 4, 8 and 16."""


class DeepLabV3Cascade(Network):
    """DeepLab v3 with copies of the last block in cascade (section 3.2), which start from scratch.

    The first unit of a copy always has its block's rate.
    """

    Options = DeepLabV3CascadeOptions
    options: DeepLabV3CascadeOptions

    def build(self, num_classes: int, in_channels: int) -> None:
        """Make the backbone, the copies of its last block, and the classifier."""
        options = self.options
        self.backbone = TimmBackbone(options, in_channels)
        if not is_resnet(self.backbone.features) or not hasattr(self.backbone.features.layer4[0], "conv3"):
            raise ConfigError(
                f"The cascade copies a ResNet's last block, and {options.backbone!r} has none: take resnet101."
            )
        rates = (32 // options.output_stride * 2 ** (block - 4) for block in range(5, options.last_block + 1))
        self.cascade = nn.Sequential(*(self._copy_of_last_block(rate) for rate in rates))
        self.classifier = classifier(self.backbone.high_level_channels, num_classes)

    def _copy_of_last_block(self, rate: int) -> nn.Sequential:
        unit: Any = self.backbone.features.layer4[-1]
        channels, width = unit.conv1.in_channels, unit.conv1.out_channels
        copies = [
            type(unit)(channels, width, dilation=rate * factor, first_dilation=rate * factor)
            for factor in self.options.multi_grid
        ]
        for copy in copies:
            for conv in (copy.conv1, copy.conv2, copy.conv3):
                nn.init.kaiming_normal_(conv.weight, mode="fan_out")
        return nn.Sequential(*copies)

    def coarse_logits(self, image: Tensor) -> Tensor:
        """Return the logits before the resize: `(B, num_classes, ceil(H/output_stride), ceil(W/output_stride))`."""
        return self.classifier(self.cascade(self.backbone(image)[-1]))
