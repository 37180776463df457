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

from torch import Tensor, nn

from ..backbones.vgg import he_normal_
from ..layers import ConvNormAct, NormOptions, resize

STAGES = 3


class EncoderDecoder(nn.Module):
    """Three stages down, three up, and a classifier.

    Args:
        num_classes: Classes to tell apart, background included.
        in_channels: Channels of the image.
        base_width: Channels of the first stage; each further one doubles them.
    """

    output_stride = 8
    align_corners = False

    def __init__(self, num_classes: int, in_channels: int = 3, base_width: int = 32) -> None:
        super().__init__()
        widths = [base_width * 2**stage for stage in range(STAGES)]
        self.encoder = nn.ModuleList(
            _pair(channels, out) for channels, out in zip([in_channels, *widths], widths, strict=False)
        )
        self.pool = nn.MaxPool2d(2, ceil_mode=True)
        self.decoder = nn.ModuleList(
            _pair(channels, out) for channels, out in zip([widths[-1], *widths[::-1]], widths[::-1], strict=False)
        )
        self.classifier = nn.Conv2d(base_width, num_classes, 1)
        he_normal_(self)
        nn.init.normal_(self.classifier.weight, std=0.01)

    def forward(self, image: Tensor) -> Tensor:
        """Segment an image of any size.

        Args:
            image: `(B, in_channels, H, W)` float, normalised.

        Returns:
            Logits `(B, num_classes, H, W)`.
        """
        features, sizes = image, []
        for stage in self.encoder:
            features = stage(features)
            sizes.append((features.shape[-2], features.shape[-1]))
            features = self.pool(features)
        for stage in self.decoder:
            features = stage(resize(features, sizes.pop(), self.align_corners))
        return self.classifier(features)

    def coarse_logits(self, image: Tensor) -> Tensor:
        """Return the logits before any last resize: there is none, so they are those of `forward`."""
        return self(image)


def _pair(in_channels: int, out_channels: int) -> nn.Sequential:
    norm = NormOptions()
    return nn.Sequential(
        ConvNormAct(in_channels, out_channels, 3, norm=norm), ConvNormAct(out_channels, out_channels, 3, norm=norm)
    )
