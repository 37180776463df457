"""SegNet (Badrinarayanan, Kendall & Cipolla, TPAMI 2017): a decoder that unpools to where the maxima were.

```
image (B, 3, H, W)
  │ 64,64 ─ pool ─ 128,128 ─ pool ─ 256x3 ─ pool ─ 512x3 ─ pool ─ 512x3 ─ pool     VGG16's 13 convolutions
  │           ┊               ┊               ┊              ┊              ┊ indices of the maxima
  │   64  ─ unpool ─ 128,64 ─ unpool ─ ..128 ─ unpool ─ ..256 ─ unpool ─ 512x3 ─ unpool
logits (B, num_classes, H, W) <─ 3x3
```

All convolutions are followed by batch norm and ReLU, but for the last. No features skip from encoder to decoder: only
the indices do (in bfloat16, rounding moves some of them to the pixel beside). SegNet-Basic has four levels of a single
7x7 convolution with 64 channels on both sides, local response normalisation of its input, and a 1x1 classifier.

Departures from the papers' code, and why:

- Images are normalised like everywhere in this framework; the code feeds raw BGR values of 0..255. The local response
  normalisation of SegNet-Basic, with its published constants, then hardly changes them.
- Weights start from He's normal distribution, and the classifier from N(0, 0.01), so that the loss begins at
  ln(classes).
- That SegNet-Basic's convolutions have no bias, its decoder no ReLU, and its classifier a 1x1 kernel, is from memory.
- An odd side is pooled to its half, rounded up, as Caffe does, and unpooled to what it was: any size works.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from ..backbones.vgg import VGG16_WIDTHS, he_normal_, imagenet_vgg16, load_stages, vgg16_stages, vgg_stage
from ..backbones.weight_files import PretrainedOptions
from ..errors import ConfigError
from ..layers import ConvNormAct
from ..types import OutputStride
from .base import FullSizeNetwork, NetworkOptions

Variant = Literal["vgg16", "basic"]

OUTPUT_STRIDES: dict[Variant, OutputStride] = {"vgg16": 32, "basic": 16}
BASIC_LEVELS = 4
BASIC_CHANNELS = 64
BASIC_KERNEL = 7


@dataclass(frozen=True)
class SegNetOptions(NetworkOptions, PretrainedOptions):
    """Options of SegNet. The batch norms behind VGG16's trained convolutions start afresh."""

    variant: Variant = "vgg16"
    """Which network: vgg16 (29 million parameters), or basic, four levels of one 7x7 convolution with 64 channels (1.4
    million), for which there are no trained weights."""

    def check(self) -> None:
        """Refuse trained weights that there are not."""
        super().check()
        if self.pretrained and self.variant == "basic":
            raise ConfigError(
                "SegNet-Basic has no ImageNet weights: set --model.pretrained false, or --model.variant vgg16."
            )


class SegNet(FullSizeNetwork):
    """SegNet on VGG16, or SegNet-Basic."""

    Options = SegNetOptions
    options: SegNetOptions

    def build(self, num_classes: int, in_channels: int) -> None:
        """Make encoder, decoder and classifier."""
        variant = self.options.variant
        self.output_stride = OUTPUT_STRIDES[variant]
        self.normalise_input: nn.Module
        if variant == "vgg16":
            self.normalise_input = nn.Identity()
            self.backbone = vgg16_stages(in_channels, norm=True)
            self.decoder = _vgg16_decoder()
            self.classifier = nn.Conv2d(VGG16_WIDTHS[0][0], num_classes, 3, padding=1)
        else:
            self.normalise_input = nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75)
            self.backbone = _basic_encoder(in_channels)
            self.decoder = _basic_decoder()
            self.classifier = nn.Conv2d(BASIC_CHANNELS, num_classes, 1)
        nn.init.normal_(self.classifier.weight, std=0.01)
        assert self.classifier.bias is not None
        nn.init.zeros_(self.classifier.bias)
        weights = imagenet_vgg16(self.options.pretrained)
        if weights is not None:
            load_stages(self.backbone, weights)

    def coarse_logits(self, image: Tensor) -> Tensor:
        """Return logits `(B, num_classes, H, W)`."""
        features = self.normalise_input(image)
        pools = []
        for stage in self.backbone:
            features = stage(features)
            height, width = features.shape[-2:]
            features, indices = F.max_pool2d(features, 2, ceil_mode=True, return_indices=True)
            pools.append((indices, (height, width)))
        for stage in self.decoder:
            features = stage(unpool(features, *pools.pop()))
        return self.classifier(features)


def unpool(features: Tensor, indices: Tensor, size: tuple[int, int]) -> Tensor:
    """Put every value where the maximum stood in its pooling window, and zeros elsewhere.

    The same as PyTorch's `max_unpool2d`, which a run with deterministic algorithms refuses and a trace cannot record.

    Args:
        features: `(B, C, h, w)`.
        indices: `(B, C, h, w)` int64, places within each flattened map of `size`, as max pooling returns them.
        size: `(H, W)` before the pooling, and of the result.
    """
    height, width = size
    flat = features.new_zeros(*features.shape[:2], height * width)
    return flat.scatter(2, indices.flatten(2), features.flatten(2)).unflatten(2, (height, width))


def _vgg16_decoder() -> nn.ModuleList:
    """Mirror VGG16's stages, deepest first: each narrows in its last convolution to the stage above it.

    The first stage's second convolution is missing here: it is the classifier.
    """
    stages = nn.ModuleList()
    for (channels, *widths), above in zip(VGG16_WIDTHS[::-1], [*VGG16_WIDTHS[-2::-1], ()], strict=True):
        stages.append(vgg_stage(channels, [*widths, *above[-1:]], norm=True))
    return stages


def _basic_encoder(in_channels: int) -> nn.ModuleList:
    channels = [in_channels] + [BASIC_CHANNELS] * (BASIC_LEVELS - 1)
    stages = nn.ModuleList(ConvNormAct(width, BASIC_CHANNELS, BASIC_KERNEL) for width in channels)
    he_normal_(stages)
    return stages


def _basic_decoder() -> nn.ModuleList:
    stages = nn.ModuleList(
        nn.Sequential(
            nn.Conv2d(BASIC_CHANNELS, BASIC_CHANNELS, BASIC_KERNEL, padding=BASIC_KERNEL // 2, bias=False),
            nn.BatchNorm2d(BASIC_CHANNELS),
        )
        for _ in range(BASIC_LEVELS)
    )
    he_normal_(stages)
    return stages
