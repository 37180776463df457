"""In which order images are drawn: a pure function of (seed, epoch)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch.utils.data import DistributedSampler


class Draw(NamedTuple):
    """Which image to load, and in which epoch: together with the seed they decide the augmentation."""

    epoch: int
    position: int


class _Share(DistributedSampler[Any]):
    """What one process draws.

    It is one of torch's `DistributedSampler`, so that Lightning takes it as it is: another sampler it would wrap, and
    the images, which are dealt out already, would be dealt out once more.

    Args:
        size: Images in the set.
        rank: This process; that of the running process group if not given.
        world_size: Number of processes; likewise.
    """

    def __init__(self, size: int, rank: int | None = None, world_size: int | None = None) -> None:
        self.size = size
        self._given = rank, world_size
        self.epoch = 0

    @property
    def rank(self) -> int:  # type: ignore[override]
        """This process."""
        return _group()[0] if self._given[0] is None else self._given[0]

    @property
    def world_size(self) -> int:
        """Number of processes."""
        return _group()[1] if self._given[1] is None else self._given[1]


class EpochSampler(_Share):
    """Shuffles the training images anew in every epoch, the same way in every run with the same seed.

    Every process of a distributed run takes each `world_size`-th image of one common order; the order is lengthened
    from its own beginning so that all get equally many. (Evaluation must not do that: see `ShardSampler`.)

    Attributes:
        start: Draws of this process that the next pass leaves out; the one behind it is whole.
    """

    def __init__(
        self, size: int, seed: int, rank: int | None = None, world_size: int | None = None, epoch: int = 0
    ) -> None:
        super().__init__(size, rank, world_size)
        self.seed, self.epoch, self.start = seed, epoch, 0

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


class ShardSampler(_Share):
    """Deals the evaluation images out to the processes: each exactly once, in order, no padding.

    Only where there are more processes than images, those left over get the first one again, since Lightning would
    leave a process without images out, and the others would wait for it. It counts once: results are kept by id.
    """

    @property
    def indices(self) -> range:
        """The images of this process."""
        return range(self.rank, self.size, self.world_size) or range(min(self.size, 1))

    def __len__(self) -> int:
        return len(self.indices)

    def __iter__(self) -> Iterator[int]:
        return iter(self.indices)


def _group() -> tuple[int, int]:
    """Return this process and the number of processes, as PyTorch has it."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1
