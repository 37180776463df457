"""DeepLab v1 (Chen et al., "Semantic Image Segmentation with Deep Convolutional Nets and Fully Connected CRFs", 2015).

```
image (B, 3, H, W)
  │ VGG16 by the hole algorithm ─ fc6 ─ fc7 (B, 1024, H/8, W/8) ────────────┬─ 1x1 (fc8) ─┐
  │ image, pool1..pool4 ── 3x3, 128 ── 1x1, 128 (MSc only; 5 x 128) ────────┘             │
logits (B, num_classes, H, W) <──────────────────────────────── resize to full size ──────┘
```

Departures from the paper, and why:

- Without `pretrained`, weights start from He's normal distribution, so that the network learns from scratch; the paper
  always starts from ImageNet. The classifier starts from N(0, 0.01), as published.
- The multi-scale heads (MSc) train together with everything else. The paper adds them to a finished network, which then
  stays as it is.
- The fully connected CRF is no part of the network; the paper, too, sets it apart from training.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor, nn

from ..backbones.vgg import VGG16_WIDTHS, VGGOptions, he_normal_
from ..backbones.vgg_atrous import FC6, FC6_SHAPES, VGGAtrous
from ..layers.conv import classifier
from ..layers.grid import ResizeOptions
from ..options import at_least
from .base import Network, NetworkOptions

MULTI_SCALE_CHANNELS = 128


@dataclass(frozen=True)
class DeepLabV1Options(NetworkOptions, ResizeOptions, VGGOptions):
    """Options of DeepLab v1."""

    fc6: FC6 = "largefov"
    """What VGG16's first fully connected layer becomes: largefov, a 3x3 convolution of 1024 filters, the paper's best;
    or 7x7 or 4x4, of 4096 filters."""
    fc6_rate: Annotated[int, at_least(1)] | None = None
    """Atrous rate of fc6, the paper's "input stride": null for the variant's own, 12 for largefov and 4 for the others;
    the paper also runs 4x4 at 8."""
    multi_scale_features: bool = False
    """Build the paper's MSc heads, which let the classifier read the image and the outputs of pool1 to pool4, too."""


class DeepLabV1(Network):
    """DeepLab v1 at output stride 8."""

    Options = DeepLabV1Options
    options: DeepLabV1Options
    output_stride = 8
    shrinks_labels = True
    crf_of_paper = "v1"

    def build(self, num_classes: int, in_channels: int) -> None:
        """Make VGG16, MSc's heads and the classifier."""
        options = self.options
        shape = FC6_SHAPES[options.fc6]
        if options.fc6_rate is not None:
            shape = shape._replace(atrous_rate=options.fc6_rate)
        self.backbone = VGGAtrous(options, in_channels, branches=[shape], pool5a=True)
        self.multi_scale_heads = _multi_scale_heads(in_channels) if options.multi_scale_features else None
        channels = self.backbone.high_level_channels
        if self.multi_scale_heads is not None:
            channels += len(self.multi_scale_heads) * MULTI_SCALE_CHANNELS
        self.classifier = classifier(channels, num_classes)

    def coarse_logits(self, image: Tensor) -> Tensor:
        """Return the logits at stride 8, which the paper trains: `(B, num_classes, ceil(H/8), ceil(W/8))`."""
        pools, maps = self.backbone(image)
        if self.multi_scale_heads is not None:
            sources = [image, *pools]
            maps += [head(source) for head, source in zip(self.multi_scale_heads, sources, strict=True)]
        return self.classifier(torch.cat(maps, dim=1))


def _multi_scale_heads(in_channels: int) -> nn.ModuleList:
    """Return MSc's heads, on the image and on pool1..pool4: `(B, C, H/s, W/s) -> (B, 128, H/8, W/8)`."""
    heads = nn.ModuleList()
    sources = [in_channels, *(widths[-1] for widths in VGG16_WIDTHS[:4])]
    for channels, stride in zip(sources, (8, 4, 2, 1, 1), strict=True):
        heads.append(
            nn.Sequential(
                nn.Conv2d(channels, MULTI_SCALE_CHANNELS, 3, stride=stride, padding=1),
                nn.ReLU(inplace=True),
                nn.Conv2d(MULTI_SCALE_CHANNELS, MULTI_SCALE_CHANNELS, 1),
                nn.ReLU(inplace=True),
            )
        )
    he_normal_(heads)
    return heads
