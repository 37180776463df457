"""DeepLab v2 (Chen et al., "DeepLab: Semantic Image Segmentation with Deep Convolutional Nets, ...", TPAMI 2017).

```
image (B, 3, H, W), at scales 0.5, 0.75 and 1 (multi-scale inputs, MSC)
  │ backbone, output stride 8
  ├── 3x3, rate r1 ─┐                      VGG16: fc6 (3x3, rate r1) ─ fc7 ─ fc8 ─┐
  ├── ...           ├─ sum                        ...                             ├─ sum
  ├── 3x3, rate r4 ─┘                             fc6 (3x3, rate r4) ─ fc7 ─ fc8 ─┘
  │ resize to the map of scale 1, maximum over the scales (B, num_classes, H/8, W/8)
logits (B, num_classes, H, W) <── resize to full size
```

ASPP-L has rates (6, 12, 18, 24), ASPP-S (2, 4, 8, 12), and a single rate of 12 makes the paper's LargeFOV.

Departures from the paper, and why:

- Without `pretrained`, VGG16 starts from He's normal distribution, so that it learns from scratch; the paper starts
  from networks trained on ImageNet or COCO. The classifier starts from N(0, 0.01), as released.
- A ResNet has its strides where timm's weights expect them. `stride_place="conv1"` and `ceil_mode=True` make it the
  network of the released Caffe weights.
- Batch norms learn unless `freeze_batch_norm` is set, as in the paper: new ones must.
- The fully connected CRF is no part of the network; the paper, too, sets it apart from training.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from fractions import Fraction
from functools import reduce
from typing import Annotated

import torch
from torch import Tensor, nn

from ..backbones import BackboneOptions, TimmBackbone, VGGAtrous
from ..backbones.resnet_variants import ResNetOptions
from ..backbones.vgg import VGGOptions
from ..backbones.vgg_atrous import FC6_SHAPES
from ..errors import ConfigError
from ..layers import resize
from ..layers.grid import ResizeOptions, scale_rates
from ..options import above, at_least
from ..types import OutputStride
from .base import Network, NetworkOptions, TrainingMaps

VGG16 = "vgg16"


@dataclass(frozen=True)
class DeepLabV2Options(NetworkOptions, ResizeOptions, VGGOptions, BackboneOptions):
    """Options of DeepLab v2."""

    backbone: str = "resnet101"
    """Name of the network that makes the feature maps: vgg16, or one of timm's that honour output strides (the paper:
    resnet101)."""
    output_stride: OutputStride = 8
    atrous_rates: tuple[Annotated[int, at_least(1)], ...] = (6, 12, 18, 24)
    """Atrous rates of ASPP, one branch each, stated at output stride 8 and scaled for the others: 6, 12, 18, 24 for
    ASPP-L, 2, 4, 8, 12 for ASPP-S, 12 alone for LargeFOV."""
    scales: tuple[Annotated[float, above(0)], ...] = (0.5, 0.75, 1.0)
    """Sizes, relative to the image's, at which the network looks at it; the scores are fused by their maximum, and
    (1.0,) leaves that out, which saves memory: the paper does without on Cityscapes."""

    def check(self) -> None:
        """Refuse scales that cannot be fused, and what VGG16 has not."""
        super().check()
        check_scales(self.scales)
        if self.backbone != VGG16:
            return
        if self.output_stride != 8:
            raise ConfigError(
                f"The backbone 'vgg16' has output stride 8 only, not {self.output_stride}: set --model.output_stride "
                f"8, or take resnet101."
            )
        given = [field.name for field in fields(ResNetOptions) if getattr(self, field.name) != field.default]
        if given:
            raise ConfigError(
                f"{' and '.join(given)} belong to ResNets, and the backbone is 'vgg16': leave them out, or take "
                f"resnet101."
            )


class DeepLabV2(Network):
    """DeepLab v2 with VGG16 or a timm backbone."""

    Options = DeepLabV2Options
    options: DeepLabV2Options
    shrinks_labels = True
    features_fit_image = False  # several scales, and scores read at once by several branches

    def build(self, num_classes: int, in_channels: int) -> None:
        """Make the backbone and the classifiers, one for each atrous rate."""
        options = self.options
        self.input_scales = options.scales
        self.crf_of_paper = "v2_vgg16" if options.backbone == VGG16 else "v2_resnet101"
        rates = scale_rates(options.atrous_rates, options.output_stride, stated_at=8)
        self.backbone: VGGAtrous | TimmBackbone
        self.classifier: nn.ModuleList | ASPPSum
        if options.backbone == VGG16:
            branches = [FC6_SHAPES["largefov"]._replace(atrous_rate=rate) for rate in rates]
            self.backbone = VGGAtrous(options, in_channels, branches=branches, pool5a=False)
            channels = self.backbone.high_level_channels
            self.classifier = nn.ModuleList(nn.Conv2d(channels, num_classes, 1) for _ in rates)
        else:
            # All units of a dilated stage have its rate; timm's first one keeps that of the stage before.
            self.backbone = TimmBackbone(options, in_channels, ResNetOptions(first_unit="full"))
            self.classifier = ASPPSum(self.backbone.high_level_channels, num_classes, atrous_rates=rates)
        self._initialise()

    def coarse_logits(self, image: Tensor) -> Tensor:
        """Return the (fused) logits before the last resize: `(B, num_classes, ceil(H/8), ceil(W/8))`."""
        return self.training_maps(image).main

    def training_maps(self, image: Tensor) -> TrainingMaps:
        """Return what the paper trains: the fused coarse logits, and beside them those of every scale at its own size.

        With a single scale there is nothing to fuse: its logits alone.
        """
        *scales, fused = multi_scale_logits(self._scores, image, self.input_scales, self.align_corners)
        return TrainingMaps(fused, tuple(scales))

    def _scores(self, image: Tensor) -> Tensor:
        """`(B, in_channels, H, W) -> (B, num_classes, h, w)` at one scale: the sum over the branches."""
        if isinstance(self.backbone, TimmBackbone):
            return self.classifier(self.backbone(image)[-1])
        _, branches = self.backbone(image)
        assert isinstance(self.classifier, nn.ModuleList)
        fc8 = [classifier(branch) for classifier, branch in zip(self.classifier, branches, strict=True)]
        return sum(fc8[1:], start=fc8[0])

    def _initialise(self) -> None:
        for conv in self.classifier.modules():
            if isinstance(conv, nn.Conv2d):
                nn.init.normal_(conv.weight, std=0.01)
                assert conv.bias is not None
                nn.init.zeros_(conv.bias)


class ASPPSum(nn.Module):
    """ASPP as in v2 (section 3.2) on a ResNet: parallel 3x3 convolutions straight to the classes, summed.

    ```
    (B, C_in, h, w) ─┬─ 3x3, rate r1 ─┐
                     ├─ 3x3, rate r2 ─┼─ sum ─> (B, C_out, h, w)
                     └─ ...          ─┘
    ```

    There is no 1x1 branch, no image pooling, no batch norm, no dropout, and every branch has its own bias. One rate
    alone makes the paper's LargeFOV.
    """

    def __init__(self, in_channels: int, out_channels: int, *, atrous_rates: Sequence[int]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Conv2d(in_channels, out_channels, 3, padding=rate, dilation=rate) for rate in atrous_rates
        )

    def forward(self, features: Tensor) -> Tensor:
        """`(B, C_in, h, w) -> (B, C_out, h, w)`."""
        first, *others = self.branches
        return sum((branch(features) for branch in others), start=first(features))


def multi_scale_logits(
    network: Callable[[Tensor], Tensor], image: Tensor, scales: Sequence[float], align_corners: bool
) -> list[Tensor]:
    """Run `network` on the image at every scale, and fuse what it says by the element-wise maximum.

    Args:
        network: `(B, C, H, W) -> (B, num_classes, h, w)`.
        image: `(B, C, H, W)`.
        scales: Sides relative to the image's; see `check_scales`.
        align_corners: Convention of all resizes.

    Returns:
        One map per scale, each at its own size, and last the fused map at the size of that of scale 1. A single scale
        has nothing to fuse: its map alone.
    """
    maps = [network(resize(image, scaled_size(image, scale), align_corners)) for scale in scales]
    if len(maps) == 1:
        return maps
    height, width = maps[list(scales).index(1)].shape[-2:]
    return [*maps, reduce(torch.maximum, [resize(logits, (height, width), align_corners) for logits in maps])]


def scaled_size(image: Tensor, scale: float) -> tuple[int, int]:
    """Return `(H, W)` of `image` at `scale`, counted from corner pixel to corner pixel: 321 at 0.5 gives 161.

    In whole numbers, so that an exported network stays open to every size.
    """
    height, width = image.shape[-2:]
    up, down = Fraction(scale).limit_denominator(1000).as_integer_ratio()
    return (height - 1) * up // down + 1, (width - 1) * up // down + 1


def check_scales(scales: Sequence[float]) -> None:
    """Refuse scales without 1 (the fused map has that map's size), and scales that are not positive."""
    if 1 not in scales or min(scales) <= 0 or len(set(scales)) != len(scales):
        raise ConfigError(
            f"scales {tuple(scales)} cannot be used: they are to be positive and different, with 1 among them, as in "
            f"(0.5, 0.75, 1.0); (1.0,) is the network on the image alone."
        )
