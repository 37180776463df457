"""How the mask of a frame is made: from the frame alone, or with a memory of those before it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..errors import ConfigError


class EachFrame:
    """Every frame is segmented as an image of its own.

    Args:
        segment: `(H, W, 3)` uint8 RGB -> `(H, W)` uint8 class ids.
    """

    def __init__(self, segment: Callable[[np.ndarray], np.ndarray]) -> None:
        self._segment = segment

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Return the next frame's mask."""
        return self._segment(image)

    def state(self) -> dict[str, np.ndarray]:
        """Return what the next frame depends on, to go on from later: nothing."""
        return {}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Go on from what `state` returned."""


class Smoothed(EachFrame):
    """Probabilities are averaged over time, which takes away flicker and lags behind what moves.

    With the weight `w`, the average of a frame is `w` times that of the frame before plus `1 - w` times its own
    probabilities; the first frame's is its own. A frame `n` frames ago counts `w^n` times as much as the newest.

    Args:
        probs: `(H, W, 3)` uint8 RGB -> `(C, H, W)` float32 probabilities.
        decide: Probabilities `(C, H, W)` -> mask `(H, W)` uint8.
        weight: Of the past, from 0 to below 1.

    Raises:
        ConfigError: The weight is out of range.
    """

    def __init__(
        self,
        probs: Callable[[np.ndarray], np.ndarray],
        decide: Callable[[np.ndarray], np.ndarray],
        weight: float,
    ) -> None:
        if not 0 <= weight < 1:
            raise ConfigError(f"Smoothing is the weight of the past, from 0 to below 1; got {weight}.")
        self._probs, self._decide, self._weight = probs, decide, np.float32(weight)
        self._average: np.ndarray | None = None

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Return the next frame's mask."""
        probs = self._probs(image)
        if self._average is None:
            self._average = probs.copy()
        else:
            self._average *= self._weight
            self._average += (1 - self._weight) * probs
        return self._decide(self._average)

    def state(self) -> dict[str, np.ndarray]:
        """Return the average, `(C, H, W)` float32."""
        return {} if self._average is None else {"average": self._average}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Go on from what `state` returned."""
        self._average = state.get("average")
