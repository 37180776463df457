"""What every data set offers, and the view of it that a loader draws from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from ...labels import LabelSet
from ...types import Sample

Transform = Callable[[np.ndarray, np.ndarray, int], tuple[np.ndarray, np.ndarray]]
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


class Draw(NamedTuple):
    """Which picture to load, and in which epoch: together with the seed they decide the augmentation."""

    epoch: int
    position: int


class LoaderView(torch.utils.data.Dataset[Sample]):
    """A data set as a `DataLoader` sees it: read, transform, to tensors.

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
        image, mask = self.source.load(index)
        if self.transform is not None:
            stream = np.random.SeedSequence([self.seed, epoch, index])
            image, mask = self.transform(image, mask, int(stream.generate_state(1)[0]))
        return {
            "image": torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))),
            "mask": torch.from_numpy(np.ascontiguousarray(mask)),
            "sample_id": self.source.sample_id(index),
        }
