"""From a data set to batches: the view of it that a loader draws from, and the loader that goes on where it stopped."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch.utils.data import DataLoader, default_collate

from ..errors import DataError
from ..types import Batch, Sample
from .dataset import SegmentationDataset
from .sampling import Draw, EpochSampler

if TYPE_CHECKING:  # it comes with albumentations
    from .transforms.geometry import Stored

Transform = Callable[["Stored", "Stored", int], tuple[np.ndarray, np.ndarray]]
"""`(image, mask, seed) -> (image, mask)`; the same seed gives the same augmentation."""

WORKER_PATIENCE = 60
"""Seconds after SIGTERM in which a worker ends by itself, should the main process fail to end it."""


class LoaderView(torch.utils.data.Dataset[Sample]):
    """A data set as a `DataLoader` sees it: read, transform, to tensors, whose images are views in channels-last order.

    The transform is seeded by (seed, epoch, index), so an image comes out the same whichever worker draws it and
    however often training was interrupted before.
    """

    def __init__(
        self, source: SegmentationDataset, transform: Transform | None = None, seed: int = 0, with_depth: bool = False
    ) -> None:
        self.source = source
        self.transform: Any = transform  # with depth, one that has a method `with_depth`, too
        self.seed = seed
        self.with_depth = with_depth

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, draw: Draw | int) -> Sample:
        epoch, index = draw if isinstance(draw, tuple) else (0, draw)
        depth = self.source.depth(index) if self.with_depth else None
        read: Any = self.source.load if self.transform is None else self.source.open
        image, mask = read(index)
        if depth is not None and depth.shape != image.shape[:2]:
            raise DataError(
                f"The depth map of {self.source.sample_id(index)} is {depth.shape[1]}x{depth.shape[0]} and its image "
                f"{image.shape[1]}x{image.shape[0]} (width x height): they must have one size."
            )
        if self.transform is not None:
            seed = int(np.random.SeedSequence([self.seed, epoch, index]).generate_state(1)[0])
            if depth is None:
                image, mask = self.transform(image, mask, seed)
            else:
                image, mask, depth = self.transform.with_depth(image, mask, depth, seed)
        sample: Sample = {
            "image": torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1),
            "mask": torch.from_numpy(np.ascontiguousarray(mask)),
            "sample_id": self.source.sample_id(index),
        }
        if depth is not None:
            sample["depth"] = torch.from_numpy(np.ascontiguousarray(depth, np.float32))
        return sample


def collate_crops(samples: list[Sample]) -> Batch:
    """Stack crops of one size as they lie in memory: images `(B, C, H, W)` in channels-last order.

    What an image file decodes to has its channels last, and so have the networks: nothing is transposed on the way.
    """
    batch = collate_images(samples)
    rows_first = [sample["image"].permute(1, 2, 0) for sample in samples]
    batch["image"] = default_collate(rows_first).permute(0, 3, 1, 2)  # in a worker, straight into shared memory
    batch["mask"] = default_collate(list(batch["mask"]))
    if "depth" in batch:
        batch["depth"] = default_collate(list(batch["depth"]))
    return batch


def collate_images(samples: list[Sample]) -> Batch:
    """Keep evaluation images apart, since they keep their own sizes."""
    return cast(Batch, {name: [sample[name] for sample in samples] for name in samples[0]})  # type: ignore[literal-required]


class ResumableLoader(DataLoader[Sample]):
    """A loader that goes on where training is: behind the batches that were trained, not those its workers had fetched.

    It asks for the place when its first batch is asked for, and not before: Lightning sets loaders up before it has
    restored where a resumed run is, whenever somebody wants to know how many steps the run has.

    `place` tells, of this loader, the epoch and how many of its batches were trained, or None where nobody trains; all
    else is `DataLoader`'s.
    """

    def __init__(
        self,
        dataset: LoaderView,
        sampler: EpochSampler,
        place: Callable[[ResumableLoader], tuple[int, int] | None],
        **options: Any,
    ) -> None:
        super().__init__(dataset, sampler=sampler, **options)
        self.order, self.place = sampler, place

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        if (place := self.place(self)) is not None:
            self.order.epoch, self.order.start = place[0], place[1] * (self.batch_size or 1)
        yield from super().__iter__()

    def state_dict(self) -> dict[str, int]:
        """Nothing, but Lightning shall know that this loader goes on by itself."""
        return {}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Nothing: see `state_dict`."""


def leave_signals_to_the_main_process(worker: int) -> None:
    """Let a loader's worker live through Ctrl-C and SIGTERM, which terminals and schedulers send to all processes.

    The main process needs its workers to finish the step and a due validation before it saves, and ends them itself;
    should it fail to, they end `WORKER_PATIENCE` seconds after SIGTERM.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: signal.alarm(WORKER_PATIENCE))
