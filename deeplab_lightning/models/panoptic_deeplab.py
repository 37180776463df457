"""Panoptic-DeepLab (Cheng et al., "A Simple, Strong, and Fast Baseline for Bottom-Up Panoptic Segmentation", 2020).

```
image (B, 3, H, W)
  │ backbone, output stride 16 (or 8, 32)
  ├── deepest ─┬─ semantic tower:  ASPP 256 ─ fuse stride 8 (64) ─ fuse stride 4 (32) ─> 256 ── head 256 ── classes
  ├── stride 8 ┤
  └── stride 4 ┴─ instance tower:  ASPP 256 ─ fuse stride 8 (32) ─ fuse stride 4 (16) ─> 128 ─┬ head 32 ── centre
                                                                                              └ head 32 ── offset
```

To fuse is to enlarge, to concatenate with the backbone's map behind a 1x1 convolution, and to put a 5x5 separable
convolution behind; a head is a 5x5 separable convolution and a 1x1. An object is the pixels of thing classes that point
to one centre (`inference/panoptic.py`).

Departures from the released code (deeplab2), and why:

- Backbones are timm's, as in `deeplab_v3.py`; new layers start as in v3+.
- The 3x3 convolutions of both ASPPs are separable ones, as in detectron2's form and as the paper's 30.3 M parameters
  with ResNet-50 need; `separable=False` makes them dense, as deeplab2's are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor, nn

from ..layers import resize
from ..layers.contexts import context_module
from ..layers.conv import AtrousSeparableConv, ClassifierStart, ConvNormAct, ConvOptions, classifier, initialise
from ..options import at_least
from .base import InstanceMaps, TrainingMaps
from .with_context import ContextNetwork, ContextNetworkOptions

FUSED_STRIDES = (8, 4)
KERNEL_SIZE = 5
"""Of the separable convolutions behind the ASPPs."""


@dataclass(frozen=True)
class PanopticDeepLabOptions(ContextNetworkOptions):
    """Options of Panoptic-DeepLab."""

    separable: bool = True
    semantic_low_level_channels: tuple[Annotated[int, at_least(1)], Annotated[int, at_least(1)]] = (64, 32)
    """Channels to which the semantic tower reduces the backbone's maps at stride 8 and 4."""
    semantic_channels: Annotated[int, at_least(1)] = 256
    """Channels of the semantic tower's decoder and head."""
    instance_low_level_channels: tuple[Annotated[int, at_least(1)], Annotated[int, at_least(1)]] = (32, 16)
    """Channels to which the instance tower reduces the backbone's maps at stride 8 and 4."""
    instance_channels: Annotated[int, at_least(1)] = 128
    """Channels of the instance tower's decoder."""
    instance_head_channels: Annotated[int, at_least(1)] = 32
    """Channels of the heads for centres and offsets."""


class Tower(nn.Module):
    """A context module and the decoder behind it: from a backbone's maps to one at stride 4.

    Args:
        options: Of the network.
        map_channels: Of the maps at stride 8 and 4, and of the deepest.
        low_level_channels: To which the maps at stride 8 and 4 are reduced.
        channels: Of the decoder.
    """

    def __init__(
        self,
        options: PanopticDeepLabOptions,
        map_channels: Sequence[int],
        low_level_channels: Sequence[int],
        channels: int,
    ) -> None:
        super().__init__()
        *fine, deepest = map_channels
        self.align_corners = options.align_corners
        self.context = context_module(options, deepest)
        self.reduce, self.fuse = nn.ModuleList(), nn.ModuleList()
        width = options.aspp_channels
        for found, reduced in zip(fine, low_level_channels, strict=True):
            self.reduce.append(ConvNormAct(found, reduced, momentum=options.norm_momentum))
            self.fuse.append(AtrousSeparableConv(width + reduced, channels, options, kernel_size=KERNEL_SIZE))
            width = channels
        initialise(self.reduce, options.layer_start)
        initialise(self.fuse, options.layer_start)

    def forward(self, fine: Sequence[Tensor], deepest: Tensor) -> Tensor:
        """Return the map `(B, channels, H/4, W/4)` of the backbone's at stride 8 and 4 and of its deepest."""
        x = self.context(deepest)
        for features, reduce, fuse in zip(fine, self.reduce, self.fuse, strict=True):
            height, width = features.shape[-2:]
            x = fuse(torch.cat([resize(x, (height, width), self.align_corners), reduce(features)], dim=1))
        return x


class Head(nn.Sequential):
    """A 5x5 separable convolution and a 1x1, `(B, C_in, h, w) -> (B, C_out, h, w)`."""

    def __init__(
        self, in_channels: int, channels: int, out_channels: int, form: ConvOptions, start: ClassifierStart
    ) -> None:
        conv = AtrousSeparableConv(in_channels, channels, form, kernel_size=KERNEL_SIZE)
        initialise(conv, form.layer_start)
        super().__init__(conv, classifier(channels, out_channels, start))


class PanopticDeepLab(ContextNetwork):
    """Panoptic-DeepLab with a timm backbone: classes, centres of objects, and offsets to them."""

    Options = PanopticDeepLabOptions
    options: PanopticDeepLabOptions
    finds_objects = True

    def build(self, num_classes: int, in_channels: int) -> None:
        """Make backbone, towers and heads."""
        options = self.options
        self.build_backbone(in_channels)
        self._fused = [self.stage_at(stride) for stride in FUSED_STRIDES]
        maps = [*(self.backbone.stage_channels[stage] for stage in self._fused), self.backbone.high_level_channels]
        self.semantic = Tower(options, maps, options.semantic_low_level_channels, options.semantic_channels)
        self.instance = Tower(options, maps, options.instance_low_level_channels, options.instance_channels)
        self.semantic_head = AtrousSeparableConv(
            options.semantic_channels, options.semantic_channels, options, kernel_size=KERNEL_SIZE
        )
        initialise(self.semantic_head, options.layer_start)
        # Weights of N(0, 0.01) whatever classes start from: a first map of small numbers is far from no centre.
        width, head = options.instance_channels, options.instance_head_channels
        self.centre_head = Head(width, head, 1, options, "normal")
        self.offset_head = Head(width, head, 2, options, "normal")
        self.build_classifiers(options.semantic_channels, num_classes)

    def logits_of(self, stages: tuple[Tensor, ...]) -> Tensor:
        """Return logits `(B, num_classes, ceil(H/4), ceil(W/4))`."""
        features = self.semantic([stages[stage] for stage in self._fused], stages[-1])
        return self.classifier(self.semantic_head(features))

    def instances_of(self, stages: tuple[Tensor, ...]) -> InstanceMaps:
        """Return the maps of objects, of the logits' size."""
        features = self.instance([stages[stage] for stage in self._fused], stages[-1])
        return InstanceMaps(self.centre_head(features), self.offset_head(features))

    def all_maps(self, image: Tensor) -> Tensor:
        """Return the coarse logits and the maps of objects, `(B, num_classes + 3, ceil(H/4), ceil(W/4))`."""
        stages = self.backbone(image)
        return torch.cat([self.logits_of(stages), *self.instances_of(stages)], dim=1)

    def maps_of(self, stages: tuple[Tensor, ...], size: tuple[int, int]) -> TrainingMaps:
        """Return what training compares with the labels, the maps of objects included."""
        return super().maps_of(stages, size)._replace(instances=self.instances_of(stages))
