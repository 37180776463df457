"""The embedded data set: scenes drawn on demand, so that a fresh clone can train without a download."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Literal

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


class DrawnScenes(SegmentationDataset):
    """Images of drawn landscapes and their masks, classes as in `DRAWN_SCENES`.

    An image is a pure function of (seed, split, index, height, width). The split is part of the random stream's key,
    so the splits share no image.

    `size` is how many there are; each is at least 64 pixels high and wide. Another seed is another data set of the same
    kind.
    """

    labels = DRAWN_SCENES
    is_drawn = True

    def __init__(
        self, split: Literal["train", "val", "test"], size: int, height: int, width: int, seed: int = 0
    ) -> None:
        if split not in SPLIT_NUMBERS:
            raise ConfigError(f"split {split!r} is not one of {', '.join(SPLIT_NUMBERS)}.")
        if min(height, width) < SMALLEST_SIDE:
            raise ConfigError(f"Drawn scenes of {height}x{width} are too small to draw: take at least 64x64.")
        if size < 1:
            raise ConfigError(f"size is {size}: a data set needs at least one image.")
        self.split, self.size, self.height, self.width, self.seed = split, size, height, width, seed

    def __len__(self) -> int:
        """Return the number of images."""
        return self.size

    def sample_id(self, index: int) -> str:
        """Return the image's name, such as `train-000012`."""
        return f"{self.split}-{self._checked(index):06d}"

    def load(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Draw image `index`, `(height, width, 3)` uint8 RGB, and its mask, uint8 train ids with 255 = void."""
        scene = self._scene(index)
        return scene.image.copy(), scene.mask.copy()

    @property
    def maps(self) -> tuple[MapName, ...]:
        """Both: the renderer knows how far away everything is, and which thing it is."""
        return ("depth", "instances")

    def read_map(self, name: MapName, index: int) -> np.ndarray:
        """Return one of the truths `(height, width)` beside the mask; see `map_of`."""
        return map_of(self._scene(index), name)

    def _scene(self, index: int) -> DrawnScene:
        return _last_scene((self.seed, SPLIT_NUMBERS[self.split], self._checked(index)), self.height, self.width)

    def _checked(self, index: int) -> int:
        if not 0 <= index < self.size:
            raise IndexError(f"index {index} is outside 0..{self.size - 1}.")
        return index


def map_of(scene: DrawnScene, name: MapName) -> np.ndarray:
    """Return the distance of what is seen, float32 from about 0.9 (near) to 20 (sky), or the things' numbers, int32.

    All that is seen of a thing has its number, also where something nearer parts it; the void border has none.
    """
    return scene.depth.copy() if name == "depth" else np.where(scene.mask == VOID, 0, scene.instances)


@dataclass(frozen=True)
class DrawnScenesOptions(DataOptions):
    """The drawn scenes' own options."""

    height: Annotated[int, at_least(SMALLEST_SIDE)] = 129
    """Height of every image in pixels."""
    width: Annotated[int, at_least(SMALLEST_SIDE)] = 129
    """Width of every image in pixels."""
    train_size: Annotated[int, at_least(1)] = 20000
    """Number of training images; they are drawn anew whenever they are used, so many cost no memory."""
    val_size: Annotated[int, at_least(1)] = 100
    """Number of validation images."""
    test_size: Annotated[int, at_least(1)] = 200
    """Number of test images."""
    scene_seed: Annotated[int, Between(0, 2**32 - 1)] = 0
    """Seed of the scenes; another one draws other images, in all splits."""


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
