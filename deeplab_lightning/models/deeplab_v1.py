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

from pathlib import Path

import torch
from torch import Tensor, nn

from ..backbones.vgg import VGG16_WIDTHS, he_normal_
from ..backbones.vgg_atrous import FC6, FC6_SHAPES, VGGAtrous
from ..errors import ConfigError, did_you_mean
from ..layers import resize
from ..layers.conv import classifier

MULTI_SCALE_CHANNELS = 128


class DeepLabV1(nn.Module):
    """DeepLab v1 at output stride 8.

    Args:
        num_classes: Classes to tell apart, background included.
        fc6: `largefov` (3x3, 1024 filters, the paper's best), or `7x7` or `4x4` with 4096 filters.
        fc6_rate: Atrous rate of fc6 (the paper's "input stride"); None for the variant's own: 12, 4 and 4.
        multi_scale_features: Build the paper's MSc heads on the image and on pool1..pool4.
        pretrained: Start from VGG16's ImageNet weights: timm's (True), or those in a file.
        in_channels: Channels of the image.
        dropout: Probability of dropping an activation after fc6 and after fc7.
        align_corners: Convention of the resize to full size (the paper's code: True).

    Raises:
        ConfigError: No such variant, or the ImageNet weights cannot be had.
    """

    output_stride = 8

    def __init__(
        self,
        num_classes: int,
        fc6: FC6 = "largefov",
        fc6_rate: int | None = None,
        multi_scale_features: bool = False,
        pretrained: bool | str | Path = False,
        in_channels: int = 3,
        dropout: float = 0.5,
        align_corners: bool = True,
    ) -> None:
        super().__init__()
        if fc6 not in FC6_SHAPES:
            raise ConfigError(f"Unknown fc6 {fc6!r}.{did_you_mean(fc6, FC6_SHAPES)} Variants: {', '.join(FC6_SHAPES)}.")
        self.align_corners = align_corners
        rate = FC6_SHAPES[fc6].atrous_rate if fc6_rate is None else fc6_rate
        self.backbone = VGGAtrous(
            in_channels, fc6=fc6, atrous_rates=(rate,), pool5a=True, dropout=dropout, pretrained=pretrained
        )
        self.multi_scale_heads = _multi_scale_heads(in_channels) if multi_scale_features else None
        channels = self.backbone.high_level_channels
        if self.multi_scale_heads is not None:
            channels += len(self.multi_scale_heads) * MULTI_SCALE_CHANNELS
        self.classifier = classifier(channels, num_classes)

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
        """Return the logits at stride 8, which the paper trains: `(B, num_classes, ceil(H/8), ceil(W/8))`."""
        features = self.backbone(image)
        maps = list(features.branches)
        if self.multi_scale_heads is not None:
            sources = [image, *features.pools]
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
