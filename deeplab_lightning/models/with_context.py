"""What DeepLab v3 and v3+ share: a backbone with a context module on its deepest map, and an auxiliary head."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

from torch import Tensor

from ..backbones import BackboneOptions, TimmBackbone
from ..backbones.resnet_variants import ResNetOptions
from ..errors import ConfigError
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

    def build_backbone(self, in_channels: int) -> None:
        """Make the backbone."""
        self.needs_fixed_size = context_heads()[self.options.context].needs_fixed_size
        self.backbone = TimmBackbone(self.options, in_channels, OF_THE_PAPERS)

    def build_encoder(self, in_channels: int) -> None:
        """Make the backbone and the context module."""
        self.build_backbone(in_channels)
        self.context = context_module(self.options, self.backbone.high_level_channels)

    def stage_at(self, stride: int) -> int:
        """Return which of the backbone's stages ends at a stride.

        Raises:
            ConfigError: None does.
        """
        reductions = self.backbone.stage_reductions
        if stride not in reductions:
            raise ConfigError(
                f"decoder_strides has {stride}, but the maps of {self.backbone.name!r} have strides {reductions}: take "
                f"[4], or [8, 4] for two of them."
            )
        return reductions.index(stride)

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
        height, width = image.shape[-2:]
        return self.maps_of(self.backbone(image), (height, width))

    def maps_of(self, stages: tuple[Tensor, ...], size: tuple[int, int]) -> TrainingMaps:
        """Return what training compares with the labels of an image of this size, from the backbone's maps."""
        logits = self.logits_of(stages)
        if self.aux_head is None:
            return TrainingMaps(logits)
        full, aux = (resize(coarse, size, self.align_corners) for coarse in (logits, self.aux_head(stages[-2])))
        return TrainingMaps(full, (aux,), self.options.aux_loss_weight)
