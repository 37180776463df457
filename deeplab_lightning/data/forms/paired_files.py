"""Data sets whose images and masks are files of their own; a data set finds them, and says how a mask is read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..checks import check_labels, check_pair
from ..dataset import SegmentationDataset
from ..files.images import read_image, read_mask


class PairedFiles(SegmentationDataset):
    """Images and masks in files of their own.

    Args:
        names: Of the images, unique in the split.
        images: Their files.
        masks: Their masks' files; none for a test split, whose masks come out as void.
    """

    def __init__(self, names: Sequence[str], images: Sequence[Path], masks: Sequence[Path] = ()) -> None:
        self._names, self._images, self._masks = list(names), list(images), list(masks)

    def __len__(self) -> int:
        return len(self._images)

    def sample_id(self, index: int) -> str:
        """Return the image's name."""
        return self._names[index]

    def files(self, index: int) -> tuple[Path, ...]:
        """Return the image's file and its mask's, if it has one."""
        return (self._images[index], self._masks[index]) if self._masks else (self._images[index],)

    def load(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Read image `index` as `(H, W, 3)` uint8 RGB, and its mask `(H, W)` uint8 of train ids."""
        image = read_image(self._images[index])
        if not self._masks:
            return image, np.full(image.shape[:2], self.labels.ignore_index, np.uint8)
        path = self._masks[index]
        mask = self.read_labels(path)
        check_pair(image, mask, self._images[index], path)
        return image, mask

    def read_labels(self, path: Path) -> np.ndarray:
        """Read the train ids of a mask's file; here, it stores them as they are.

        Raises:
            DataError: It is unreadable, or a label is out of range.
        """
        mask = read_mask(path)
        check_labels(mask, self.labels.num_classes, self.labels.ignore_index, path)
        return mask
