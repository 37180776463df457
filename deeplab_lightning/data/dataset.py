"""What every data set offers: images with their masks, by position."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..labels import LabelSet

if TYPE_CHECKING:  # it comes with albumentations
    from .transforms.geometry import Stored


class SegmentationDataset(ABC):
    """Images with their masks, by position. Reading is all it does: augmentation belongs to `LoaderView`."""

    labels: LabelSet
    is_drawn: bool = False
    """Whether images follow from the settings alone, so that nobody can edit one."""

    @abstractmethod
    def __len__(self) -> int:
        """Number of images in the split."""

    @abstractmethod
    def sample_id(self, index: int) -> str:
        """Return the name of image `index`: unique in the split and the same in every run."""

    def files(self, index: int) -> tuple[Path, ...]:
        """Return the files that image `index` is read from: the image, then what its mask is read from.

        Empty where nothing lies on disk.
        """
        return ()

    @property
    def has_depth(self) -> bool:
        """Whether `depth` can be asked for."""
        return False

    @abstractmethod
    def load(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Read image `index`, `(H, W, 3)` uint8 RGB, and its mask, `(H, W)` uint8 train ids.

        Raises:
            DataError: A file is unreadable, the sizes differ, or a label is out of range.
        """

    def open(self, index: int) -> tuple[Stored, Stored]:
        """Return image `index` as something to read parts of; here, it is read whole."""
        return self.load(index)

    def depth(self, index: int) -> np.ndarray:
        """Return the depth of image `index`, `(H, W)` float32, 0 where it is unknown.

        Raises:
            DataError: It is missing, unreadable or of another size.
        """
        raise NotImplementedError(f"{type(self).__name__} has no depth maps.")
