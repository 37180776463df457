"""VGG16 (Simonyan & Zisserman, 2015): its stages of convolutions, and its ImageNet weights.

timm's VGG refuses output strides, and its 2x2 max pools are fixed. Here the pools are left out, for every user takes
his own: 3x3 in DeepLab (`vgg_atrous.py`), 2x2 in FCN, with indices in SegNet.

Weights start from He's normal distribution, scaled by the fan-in so that a net without batch norm keeps the size of its
activations over 16 layers and learns from scratch. The papers always start from ImageNet weights.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NamedTuple

import timm
import torch
from timm.models import adapt_input_conv
from torch import Tensor, nn

from ..errors import ConfigError
from ..options import Between
from .weight_files import PretrainedOptions, not_fetched, read_state_dict

VGG16_WIDTHS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
"""Output channels of the 13 convolutions, by stage; a max pool follows each stage."""

FC_CHANNELS = 4096
FC6_KERNEL = 7


@dataclass(frozen=True)
class VGGOptions(PretrainedOptions):
    """What a network on VGG16 with its fully connected layers starts from and trains with."""

    dropout: Annotated[float, Between(0, 1)] = 0.5
    """Probability of dropping an activation behind each of VGG16's fully connected layers, fc6 and fc7, in training."""


# --- layers ---------------------------------------------------------------------------------------------------------


def vgg_stage(in_channels: int, widths: Sequence[int], *, atrous_rate: int = 1, norm: bool = False) -> nn.Sequential:
    """Return 3x3 convolutions with bias, each followed by batch norm (if asked for) and ReLU.

    `(B, in_channels, H, W) -> (B, widths[-1], H, W)`. The bias stays in front of a batch norm, as in SegNet, whose
    published count includes both.
    """
    layers: list[nn.Module] = []
    for width in widths:
        layers.append(nn.Conv2d(in_channels, width, 3, padding=atrous_rate, dilation=atrous_rate))
        if norm:
            layers.append(nn.BatchNorm2d(width))
        layers.append(nn.ReLU(inplace=True))
        in_channels = width
    stage = nn.Sequential(*layers)
    he_normal_(stage)
    return stage


def vgg16_stages(in_channels: int = 3, *, conv5_rate: int = 1, norm: bool = False) -> nn.ModuleList:
    """Return VGG16's five stages, without pools; the fifth has the atrous rate `conv5_rate`."""
    stages = nn.ModuleList()
    for index, widths in enumerate(VGG16_WIDTHS):
        rate = conv5_rate if index == len(VGG16_WIDTHS) - 1 else 1
        stages.append(vgg_stage(in_channels, widths, atrous_rate=rate, norm=norm))
        in_channels = widths[-1]
    return stages


def he_normal_(module: nn.Module) -> None:
    """Start every convolution in `module` from He's normal distribution (by fan-in), its bias from 0."""
    for conv in _convolutions([module]):
        nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
        if conv.bias is not None:
            nn.init.zeros_(conv.bias)


def _convolutions(modules: Iterable[nn.Module]) -> list[nn.Conv2d]:
    return [layer for module in modules for layer in module.modules() if isinstance(layer, nn.Conv2d)]


# --- ImageNet weights -----------------------------------------------------------------------------------------------


class VGG16Weights(NamedTuple):
    """A trained VGG16 in convolutional form: pairs of weight `(out, in, k, k)` and bias `(out,)`."""

    convs: list[tuple[Tensor, Tensor]]
    """The 13 convolutions of the stages, in order."""
    fc6: tuple[Tensor, Tensor]
    """`(4096, 512, 7, 7)` and `(4096,)`."""
    fc7: tuple[Tensor, Tensor]
    """`(4096, 4096, 1, 1)` and `(4096,)`."""


def imagenet_vgg16(pretrained: bool | str) -> VGG16Weights | None:
    """Return trained weights, or None where none are wanted.

    Args:
        pretrained: False for none; True for timm's `vgg16`, fetched from the network the first time; or a file
            (`.pth`, `.pt`, `.safetensors`) with a state dict as timm or torchvision write it.

    Raises:
        ConfigError: The weights cannot be fetched or read, or are not VGG16's.
    """
    if pretrained is False:
        return None
    if pretrained is not True:
        return vgg16_from_state_dict(read_state_dict(Path(pretrained)), str(pretrained))
    try:
        network = timm.create_model("vgg16", pretrained=True)
    except (OSError, RuntimeError) as error:
        raise not_fetched("vgg16", error) from error
    return vgg16_from_state_dict(network.state_dict(), "timm's vgg16")


def vgg16_from_state_dict(state: Mapping[str, Tensor], source: str) -> VGG16Weights:
    """Bring a VGG16 of timm or torchvision into convolutional form.

    Args:
        state: `features.N.{weight,bias}` with `pre_logits.{fc1,fc2}` (timm) or `classifier.{0,3}` (torchvision); the
            classifier over ImageNet's classes is left alone.
        source: Where it came from, for messages.

    Raises:
        ConfigError: Something is missing or has another shape.
    """
    numbers = sorted(int(match[1]) for key in state if (match := re.fullmatch(r"features\.(\d+)\.weight", key)))
    normed = any(key.endswith("running_mean") for key in state)
    if normed or len(numbers) != sum(map(len, VGG16_WIDTHS)):
        raise ConfigError(
            f"{source} is no plain VGG16: it has {len(numbers)} layers named features.N with weights"
            f"{', batch norms among them' if normed else ''}, where 13 convolutions are expected. Take 'vgg16' of timm "
            f"or torchvision, not a relative of it (vgg16_bn, vgg19)."
        )
    channels = [3, *(width for widths in VGG16_WIDTHS for width in widths)]
    convs = [
        _pair(state, f"features.{number}", (channels[index + 1], channels[index], 3, 3), source)
        for index, number in enumerate(numbers)
    ]
    fc6, fc7 = (
        ("pre_logits.fc1", "pre_logits.fc2") if "pre_logits.fc1.weight" in state else ("classifier.0", "classifier.3")
    )
    return VGG16Weights(
        convs,
        _pair(state, fc6, (FC_CHANNELS, channels[-1], FC6_KERNEL, FC6_KERNEL), source),
        _pair(state, fc7, (FC_CHANNELS, FC_CHANNELS, 1, 1), source),
    )


def load_stages(stages: Iterable[nn.Module], weights: VGG16Weights) -> None:
    """Copy the 13 trained convolutions into those of `stages`.

    Images with other than 3 channels get what timm gives them: the sum over channels for one, else repeated kernels.
    """
    for conv, (weight, bias) in zip(_convolutions(stages), weights.convs, strict=True):
        if conv.in_channels != weight.shape[1]:
            weight = adapt_input_conv(conv.in_channels, weight.clone())
        _copy(conv, weight, bias)


def load_fully_connected(fc6: nn.Conv2d, fc7: nn.Conv2d, weights: VGG16Weights, seed: int = 0) -> None:
    """Copy the trained fully connected layers into two convolutions, decimated to their sizes (v1 and v2 papers).

    In space, as many of the 7 x 7 taps are kept as `fc6` has, evenly spread from edge to edge: taps 0, 3, 6 for a 3x3,
    0, 2, 4, 6 for a 4x4 kernel. At rates 12 and 8 these taps read just what they read in the 7x7 kernel at rate 4. In
    width, both layers keep a random subset of their 4096 filters, and `fc7` reads the filters that `fc6` kept.

    Args:
        fc6: Convolution of 512 channels with a square kernel of at most 7x7.
        fc7: 1x1 convolution that follows it.
        weights: Of a trained VGG16.
        seed: Of the random subsets; without effect where all 4096 filters are kept.
    """
    generator = torch.Generator().manual_seed(seed)
    kept6 = _subset(fc6.out_channels, generator)
    kept7 = _subset(fc7.out_channels, generator)
    taps = torch.linspace(0, FC6_KERNEL - 1, fc6.kernel_size[0]).long()
    weight6, bias6 = weights.fc6
    weight7, bias7 = weights.fc7
    _copy(fc6, weight6[kept6][:, :, taps][..., taps], bias6[kept6])
    _copy(fc7, weight7[kept7][:, kept6], bias7[kept7])


def _subset(size: int, generator: torch.Generator) -> Tensor:
    return torch.randperm(FC_CHANNELS, generator=generator)[:size].sort().values


@torch.no_grad()
def _copy(conv: nn.Conv2d, weight: Tensor, bias: Tensor) -> None:
    assert conv.bias is not None
    conv.weight.copy_(weight)
    conv.bias.copy_(bias)


def _pair(state: Mapping[str, Tensor], key: str, shape: tuple[int, ...], source: str) -> tuple[Tensor, Tensor]:
    """Return weight and bias of a layer, checked; a fully connected layer's matrix becomes a kernel."""
    missing = [name for name in (f"{key}.weight", f"{key}.bias") if name not in state]
    if missing:
        raise ConfigError(
            f"{source} has no {missing[0]}: a VGG16 of timm (features.N, pre_logits.fc1, pre_logits.fc2) or "
            f"torchvision (features.N, classifier.0, classifier.3) is expected."
        )
    weight, bias = state[f"{key}.weight"], state[f"{key}.bias"]
    if weight.flatten(1).shape != (shape[0], torch.Size(shape[1:]).numel()):
        raise ConfigError(f"{source}: {key}.weight has shape {tuple(weight.shape)}, where VGG16 has {shape}.")
    return weight.reshape(shape), bias
