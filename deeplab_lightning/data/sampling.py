"""In which order images are drawn: a pure function of (seed, epoch)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch.utils.data import Sampler


class Draw(NamedTuple):
    """Which image to load, and in which epoch: together with the seed they decide the augmentation."""

    epoch: int
    position: int


class EpochSampler(Sampler[Draw]):
    """Shuffles the training images anew in every epoch, the same way in every run with the same seed.

    Every process of a distributed run takes each `world_size`-th image of one common order; the order is lengthened
    from its own beginning so that all get equally many. (Evaluation must not do that: see `ShardSampler`.)

    Args:
        size: Images in the set.
        seed: Of the order.
        rank: This process.
        world_size: Number of processes.
        epoch: Epoch to begin with; Lightning calls `set_epoch` for the later ones.
    """

    def __init__(self, size: int, seed: int, rank: int = 0, world_size: int = 1, epoch: int = 0) -> None:
        self.size = size
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.epoch = epoch
        self.start = 0

    def set_epoch(self, epoch: int) -> None:
        """Go to the beginning of `epoch`, unless it has begun (and was resumed) or is over.

        Of a run saved behind the last batch of an epoch, Lightning still calls that epoch the current one.
        """
        if epoch > self.epoch:
            self.epoch, self.start = epoch, 0

    def __len__(self) -> int:
        """Draws of this process in a whole epoch, wherever it was resumed."""
        return -(-self.size // self.world_size)

    def __iter__(self) -> Iterator[Draw]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        order = torch.randperm(self.size, generator=generator).tolist()
        order = [order[place % self.size] for place in range(len(self) * self.world_size)]
        epoch, start = self.epoch, self.start
        self.start = 0
        for index in order[self.rank :: self.world_size][start:]:
            yield Draw(epoch, index)


class ShardSampler(Sampler[int]):
    """Deals the evaluation images out to the processes: each exactly once, in order, no padding.

    Only where there are more processes than images, those left over get the first one again, since Lightning would
    leave a process without images out, and the others would wait for it. It counts once: results are kept by id.
    """

    def __init__(self, size: int, rank: int = 0, world_size: int = 1) -> None:
        self.indices = range(rank, size, world_size) or range(min(size, 1))

    def __len__(self) -> int:
        return len(self.indices)

    def __iter__(self) -> Iterator[int]:
        return iter(self.indices)
