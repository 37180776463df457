"""What every data set offers: images with their masks, by position, and maps that may lie beside these."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..labels import LabelSet
from ..types import MapName

if TYPE_CHECKING:  # it comes with albumentations
    from .transforms.geometry import Stored


class MapKind(NamedTuple):
    """A map that may lie beside a mask, `(H, W)`, 0 where nothing is known.

    Attributes:
        dtype: Of its numbers.
        called: What it is called in messages.
        found_in: Which data sets have it, for messages.
    """

    dtype: type[np.generic]
    called: str
    found_in: str


MAPS: dict[MapName, MapKind] = {
    "depth": MapKind(np.float32, "depth maps", "drawn scenes have, and a FolderDataModule with --data.depth depth"),
    "instances": MapKind(
        np.int32,
        "numbers of objects",
        "drawn scenes and films have, Cityscapes with its instanceIds, COCO, COCOPanoptic and other forms in which "
        "objects are outlined, and a FolderDataModule with --data.instances instances and --data.things",
    ),
}


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

    def map_files(self, index: int) -> tuple[Path, ...]:
        """Return the files, other than `files`, that the maps of image `index` are read from."""
        return ()

    @property
    def maps(self) -> tuple[MapName, ...]:
        """What `read_map` can be asked for."""
        return ()

    @property
    def has_depth(self) -> bool:
        """Whether `depth` can be asked for."""
        return "depth" in self.maps

    @property
    def has_instances(self) -> bool:
        """Whether `instances` can be asked for."""
        return "instances" in self.maps

    @abstractmethod
    def load(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Read image `index`, `(H, W, 3)` uint8 RGB, and its mask, `(H, W)` uint8 train ids.

        Raises:
            DataError: A file is unreadable, the sizes differ, or a label is out of range.
        """

    def open(self, index: int) -> tuple[Stored, Stored]:
        """Return image `index` as something to read parts of; here, it is read whole."""
        return self.load(index)

    def read_map(self, name: MapName, index: int) -> np.ndarray:
        """Read one of `maps` for image `index`, `(H, W)` of the dtype that `MAPS` says; `types.Sample` tells more.

        Raises:
            DataError: It is missing, unreadable or of another size.
        """
        raise NotImplementedError(f"{type(self).__name__} has no {MAPS[name].called}.")

    def depth(self, index: int) -> np.ndarray:
        """Return the depth of image `index`, `(H, W)` float32, 0 where it is unknown."""
        return self.read_map("depth", index)

    def instances(self, index: int) -> np.ndarray:
        """Return the numbers of the objects in image `index`, `(H, W)` int32, 0 where there is none."""
        return self.read_map("instances", index)

    def previous(self, index: int) -> int | None:
        """Return the frame before image `index` in the same film; None for the first one, and where none are films."""
        return None
