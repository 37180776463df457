"""Batch norms folded into the convolutions before them: in eval mode the same function, in fewer passes over maps."""

from __future__ import annotations

import copy
from collections import defaultdict
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..layers.norms import behind_norm
from .base import Network

CLOSE = 1e-3
"""How far the probe's logits may move, as a share of the largest: rounding moves them by some 1e-6 to 1e-5."""


@torch.no_grad()
def fold_batch_norms(network: Network, probe: Tensor) -> Network:
    """Return a copy whose batch norms are folded into the convolutions that they follow.

    Which follow which is seen by running the network, whoever wrote it. Batch norms of other maps stay. If logits move
    by more than rounding, because a convolution's result is used once more, say, the network itself is returned.

    Args:
        network: In eval mode; it is left as it is.
        probe: A normalised image `(1, C, H, W)` on its device.
    """
    pairs = _pairs(network, probe)
    if not pairs:
        return network
    folded = copy.deepcopy(network, _watchers(network))
    for name in [name for name in vars(folded) if callable(getattr(type(folded), name, None))]:
        delattr(folded, name)  # a method in another form, such as compiled for training, would run the original
    for conv_name, norm_name in pairs:
        conv, norm = folded.get_submodule(conv_name), folded.get_submodule(norm_name)
        assert isinstance(conv, nn.Conv2d)
        assert isinstance(norm, _BatchNorm)
        _fold(conv, norm)
        parent, _, name = norm_name.rpartition(".")
        setattr(folded.get_submodule(parent), name, behind_norm(norm))
    expected, found = network.all_maps(probe), folded.all_maps(probe)
    return folded if (found - expected).abs().max() <= CLOSE * expected.abs().max() else network


def _watchers(network: Network) -> dict[int, Any]:
    """Return, as what is copied already, those outside who keep maps of the network: they watch the copy, too."""
    hooks = (hook for module in network.modules() for hook in module._forward_hooks.values())
    owners = (getattr(hook, "__self__", None) for hook in hooks)
    return {id(owner): owner for owner in owners if owner is not None and not isinstance(owner, nn.Module)}


def _pairs(network: Network, probe: Tensor) -> list[tuple[str, str]]:
    """Return the names of convolutions that feed a batch norm, which nothing else feeds, and of that norm."""
    made_by: dict[int, str] = {}
    alive: list[Tensor] = []  # so that no other tensor gets the place, and with it the id, of one that was seen
    sources: dict[str, set[str | None]] = defaultdict(set)
    norms: dict[str, set[str]] = defaultdict(set)
    hooks = []
    for name, module in network.named_modules():

        def see_result(_: nn.Module, inputs: Any, result: Tensor, name: str = name) -> None:
            made_by[id(result)] = name
            alive.append(result)

        def see_input(_: nn.Module, inputs: tuple[Tensor, ...], name: str = name) -> None:
            conv = made_by.get(id(inputs[0]))
            sources[name].add(conv)
            if conv is not None:
                norms[conv].add(name)

        if isinstance(module, nn.Conv2d):
            hooks.append(module.register_forward_hook(see_result))
        elif isinstance(module, _BatchNorm) and module.running_var is not None:
            hooks.append(module.register_forward_pre_hook(see_input))
    try:
        network.all_maps(probe)
    finally:
        for hook in hooks:
            hook.remove()
    return [(conv, norm) for conv, (norm, *others) in norms.items() if not others and len(sources[norm]) == 1]


def _fold(conv: nn.Conv2d, norm: _BatchNorm) -> None:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = (norm.running_var.double() + norm.eps).rsqrt()
    if norm.affine:
        scale = scale * norm.weight.double()
    shift = -norm.running_mean.double() * scale
    if norm.affine:
        shift = shift + norm.bias.double()
    if conv.bias is not None:
        shift = shift + conv.bias.double() * scale
    conv.weight.copy_(conv.weight.double() * scale.view(-1, 1, 1, 1))
    conv.bias = nn.Parameter(shift.to(conv.weight.dtype), requires_grad=False)
