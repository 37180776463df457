"""What every network of this framework is to training, evaluation, export and import: one interface, typed.

A generation is one file: a dataclass of its options beside a subclass of `Network` that builds its layers from them.
Nothing asks a network for its class: what differs between generations has a name here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn

from ..backbones import TimmBackbone
from ..errors import ConfigError
from ..layers import resize
from ..layers.heads import use_one_logit
from ..layers.norms import GroupNormAct, batch_norms, replace_norms
from ..options import Options
from ..types import OutputStride, SideRemainder

Norm = Literal["batch", "group"]
CRFOfPaper = Literal["v1", "v2_vgg16", "v2_resnet101"]


class InstanceMaps(NamedTuple):
    """Where a network sees objects, at its own resolution."""

    centres: Tensor
    """`(B, 1, h, w)`: how likely a pixel is the centre of mass of an object; 1 on a centre."""
    offsets: Tensor
    """`(B, 2, h, w)`: rows and columns from a pixel to the centre of its object, in pixels of the image."""


class TrainingMaps(NamedTuple):
    """The logits that a training step compares with the labels."""

    main: Tensor
    """`(B, num_classes, h, w)`: what the network says, at its own resolution or the image's."""
    further: tuple[Tensor, ...] = ()
    """Those of an auxiliary head, or of single scales."""
    further_weight: float = 1.0
    """What the loss of each of the further maps is multiplied by."""
    instances: InstanceMaps | None = None
    """Of a network that tells objects apart."""


@dataclass(frozen=True)
class NetworkOptions(Options):
    """What can be done to any network."""

    section: ClassVar[str] = "model"

    norm: Norm = "batch"
    """Kind of all norms, the backbone's too: batch, or group in place of every batch norm (small batches, from
    scratch)."""
    freeze_batch_norm: bool = False
    """Train with the batch norms' stored statistics and leave their scale and shift alone, as DeepLab v2 and the second
    stage of v3 do."""
    binary: bool = False
    """Tell two classes apart by one channel and its sigmoid instead of two channels and their softmax; the threshold of
    the second class is then found in validation and kept in the checkpoint."""
    channels_last: bool = True
    """Keep weights and maps in channels-last order: the same numbers, usually faster."""
    gradient_checkpointing: bool = False
    """Compute the backbone's inner maps twice instead of keeping them: a third slower, less memory."""

    def check(self) -> None:
        """Refuse to freeze batch norms that there are not."""
        super().check()
        if self.norm == "group" and self.freeze_batch_norm:
            raise ConfigError("norm is group, so there is no batch norm to freeze: leave out freeze_batch_norm.")
        if self.norm == "group" and getattr(self, "pretrained", False):  # of the networks that have a backbone
            raise ConfigError(
                "norm is group, but ImageNet weights were found under batch norms and do not carry over: set "
                "--model.pretrained false, or take a backbone that was pretrained with group norm "
                "(--model.backbone resnet50_gn --model.norm batch)."
            )


class Network(nn.Module, ABC):
    """A segmentation network.

    Args:
        num_classes: Classes to tell apart, background included.
        in_channels: Channels of the image.
        options: Those of the class's `Options`, by name.

    Attributes:
        options: What it was built by.

    Raises:
        ConfigError: An option is unknown, out of range, contradicts another or does not fit the backbone, or trained
            weights cannot be had.
    """

    Options: ClassVar[type[NetworkOptions]] = NetworkOptions
    """The generation's options."""
    options: NetworkOptions

    output_stride: OutputStride
    """Side of the image over side of the deepest map."""
    align_corners: bool = True
    """Convention of every resize of this network, the last one to full size included."""
    side_remainder: SideRemainder = 1
    """With corners aligned: what sides that evaluation pads to leave when divided by the output stride."""
    input_scales: tuple[float, ...] = (1.0,)
    """At which the network itself looks at the image (DeepLab v2's multi-scale inputs)."""
    classifiers: ClassVar[tuple[str, ...]] = ("classifier",)
    """Parts that end in one channel for each class."""
    shrinks_labels: ClassVar[bool] = False
    """Whether training compares coarse logits with labels shrunk to their size (v1, v2), or enlarges the logits."""
    features_fit_image: bool = True
    """Whether what the classifier reads, resized, lies on the image, so that a second head can read it, too."""
    needs_fixed_size: str | None = None
    """What is laid out anew for every size, for messages; None where a recorded graph serves any size."""
    crf_of_paper: CRFOfPaper | None = None
    """CRF that its paper puts behind it, by the name that evaluation has for it; None for papers that evaluate with
    several scales and flips instead."""
    finds_objects: ClassVar[bool] = False
    """Whether it tells the objects of a class apart: then `all_maps` and `training_maps` hold `InstanceMaps`."""
    scored_at_stride_8: ClassVar[bool] = False
    """Whether its paper scores networks that were trained at output stride 16 at 8, too."""

    def __init__(self, num_classes: int, in_channels: int = 3, **options: Any) -> None:
        super().__init__()
        if num_classes < 1:
            raise ConfigError(f"num_classes is {num_classes}; a network needs at least one class.")
        self.options = self.Options.of(options)
        for name in {"output_stride", "align_corners", "side_remainder"} & vars(self.options).keys():
            setattr(self, name, getattr(self.options, name))
        self.build(num_classes, in_channels)
        self._apply_options(num_classes)

    @abstractmethod
    def build(self, num_classes: int, in_channels: int) -> None:
        """Make the layers from `self.options`, and set the attributes that this class declares."""

    @abstractmethod
    def coarse_logits(self, image: Tensor) -> Tensor:
        """Return the logits before the last resize, `(B, num_classes, h, w)`.

        Args:
            image: `(B, in_channels, H, W)` float, normalised.
        """

    def forward(self, image: Tensor) -> Tensor:
        """Segment an image of any size.

        Args:
            image: `(B, in_channels, H, W)` float, normalised.

        Returns:
            Logits `(B, num_classes, H, W)`.
        """
        height, width = image.shape[-2:]
        return resize(self.coarse_logits(image), (height, width), self.align_corners)

    def training_maps(self, image: Tensor) -> TrainingMaps:
        """Return the logits that training compares with the labels.

        Args:
            image: `(B, in_channels, H, W)` float, normalised.
        """
        return TrainingMaps(self.coarse_logits(image))

    def all_maps(self, image: Tensor) -> Tensor:
        """Return all that evaluation reads: the coarse logits and, of a network that finds objects, its maps of them.

        Args:
            image: `(B, in_channels, H, W)` float, normalised.

        Returns:
            `(B, num_classes, h, w)`, or `(B, num_classes + 3, h, w)` with the channels of `InstanceMaps` behind.
        """
        return self.coarse_logits(image)

    def train(self, mode: bool = True) -> Network:
        """Switch between training and evaluation; frozen batch norms stay in evaluation."""
        super().train(mode)
        if self.options.freeze_batch_norm:
            self._freeze()
        return self

    def _apply_options(self, num_classes: int) -> None:
        options = self.options
        if options.binary:
            if num_classes != 2:
                raise ConfigError(f"--model.binary is for data of two classes; this has {num_classes}. Leave it out.")
            use_one_logit(self, self.classifiers)
        if options.norm == "group":
            self._use_group_norms()
        if options.freeze_batch_norm:
            self._freeze()
        if options.gradient_checkpointing:
            self._checkpoint_gradients()
        if options.channels_last:
            backbone = getattr(self, "backbone", None)
            if isinstance(backbone, TimmBackbone) and not backbone.takes_channels_last:
                raise ConfigError(
                    f"Backbone {backbone.name!r} fails on maps in channels-last order: add --model.channels_last false."
                )
            # Not `self.to`, which fails on the kernels of convolutions over three dimensions.
            self._apply(lambda one: one.to(memory_format=torch.channels_last) if one.dim() == 4 else one)

    def _use_group_norms(self) -> None:
        replace_norms(self, GroupNormAct)

    def _freeze(self) -> None:
        for norm in batch_norms(self):
            norm.eval().requires_grad_(False)

    def _checkpoint_gradients(self) -> None:
        """Let the backbone forget its inner maps and compute them again on the way back."""
        backbone = getattr(self, "backbone", None)
        if not isinstance(backbone, TimmBackbone):
            raise ConfigError(
                f"{type(self).__name__} has no gradient checkpointing: leave out --model.gradient_checkpointing, or "
                f"take a network on one of timm's backbones (resnet101, mobilenetv2_100)."
            )
        backbone.checkpoint_gradients()


class FullSizeNetwork(Network):
    """A network that makes its logits at the image's size: nothing is left to resize, they are those of `forward`."""

    align_corners = False

    def forward(self, image: Tensor) -> Tensor:
        """Return the logits `(B, num_classes, H, W)` of an image of any size."""
        return self.coarse_logits(image)
