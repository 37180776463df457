"""Which of timm's networks a file holds, where its weights have timm's own names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor, nn

from ...backbones.atrous import atrous_support
from ...errors import CheckpointError


@dataclass(frozen=True)
class TimmEncoder:
    """One of timm's networks.

    Attributes:
        name: timm's.
        others: Names of networks with weights of the same names and shapes.
        mean: Of the pictures it is used to, per channel in 0..1.
        std: Likewise.
        norm_eps: What its batch norms add to the variance.
    """

    name: str
    others: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    norm_eps: float


def timm_encoder(tensors: Mapping[str, Tensor], prefix: str) -> TimmEncoder:
    """Return the network whose weights are those behind `prefix`: names and shapes decide.

    Asked are all that compute the same at every output stride; others would be built and be wrong by their paddings.

    Raises:
        CheckpointError: None of them has these weights.
    """
    import timm

    wanted = {
        name.removeprefix(prefix): tuple(tensor.shape) for name, tensor in tensors.items() if name.startswith(prefix)
    }
    known = _exact_networks()
    fitting = [network for network in known if network.shapes == wanted]
    if not fitting:
        raise CheckpointError(
            f"Its encoder ({len(wanted)} tensors behind {prefix!r}) is none of timm's {len(known)} networks that "
            f"compute the same at every output stride; docs/backbones.md has the families."
        )
    first, *others = fitting
    if len(first.norm_eps) > 1:
        raise CheckpointError(f"Its encoder, {first.name}, has batch norms of several eps: {sorted(first.norm_eps)}.")
    settings = timm.get_pretrained_cfg(first.name)
    return TimmEncoder(
        first.name,
        tuple(other.name for other in others),
        tuple(settings.mean),
        tuple(settings.std),
        *first.norm_eps,
    )


@dataclass(frozen=True)
class _Network:
    """What is compared of one of timm's networks, and what its batch norms add."""

    name: str
    shapes: dict[str, tuple[int, ...]]
    norm_eps: frozenset[float]


@cache
def _exact_networks() -> list[_Network]:
    """Build them all, without memory for weights: some seconds."""
    import timm

    made = []
    for name in timm.list_models():
        if atrous_support(name) == "exact":
            with torch.device("meta"):
                network = timm.create_model(name, features_only=True)
            shapes = {key: tuple(value.shape) for key, value in network.state_dict().items()}
            norms = [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]
            made.append(_Network(name, shapes, frozenset(norm.eps for norm in norms)))
    return made
