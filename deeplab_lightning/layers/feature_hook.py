"""Looking at a map inside a network, without changing the network."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


class FeatureHook:
    """Keeps the map that last went into a module, or came out of it, until it is taken.

    It is a forward hook: neither the network's code nor its weights' names know of it, and no second pass is needed.

    Args:
        module: A part of a network that takes one map in and gives one out.
        before: Keep what goes in; otherwise what comes out.
    """

    def __init__(self, module: nn.Module, before: bool = False) -> None:
        self.before = before
        self._map: Tensor | None = None
        module.register_forward_hook(self._keep)

    def take(self) -> Tensor:
        """Return the map of the last pass, `(B, C, h, w)`, and let go of it.

        Raises:
            RuntimeError: There was no pass since the last time.
        """
        found, self._map = self._map, None
        if found is None:
            raise RuntimeError("Nothing went through the hooked module since its map was last taken.")
        return found

    def _keep(self, module: nn.Module, arguments: tuple[Any, ...], output: Any) -> None:
        self._map = arguments[0] if self.before else output
