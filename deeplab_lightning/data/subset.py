"""Some images of a data set, and some of them several times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from ..errors import ConfigError, did_you_mean
from ..types import MapName
from .dataset import SegmentationDataset

if TYPE_CHECKING:  # it comes with albumentations
    from .transforms.geometry import Stored


class Subset(SegmentationDataset):
    """Another data set's images, by position. They keep their names, also where one is there twice.

    The augmentation of an image follows from its place here: the second time it is another one.
    """

    def __init__(self, source: SegmentationDataset, positions: Sequence[int]) -> None:
        self.source, self.positions = source, list(positions)
        self.labels, self.is_drawn = source.labels, source.is_drawn

    def __len__(self) -> int:
        return len(self.positions)

    def sample_id(self, index: int) -> str:
        """Return the image's name."""
        return self.source.sample_id(self.positions[index])

    def files(self, index: int) -> tuple[Path, ...]:
        """Return the image's files."""
        return self.source.files(self.positions[index])

    def map_files(self, index: int) -> tuple[Path, ...]:
        """Return the files of the image's maps."""
        return self.source.map_files(self.positions[index])

    def load(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Read an image and its mask."""
        return self.source.load(self.positions[index])

    def open(self, index: int) -> tuple[Stored, Stored]:
        """Return an image and its mask, of which parts are read."""
        return self.source.open(self.positions[index])

    @property
    def maps(self) -> tuple[MapName, ...]:
        """Those of the source."""
        return self.source.maps

    def read_map(self, name: MapName, index: int) -> np.ndarray:
        """Read one of the image's maps."""
        return self.source.read_map(name, self.positions[index])

    def previous(self, index: int) -> int | None:
        """Return where the frame before lies here; None if it was not taken."""
        before = self.source.previous(self.positions[index])
        return self.positions.index(before) if before in self.positions else None


def repeated(dataset: SegmentationDataset, times: Mapping[str, int], quiet: bool = False) -> Subset:
    """Return a list in which images that show certain classes stand several times, behind all others.

    v3 trained its last model so: images of bicycles, chairs, tables, potted plants and sofas twice (section 4.3). All
    masks are read once to find them. An image with several of the classes follows the largest number.

    Args:
        dataset: The training images.
        times: Class name -> how often an image that shows it is to be there, 1 or more.
        quiet: Show no progress.

    Raises:
        ConfigError: There is no such class, or a number is below 1.
    """
    names = dataset.labels.class_names
    wanted = np.ones(max(256, len(names)), np.int64)
    for name, number in times.items():
        if name not in names:
            raise ConfigError(
                f"--data.repeat_classes names {name!r}, which is no class of this data."
                f"{did_you_mean(name, names)} Classes: {', '.join(names[:8])}{', ...' if len(names) > 8 else ''}."
            )
        if number < 1:
            raise ConfigError(f"--data.repeat_classes has {name}: {number}; expected how often, 1 or more.")
        wanted[names.index(name)] = number
    again: list[int] = []
    for index in tqdm(range(len(dataset)), desc="looking for repeated classes", unit="masks", disable=quiet):
        _, mask = dataset.open(index)
        height, width = mask.shape[:2]
        present = np.flatnonzero(np.bincount(mask[0:height, 0:width].ravel(), minlength=1))
        present = present[present != dataset.labels.ignore_index]
        again += [index] * (int(wanted[present].max(initial=1)) - 1)
    return Subset(dataset, [*range(len(dataset)), *again])
