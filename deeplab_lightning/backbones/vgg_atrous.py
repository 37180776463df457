"""VGG16 made dense, as in DeepLab v1 and v2: the "hole algorithm", and fc6 and fc7 as atrous convolutions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from torch import Tensor, nn

from .vgg import (
    FC_CHANNELS,
    VGG16_WIDTHS,
    VGGOptions,
    he_normal_,
    imagenet_vgg16,
    load_fully_connected,
    load_stages,
    vgg16_stages,
)

FC6 = Literal["largefov", "7x7", "4x4"]


class FC6Shape(NamedTuple):
    """What VGG's first fully connected layer becomes as a convolution."""

    kernel_size: int
    channels: int
    atrous_rate: int


FC6_SHAPES: dict[FC6, FC6Shape] = {
    "largefov": FC6Shape(3, 1024, 12),
    "7x7": FC6Shape(7, FC_CHANNELS, 4),
    "4x4": FC6Shape(4, FC_CHANNELS, 4),
}
"""The variants of the v1 paper, with its atrous rates; it also runs `4x4` at rate 8."""


class FullyConvolutional(nn.Module):
    """VGG's fully connected layers as convolutions: fc6 with a spacing of its taps, fc7 as 1x1, ReLU and dropout.

    The maps keep their size. A 4x4 kernel has no middle tap, and is put half-way between its two inner ones: at an even
    rate, as in the paper, its padding is the same on both sides; at an odd one the right and bottom get one more.
    """

    def __init__(self, shape: FC6Shape, dropout: float) -> None:
        super().__init__()
        kernel_size, channels, rate = shape
        reach = rate * (kernel_size - 1)
        padding = "same" if reach % 2 else reach // 2
        self.fc6 = nn.Conv2d(VGG16_WIDTHS[-1][-1], channels, kernel_size, dilation=rate, padding=padding)
        self.fc7 = nn.Conv2d(channels, channels, 1)
        self.dropout = nn.Dropout(dropout)
        he_normal_(self)

    def forward(self, features: Tensor) -> Tensor:
        """`(B, 512, h, w) -> (B, channels, h, w)`."""
        features = self.dropout(self.fc6(features).relu())
        return self.dropout(self.fc7(features).relu())


class VGGAtrous(nn.Module):
    """VGG16 at output stride 8 (v1 paper): pool4 and pool5 lose their stride, what follows gets holes.

    ```
    conv1 ─ pool1 ─ conv2 ─ pool2 ─ conv3 ─ pool3 ─ conv4 ─ pool4 ─ conv5 ─ pool5 (─ pool5a) ─┬─ fc6 ─ fc7 ─> branch
             /2              /2              /2              /1     rate 2    /1               └─ ...
    ```

    The max pools are 3x3 with padding 1 (VGG: 2x2), so that the maps of 8k + 1 pixels have their corners on the
    image's. Sides that are not of that form lose a fraction: 306 gives 39, as in the paper.

    Args:
        options: What it starts from; of ImageNet's weights, each branch keeps another random subset of VGG's filters
            (`load_fully_connected`), so that the branches differ from the start.
        in_channels: Channels of the image.
        branches: Shapes of parallel fc6 and fc7. v1 has one pair, the ASPP of v2 four.
        pool5a: Add v1's average pool (3x3, stride 1) after pool5; v2 has none.

    Attributes:
        high_level_channels: Channels of every branch.
    """

    def __init__(
        self, options: VGGOptions, in_channels: int = 3, *, branches: Sequence[FC6Shape], pool5a: bool
    ) -> None:
        super().__init__()
        self.high_level_channels = branches[0].channels
        self.stages = vgg16_stages(in_channels, conv5_rate=2)
        self.pools = nn.ModuleList(nn.MaxPool2d(3, stride=stride, padding=1) for stride in (2, 2, 2, 1, 1))
        self.pool5a = nn.AvgPool2d(3, stride=1, padding=1) if pool5a else nn.Identity()
        made = [FullyConvolutional(shape, options.dropout) for shape in branches]
        self.branches = nn.ModuleList(made)
        weights = imagenet_vgg16(options.pretrained)
        if weights is not None:
            load_stages(self.stages, weights)
            for seed, branch in enumerate(made):
                load_fully_connected(branch.fc6, branch.fc7, weights, seed)

    def forward(self, image: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Return the maps of a normalised image `(B, in_channels, H, W)`.

        Returns:
            Outputs of pool1..pool4, `(B, 64 | 128 | 256 | 512, h, w)` at strides 2, 4, 8, 8; and one map
            `(B, high_level_channels, H/8, W/8)` per fc6-fc7 branch.
        """
        features, pools = image, []
        for stage, pool in zip(self.stages, self.pools, strict=True):
            features = pool(stage(features))
            pools.append(features)
        features = self.pool5a(features)
        return pools[:-1], [branch(features) for branch in self.branches]
