"""The decoder of DeepLab v3+."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from ..errors import ConfigError
from ..options import Between, at_least
from .conv import ConvNormAct, ConvOptions, conv3x3
from .grid import ResizeOptions
from .resize import resize


@dataclass(frozen=True)
class DecoderOptions(ResizeOptions, ConvOptions):
    """How detail is brought back from the backbone's fine maps."""

    decoder: bool = True
    """Build the decoder; false takes the logits straight from the context head, as in the v3+ paper's ablation."""
    low_level_channels: Annotated[int, at_least(1)] = 48
    """Channels that a 1x1 convolution reduces each low-level map to: 48, the best of the v3+ paper's ablation."""
    decoder_channels: Annotated[int, at_least(1)] = 256
    """Channels of the decoder's convolutions: 256 in the v3+ paper."""
    decoder_convs: Annotated[int, at_least(1)] = 2
    """Convolutions behind each merging of two maps: 2, the best of the v3+ paper's ablation, or 1 as in
    segmentation_models_pytorch."""
    decoder_kernel_size: Literal[1, 3] = 3
    """Side in pixels of the kernels of those convolutions: 3, or 1 as in the v3+ paper's ablation."""
    additive_decoder: bool = False
    """Add the reduced low-level map, as articles about DeepLab show and no paper of the family does, instead of
    concatenating it; it is then reduced to the channels of what it is added to, not to `low_level_channels`."""
    decoder_strides: tuple[Annotated[int, Between(4, 32)], ...] = (4,)
    """Strides of the backbone's maps that are merged, from coarse to fine: (4,), or (8, 4) for the v3+ paper's "Conv2 +
    Conv3"."""

    def check(self) -> None:
        """Refuse a decoder of nothing."""
        super().check()
        if self.decoder and not self.decoder_strides:
            raise ConfigError(
                "decoder_strides is empty, so there is nothing to merge: take (4,), or leave the decoder out by "
                "--model.decoder false."
            )


class DecoderV3Plus(nn.Module):
    """v3+ decoder (section 3.2): bring detail back from a stride-4 map.

    ```
    high_level (B, 256, h, w) ──────── resize to stride 4 ─┐
    low_level  (B, C, H/4, W/4) ── 1x1, 48 ────────────────┴─ concat (304) ─ 3x3 ─ 3x3 ─> (B, 256, H/4, W/4)
    ```

    With a second map the step is taken twice, first at stride 8 and then at stride 4 (the paper's "Conv2 + Conv3").
    The order of the concatenation, high then low level, is TensorFlow's. There is no dropout, as in the released code.

    Args:
        options: How it is built.
        high_level_channels: Channels of the encoder's output.
        map_channels: Channels of the backbone's maps to merge, from coarse to fine.

    Attributes:
        strides: Of those maps.
    """

    def __init__(self, options: DecoderOptions, high_level_channels: int, map_channels: Sequence[int]) -> None:
        super().__init__()
        self.strides = options.decoder_strides
        self.align_corners = options.align_corners
        self.additive = options.additive_decoder
        self.reduce = nn.ModuleList()
        self.refine = nn.ModuleList()
        width, momentum = high_level_channels, options.norm_momentum
        for channels in map_channels:
            layers: list[nn.Module] = []
            reduced = width if self.additive else options.low_level_channels
            self.reduce.append(ConvNormAct(channels, reduced, momentum=momentum))
            width = width if self.additive else width + reduced
            for _ in range(options.decoder_convs):
                layers.append(
                    conv3x3(width, options.decoder_channels, options)
                    if options.decoder_kernel_size == 3
                    else ConvNormAct(width, options.decoder_channels, momentum=momentum)
                )
                width = options.decoder_channels
            self.refine.append(nn.Sequential(*layers))

    def forward(self, high_level_features: Tensor, maps: Sequence[Tensor]) -> Tensor:
        """Merge the encoder's output with the backbone's maps, coarse to fine, at the size of the last."""
        x = high_level_features
        for reduce, refine, features in zip(self.reduce, self.refine, maps, strict=True):
            height, width = features.shape[-2:]
            upsampled = resize(x, (height, width), self.align_corners)
            detail = reduce(features)
            x = refine(upsampled + detail if self.additive else torch.cat([upsampled, detail], dim=1))
        return x
