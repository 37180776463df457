"""FCN (Long, Shelhamer & Darrell, "Fully Convolutional Networks for Semantic Segmentation", 2015): 32s, 16s and 8s.

```
image (B, 3, H, W), padded by 100
  │ VGG16 ─ pool3 (/8) ─ pool4 (/16) ─ pool5 (/32) ─ fc6, 7x7 ─ fc7 ─ 1x1 ─> scores (B, num_classes, ~H/32, ~W/32)
  │           │            │                                                  │ x2  (16s and 8s)
  │           │            └─ 1x1 ─ cropped ────────────────────────────────> +
  │           │                                                               │ x2  (8s)
  │           └─ 1x1 ─ cropped ─────────────────────────────────────────────> +
logits (B, num_classes, H, W) <─ cropped ───────────────── x32, x16 or x8 ────┘
```

Scores grow by transposed convolutions with a fixed bilinear kernel. All crops follow from one bookkeeping: the padding
of 100 and the 7x7 of fc6 put entry `j` of a map above pixel

| fc7 | pool4 | pool3 | scores x2 | scores x2 x2 |
|---|---|---|---|---|
| 32 j + 12.5 | 16 j - 91.5 | 8 j - 95.5 | 16 j - 11.5 | 8 j - 23.5 |

so that pool4 is cropped by 5 = (91.5 - 11.5) / 16 and pool3 by 9 = (95.5 - 23.5) / 8; entry `i` of the full-size map
lies above pixel `i - 19` (32s), `i - 27` (16s) or `i - 31` (8s). Where the bilinear kernel would read scores beyond the
map, near the image's border, it reads zeros, as in Caffe.

Departures from the paper, and why:

- Without `pretrained`, weights start from He's normal distribution, so that the network learns from scratch; the paper
  starts from ImageNet. The score layers start from zero as published: the first step moves the one above fc7 and the
  biases only, and from the second on the gradient reaches the trunk.
- The coarser networks are not trained first unless somebody does so: the state dict of FCN-16s is that of FCN-32s with
  `score_pool4` added, and of FCN-8s with `score_pool3`, so `load_state_dict(coarser, strict=False)` starts a finer one.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..backbones.vgg import (
    FC6_KERNEL,
    FC_CHANNELS,
    VGG16_WIDTHS,
    VGGOptions,
    he_normal_,
    imagenet_vgg16,
    load_fully_connected,
    load_stages,
    vgg16_stages,
)
from ..types import OutputStride
from .base import FullSizeNetwork, NetworkOptions

PADDING = 100
POOL4_CROP, POOL3_CROP = 5, 9
LOGITS_CROP: dict[OutputStride, int] = {32: 19, 16: 27, 8: 31}
AT_ONCE_SCALES = 0.01, 0.0001
"""Of pool4 and pool3."""


@dataclass(frozen=True)
class FCNOptions(NetworkOptions, VGGOptions):
    """Options of FCN."""

    output_stride: OutputStride = 8
    """Stride at which the last sum of scores stands: 32, 16 (with those of pool4) or 8 (with those of pool4 and pool3),
    for FCN-32s, 16s and 8s; VGG16 has a stride of 32 in all three."""
    at_once: bool = False
    """Scale pool4 by 0.01 and pool3 by 0.0001 before they are scored, to train all scores together."""


class FCN(FullSizeNetwork):
    """FCN on VGG16. Enlarging and cropping belong to the network: no resize follows."""

    Options = FCNOptions
    options: FCNOptions
    classifiers = ("classifier", "score_pool4", "score_pool3")
    features_fit_image = False  # the image is padded by 100 pixels, and fc7 reads far beyond it

    def build(self, num_classes: int, in_channels: int) -> None:
        """Make VGG16, the scores of its maps, and what enlarges them."""
        options = self.options
        self.pool4_scale, self.pool3_scale = AT_ONCE_SCALES if options.at_once else (1.0, 1.0)
        self.backbone = FCNBackbone(options, in_channels)
        self.classifier = _score(FC_CHANNELS, num_classes)
        self.score_pool4 = _score(VGG16_WIDTHS[3][-1], num_classes) if options.output_stride <= 16 else None
        self.score_pool3 = _score(VGG16_WIDTHS[2][-1], num_classes) if options.output_stride == 8 else None
        self.twice = BilinearDeconvolution(2)
        self.enlarge = BilinearDeconvolution(options.output_stride)

    def coarse_logits(self, image: Tensor) -> Tensor:
        """Return logits `(B, num_classes, H, W)`."""
        pool3, pool4, fc7 = self.backbone(image)
        scores = self.classifier(fc7)
        if self.score_pool4 is not None:
            scores = self.twice(scores)
            scores = scores + self.score_pool4(_crop(pool4, POOL4_CROP, scores) * self.pool4_scale)
        if self.score_pool3 is not None:
            scores = self.twice(scores)
            scores = scores + self.score_pool3(_crop(pool3, POOL3_CROP, scores) * self.pool3_scale)
        return _crop(self.enlarge(scores), LOGITS_CROP[self.output_stride], image)


class FCNBackbone(nn.Module):
    """VGG16 with 2x2 pools that round up, and its fully connected layers as convolutions without padding."""

    def __init__(self, options: VGGOptions, in_channels: int) -> None:
        super().__init__()
        self.stages = vgg16_stages(in_channels)
        self.pool = nn.MaxPool2d(2, ceil_mode=True)
        self.fc6 = nn.Conv2d(VGG16_WIDTHS[-1][-1], FC_CHANNELS, FC6_KERNEL)
        self.fc7 = nn.Conv2d(FC_CHANNELS, FC_CHANNELS, 1)
        self.dropout = nn.Dropout(options.dropout)
        he_normal_(self)
        weights = imagenet_vgg16(options.pretrained)
        if weights is not None:
            load_stages(self.stages, weights)
            load_fully_connected(self.fc6, self.fc7, weights)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return pool3 (256 channels at stride 8), pool4 (512 at 16) and fc7 (4096 at 32) of a normalised image."""
        # conv1_1 pads by the last of the 100 pixels itself.
        features = F.pad(image, [PADDING - 1] * 4)
        pools = []
        for stage in self.stages:
            features = self.pool(stage(features))
            pools.append(features)
        features = self.dropout(self.fc6(features).relu())
        features = self.dropout(self.fc7(features).relu())
        return pools[2], pools[3], features


class BilinearDeconvolution(nn.Module):
    """Enlarge by a transposed convolution with a fixed bilinear kernel, each channel by itself.

    `(B, C, h, w) -> (B, C, factor * (h + 1), factor * (w + 1))`. It differs from `layers.resize` in its margins: half a
    kernel more on every side, where it fades to zero. The kernel is no parameter, and is not saved.

    Args:
        factor: Even; the kernel has twice this side.
    """

    kernel: Tensor

    def __init__(self, factor: int) -> None:
        super().__init__()
        self.factor = factor
        self.register_buffer("kernel", bilinear_kernel(2 * factor), persistent=False)

    def forward(self, scores: Tensor) -> Tensor:
        """`(B, C, h, w) -> (B, C, factor * (h + 1), factor * (w + 1))`."""
        channels = scores.shape[1]
        kernel = self.kernel.expand(channels, 1, -1, -1)
        return F.conv_transpose2d(scores, kernel, stride=self.factor, groups=channels)


def bilinear_kernel(size: int) -> Tensor:
    """Return the `(size, size)` kernel that interpolates bilinearly, of even size and for half that as the stride."""
    factor = size // 2
    distance = (torch.arange(size) - (factor - 0.5)).abs()
    weight = 1 - distance / factor
    return weight.unsqueeze(1) * weight


def _crop(features: Tensor, offset: int, like: Tensor) -> Tensor:
    height, width = like.shape[-2:]
    return features[..., offset : offset + height, offset : offset + width]


def _score(in_channels: int, num_classes: int) -> nn.Conv2d:
    score = nn.Conv2d(in_channels, num_classes, 1)
    nn.init.zeros_(score.weight)
    assert score.bias is not None
    nn.init.zeros_(score.bias)
    return score
