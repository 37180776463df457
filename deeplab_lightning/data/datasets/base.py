"""What every data set offers, and the view of it that a loader draws from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch.utils.data import default_collate

from ...labels import LabelSet
from ...types import Batch, Sample

if TYPE_CHECKING:  # it comes with albumentations
    from ..transforms.geometry import Stored

Transform = Callable[["Stored", "Stored", int], tuple[np.ndarray, np.ndarray]]
"""`(image, mask, seed) -> (image, mask)`; the same seed gives the same augmentation."""


class SegmentationDataset(ABC):
    """Pictures with their masks, by position. Reading is all it does: augmentation belongs to `LoaderView`."""

    labels: LabelSet

    @abstractmethod
    def __len__(self) -> int:
        """Number of pictures in the split."""

    @abstractmethod
    def sample_id(self, index: int) -> str:
        """Return the name of picture `index`: unique in the split and the same in every run."""

    def files(self, index: int) -> tuple[Path, ...]:
        """Return the files that picture `index` is read from: the picture, then what its mask is read from.

        Empty where nothing lies on disk.
        """
        return ()

    @abstractmethod
    def load(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Read picture `index`.

        Returns:
            The image `(H, W, 3)` uint8 RGB and the mask `(H, W)` uint8 of train ids.

        Raises:
            DataError: A file is unreadable, the sizes differ, or a label is out of range.
        """

    def open(self, index: int) -> tuple[Stored, Stored]:
        """Return picture `index` as something to read parts of; here, it is read whole."""
        return self.load(index)


class Draw(NamedTuple):
    """Which picture to load, and in which epoch: together with the seed they decide the augmentation."""

    epoch: int
    position: int


class LoaderView(torch.utils.data.Dataset[Sample]):
    """A data set as a `DataLoader` sees it: read, transform, to tensors, whose images are views in channels-last order.

    The transform is seeded by (seed, epoch, index), so a picture comes out the same whichever worker draws it and
    however often training was interrupted before.
    """

    def __init__(self, source: SegmentationDataset, transform: Transform | None = None, seed: int = 0) -> None:
        self.source = source
        self.transform = transform
        self.seed = seed

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, draw: Draw | int) -> Sample:
        epoch, index = draw if isinstance(draw, tuple) else (0, draw)
        if self.transform is None:
            image, mask = self.source.load(index)
        else:
            stream = np.random.SeedSequence([self.seed, epoch, index])
            image, mask = self.transform(*self.source.open(index), int(stream.generate_state(1)[0]))
        return {
            "image": torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1),
            "mask": torch.from_numpy(np.ascontiguousarray(mask)),
            "sample_id": self.source.sample_id(index),
        }


def collate_crops(samples: list[Sample]) -> Batch:
    """Stack crops of one size as they lie in memory: images `(B, C, H, W)` in channels-last order.

    What a picture file decodes to has its channels last, and so have the networks: nothing is transposed on the way.
    """
    rows_first = [sample["image"].permute(1, 2, 0) for sample in samples]
    return {
        "image": default_collate(rows_first).permute(0, 3, 1, 2),  # in a worker, straight into shared memory
        "mask": default_collate([sample["mask"] for sample in samples]),
        "sample_id": [sample["sample_id"] for sample in samples],
    }


def collate_pictures(samples: list[Sample]) -> Batch:
    """Keep evaluation pictures apart, since they keep their own sizes."""
    return {
        "image": [sample["image"] for sample in samples],
        "mask": [sample["mask"] for sample in samples],
        "sample_id": [sample["sample_id"] for sample in samples],
    }
