"""From a data set to batches: the view of it that a loader draws from, and the loader that goes on where it stopped."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch.utils.data import DataLoader, default_collate

from ..errors import ConfigError, DataError
from ..types import Batch, MapName, Sample
from .dataset import MAPS, SegmentationDataset
from .sampling import Draw, EpochSampler

if TYPE_CHECKING:  # it comes with albumentations
    from .transforms.pipelines import TrainingTransform

WORKER_PATIENCE = 60
"""Seconds after SIGTERM in which a worker ends by itself, should the main process fail to end it."""


class LoaderView(torch.utils.data.Dataset[Sample]):
    """A data set as a `DataLoader` sees it: read, transform, to tensors, whose images are views in channels-last order.

    The transform is seeded by (seed, epoch, index), so an image comes out the same whichever worker draws it and
    however often training was interrupted before.

    Args:
        source: The data set.
        transform: Augments images; None leaves them whole.
        seed: Of the augmentation.
        maps: What lies beside the mask and is wanted, of the source's `maps`.

    Raises:
        ConfigError: The source has no such map.
    """

    def __init__(
        self,
        source: SegmentationDataset,
        transform: TrainingTransform | None = None,
        seed: int = 0,
        maps: Sequence[MapName] = (),
    ) -> None:
        for name in maps:
            check_has_map(source, name)
        self.source, self.transform, self.seed, self.maps = source, transform, seed, tuple(maps)

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, draw: Draw | int) -> Sample:
        epoch, index = draw if isinstance(draw, tuple) else (0, draw)
        read: Any = self.source.load if self.transform is None else self.source.open
        image, mask = read(index)
        maps = {name: self._map(name, index, image.shape) for name in self.maps}
        if self.transform is not None:
            seed = int(np.random.SeedSequence([self.seed, epoch, index]).generate_state(1)[0])
            image, mask, maps = self.transform.with_maps(image, mask, maps, seed)
        sample: dict[str, Any] = {
            "image": torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1),
            "mask": torch.from_numpy(np.ascontiguousarray(mask)),
            "sample_id": self.source.sample_id(index),
        }
        sample |= {name: torch.from_numpy(np.ascontiguousarray(pixels)) for name, pixels in maps.items()}
        return cast(Sample, sample)

    def _map(self, name: MapName, index: int, shape: tuple[int, ...]) -> np.ndarray:
        """Read a map that lies beside an image of this shape."""
        pixels = self.source.read_map(name, index)
        if pixels.shape != shape[:2]:
            raise DataError(
                f"The {MAPS[name].called} of {self.source.sample_id(index)} are {pixels.shape[1]}x{pixels.shape[0]} "
                f"and the image {shape[1]}x{shape[0]} (width x height): they must have one size."
            )
        return pixels.astype(MAPS[name].dtype, copy=False)


def check_has_map(source: SegmentationDataset, name: MapName) -> None:
    """Refuse a data set without a map that is wanted.

    Raises:
        ConfigError: Which data has it.
    """
    if name not in source.maps:
        kind = MAPS[name]
        raise ConfigError(f"The model needs {kind.called}, and this data has none: {kind.found_in}.")


def collate_crops(samples: list[Sample]) -> Batch:
    """Stack crops of one size as they lie in memory: images `(B, C, H, W)` in channels-last order.

    What an image file decodes to has its channels last, and so have the networks: nothing is transposed on the way.
    """
    batch = collate_images(samples)
    rows_first = [sample["image"].permute(1, 2, 0) for sample in samples]
    images = default_collate(rows_first).permute(0, 3, 1, 2)  # in a worker, straight into shared memory
    maps = {name: default_collate(cast(Any, batch)[name]) for name in batch if name not in ("image", "sample_id")}
    return cast(Batch, {**maps, "image": images, "sample_id": batch["sample_id"]})


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
