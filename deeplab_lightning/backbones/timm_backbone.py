"""A timm network as the source of a stride-4 and a deepest feature map."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import timm
from torch import Tensor, nn

from ..errors import ConfigError, did_you_mean
from ..types import OutputStride
from .atrous import atrous_support

LOW_LEVEL_REDUCTION = 4


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
                f"{output_stride}. Backbones that can: resnet50, resnet101, xception65, mobilenetv2_100."
            )
        low, high = reductions.index(LOW_LEVEL_REDUCTION), len(reductions) - 1
        self.features = _create(name, output_stride, in_channels, out_indices=(low, high), pretrained=pretrained)
        self.low_level_channels, self.high_level_channels = self.features.feature_info.channels()
        if output_stride != 32 and atrous_support(name) == "approximate":
            warnings.warn(
                f"Backbone {name!r} changes what it computes when its output stride changes (its squeeze-and-excite or "
                f"pooling layers see other maps): train and evaluate it at the same output stride.",
                stacklevel=2,
            )

    def forward(self, image: Tensor) -> BackboneFeatures:
        """`(B, C, H, W)` normalised image to its two feature maps."""
        return BackboneFeatures(*self.features(image))


def _create(
    name: str, output_stride: int, in_channels: int, out_indices: tuple[int, ...] | None, pretrained: bool = False
) -> Any:
    """Build timm's feature extractor; say in our words what is wrong with the name or the output stride."""
    if name.split(".")[0] not in timm.list_models():
        raise ConfigError(
            f"Unknown backbone {name!r}.{did_you_mean(name, timm.list_models())} Any timm network that honours "
            f"output_stride will do, such as resnet101, xception65 or mobilenetv2_100."
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
        raise ConfigError(
            f"The ImageNet weights of {name!r} could not be loaded ({_first_line(error)}). They are fetched from the "
            f"Hugging Face hub the first time: run once with network access, or copy the hub's cache folder "
            f"(~/.cache/huggingface) from a machine that has them, or train from scratch with --model.pretrained false."
        ) from error
    except (AssertionError, TypeError, ValueError, NotImplementedError, AttributeError) as error:
        raise _no_output_stride(name, output_stride, error) from error


def _no_output_stride(name: str, output_stride: int, error: Exception) -> ConfigError:
    return ConfigError(
        f"Backbone {name!r} does not honour output stride {output_stride} ({_first_line(error)}). "
        f"Choose one that does: resnet50, resnet101, xception65, mobilenetv2_100; or try --model.output_stride 32."
    )


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
