"""Trained backbones from a local file, of timm or torchvision."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import load_file
from timm.models import adapt_input_conv
from torch import Tensor, nn

from ..errors import ConfigError
from ..options import Options
from ..torch_files import MoreThanData, read_torch_file

BEHIND_THE_FEATURES = re.compile(r"(fc|head|classifier|conv_head|bn2|norm_head)\..*|features\.18\..*")
"""What an ImageNet network has besides the maps that are used: its classifier, and MobileNet's last convolution."""

COUNTER = "num_batches_tracked"

_SQUEEZE = {"se_reduce": "se.conv_reduce", "se_expand": "se.conv_expand"}
EFFICIENTNET_UNIT = {"depthwise_conv": "conv_dw", "bn1": "bn1", "project_conv": "conv_pw", "bn2": "bn2"} | _SQUEEZE
"""Layers of a unit that does not expand: their names in efficientnet_pytorch, behind `_blocks.INDEX._`, and in timm."""
EFFICIENTNET_EXPANDING_UNIT = {
    "expand_conv": "conv_pw", "bn0": "bn1", "depthwise_conv": "conv_dw", "bn1": "bn2", "project_conv": "conv_pwl",
    "bn2": "bn3",
} | _SQUEEZE  # fmt: skip
TENSORFLOW_EPS = 1e-3
"""Of the batch norms that those were trained with; timm's own EfficientNets have PyTorch's 1e-5."""


@dataclass(frozen=True)
class PretrainedOptions(Options):
    """What a backbone starts from."""

    pretrained: bool | str = False
    """Start the backbone from weights trained on ImageNet: true for timm's, which are fetched the first time, or a file
    (.pth, .pt, .safetensors) with a state dict of timm, torchvision or efficientnet_pytorch."""


def first_line(error: Exception) -> str:
    """Return what an error of another library says first, or its kind."""
    return (str(error) or type(error).__name__).splitlines()[0]


def misfits(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> list[str]:
    """Say which weights are missing, not expected, or of another shape."""
    return [
        *(f"{key} is missing" for key in expected if key not in found),
        *(f"{key} is not expected" for key in found if key not in expected),
        *(
            f"{key} is {tuple(found[key].shape)}, expected {tuple(value.shape)}"
            for key, value in expected.items()
            if key in found and found[key].shape != value.shape
        ),
    ]


def not_fetched(name: str, error: Exception) -> ConfigError:
    """Return what to do where the ImageNet weights of timm's network `name` cannot be had."""
    return ConfigError(
        f"The ImageNet weights of {name!r} could not be loaded ({first_line(error)}). They are fetched from the "
        f"Hugging Face hub the first time: run once with network access, or copy the hub's cache folder "
        f"(~/.cache/huggingface) from a machine that has them, or name a file of timm or torchvision "
        f"(--model.pretrained FILE), or train from scratch with --model.pretrained false."
    )


def read_state_dict(path: Path) -> Mapping[str, Tensor]:
    """Read the state dict in a `.pth`, `.pt` or `.safetensors` file; nothing in it is executed.

    Raises:
        ConfigError: There is no such file, or no state dict in it.
    """
    if not path.is_file():
        raise ConfigError(
            f"No file {str(path)!r} of trained weights (--model.pretrained): give true, false, or a file that exists."
        )
    try:
        state = load_file(path) if path.suffix == ".safetensors" else read_torch_file(path)
    except MoreThanData as error:
        raise ConfigError(
            f"The weights in {str(path)!r} come with Python objects ({error}), which could run code on loading: save "
            f"model.state_dict() alone."
        ) from error
    except Exception as error:  # torch and safetensors raise many kinds on a file that is not theirs
        raise ConfigError(
            f"The weights in {str(path)!r} could not be read ({first_line(error)}): a .pth, .pt or .safetensors file "
            f"with a state dict is expected."
        ) from error
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ConfigError(
            f"{str(path)!r} does not hold a state dict (names -> tensors): save model.state_dict() alone."
        )
    return state


def load_features(features: nn.Module, path: Path, name: str) -> None:
    """Load the trained weights of timm's network `name`, as timm or torchvision name them.

    ResNets have the same names in both, and in timm's feature extractors. torchvision's MobileNetV2 has its layers in
    timm's order. EfficientNets may also be those of efficientnet_pytorch and the like (`_conv_stem`, `_blocks.0`).
    Images with other than 3 channels get what timm gives them.

    Args:
        features: timm's feature extractor.
        path: The file.
        name: For messages.

    Raises:
        ConfigError: The file cannot be read, or holds another network.
    """
    state = {key: value for key, value in read_state_dict(path).items() if not key.endswith(COUNTER)}
    ours = {key: value for key, value in features.state_dict().items() if not key.endswith(COUNTER)}
    if "_conv_stem.weight" in state:
        state = _from_efficientnet_pytorch(state, features)
    trunk = {key: value for key, value in state.items() if not BEHIND_THE_FEATURES.fullmatch(key)}
    if "features.0.0.weight" in trunk and name.startswith("mobilenetv2_") and len(trunk) == len(ours):
        found = dict(zip(ours, trunk.values(), strict=True))
    else:  # timm's lists of stages lose the dot in front of their numbers
        found = {
            key if key in ours else re.sub(r"^(\w+)\.(\d+)\.", r"\1_\2.", key): value for key, value in trunk.items()
        }
    first = next(key for key, value in ours.items() if value.dim() == 4)
    channels = ours[first].shape[1]
    if first in found and found[first].dim() == 4 and found[first].shape[1] == 3 != channels:
        found[first] = adapt_input_conv(channels, found[first].clone())
    if wrong := misfits(found, ours):
        raise ConfigError(
            f"{str(path)!r} is no {name}: {len(wrong)} of its weights do not fit ({'; '.join(wrong[:3])}). Give a file "
            f"of timm's or torchvision's {name.split('.')[0]}, or --model.pretrained true or false."
        )
    features.load_state_dict(found, strict=False)


def _from_efficientnet_pytorch(state: Mapping[str, Tensor], features: nn.Module) -> dict[str, Tensor]:
    """Return the weights under timm's names, for batch norms of another eps.

    Units are numbered through there and by stages here. A batch norm divides by sqrt(variance + eps), so that the
    difference of the two eps belongs to the variance.
    """
    found = (re.match(r"blocks\.\d+\.\d+\.", key) for key in features.state_dict())
    scopes = list(dict.fromkeys(one[0] for one in found if one))
    eps = next(norm.eps for norm in features.modules() if isinstance(norm, nn.BatchNorm2d))
    renamed = {}
    for key, value in state.items():
        scope, unit, part = "", {"bn0": "bn1", "bn1": "bn2"}, key.removeprefix("_")
        if block := re.match(r"_blocks\.(\d+)\._(.*)", key):
            number, part = int(block[1]), block[2]
            expands = f"_blocks.{number}._expand_conv.weight" in state
            scope = scopes[number] if number < len(scopes) else f"blocks.{number}."
            unit = EFFICIENTNET_EXPANDING_UNIT if expands else EFFICIENTNET_UNIT
        layer, dot, attribute = part.partition(".")
        shift = TENSORFLOW_EPS - eps if attribute == "running_var" else 0.0
        renamed[f"{scope}{unit.get(layer, layer)}{dot}{attribute}"] = value + shift if shift else value
    return renamed
