"""Which of timm's networks weights belong to: names and shapes decide, and where they do not, what is computed."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import timm
import torch
from torch import Tensor

from ..errors import ConfigError, did_you_mean

Shapes = Mapping[str, tuple[int, ...]]

OUTPUT_STRIDE = 16


@dataclass(frozen=True)
class TimmNetwork:
    """One of timm's networks that take an output stride, by its name, with the shapes of its weights by theirs."""

    name: str
    shapes: Shapes

    def normalisation(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return mean and standard deviation of the images it is used to, per channel in 0..1."""
        settings = timm.get_pretrained_cfg(self.name)
        return tuple(settings.mean), tuple(settings.std)


@cache
def timm_network(name: str) -> TimmNetwork | None:
    """Build timm's network `name`, without memory for weights; None if there is none, or it takes no output stride."""
    try:
        with torch.device("meta"):
            network = timm.create_model(name, features_only=True, output_stride=OUTPUT_STRIDE)
    except Exception:  # timm says in many ways that it cannot
        return None
    return TimmNetwork(name, {key: tuple(value.shape) for key, value in network.state_dict().items()})


def named_network(name: str) -> TimmNetwork:
    """Return timm's network `name`.

    Raises:
        ConfigError: There is none, or it takes no output stride.
    """
    network = timm_network(name)
    if network is None:
        names = timm.list_models()
        why = f"takes no output stride of {OUTPUT_STRIDE}" if name in names else "is none of timm's"
        raise ConfigError(f"Backbone {name!r} {why}.{did_you_mean(name, names) if name not in names else ''}")
    return network


def networks_with(shapes: Shapes) -> list[TimmNetwork]:
    """Return those with just these weights.

    All are built whose names of stages are the same: some seconds.
    """
    found = []
    for module in timm.list_modules():  # its networks name their stages alike
        networks = (network for name in timm.list_models(module=module) if (network := timm_network(name)))
        first = next(networks, None)
        if first is not None and _stage_name(first.shapes) == _stage_name(shapes):
            found += [network for network in (first, *networks) if network.shapes == shapes]
    return found


def _stage_name(shapes: Shapes) -> str:
    """Return what most of the weights begin with, such as `layer` or `blocks`."""
    starts = Counter(re.split(r"_?\d|\.", name)[0] for name in shapes)
    return max(starts, key=starts.__getitem__, default="")


@torch.no_grad()
def compute_the_same(networks: Sequence[TimmNetwork], weights: Mapping[str, Tensor]) -> bool:
    """Tell whether all of them make the same of an image, given the same weights."""
    image = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    maps = []
    for network in networks:
        features = timm.create_model(network.name, features_only=True, output_stride=OUTPUT_STRIDE).eval()
        features.load_state_dict(weights)
        maps.append(features(image)[-1])
    return all(torch.equal(one, maps[0]) for one in maps)
