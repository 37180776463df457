"""What every context head is, the options that all of them share, and the module that is built around one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import OrderedDict
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from torch import Tensor, nn

from ...options import Between, OneOf, at_least
from ...plugins import import_all, subclasses
from ..conv import ConvOptions, conv3x3, initialise
from ..grid import ResizeOptions, StrideOptions, scale_rates


class ContextHead(nn.Module, ABC):
    """A context head, `(B, C_in, h, w) -> (B, C_out, h, w)`; made of `ContextOptions` and `C_in`, of the deepest map.

    A new one is a class in a file of its own in this folder, or in the user's own modules.
    """

    name: ClassVar[str]
    """Value of the option `context` that chooses it."""
    part: ClassVar[str]
    """Name of its weights within the context module."""
    needs_fixed_size: ClassVar[str | None] = None
    """What is laid out anew for every size, for messages; None where a recorded graph serves any size."""

    @abstractmethod
    def forward(self, features: Tensor) -> Tensor:
        """`(B, C_in, h, w) -> (B, C_out, h, w)`."""


def context_heads() -> dict[str, type[ContextHead]]:
    """Return all context heads by name, the user's own included."""
    import_all(__name__.rpartition(".")[0])
    return {head.name: head for head in subclasses(ContextHead)}  # type: ignore[type-abstract]


@dataclass(frozen=True)
class ContextOptions(StrideOptions, ResizeOptions, ConvOptions):
    """What stands between a backbone and its classifier or decoder."""

    context: Annotated[str, OneOf(context_heads)] = "aspp"
    """Kind of the context head: aspp, the papers'; or, to compare it with, aspp_sum (its branches are added up), psp
    (PSPNet's pyramid pooling) or conv (one dense 3x3 convolution)."""
    atrous_rates: tuple[Annotated[int, at_least(1)], ...] = (6, 12, 18)
    """Atrous rates of ASPP's 3x3 branches, one branch each, stated at output stride 16 and scaled for the others; empty
    leaves the 1x1 branch and image pooling, the lite form of TensorFlow's MobileNetV2 models."""
    image_pooling: bool = True
    """Build ASPP's image-level branch, the mean over the whole map; the v3+ paper's best Cityscapes model has none."""
    aspp_channels: Annotated[int, at_least(1)] = 256
    """Channels of every branch of the context head and of its result: 256 in the papers."""
    project_kernel_size: Literal[1, 3] = 1
    """Side in pixels of the kernel that projects ASPP's branches: 1 in the papers, 3 in mmsegmentation."""
    attention: bool = False
    """Weigh the channels of the context head's result by squeeze-and-excite, which no paper of the family does."""
    head_conv: bool = False
    """Put one more 3x3 convolution behind the context head, as torchvision and segmentation_models_pytorch do and the
    papers do not."""
    dropout: Annotated[float, Between(0, 1)] = 0.1
    """Probability of dropping an activation behind the context head's projection in training: 0.1 in the papers, 0.5 in
    torchvision and segmentation_models_pytorch."""

    @property
    def rates(self) -> tuple[int, ...]:
        """The atrous rates at this output stride."""
        return scale_rates(self.atrous_rates, self.output_stride)


def context_module(options: ContextOptions, in_channels: int) -> nn.Sequential:
    """Return the context module of v3 and v3+, `(B, C_in, h, w) -> (B, C_out, h, w)`, its parts named by kind."""
    head, width = context_heads()[options.context], options.aspp_channels
    parts: dict[str, nn.Module] = {head.part: head(options, in_channels)}
    if options.attention:
        parts["attention"] = SqueezeExcite(width)
    if options.head_conv:
        parts["head_conv"] = conv3x3(width, width, options)
    for part in parts.values():
        initialise(part, options.layer_start)
    return nn.Sequential(OrderedDict(parts))


class SqueezeExcite(nn.Module):
    """Weigh channels by what the whole map holds (Hu et al., "Squeeze-and-Excitation Networks", CVPR 2018)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        width = max(1, channels // 16)
        self.weigh = nn.Sequential(
            nn.Conv2d(channels, width, 1), nn.ReLU(inplace=True), nn.Conv2d(width, channels, 1), nn.Sigmoid()
        )

    def forward(self, features: Tensor) -> Tensor:
        """`(B, C, h, w) -> (B, C, h, w)`."""
        return features * self.weigh(features.mean(dim=(2, 3), keepdim=True))
