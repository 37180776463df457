"""Which of timm's networks weights belong to: names and shapes decide."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import timm
import torch
from torch import nn

from .atrous import atrous_support

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class ExactNetwork:
    """One of timm's networks that compute the same at every output stride.

    Attributes:
        name: timm's.
        shapes: Of its weights, by their names.
        norm_eps: What its batch norms add to the variance.
    """

    name: str
    shapes: Shapes
    norm_eps: frozenset[float]

    def normalisation(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return mean and standard deviation of the pictures it is used to, per channel in 0..1."""
        settings = timm.get_pretrained_cfg(self.name)
        return tuple(settings.mean), tuple(settings.std)


@cache
def exact_networks() -> tuple[ExactNetwork, ...]:
    """Build them all, without memory for weights: some seconds.

    Others are left out: TensorFlow's paddings, say, cannot be told from shapes.
    """
    made = []
    for name in timm.list_models():
        if atrous_support(name) == "exact":
            with torch.device("meta"):
                network = timm.create_model(name, features_only=True)
            shapes = {key: tuple(value.shape) for key, value in network.state_dict().items()}
            norms = [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]
            made.append(ExactNetwork(name, shapes, frozenset(norm.eps for norm in norms)))
    return tuple(made)


def networks_with(shapes: Shapes) -> list[ExactNetwork]:
    """Return those with just these weights."""
    return [network for network in exact_networks() if network.shapes == shapes]
