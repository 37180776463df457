"""A timm network as the source of a stride-4 and a deepest feature map."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import timm
import torch
from torch import Tensor, nn

from ..errors import ConfigError, did_you_mean
from ..types import OutputStride
from .atrous import atrous_support

LOW_LEVEL_REDUCTION = 4
WORKING = "resnet50, resnet101, xception65, mobilenetv2_100"


class BackboneFeatures(NamedTuple):
    """Low-level `(B, C_low, H/4, W/4)` and high-level `(B, C_high, H/output_stride, W/output_stride)` maps."""

    low_level: Tensor
    high_level: Tensor


class TimmBackbone(nn.Module):
    """Any timm network that honours an output stride of 8, 16 or 32.

    Feature maps are chosen by their reduction, never by their place in a list: the low-level map is the one at
    stride 4, the high-level map the deepest. For a ResNet that is the output of `layer1` after its ReLU, where
    TensorFlow's DeepLab taps the residual branch before the sum (a departure; both have 256 channels); for Xception-65
    it is TensorFlow's tensor after a ReLU; for MobileNetV2 the 24-channel bottleneck, where TensorFlow taps the
    144-channel expansion.

    Where a stage loses its stride, timm's ResNets and MobileNets let its first unit keep the previous rate
    ("lag"), the exactly equivalent densification of an ImageNet network.

    Args:
        name: timm's name, such as `resnet101`, `xception65` or `mobilenetv2_100`.
        output_stride: Ratio of the input's side to the deepest map's.
        pretrained: Start from timm's ImageNet weights (fetched from the network the first time).
        in_channels: Channels of the input.

    Attributes:
        low_level_channels: Channels of the stride-4 map.
        high_level_channels: Channels of the deepest map.

    Raises:
        ConfigError: The name is unknown, the network has no output stride, or the weights cannot be fetched.
    """

    def __init__(self, name: str, output_stride: OutputStride, pretrained: bool = False, in_channels: int = 3) -> None:
        super().__init__()
        self.name = name
        features = _create(name, output_stride, in_channels, out_indices=None)
        reductions = features.feature_info.reduction()
        if reductions[-1] != output_stride or LOW_LEVEL_REDUCTION not in reductions:
            raise ConfigError(
                f"Backbone {name!r} cannot run at output stride {output_stride}: its feature maps have strides "
                f"{reductions}, and DeepLab needs one of stride {LOW_LEVEL_REDUCTION} and a deepest one of stride "
                f"{output_stride}. Backbones that can: {WORKING}."
            )
        low, high = reductions.index(LOW_LEVEL_REDUCTION), len(reductions) - 1
        self.features = _create(name, output_stride, in_channels, out_indices=(low, high), pretrained=pretrained)
        self.low_level_channels, self.high_level_channels = self.features.feature_info.channels()
        if output_stride != 32:
            self._check_same_weights_as_strided(output_stride, in_channels, (low, high))
            _warn_if_not_exact(name)

    def forward(self, image: Tensor) -> BackboneFeatures:
        """`(B, C, H, W)` normalised image to its two feature maps."""
        return BackboneFeatures(*self.features(image))

    def _check_same_weights_as_strided(
        self, output_stride: OutputStride, in_channels: int, out_indices: tuple[int, int]
    ) -> None:
        """Refuse a network that gains or loses a layer with its stride: its ImageNet weights would not fit."""
        with torch.device("meta"):
            strided = _create(self.name, 32, in_channels, out_indices)
        difference = _shapes(strided) ^ _shapes(self.features)
        if difference:
            raise ConfigError(
                f"Backbone {self.name!r} has other weights at output stride {output_stride} than at 32 "
                f"({sorted(difference)[0][0]}): one checkpoint cannot serve both. Take --model.output_stride "
                f"{'16 or 32' if output_stride == 8 else '32'}, or another backbone: {WORKING}."
            )


def _shapes(module: nn.Module) -> set[tuple[str, tuple[int, ...]]]:
    return {(key, tuple(value.shape)) for key, value in module.state_dict().items()}


def _warn_if_not_exact(name: str) -> None:
    support = atrous_support(name)
    if support == "approximate":
        warnings.warn(
            f"Backbone {name!r} changes what it computes when its output stride changes (its attention, pooling or "
            f"shortcut layers see other maps): train and evaluate it at the same output stride.",
            stacklevel=3,
        )
    elif support == "unknown":
        warnings.warn(
            f"Whether backbone {name!r} computes the same at every output stride was not measured: train and evaluate "
            f"it at the same one, or take one that does: {WORKING}.",
            stacklevel=3,
        )


def _create(
    name: str, output_stride: int, in_channels: int, out_indices: tuple[int, ...] | None, pretrained: bool = False
) -> Any:
    """Build timm's feature extractor; say in our words what is wrong with the name or the output stride."""
    architecture, dot, _ = name.partition(".")
    if architecture not in timm.list_models():
        raise ConfigError(
            f"Unknown backbone {name!r}.{did_you_mean(name, timm.list_models())} Any timm network that honours "
            f"output_stride will do, such as {WORKING}."
        )
    if dot and name not in (tagged := timm.list_models(f"{architecture}.*", pretrained=True)):
        raise ConfigError(
            f"timm has no weights {name!r}.{did_you_mean(name, tagged)} "
            f"Weights of {architecture}: {', '.join(tagged) or 'none'}."
        )
    options = {} if out_indices is None else {"out_indices": out_indices}
    try:
        return timm.create_model(
            name,
            pretrained=pretrained,
            features_only=True,
            output_stride=output_stride,
            in_chans=in_channels,
            **options,
        )
    except (OSError, RuntimeError) as error:
        if not pretrained:
            raise _no_output_stride(name, output_stride, error) from error
        if "No pretrained weights exist" in str(error):
            raise ConfigError(
                f"timm has no ImageNet weights for {name!r}: choose a relative that has (mobilenetv2_100), or "
                f"train from scratch with --model.pretrained false."
            ) from error
        raise ConfigError(
            f"The ImageNet weights of {name!r} could not be loaded ({_first_line(error)}). They are fetched from the "
            f"Hugging Face hub the first time: run once with network access, or copy the hub's cache folder "
            f"(~/.cache/huggingface) from a machine that has them, or train from scratch with --model.pretrained false."
        ) from error
    except (AssertionError, TypeError, ValueError, NotImplementedError, AttributeError) as error:
        raise _no_output_stride(name, output_stride, error) from error


def _no_output_stride(name: str, output_stride: int, error: Exception) -> ConfigError:
    # An assertion is how timm says that a network has a fixed stride of 32; a TypeError, that it has no such option.
    fixed = isinstance(error, AssertionError) and output_stride != 32
    reason = "timm builds it at 32 only" if fixed else _first_line(error)
    return ConfigError(
        f"Backbone {name!r} does not honour output stride {output_stride} ({reason}). "
        f"Choose one that does: {WORKING}{'; or try --model.output_stride 32' if fixed else ''}."
    )


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
