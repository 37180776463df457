"""A band matrix along one axis of the images, compiled."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .compiling import compiled, in_threads
from .lanes import LANES, load, plus, store


class CompiledBand:
    """See `gaussian.TorchBand`; its matrix is float32."""

    def __init__(self, matrix: Tensor, reach: int) -> None:
        length = len(matrix)
        self.reach = min(reach, length - 1)
        column = torch.arange(length)[:, None] + torch.arange(-self.reach, self.reach + 1)
        inside = (column >= 0) & (column < length)
        self.band = (matrix.gather(1, column.clamp(0, length - 1)) * inside).numpy()

    def add_to(self, sums: Tensor, values: Tensor, weight: float) -> None:
        """See `gaussian.TorchBand`; `inner` is a multiple of `LANES`."""
        inner = values.shape[-1]
        rows = values.view(-1, inner).numpy(), sums.view(-1, inner).numpy()
        in_threads(_apply, len(rows[0]), *rows, np.float32(weight) * self.band, self.reach)


@compiled(fastmath=True)
def _apply(first: int, last: int, values: np.ndarray, sums: np.ndarray, band: np.ndarray, reach: int) -> None:
    length, width = len(band), values.shape[1]
    threes = width - width % (3 * LANES)
    for row in range(first, last):
        place = row % length
        low, high = max(-reach, -place), min(reach, length - 1 - place)
        for lane in range(0, threes, 3 * LANES):  # three sums at a time: one alone waits for itself
            one, two, three = load(sums, row, lane), load(sums, row, lane + LANES), load(sums, row, lane + 2 * LANES)
            for step in range(low, high + 1):
                weight = band[place, step + reach]
                one = plus(one, weight, load(values, row + step, lane))
                two = plus(two, weight, load(values, row + step, lane + LANES))
                three = plus(three, weight, load(values, row + step, lane + 2 * LANES))
            store(sums, row, lane, one)
            store(sums, row, lane + LANES, two)
            store(sums, row, lane + 2 * LANES, three)
        for lane in range(threes, width, LANES):
            one = load(sums, row, lane)
            for step in range(low, high + 1):
                one = plus(one, band[place, step + reach], load(values, row + step, lane))
            store(sums, row, lane, one)
