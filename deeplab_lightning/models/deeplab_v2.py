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
- Batch norms learn unless the task freezes them, as the paper does: new ones must.
- The fully connected CRF is no part of the network; the paper, too, sets it apart from training.
"""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from ..backbones import TimmBackbone, VGGAtrous
from ..backbones.atrous import scale_rates
from ..backbones.resnet_variants import ResNetVariant, StridePlace, apply_variant, is_resnet
from ..errors import ConfigError
from ..layers import ASPPSum, resize
from ..types import OutputStride
from .multi_scale import check_scales, multi_scale_logits

VGG16 = "vgg16"


class DeepLabV2(nn.Module):
    """DeepLab v2 with VGG16 or a timm backbone.

    Args:
        num_classes: Classes to tell apart, background included.
        backbone: `vgg16`, or timm's name of a network (the paper: `resnet101`).
        output_stride: Input side over deepest feature side: 8 in the paper, and the only one of VGG16.
        pretrained: Start the backbone from ImageNet weights: timm's (True), or those in a file.
        in_channels: Channels of the image.
        atrous_rates: One branch each, at output stride 8; they are scaled with the output stride.
        scales: Of the image, fused by the maximum; (1.0,) leaves multi-scale inputs out. They cost memory: the paper
            does without them on Cityscapes.
        dropout: Probability of dropping an activation after fc6 and after fc7; VGG16 only.
        stride_place: Convolution of a ResNet that carries a stage's stride: `conv2` in timm's, `conv1` in Caffe's.
        ceil_mode: Round sizes up at a ResNet's pooling, as Caffe does; the same for sides of 8 k + 1.
        align_corners: Convention of every resize in this network (the paper's code: True).

    Raises:
        ConfigError: The backbone has no such output stride or variant, or its weights cannot be had.
    """

    def __init__(
        self,
        num_classes: int,
        backbone: str = "resnet101",
        output_stride: OutputStride = 8,
        pretrained: bool | str | Path = False,
        in_channels: int = 3,
        atrous_rates: tuple[int, ...] = (6, 12, 18, 24),
        scales: tuple[float, ...] = (0.5, 0.75, 1.0),
        dropout: float = 0.5,
        stride_place: StridePlace = "conv2",
        ceil_mode: bool = False,
        align_corners: bool = True,
    ) -> None:
        super().__init__()
        check_scales(scales)
        self.output_stride = output_stride
        self.scales = tuple(scales)
        self.align_corners = align_corners
        # Rates stated for output stride 8 are those of 16 at twice the stride.
        rates = scale_rates(tuple(atrous_rates), 2 * output_stride)
        self.backbone: VGGAtrous | TimmBackbone
        self.classifier: nn.ModuleList | ASPPSum
        if backbone == VGG16:
            _check_vgg16(output_stride, stride_place, ceil_mode)
            self.backbone = VGGAtrous(
                in_channels, atrous_rates=rates, pool5a=False, dropout=dropout, pretrained=pretrained
            )
            channels = self.backbone.high_level_channels
            self.classifier = nn.ModuleList(nn.Conv2d(channels, num_classes, 1) for _ in rates)
        else:
            self.backbone = TimmBackbone(
                backbone, output_stride, pretrained, in_channels, stride_place=stride_place, ceil_mode=ceil_mode
            )
            if is_resnet(self.backbone.features):
                # All units of a dilated stage have its rate; timm's first one keeps that of the stage before.
                apply_variant(self.backbone.features, ResNetVariant(first_unit="full"), backbone)
            self.classifier = ASPPSum(self.backbone.high_level_channels, num_classes, atrous_rates=rates)
        self._initialise()

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
        """Return the (fused) logits before the last resize: `(B, num_classes, ceil(H/8), ceil(W/8))`."""
        return self.all_logits(image)[-1]

    def all_logits(self, image: Tensor) -> list[Tensor]:
        """Return what the paper trains: the coarse logits of every scale at its own size, and last the fused ones.

        With a single scale these are its logits alone.
        """
        return multi_scale_logits(self._scores, image, self.scales, self.align_corners)

    def _scores(self, image: Tensor) -> Tensor:
        """`(B, in_channels, H, W) -> (B, num_classes, h, w)` at one scale: the sum over the branches."""
        if isinstance(self.backbone, TimmBackbone):
            return self.classifier(self.backbone(image).high_level)
        branches = self.backbone(image).branches
        assert isinstance(self.classifier, nn.ModuleList)
        fc8 = [classifier(branch) for classifier, branch in zip(self.classifier, branches, strict=True)]
        return sum(fc8[1:], start=fc8[0])

    def _initialise(self) -> None:
        for conv in self.classifier.modules():
            if isinstance(conv, nn.Conv2d):
                nn.init.normal_(conv.weight, std=0.01)
                assert conv.bias is not None
                nn.init.zeros_(conv.bias)


def _check_vgg16(output_stride: int, stride_place: StridePlace, ceil_mode: bool) -> None:
    if output_stride != 8:
        raise ConfigError(
            f"The backbone 'vgg16' has output stride 8 only, not {output_stride}: set --model.output_stride 8, or take "
            f"resnet101."
        )
    if stride_place != "conv2" or ceil_mode:
        raise ConfigError("stride_place and ceil_mode belong to ResNets, and the backbone is 'vgg16': leave them out.")
