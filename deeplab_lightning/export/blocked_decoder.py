"""The decoder of v3+ as ONNX Runtime computes it fastest.

Between convolutions the runtime keeps maps in blocks of channels. Two steps of the decoder would make it rearrange or
copy its largest maps: a resize to a size that only the image tells, and a concatenation. Here the map is enlarged by
a factor that the strides tell, and the convolution behind the concatenation can go through each of its parts:

```
high_level ── x 4 ─────── depthwise ─ pointwise ─┐
                                                 + ─ norm, ReLU ─ ...
low_level ─── 1x1, 48 ─── depthwise ─ pointwise ─┘
```
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..layers import AtrousSeparableConv, DecoderV3Plus
from ..layers.resize import resize, resize_by
from ..models import Network


def block_decoder(network: Network, in_parts: bool) -> None:
    """Give a v3+ network in eval mode a `BlockedDecoder`; leave other networks, and group norms, as they are."""
    decoder = getattr(network, "decoder", None)
    if not isinstance(decoder, DecoderV3Plus) or any(isinstance(layer, nn.GroupNorm) for layer in decoder.modules()):
        return
    strides = (network.output_stride, *decoder.strides)
    remainder = network.side_remainder if network.align_corners else None
    network.decoder = BlockedDecoder(decoder, strides, remainder, in_parts)


class BlockedDecoder(nn.Module):
    """The same function as a `DecoderV3Plus` in eval mode.

    Args:
        decoder: It is copied. Its norms are batch norms: groups of a group norm would go through both parts.
        strides: Of the encoder's output and of the maps it is merged with, `(16, 4)` for example.
        side_remainder: Of the images' sides, see `resize_by`; None if they can be of any form: a map is then
            resized to whatever size the next one has.
        in_parts: Split the convolution as well. It is worth it where the runtime knows all sizes beforehand: only then
            does it add the second part to the first where that lies, instead of to a copy.
    """

    def __init__(
        self, decoder: DecoderV3Plus, strides: Sequence[int], side_remainder: int | None, in_parts: bool
    ) -> None:
        super().__init__()
        self.factors = [coarse // fine for coarse, fine in itertools.pairwise(strides)]
        self.side_remainder = side_remainder
        self.align_corners = decoder.align_corners
        self.additive = decoder.additive
        self.in_parts = in_parts and not decoder.additive
        self.reduce = copy.deepcopy(decoder.reduce)
        self.refine = nn.ModuleList()
        for reduce, refine in zip(decoder.reduce, decoder.refine, strict=True):
            assert isinstance(refine, nn.Sequential)
            layers = [copy.deepcopy(layer) for layer in refine]
            if self.in_parts:
                conv: Any = reduce
                layers[0] = _OfParts(layers[0], reduced=conv[0].out_channels)
            self.refine.append(nn.Sequential(*layers))

    def forward(self, high_level_features: Tensor, maps: Sequence[Tensor]) -> Tensor:
        """As `DecoderV3Plus.forward`."""
        x = high_level_features
        for reduce, refine, factor, features in zip(self.reduce, self.refine, self.factors, maps, strict=True):
            if self.side_remainder is None:
                upsampled = resize(x, (features.shape[-2], features.shape[-1]), self.align_corners)
            else:
                upsampled = resize_by(x, factor, self.side_remainder)
            detail = reduce(features)
            if self.in_parts:
                x = refine((upsampled, detail))
            else:
                x = refine(upsampled + detail if self.additive else torch.cat([upsampled, detail], dim=1))
        return x


class _OfParts(nn.Module):
    """A `ConvNormAct` or `AtrousSeparableConv` of two maps, the second of `reduced` channels, without concatenating."""

    def __init__(self, block: nn.Module, reduced: int) -> None:
        super().__init__()
        parts: Any = block
        whole = parts[1] if isinstance(block, AtrousSeparableConv) else parts
        conv, *norm_and_act = whole
        first = conv.in_channels - reduced
        layers = [parts[0], conv] if isinstance(block, AtrousSeparableConv) else [conv]
        self.convs = nn.ModuleList(
            nn.Sequential(*(_some_channels(layer, part) for layer in layers))
            for part in (slice(0, first), slice(first, conv.in_channels))
        )
        self.behind = nn.Sequential(*norm_and_act)

    def forward(self, parts: tuple[Tensor, Tensor]) -> Tensor:
        """`(B, C_1, h, w), (B, C_2, h, w) -> (B, C_out, h, w)`."""
        first, second = (conv(part) for conv, part in zip(self.convs, parts, strict=True))
        result: Tensor = self.behind(first + second)
        return result


@torch.no_grad()
def _some_channels(layer: nn.Module, channels: slice) -> nn.Module:
    """Return a layer for some of its input's channels alone."""
    count = channels.stop - channels.start
    if isinstance(layer, nn.Sequential):
        return nn.Sequential(*(_some_channels(part, channels) for part in layer))
    made = copy.deepcopy(layer)
    if isinstance(made, nn.Conv2d):
        made.in_channels = count
        depthwise = made.groups > 1
        if depthwise:
            made.groups = made.out_channels = count
        made.weight.data = (made.weight[channels] if depthwise else made.weight[:, channels]).clone()
    elif isinstance(made, nn.BatchNorm2d):
        made.num_features = count
        for values in made.state_dict(keep_vars=True).values():
            if values.dim():
                values.data = values.data[channels].clone()
    return made
