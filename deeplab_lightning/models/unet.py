"""U-Net (Ronneberger, Fischer & Brox, MICCAI 2015): every level of the encoder is handed over to the decoder.

```
image (B, 3, H, W)
  │ pair,   64 ─────────────────────────── skip ──────────────────────────── pair,  64 ─ 1x1 ─> logits
  │ pool /2                                                                  2x2 up-conv
  │ pair,  128 ─────────────────────────── skip ──────────────────────────── pair, 128
  │ pool /2                                                                  2x2 up-conv
  │ pair,  256 ─────────────────────────── skip ──────────────────────────── pair, 256
  │ pool /2                                                                  2x2 up-conv
  │ pair,  512 ─────────────────────────── skip ──────────────────────────── pair, 512
  └ pool /2 ── pair, 1024 (stride 16) ────────────────────────────────────── 2x2 up-conv
```

A pair is twice a 3x3 convolution and ReLU; a skip is concatenated in front of what comes up. Two forms:

- `padding="valid", batch_norm=False`, as published: each convolution takes a pixel from every border, skips are
  cropped, and a tile of 572 pixels gives logits for the 388 in its middle. Logits of the whole image come from the
  overlap-tile strategy: the image is extended by mirroring, so that the tile's middle covers it.
- `padding="same", batch_norm=True`, as used today: padded convolutions without bias, and batch norms. It is cheaper:
  in the valid form an image of 128 pixels takes a tile of 316, six times as many.

Departures from the paper, and why:

- The image goes through as one tile: in the valid form, tiles that overlap give the same logits as one large one.
- No dropout at the end of the encoder, which the paper has for its thirty training images.
- Weights start from He's normal distribution, the up-convolutions (no ReLU behind them) from one of half its variance,
  and the classifier from N(0, 0.01), so that the loss begins at ln(classes).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..backbones.vgg import he_normal_
from ..errors import ConfigError
from ..options import at_least
from .base import FullSizeNetwork, NetworkOptions

Padding = Literal["valid", "same"]

LEVELS = 5
STRIDE = 2 ** (LEVELS - 1)
MARGIN = 92
"""Pixels that the valid form needs around what it segments: (572 - 388) / 2."""
TILE_REMAINDER = 572 % STRIDE
"""Sides of its tiles are `16 k + 12`: only then is no side odd where it is pooled."""
SMALLEST_TILE = 2 * MARGIN + 4


@dataclass(frozen=True)
class UNetOptions(NetworkOptions):
    """Options of U-Net."""

    base_width: Annotated[int, at_least(1)] = 64
    """Channels of the first level; each of the four further ones doubles them."""
    padding: Padding = "same"
    """Padding of the 3x3 convolutions: same, or valid as published, where the image is extended by mirroring and a tile
    of 572 pixels gives logits for the 388 in its middle."""
    batch_norm: bool = True
    """Put a batch norm behind every 3x3 convolution, which then has no bias; the paper has none."""


class UNet(FullSizeNetwork):
    """U-Net with five levels."""

    Options = UNetOptions
    options: UNetOptions
    output_stride = STRIDE

    def build(self, num_classes: int, in_channels: int) -> None:
        """Make encoder, decoder and classifier."""
        options = self.options
        self.padding, padding, norm = options.padding, options.padding, options.batch_norm
        if padding == "valid":
            self.features_fit_image = False  # the classifier reads a tile, of which the image is the middle
            self.needs_fixed_size = "U-Net's valid form, whose mirrored tile"
        widths = [options.base_width * 2**level for level in range(LEVELS)]
        self.encoder = nn.ModuleList(
            _pair(channels, out, padding, norm) for channels, out in zip([in_channels, *widths], widths, strict=False)
        )
        # ceil_mode only matters to padded convolutions: the others have even sides wherever they are pooled.
        self.pool = nn.MaxPool2d(2, ceil_mode=True)
        above = widths[-2::-1]
        self.up = nn.ModuleList(nn.ConvTranspose2d(2 * out, out, 2, stride=2) for out in above)
        self.decoder = nn.ModuleList(_pair(2 * out, out, padding, norm) for out in above)
        self.classifier = nn.Conv2d(widths[0], num_classes, 1)
        self._initialise()

    def coarse_logits(self, image: Tensor) -> Tensor:
        """Return logits `(B, num_classes, H, W)`."""
        height, width = image.shape[-2:]
        if self.padding == "same":
            return self.tile_logits(image)
        tile = extend_by_mirroring(image, (_tile_side(height), _tile_side(width)))
        return _trim(self.tile_logits(tile), image)

    def tile_logits(self, tile: Tensor) -> Tensor:
        """Segment what the convolutions reach, without extending the image.

        Args:
            tile: `(B, in_channels, H, W)`; in the valid form both sides must be `16 k + 12`, from 188 up.

        Returns:
            Logits of the tile, `(B, num_classes, H, W)`; in the valid form of its middle,
            `(B, num_classes, H - 184, W - 184)`.

        Raises:
            ConfigError: A tile of another side in the valid form.
        """
        for side in tile.shape[-2:]:
            if self.padding == "valid" and (side % STRIDE != TILE_REMAINDER or side < SMALLEST_TILE):
                raise ConfigError(
                    f"A tile of {tile.shape[-2]}x{tile.shape[-1]} does not suit U-Net's valid convolutions: its sides "
                    f"must be {STRIDE} k + {TILE_REMAINDER} and at least {SMALLEST_TILE}, such as "
                    f"{_tile_side(max(side - 2 * MARGIN, 1))}."
                )
        skips = []
        features = tile
        for level, pair in enumerate(self.encoder):
            features = pair(features if level == 0 else self.pool(features))
            skips.append(features)
        features = skips.pop()
        for up, pair in zip(self.up, self.decoder, strict=True):
            features = pair(_join(skips.pop(), up(features), self.padding))
        return self.classifier(features)

    def _initialise(self) -> None:
        he_normal_(self)
        for up in self.up:
            assert isinstance(up, nn.ConvTranspose2d)
            assert up.bias is not None
            nn.init.normal_(up.weight, std=up.in_channels**-0.5)  # each pixel is reached by one tap of the 2x2
            nn.init.zeros_(up.bias)
        nn.init.normal_(self.classifier.weight, std=0.01)


def extend_by_mirroring(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Continue an image over its borders by its mirrored copy, and that again by the image, as far as wanted.

    The border's own pixels are not repeated.

    Args:
        image: `(B, C, H, W)`.
        size: Wanted sides, at least `H + 92` and `W + 92`.

    Returns:
        `(B, C, *size)`, with the image 92 pixels from the top and the left.
    """
    for dim, side in ((2, size[0]), (3, size[1])):
        last = image.shape[dim] - 1
        period = max(2 * last, 1)
        position = (torch.arange(side, device=image.device) + -MARGIN % period) % period
        image = image.index_select(dim, torch.minimum(position, period - position))
    return image


def _tile_side(side: int) -> int:
    """Return the smallest side of a tile whose middle covers `side` pixels."""
    needed = side + 2 * MARGIN
    return needed + (TILE_REMAINDER - needed) % STRIDE


def _join(skip: Tensor, below: Tensor, padding: Padding) -> Tensor:
    """Concatenate `(B, C, h, w)` maps of a level, cropped to the smaller one."""
    if padding == "same":  # where the skip's side is odd, its half was rounded up
        below = _trim(below, skip)
    else:
        top, left = (skip.shape[-2] - below.shape[-2]) // 2, (skip.shape[-1] - below.shape[-1]) // 2
        skip = skip[..., top : top + below.shape[-2], left : left + below.shape[-1]]
    return torch.cat([skip, below], dim=1)


def _trim(features: Tensor, like: Tensor) -> Tensor:
    """Cut off what is too much at the bottom and right.

    A negative padding crops; unlike a slice, it can be exported for sizes with and without anything to cut at once.
    """
    return F.pad(features, (0, like.shape[-1] - features.shape[-1], 0, like.shape[-2] - features.shape[-2]))


def _pair(in_channels: int, out_channels: int, padding: Padding, norm: bool) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (in_channels, out_channels):
        layers.append(nn.Conv2d(channels, out_channels, 3, padding=int(padding == "same"), bias=not norm))
        if norm:
            layers.append(nn.BatchNorm2d(out_channels))
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)
