"""The feature maps of named parts of a network, taken while it runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from ..errors import ConfigError, did_you_mean


def find_parts(network: nn.Module, names: Sequence[str] = ()) -> list[str]:
    """Resolve what a user wrote to the paths of modules, in the order of the network and without repetition.

    `names` are paths of modules such as `context.aspp`; their ends (`aspp`); or their beginnings, each of which stands
    for the outermost modules that begin so. Lists of modules stand for what is in them. No names at all stand for the
    network's own parts.

    Raises:
        ConfigError: Nothing is called like one of the names; the nearest is named.
    """
    known = [name for name, _ in network.named_modules() if name]
    found: set[str] = set()
    for name in names or [name for name, _ in network.named_children()]:
        matches = (
            [path for path in known if path == name]
            or [path for path in known if path.endswith(f".{name}")]
            or [path for path in known if path.startswith(name)]
        )
        if not matches:
            parts = ", ".join(child for child, _ in network.named_children())
            choices = [*known, *(path.rpartition(".")[2] for path in known)]
            raise ConfigError(f"The network has no part {name!r}.{did_you_mean(name, choices)} Its parts: {parts}.")
        for path in matches:
            if not any(path.startswith(f"{outer}.") for outer in matches):
                found.update(_without_lists(network, path))
    return [name for name in known if name in found]


def _without_lists(network: nn.Module, path: str) -> list[str]:
    module = network.get_submodule(path)
    if not isinstance(module, nn.ModuleList | nn.ModuleDict):
        return [path]
    return [inner for child, _ in module.named_children() for inner in _without_lists(network, f"{path}.{child}")]


@contextmanager
def capture(network: nn.Module, names: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """Collect the feature maps that modules, named as by `find_parts`, make while the context is open.

    Yields:
        Name -> `(B, C, h, w)` on the CPU, filled when a module has run; a later run replaces an earlier one. Of a
        module that makes several maps (a backbone), the last and deepest. Modules that do not run, or that make no map,
        do not appear.
    """
    maps: dict[str, Tensor] = {}

    def keep(name: str, module: nn.Module, inputs: Any, outputs: Any) -> None:
        made = [leaf for leaf in tree_leaves(outputs) if isinstance(leaf, Tensor) and leaf.ndim == 4]
        if made:
            # A copy: what runs next may work in place.
            maps[name] = made[-1].detach().clone().float().cpu()

    hooks = [network.get_submodule(name).register_forward_hook(partial(keep, name)) for name in names]
    try:
        yield maps
    finally:
        for hook in hooks:
            hook.remove()
