"""What every data set offers, and the view of it that a loader draws from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import default_collate

from ...errors import DataError
from ...labels import LabelSet
from ...types import Batch, Sample

if TYPE_CHECKING:  # it comes with albumentations
    from ..transforms.geometry import Stored

Transform = Callable[["Stored", "Stored", int], tuple[np.ndarray, np.ndarray]]
"""`(image, mask, seed) -> (image, mask)`; the same seed gives the same augmentation."""


class SegmentationDataset(ABC):
    """Images with their masks, by position. Reading is all it does: augmentation belongs to `LoaderView`."""

    labels: LabelSet

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
        """Read image `index`.

        Returns:
            The image `(H, W, 3)` uint8 RGB and the mask `(H, W)` uint8 of train ids.

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


class Draw(NamedTuple):
    """Which image to load, and in which epoch: together with the seed they decide the augmentation."""

    epoch: int
    position: int


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
        if self.transform is None:
            image, mask = self.source.load(index)
            if depth is not None:
                self._check_depth(depth, image.shape, index)
        else:
            stream = np.random.SeedSequence([self.seed, epoch, index])
            seed = int(stream.generate_state(1)[0])
            stored = self.source.open(index)
            if depth is None:
                image, mask = self.transform(*stored, seed)
            else:
                self._check_depth(depth, stored[0].shape, index)
                image, mask, depth = self.transform.with_depth(*stored, depth, seed)
        sample: Sample = {
            "image": torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1),
            "mask": torch.from_numpy(np.ascontiguousarray(mask)),
            "sample_id": self.source.sample_id(index),
        }
        if depth is not None:
            sample["depth"] = torch.from_numpy(np.ascontiguousarray(depth, np.float32))
        return sample

    def _check_depth(self, depth: np.ndarray, shape: tuple[int, ...], index: int) -> None:
        if depth.shape != shape[:2]:
            raise DataError(
                f"The depth map of {self.source.sample_id(index)} is {depth.shape[1]}x{depth.shape[0]} and its image "
                f"{shape[1]}x{shape[0]} (width x height): they must have one size."
            )


def collate_crops(samples: list[Sample]) -> Batch:
    """Stack crops of one size as they lie in memory: images `(B, C, H, W)` in channels-last order.

    What an image file decodes to has its channels last, and so have the networks: nothing is transposed on the way.
    """
    rows_first = [sample["image"].permute(1, 2, 0) for sample in samples]
    batch: Batch = {
        "image": default_collate(rows_first).permute(0, 3, 1, 2),  # in a worker, straight into shared memory
        "mask": default_collate([sample["mask"] for sample in samples]),
        "sample_id": [sample["sample_id"] for sample in samples],
    }
    if "depth" in samples[0]:
        batch["depth"] = default_collate([sample["depth"] for sample in samples])
    return batch


def collate_images(samples: list[Sample]) -> Batch:
    """Keep evaluation images apart, since they keep their own sizes."""
    batch: Batch = {
        "image": [sample["image"] for sample in samples],
        "mask": [sample["mask"] for sample in samples],
        "sample_id": [sample["sample_id"] for sample in samples],
    }
    if "depth" in samples[0]:
        batch["depth"] = [sample["depth"] for sample in samples]
    return batch
