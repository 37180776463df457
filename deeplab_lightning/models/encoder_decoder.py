"""A plain encoder-decoder: the small network that articles draw to explain the idea. No paper stands behind it.

```
image (B, 3, H, W)
  │ pair, 32 ── pool /2 ── pair, 64 ── pool /2 ── pair, 128 ── pool /2     pair: twice 3x3, batch norm, ReLU
  │                                                              │ (B, 128, H/8, W/8)
  │ pair, 32 ──  x2  ── pair, 64 ──  x2  ── pair, 128 ──  x2  ───┘         x2: bilinear
logits (B, num_classes, H, W) <─ 1x1
```

There are no skips: all detail has to pass through the map at stride 8. Beside U-Net (skips of features), SegNet (of
pooling indices) and DeepLab v3+ (of one low-level map) it shows what a skip is worth.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from torch import Tensor, nn

from ..backbones.vgg import he_normal_
from ..layers import ConvNormAct, resize
from ..options import at_least
from .base import FullSizeNetwork, NetworkOptions

STAGES = 3


@dataclass(frozen=True)
class EncoderDecoderOptions(NetworkOptions):
    """Options of the plain encoder-decoder."""

    base_width: Annotated[int, at_least(1)] = 32
    """Channels of the first stage; each of the two further ones doubles them."""


class EncoderDecoder(FullSizeNetwork):
    """Three stages down, three up, and a classifier."""

    Options = EncoderDecoderOptions
    options: EncoderDecoderOptions
    output_stride = 8

    def build(self, num_classes: int, in_channels: int) -> None:
        """Make encoder, decoder and classifier."""
        widths = [self.options.base_width * 2**stage for stage in range(STAGES)]
        self.encoder = nn.ModuleList(
            _pair(channels, out) for channels, out in zip([in_channels, *widths], widths, strict=False)
        )
        self.pool = nn.MaxPool2d(2, ceil_mode=True)
        self.decoder = nn.ModuleList(
            _pair(channels, out) for channels, out in zip([widths[-1], *widths[::-1]], widths[::-1], strict=False)
        )
        self.classifier = nn.Conv2d(widths[0], num_classes, 1)
        he_normal_(self)
        nn.init.normal_(self.classifier.weight, std=0.01)

    def coarse_logits(self, image: Tensor) -> Tensor:
        """Return logits `(B, num_classes, H, W)`."""
        features, sizes = image, []
        for stage in self.encoder:
            features = stage(features)
            sizes.append((features.shape[-2], features.shape[-1]))
            features = self.pool(features)
        for stage in self.decoder:
            features = stage(resize(features, sizes.pop(), self.align_corners))
        return self.classifier(features)


def _pair(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(ConvNormAct(in_channels, out_channels, 3), ConvNormAct(out_channels, out_channels, 3))
