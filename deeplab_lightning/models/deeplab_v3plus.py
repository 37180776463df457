"""DeepLab v3+ (Chen et al., "Encoder-Decoder with Atrous Separable Convolution", ECCV 2018).

```
image (B, 3, H, W)
  │ backbone, output stride 16 (or 8, 32)
  ├── high_level (B, C, H/16, W/16) ── ASPP, 256 ──> resize to stride 4 ─┐
  └── low_level  (B, c, H/4,  W/4)  ── 1x1, 48 ──────────────────────────┴─ concat ─ 3x3 ─ 3x3 ─ 1x1 ─┐
logits (B, num_classes, H, W) <──────────────────────────────────────────────── resize to full size ──┘
```

Departures from the paper, and why:

- Backbones are timm's, as in `deeplab_v3.py`; low-level maps are the ends of timm's stages unless `low_level_map` says
  `tensorflow` (see `backbones/low_level_maps.py`).
- New layers start from He's uniform distribution and the classifier from Xavier's, which get further in few steps (the
  released code: Xavier's, and N(0, 0.01): `classifier_start="normal"`, as in `configs/paper/`).
- Batch-norm momentum is 0.1 instead of 0.0003 unless set: the paper's value needs pretrained statistics.

What other code bases do and the paper does not: segmentation_models_pytorch has `norm_between=False`, `head_conv`, one
convolution in the decoder (`decoder_convs=1`), every unit at its stage's rate (`first_unit="full"`) without multi-grid,
ASPP rates of 12, 24, 36 at output stride 16, and dropout 0.5.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..backbones.timm_backbone import LowLevelMap
from ..layers import DecoderOptions, DecoderV3Plus
from ..layers.conv import initialise
from .with_context import ContextNetwork, ContextNetworkOptions


@dataclass(frozen=True)
class DeepLabV3PlusOptions(DecoderOptions, ContextNetworkOptions):
    """Options of DeepLab v3+."""

    separable: bool = True
    low_level_map: LowLevelMap = "stage"
    """Where the backbone's map at stride 4 is taken: stage, at the end of timm's stage, or tensorflow, the tensor
    inside a unit that the released code reads, for ResNet, Xception and MobileNetV2."""


class DeepLabV3Plus(ContextNetwork):
    """DeepLab v3+ with a timm backbone."""

    Options = DeepLabV3PlusOptions
    options: DeepLabV3PlusOptions

    def build(self, num_classes: int, in_channels: int) -> None:
        """Make backbone, context module, decoder and classifiers."""
        options = self.options
        self.build_encoder(in_channels)
        if options.low_level_map == "tensorflow":
            self.backbone.take_low_level_map_of_tensorflow()
        self.decoder: DecoderV3Plus | None = None
        if options.decoder:
            self._merged = [self.stage_at(stride) for stride in options.decoder_strides]
            channels = [self.backbone.stage_channels[stage] for stage in self._merged]
            self.decoder = DecoderV3Plus(options, options.aspp_channels, channels)
            initialise(self.decoder, options.layer_start)
        self.build_classifiers(options.decoder_channels if options.decoder else options.aspp_channels, num_classes)

    def logits_of(self, stages: tuple[Tensor, ...]) -> Tensor:
        """Return logits `(B, num_classes, ceil(H/4), ceil(W/4))`; without the decoder, of the context module's size."""
        encoded = self.context(stages[-1])
        if self.decoder is None:
            return self.classifier(encoded)
        return self.classifier(self.decoder(encoded, [stages[stage] for stage in self._merged]))
