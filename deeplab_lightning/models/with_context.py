"""What DeepLab v3 and v3+ share: a backbone with a context module on its deepest map, and an auxiliary head."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

from torch import Tensor

from ..backbones import BackboneOptions, TimmBackbone
from ..backbones.resnet_variants import ResNetOptions
from ..layers import resize
from ..layers.contexts import ContextOptions, context_heads, context_module
from ..layers.conv import classifier
from ..layers.heads import AuxiliaryOptions, auxiliary_head
from .base import Network, NetworkOptions, TrainingMaps

OF_THE_PAPERS = ResNetOptions(multi_grid=(1, 2, 4))


@dataclass(frozen=True)
class ContextNetworkOptions(NetworkOptions, AuxiliaryOptions, ContextOptions, BackboneOptions):
    """Options that v3 and v3+ have in common."""


class ContextNetwork(Network):
    """A network that reads its logits from the maps of a backbone's stages, through a context module.

    `build` makes its parts in the order of their random numbers: `build_encoder`, what stands between, and
    `build_classifiers`.
    """

    options: ContextNetworkOptions
    classifiers = ("classifier", "aux_head")
    scored_at_stride_8 = True

    @abstractmethod
    def logits_of(self, stages: tuple[Tensor, ...]) -> Tensor:
        """Return the coarse logits of the backbone's maps, from stride 4 to the deepest."""

    def build_encoder(self, in_channels: int) -> None:
        """Make the backbone and the context module."""
        options = self.options
        self.needs_fixed_size = context_heads()[options.context].needs_fixed_size
        self.backbone = TimmBackbone(options, in_channels, OF_THE_PAPERS)
        self.context = context_module(options, self.backbone.high_level_channels)

    def build_classifiers(self, channels: int, num_classes: int) -> None:
        """Make the classifier of a map of so many channels, and the auxiliary head if there is to be one."""
        self.classifier = classifier(channels, num_classes, self.options.classifier_start)
        self.aux_head = (
            auxiliary_head(self.backbone.stage_channels[-2], num_classes, self.options)
            if self.options.aux_head
            else None
        )

    def coarse_logits(self, image: Tensor) -> Tensor:
        """Return the logits before the last resize, `(B, num_classes, h, w)`: see `logits_of`."""
        return self.logits_of(self.backbone(image))

    def training_maps(self, image: Tensor) -> TrainingMaps:
        """Return the coarse logits; with an auxiliary head its logits as well, both `(B, num_classes, H, W)`."""
        if self.aux_head is None:
            return super().training_maps(image)
        height, width = image.shape[-2:]
        stages = self.backbone(image)
        logits, aux_logits = (
            resize(coarse, (height, width), self.align_corners)
            for coarse in (self.logits_of(stages), self.aux_head(stages[-2]))
        )
        return TrainingMaps(logits, (aux_logits,), self.options.aux_loss_weight)
