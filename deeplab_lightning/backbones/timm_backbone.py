"""A timm network as the source of a stride-4 and a deepest feature map."""

from __future__ import annotations

import itertools
import re
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import timm
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from ..errors import ConfigError, did_you_mean
from ..layers.grid import StrideOptions
from ..layers.resize import padded_side
from . import smp_encoders, unrounded_mobilenet, xception71
from .atrous import atrous_support
from .low_level_maps import Walk, resnet_stages, resnet_tensorflow, tensorflow_low_level_map
from .resnet_variants import AS_IN_TIMM, ResNetOptions, apply_variant
from .weight_files import PretrainedOptions, first_line, load_features, not_fetched

LowLevelMap = Literal["stage", "tensorflow"]

LOW_LEVEL_REDUCTION = 4
TRIED_SIZES: tuple[tuple[int, int], ...] = ((65, 65), (49, 34))
"""Of the images that a network is tried on: sides as training has them, and sides of no form at all."""
WORKING = "resnet50, resnet101, xception65, mobilenetv2_100"

_OTHERS: tuple[tuple[re.Pattern[str], Callable[..., Any]], ...] = (
    (unrounded_mobilenet.NAME, unrounded_mobilenet.unrounded_mobilenet),
    (smp_encoders.NAME, smp_encoders.smp_encoder),
)
"""Networks that timm has not as such: which names they have, and what builds them."""


@dataclass(frozen=True)
class BackboneOptions(ResNetOptions, PretrainedOptions, StrideOptions):
    """Which of timm's networks makes the feature maps, and in which form."""

    backbone: str = "resnet101"
    """Name of a timm network that honours output strides, such as resnet101 and xception65 (the papers') or
    mobilenetv2_100; or mobilenetv2_050_unrounded, with the widths of TensorFlow's depth multiplier (any hundredths); or
    smp_mobilenet_v2 and its like, as segmentation_models_pytorch builds them."""


class TimmBackbone(nn.Module):
    """Any timm network that honours an output stride of 8, 16 or 32.

    Feature maps are chosen by their reduction, never by their place in a list: the low-level map is the one at
    stride 4, the high-level map the deepest. The low-level map is the output of the last stage at stride 4 (of a
    ResNet, `layer1` after its ReLU; of MobileNetV2, the 24-channel bottleneck), or TensorFlow's
    (see `take_low_level_map_of_tensorflow`).

    Args:
        options: Which network, in which form.
        in_channels: Channels of the image.
        generation: Multi-grid and first unit of the generation, taken where `options` has none and they fit.

    Some networks round the sides of their maps down, or add maps up that only fit one another where the stride divides
    the image's sides (ConvNeXt, HRNet, DLA): these see the image with zeros, the mean pixel, to the right and below.

    Attributes:
        stage_channels: Channels of each map, from stride 4 to the deepest.
        stage_reductions: Stride of each of them; maps have the image's sides over it, rounded up.
        takes_channels_last: Whether it runs on maps in channels-last order.

    Raises:
        ConfigError: The name is unknown, the network has no output stride or not the parts that an option changes, it
            fails on an image or makes maps of other sizes, or the weights cannot be fetched.
    """

    def __init__(self, options: BackboneOptions, in_channels: int = 3, generation: ResNetOptions = AS_IN_TIMM) -> None:
        super().__init__()
        self.name = name = options.backbone
        output_stride = options.output_stride
        stem: dict[str, Any] = {"stem_type": "deep", "stem_width": 64} if options.beta_stem else {}
        if options.beta_stem and not name.startswith("resnet"):
            raise ConfigError(f"beta_stem is made for ResNets, and {name!r} is none: take resnet50 or resnet101.")
        features = _create(name, output_stride, in_channels, out_indices=None, **stem)
        reductions = features.feature_info.reduction()
        if reductions[-1] != output_stride or LOW_LEVEL_REDUCTION not in reductions:
            raise ConfigError(
                f"Backbone {name!r} cannot run at output stride {output_stride}: its feature maps have strides "
                f"{reductions}, and DeepLab needs one of stride {LOW_LEVEL_REDUCTION} and a deepest one of stride "
                f"{output_stride}. Backbones that can: {WORKING}."
            )
        # Only the maps from stride 4 on are taken, so that the first ones need not be kept.
        indices = tuple(features.feature_info.out_indices[reductions.index(LOW_LEVEL_REDUCTION) :])
        fetch = options.pretrained is True
        self.features = _create(name, output_stride, in_channels, out_indices=indices, pretrained=fetch, **stem)
        if not isinstance(options.pretrained, bool):
            load_features(self.features, Path(options.pretrained), name)
        self.stage_channels: list[int] = self.features.feature_info.channels()
        self.stage_reductions: list[int] = self.features.feature_info.reduction()
        if output_stride != 32:
            self._check_same_weights_as_strided(output_stride, in_channels, indices, stem)
            _warn_if_not_exact(name)
        apply_variant(self.features, options, generation, name)
        self._walk: Walk | None = resnet_stages if options.stride_place == "previous" else None
        self._channels = in_channels
        self._try_images()

    @property
    def high_level_channels(self) -> int:
        """Channels of the deepest map."""
        return self.stage_channels[-1]

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Return the maps of a normalised image `(B, C, H, W)`, one per stage, from stride 4 to the deepest."""
        if self._divisor == 1:
            return self._maps(image)
        height, width = image.shape[-2:]
        maps = self._maps(self._padded(image))
        return tuple(
            each[..., : (height + stride - 1) // stride, : (width + stride - 1) // stride]
            for each, stride in zip(maps, self.stage_reductions, strict=True)
        )

    def _maps(self, image: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.features(image) if self._walk is None else self._walk(self.features, image))

    def _padded(self, image: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        right, below = (padded_side(side, self._divisor, 0) - side for side in (width, height))
        return F.pad(image, (0, right, 0, below))

    def _try_images(self) -> None:
        """Find out whether the network makes maps of the promised sizes, of all images or of padded ones alone.

        Raises:
            ConfigError: It does not.
        """
        self._divisor, stride, sizes = 1, self.stage_reductions[-1], TRIED_SIZES
        if self._problem(sizes) is not None:
            sizes = tuple((padded_side(height, stride, 0), padded_side(width, stride, 0)) for height, width in sizes)
            if (problem := self._problem(sizes)) is not None:
                raise ConfigError(
                    f"Backbone {self.name!r} cannot be used at output stride {stride}: {problem}. Backbones that can: "
                    f"{WORKING}."
                )
            self._divisor = stride
        self.takes_channels_last = self._problem(sizes[1:], torch.channels_last) is None

    def _problem(
        self, sizes: Iterable[tuple[int, int]], order: torch.memory_format = torch.contiguous_format
    ) -> str | None:
        """Say what is wrong with the maps of images of some sizes; None if nothing is, or paper cannot tell."""
        tensors = itertools.chain(self.named_parameters(), self.named_buffers())
        ordered = {name: _ordered(tensor.detach(), order) for name, tensor in tensors}
        device = next(self.parameters()).device
        self.eval()
        try:
            for height, width in sizes:
                image = _ordered(torch.zeros(2, self._channels, height, width, device=device), order)
                with torch.no_grad():
                    maps = functional_call(self, ordered, (image,))
                for each, stride in zip(maps, self.stage_reductions, strict=True):
                    found, expected = tuple(each.shape[-2:]), (-(-height // stride), -(-width // stride))
                    if found != expected:
                        return (
                            f"of an image of {height}x{width} its map at stride {stride} has {found[0]}x{found[1]} "
                            f"positions, not {expected[0]}x{expected[1]}"
                        )
        except Exception as error:  # whatever a network of timm's raises
            on_paper = device.type == "meta" and isinstance(error, NotImplementedError)
            return None if on_paper else f"it fails on an image of {height}x{width} ({first_line(error)})"
        finally:
            self.train()
        return None

    def take_low_level_map_of_tensorflow(self) -> None:
        """Take the stride-4 map from inside a unit, as TensorFlow does (see `low_level_maps.py`).

        Raises:
            ConfigError: The place is known for ResNets, Xception and MobileNetV2 alone.
        """
        found = tensorflow_low_level_map(self.name.split(".")[0], self.features)
        if found is None:
            raise ConfigError(
                f"TensorFlow's low-level tensor is known for ResNets of bottlenecks, Xception and MobileNetV2, not for "
                f"{self.name!r}: leave low_level_map at 'stage', or take {WORKING}."
            )
        self._walk, channels = found
        if self._walk is resnet_tensorflow:
            self.stage_channels[0] = channels
        else:
            self.stage_channels = [channels, self.stage_channels[-1]]
            self.stage_reductions = [LOW_LEVEL_REDUCTION, self.stage_reductions[-1]]
        self._try_images()

    def checkpoint_gradients(self) -> None:
        """Forget inner maps in training and compute them again on the way back: a third slower, less memory.

        Raises:
            ConfigError: The network has no such thing, or it is walked by hand.
        """
        switch = getattr(self.features, "set_grad_checkpointing", None)
        if switch is None or self._walk is not None:
            raise ConfigError(
                f"Backbone {self.name!r} has no gradient checkpointing: leave out --model.gradient_checkpointing, or "
                f"take one of timm's (resnet101, mobilenetv2_100) with its own stride_place."
            )
        switch(True)

    def _check_same_weights_as_strided(
        self, output_stride: int, in_channels: int, out_indices: tuple[int, ...], stem: dict[str, Any]
    ) -> None:
        """Refuse a network that gains or loses a layer with its stride: its ImageNet weights would not fit."""
        with torch.device("meta"):
            strided = _create(self.name, 32, in_channels, out_indices, **stem)
        difference = _shapes(strided) ^ _shapes(self.features)
        if difference:
            raise ConfigError(
                f"Backbone {self.name!r} has other weights at output stride {output_stride} than at 32 "
                f"({sorted(difference)[0][0]}): one checkpoint cannot serve both. Take --model.output_stride "
                f"{'16 or 32' if output_stride == 8 else '32'}, or another backbone: {WORKING}."
            )


def _ordered(tensor: Tensor, order: torch.memory_format) -> Tensor:
    return tensor.contiguous(memory_format=order) if tensor.dim() == 4 else tensor


def _shapes(module: nn.Module) -> set[tuple[str, tuple[int, ...]]]:
    return {(key, tuple(value.shape)) for key, value in module.state_dict().items()}


def _warn_if_not_exact(name: str) -> None:
    support = atrous_support(name)
    if support == "approximate":
        warnings.warn(
            f"Backbone {name!r} changes what it computes when its output stride changes (its attention, pooling or "
            f"shortcuts see other maps, or units have other rates): train and evaluate it at the same output stride.",
            stacklevel=3,
        )
    elif support == "unknown":
        warnings.warn(
            f"Whether backbone {name!r} computes the same at every output stride was not measured: train and evaluate "
            f"it at the same one, or take one that does: {WORKING}.",
            stacklevel=3,
        )


def _create(
    name: str,
    output_stride: int,
    in_channels: int,
    out_indices: tuple[int, ...] | None,
    pretrained: bool = False,
    **options: Any,
) -> Any:
    """Build timm's feature extractor; say in our words what is wrong with the name or the output stride."""
    if out_indices is not None:
        options["out_indices"] = out_indices
    make = next((make for pattern, make in _OTHERS if pattern.fullmatch(name)), None)
    if make is not None:
        if pretrained:
            raise ConfigError(f"There are no ImageNet weights for {name!r}: set --model.pretrained false.")
        return make(name, output_stride, in_channels, **options)
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
    help_timm = xception71.needs_help(architecture, output_stride)
    try:
        features: Any = timm.create_model(
            name,
            pretrained=pretrained,
            features_only=True,
            output_stride=16 if help_timm else output_stride,
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
        raise not_fetched(name, error) from error
    except (AssertionError, TypeError, ValueError, NotImplementedError, AttributeError) as error:
        raise _no_output_stride(name, output_stride, error) from error
    if help_timm:
        xception71.take_out_last_stride(features)
    return features


def _no_output_stride(name: str, output_stride: int, error: Exception) -> ConfigError:
    # An assertion is how timm says that a network has a fixed stride of 32; a TypeError, that it has no such option.
    fixed = isinstance(error, AssertionError) and output_stride != 32
    reason = "timm builds it at 32 only" if fixed else first_line(error)
    return ConfigError(
        f"Backbone {name!r} does not honour output stride {output_stride} ({reason}). "
        f"Choose one that does: {WORKING}{'; or try --model.output_stride 32' if fixed else ''}."
    )
