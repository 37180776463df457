"""Convolution blocks: convolution, batch norm, ReLU; dense or atrous separable."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from torch import nn

from ..options import Between, Options

LayerStart = Literal["he_uniform", "he_normal"]
ClassifierStart = Literal["xavier", "normal"]


@dataclass(frozen=True)
class ConvOptions(Options):
    """How the convolutions behind a backbone are built."""

    separable: bool = False
    """Make the 3x3 convolutions of context head and decoder atrous separable ones (depthwise at a rate, then
    pointwise), the v3+ paper's best, instead of dense ones."""
    norm_between: bool = True
    """Put batch norm and ReLU between the two parts of a separable convolution as well, as the released code does;
    segmentation_models_pytorch and VainF's code leave them out."""
    norm_momentum: Annotated[float, Between(0, 1)] = 0.1
    """Weight of the new batch in the running statistics of all batch norms behind the backbone, one minus TensorFlow's
    decay; the papers' 0.0003 needs pretrained statistics."""
    layer_start: LayerStart = "he_uniform"
    """Distribution that new convolutions start from: he_uniform, He's uniform one scaled by the inputs (of atrous
    kernels the middle tap alone), or he_normal, his normal one scaled by the outputs; docs/planner.md compares them."""
    classifier_start: ClassifierStart = "xavier"
    """Distribution that the classifier starts from: xavier, which learns rare classes within hundreds of steps, or
    normal, the released code's N(0, 0.01)."""


class ConvNormAct(nn.Sequential):
    """`k x k` convolution without bias, batch norm, ReLU: `(B, C_in, H, W) -> (B, C_out, H, W)`, padded.

    Args:
        in_channels: Channels in.
        out_channels: Channels out.
        kernel_size: Odd side of the kernel.
        atrous_rate: Spacing of the kernel's taps.
        groups: Groups of the convolution; equal to the channels it is depthwise.
        momentum: Of the batch norm, the weight of the new batch.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 1,
        *,
        atrous_rate: int = 1,
        groups: int = 1,
        momentum: float = 0.1,
    ) -> None:
        padding = atrous_rate * (kernel_size - 1) // 2
        conv = nn.Conv2d(
            in_channels, out_channels, kernel_size, padding=padding, dilation=atrous_rate, groups=groups, bias=False
        )
        super().__init__(conv, nn.BatchNorm2d(out_channels, momentum=momentum), nn.ReLU(inplace=True))


class AtrousSeparableConv(nn.Sequential):
    """Atrous separable convolution (v3+ paper, section 3.1): depthwise at a rate, 3x3 or wider, then pointwise 1x1.

    Batch norm and ReLU follow both parts, as in the released ASPP and decoder
    (`activation_fn_in_separable_conv=True`), or the second alone. `(B, C_in, H, W) -> (B, C_out, H, W)`.
    """

    def __init__(
        self, in_channels: int, out_channels: int, form: ConvOptions, *, kernel_size: int = 3, atrous_rate: int = 1
    ) -> None:
        momentum = form.norm_momentum
        depthwise = ConvNormAct(
            in_channels, in_channels, kernel_size, atrous_rate=atrous_rate, groups=in_channels, momentum=momentum
        )
        pointwise = ConvNormAct(in_channels, out_channels, momentum=momentum)
        super().__init__(depthwise if form.norm_between else depthwise[0], pointwise)


def conv3x3(in_channels: int, out_channels: int, form: ConvOptions, *, atrous_rate: int = 1) -> nn.Sequential:
    """Return a 3x3 convolution block, dense or atrous separable."""
    if form.separable:
        return AtrousSeparableConv(in_channels, out_channels, form, atrous_rate=atrous_rate)
    return ConvNormAct(in_channels, out_channels, 3, atrous_rate=atrous_rate, momentum=form.norm_momentum)


def initialise(module: nn.Module, start: LayerStart = "he_normal") -> None:
    """Start the convolutions of new layers from one of He's distributions; biases from 0.

    (The released code: Xavier; depthwise 0.33, pointwise 0.06.)
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            if start == "he_uniform":
                _he_uniform(layer)
            else:
                nn.init.kaiming_normal_(layer.weight, mode="fan_out" if layer.groups == 1 else "fan_in")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def _he_uniform(conv: nn.Conv2d) -> None:
    """Start a kernel from He's uniform distribution; an atrous one from its middle tap alone, the others from 0.

    Where a training crop is smaller than an atrous rate, the outer taps lie in the padding and are never trained. Whole
    images are larger: there the taps meet them, and as random numbers they would be noise (docs/planner.md).
    """
    if conv.dilation[0] == 1:
        nn.init.kaiming_uniform_(conv.weight, nonlinearity="relu")
        return
    nn.init.zeros_(conv.weight)
    middle = slice(conv.kernel_size[0] // 2, conv.kernel_size[0] // 2 + 1)
    nn.init.kaiming_uniform_(conv.weight.data[..., middle, middle], nonlinearity="relu")


def classifier(in_channels: int, num_classes: int, start: ClassifierStart = "normal") -> nn.Conv2d:
    """Return the last 1x1 convolution, without bias at the start: from Xavier's distribution, or N(0, 0.01)."""
    conv = nn.Conv2d(in_channels, num_classes, 1)
    if start == "xavier":
        nn.init.xavier_uniform_(conv.weight)
    else:
        nn.init.normal_(conv.weight, std=0.01)
    assert conv.bias is not None
    nn.init.zeros_(conv.bias)
    return conv
