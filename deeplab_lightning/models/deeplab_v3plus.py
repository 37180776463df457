"""DeepLab v3+ (Chen et al., "Encoder-Decoder with Atrous Separable Convolution", ECCV 2018).

```
image (B, 3, H, W)
  │ backbone, output stride 16 (or 8, 32)
  ├── high_level (B, C, H/16, W/16) ── ASPP, 256 ──> resize to stride 4 ─┐
  └── low_level  (B, c, H/4,  W/4)  ── 1x1, 48 ──────────────────────────┴─ concat ─ 3x3 ─ 3x3 ─ 1x1 ─┐
logits (B, num_classes, H, W) <──────────────────────────────────────────────── resize to full size ──┘
```

Departures from the paper, and why:

- Weights of new layers start from He's normal distribution (the released code: Xavier; depthwise 0.33, pointwise 0.06),
  which suits training from scratch. The classifier starts from N(0, 0.01), as released.
- Batch-norm momentum is 0.1 instead of 0.0003 unless set: the paper's value needs pretrained statistics.
- Low-level maps are timm's (see `backbones/timm_backbone.py`).
"""

from __future__ import annotations

from torch import Tensor, nn

from ..backbones import TimmBackbone
from ..backbones.atrous import scale_rates
from ..layers import ASPPConcat, DecoderV3Plus, NormOptions, resize
from ..types import OutputStride


class DeepLabV3Plus(nn.Module):
    """DeepLab v3+ with a timm backbone.

    Args:
        num_classes: Classes to tell apart, background included.
        backbone: timm's name of the network (the paper: `resnet101`, `xception65`).
        output_stride: Input side over deepest feature side. The same weights run at 32, 16 and 8.
        pretrained: Start the backbone from timm's ImageNet weights.
        in_channels: Channels of the picture.
        atrous_rates: ASPP rates at output stride 16; they are scaled with the output stride.
        separable: Atrous separable convolutions in ASPP and decoder (the paper's best); False for dense ones.
        image_pooling: Build ASPP's image-level branch.
        aspp_channels: Width of ASPP.
        decoder: False leaves the decoder out, as in the paper's ablation: logits straight from ASPP.
        low_level_channels: Width that the low-level map is reduced to.
        decoder_channels: Width of the decoder's two 3x3 convolutions.
        dropout: Probability of dropping an activation after ASPP's projection.
        align_corners: Convention of every resize in this network (all of Google's code: True).
        norm_momentum: Of the batch norms in ASPP and decoder, PyTorch's convention (1 - TensorFlow's decay).
    """

    def __init__(
        self,
        num_classes: int,
        backbone: str = "resnet101",
        output_stride: OutputStride = 16,
        pretrained: bool = False,
        in_channels: int = 3,
        atrous_rates: tuple[int, ...] = (6, 12, 18),
        separable: bool = True,
        image_pooling: bool = True,
        aspp_channels: int = 256,
        decoder: bool = True,
        low_level_channels: int = 48,
        decoder_channels: int = 256,
        dropout: float = 0.1,
        align_corners: bool = True,
        norm_momentum: float = 0.1,
    ) -> None:
        super().__init__()
        self.output_stride = output_stride
        self.align_corners = align_corners
        norm = NormOptions(momentum=norm_momentum)
        self.backbone = TimmBackbone(backbone, output_stride, pretrained, in_channels)
        self.aspp = ASPPConcat(
            self.backbone.high_level_channels,
            aspp_channels,
            atrous_rates=scale_rates(tuple(atrous_rates), output_stride),
            separable=separable,
            image_pooling=image_pooling,
            dropout=dropout,
            norm=norm,
            align_corners=align_corners,
        )
        self.decoder = (
            DecoderV3Plus(
                aspp_channels,
                self.backbone.low_level_channels,
                low_level_channels=low_level_channels,
                decoder_channels=decoder_channels,
                separable=separable,
                norm=norm,
                align_corners=align_corners,
            )
            if decoder
            else None
        )
        self.classifier = nn.Conv2d(decoder_channels if decoder else aspp_channels, num_classes, 1)
        self._initialise()

    def forward(self, image: Tensor) -> Tensor:
        """Segment a picture of any size.

        Args:
            image: `(B, in_channels, H, W)` float, normalised.

        Returns:
            Logits `(B, num_classes, H, W)`.
        """
        height, width = image.shape[-2:]
        return resize(self.coarse_logits(image), (height, width), self.align_corners)

    def coarse_logits(self, image: Tensor) -> Tensor:
        """Return the logits before the last resize: `(B, num_classes, ceil(H/4), ceil(W/4))`.

        Without the decoder they have ASPP's size, `ceil(H/output_stride)`.
        """
        features = self.backbone(image)
        encoded = self.aspp(features.high_level)
        if self.decoder is None:
            return self.classifier(encoded)
        return self.classifier(self.decoder(encoded, features.low_level))

    def _initialise(self) -> None:
        for name, module in self.named_modules():
            if isinstance(module, nn.Conv2d) and name.startswith(("aspp", "decoder")):
                nn.init.kaiming_normal_(module.weight, mode="fan_out" if module.groups == 1 else "fan_in")
        nn.init.normal_(self.classifier.weight, std=0.01)
        assert self.classifier.bias is not None
        nn.init.zeros_(self.classifier.bias)
