"""The embedded data set: scenes drawn on demand, so that a fresh clone can train without a download."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated

import numpy as np

from ...errors import ConfigError
from ...labels import LabelSet
from ...options import Between, at_least
from ...types import MapName
from ..datamodule import DataOptions, SegmentationDataModule, Split
from ..dataset import SegmentationDataset
from ..drawing import draw_scene
from ..drawing.scene import CLASS_NAMES, VOID, DrawnScene

DRAWN_SCENES = LabelSet(
    class_names=CLASS_NAMES,
    palette=(
        (38, 40, 52),
        (214, 93, 78),
        (88, 168, 92),
        (92, 118, 214),
        (240, 160, 72),
        (214, 106, 186),
        (92, 200, 208),
        (244, 216, 96),
        (150, 102, 206),
        (160, 122, 88),
    ),
    ignore_index=VOID,
    things=CLASS_NAMES[1:],
)
"""Things in a drawn landscape, told apart by shape and place, never by colour. The landscape is the stuff."""

_last_scene = lru_cache(maxsize=1)(draw_scene)  # drawn once for all that is asked of it
SPLIT_NUMBERS = {"train": 0, "val": 1, "test": 2}
SMALLEST_SIDE = 64  # below it, thin parts and the void border fill the objects


class Drawn(SegmentationDataset):
    """Images that are drawn when they are asked for, with all that the renderer knows of them.

    Args:
        split: Part of the random stream's key, so that the splits share no image.
        height: Of each image, at least 64 pixels.
        width: Likewise.
        seed: Of the data set; another one is another data set of the same kind.

    Raises:
        ConfigError: There is no such split, or images are too small to draw.
    """

    labels = DRAWN_SCENES
    is_drawn = True

    def __init__(self, split: Split, height: int, width: int, seed: int) -> None:
        if split not in SPLIT_NUMBERS:
            raise ConfigError(f"split {split!r} is not one of {', '.join(SPLIT_NUMBERS)}.")
        if min(height, width) < SMALLEST_SIDE:
            raise ConfigError(f"Drawn scenes of {height}x{width} are too small to draw: take at least 64x64.")
        self.split, self.height, self.width, self.seed = split, height, width, seed

    @abstractmethod
    def scene(self, index: int) -> DrawnScene:
        """Draw image `index`, or return it if it was the last."""

    def load(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Draw image `index`, `(height, width, 3)` uint8 RGB, and its mask, uint8 train ids with 255 = void."""
        scene = self.scene(index)
        return scene.image.copy(), scene.mask.copy()

    @property
    def maps(self) -> tuple[MapName, ...]:
        """Both: the renderer knows how far away everything is, and which thing it is."""
        return ("depth", "instances")

    def read_map(self, name: MapName, index: int) -> np.ndarray:
        """Return how far away everything is, float32 from about 0.9 (near) to 20 (sky), or the things' numbers, int32.

        All that is seen of a thing has its number, also where something nearer parts it; the void border has none.
        """
        scene = self.scene(index)
        return scene.depth.copy() if name == "depth" else np.where(scene.mask == VOID, 0, scene.instances)

    def checked(self, index: int) -> int:
        """Return an index of the split.

        Raises:
            IndexError: It is outside.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"index {index} is outside 0..{len(self) - 1}.")
        return index


class DrawnScenes(Drawn):
    """Images of drawn landscapes and their masks, classes as in `DRAWN_SCENES`.

    An image is a pure function of (seed, split, index, height, width). The split is part of the random stream's key,
    so the splits share no image.

    `size` is how many there are; each is at least 64 pixels high and wide. Another seed is another data set of the same
    kind.
    """

    def __init__(self, split: Split, size: int, height: int, width: int, seed: int = 0) -> None:
        super().__init__(split, height, width, seed)
        if size < 1:
            raise ConfigError(f"size is {size}: a data set needs at least one image.")
        self.size = size

    def __len__(self) -> int:
        """Return the number of images."""
        return self.size

    def sample_id(self, index: int) -> str:
        """Return the image's name, such as `train-000012`."""
        return f"{self.split}-{self.checked(index):06d}"

    def scene(self, index: int) -> DrawnScene:
        """Draw image `index`, or return it if it was the last."""
        return _last_scene((self.seed, SPLIT_NUMBERS[self.split], self.checked(index)), self.height, self.width)


@dataclass(frozen=True)
class DrawnOptions(DataOptions):
    """How large drawn images are, and which."""

    height: Annotated[int, at_least(SMALLEST_SIDE)] = 129
    """Height of every image in pixels."""
    width: Annotated[int, at_least(SMALLEST_SIDE)] = 129
    """Width of every image in pixels."""
    scene_seed: Annotated[int, Between(0, 2**32 - 1)] = 0
    """Seed of the scenes; another one draws other images, in all splits."""


@dataclass(frozen=True)
class DrawnScenesOptions(DrawnOptions):
    """The drawn scenes' own options."""

    train_size: Annotated[int, at_least(1)] = 20000
    """Number of training images; they are drawn anew whenever they are used, so many cost no memory."""
    val_size: Annotated[int, at_least(1)] = 100
    """Number of validation images."""
    test_size: Annotated[int, at_least(1)] = 200
    """Number of test images."""


class DrawnScenesDataModule(SegmentationDataModule):
    """Drawn scenes, ten thousands of images if wanted, from a seed."""

    Options = DrawnScenesOptions
    options: DrawnScenesOptions
    labels = DRAWN_SCENES

    def build_dataset(self, split: Split) -> DrawnScenes:
        """Open a split; the splits never share an image."""
        options = self.options
        sizes = {"train": options.train_size, "val": options.val_size, "test": options.test_size}
        return DrawnScenes(split, sizes[split], options.height, options.width, options.scene_seed)
