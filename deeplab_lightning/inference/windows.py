"""Where windows lie along a side of an image, which part of the image each is asked about, and how much it counts.

Along one side there are four ways to count: pixels of the image, pixels of the scaled image, pixels of a window
(with padding behind it), and cells of the logits that the network makes of it. `WindowSpan` leads from one to the
other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor

from ..layers.resize import SamplePositions, placement


@dataclass(frozen=True)
class WindowSpan:
    """One side of a window.

    Attributes:
        side: Of the image, in its pixels.
        scaled: The same side of the scaled image.
        start: Of the window, in pixels of the scaled image.
        length: Likewise.
        covers: Pixels of the image that the window is asked about.
        align_corners: Convention of all resizes.
    """

    side: int
    scaled: int
    start: int
    length: int
    covers: slice
    align_corners: bool

    @property
    def covered(self) -> int:
        """Number of the image's pixels that it covers."""
        return self.covers.stop - self.covers.start

    @property
    def _on_scaled(self) -> SamplePositions:
        """Where the covered pixels stand among those of the scaled image."""
        placed = placement(self.scaled, self.side, self.align_corners)
        return placed._replace(ahead=placed.ahead + self.covers.start)

    def source(self) -> tuple[slice, SamplePositions]:
        """Return the pixels of the image that the window is made of, and where its own stand among those."""
        placed = placement(self.side, self.scaled, self.align_corners)
        placed = placed._replace(ahead=placed.ahead + self.start)
        first = max(0, math.floor(placed.of(0.0)) - 1)
        last = min(self.side, math.floor(placed.of(float(self.length - 1))) + 3)
        return slice(first, last), placed._replace(start=placed.start - first)

    def among_cells(self, padded: int, cells: int) -> SamplePositions:
        """Return where the covered pixels stand among the `cells` of logits that the window, `padded` long, has."""
        on = self._on_scaled
        if self.align_corners:
            per_pixel = (cells - 1) / max(padded - 1, 1)
            return SamplePositions(on.step * per_pixel, (on.start - self.start) * per_pixel, on.ahead)
        per_pixel = cells / padded
        return SamplePositions(on.step * per_pixel, (on.start + 0.5 - self.start) * per_pixel - 0.5, on.ahead)

    def weights(self, like: Tensor) -> Tensor:
        """Return how much the window counts at each covered pixel, `(covered,)`: the farther from its ends, the more.

        It falls evenly from the window's middle, where its view is best, to its ends.
        """
        inside = self._on_scaled.of(torch.arange(self.covered, device=like.device, dtype=like.dtype)) - self.start
        return torch.minimum(inside + 1, self.length - inside).clamp(min=0.5)


def scaled_side(side: int, scale: float, align_corners: bool) -> int:
    """Return the length of a side at `scale`: with corners on corners 513 at 0.5 gives 257, else 512 gives 256."""
    exact = Fraction(scale).limit_denominator(1000)
    if align_corners:
        return math.floor((side - 1) * exact) + 1
    return max(1, round(side * exact))


def spans(side: int, scale: float, window_size: int | None, overlap: float, align_corners: bool) -> list[WindowSpan]:
    """Spread as few windows as the overlap allows evenly over a side: together they cover every pixel of it.

    Args:
        side: Of the image.
        scale: That it is looked at.
        window_size: In pixels of the scaled image; the whole side if None, or if there are fewer.
        overlap: Least share of a window that the next one covers too.
        align_corners: Convention of all resizes.
    """
    scaled = scaled_side(side, scale, align_corners)
    length = min(window_size or scaled, scaled)
    stride = max(1, math.floor(length * (1 - overlap)))
    count = 1 + math.ceil((scaled - length) / stride)
    starts = [round(index * (scaled - length) / max(count - 1, 1)) for index in range(count)]
    on_scaled = placement(scaled, side, align_corners)

    def first_from(position: float) -> int:
        """Return the first pixel of the image at `position` of the scaled one or behind it."""
        return math.ceil((position - on_scaled.start) / on_scaled.step - on_scaled.ahead)

    found = []
    for index, start in enumerate(starts):
        # Half a pixel more on either side: between two windows that only touch there are pixels of the image, too.
        first = 0 if index == 0 else first_from(start - 0.5)
        last = side if index == count - 1 else first_from(start + length - 0.5)
        found.append(WindowSpan(side, scaled, start, length, slice(first, last), align_corners))
    return found
