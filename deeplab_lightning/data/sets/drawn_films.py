"""Drawn scenes that move: films whose things keep their numbers from frame to frame."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated

import numpy as np

from ...errors import ConfigError
from ...options import Between, at_least
from ...types import MapName
from ..datamodule import DataOptions, SegmentationDataModule, Split
from ..dataset import SegmentationDataset
from ..drawing import draw_frame
from ..drawing.scene import DrawnScene
from .drawn_scenes import DRAWN_SCENES, SMALLEST_SIDE, SPLIT_NUMBERS, map_of

_last_frame = lru_cache(maxsize=1)(draw_frame)  # drawn once for all that is asked of it


class DrawnFilms(SegmentationDataset):
    """The frames of drawn films, film by film; classes as in `DRAWN_SCENES`.

    A frame is a pure function of (seed, split, film, frame, height, width); the splits share no film. `films` are how
    many there are, of `frames` frames each.
    """

    labels = DRAWN_SCENES
    is_drawn = True

    def __init__(self, split: Split, films: int, frames: int, height: int, width: int, seed: int = 0) -> None:
        if split not in SPLIT_NUMBERS:
            raise ConfigError(f"split {split!r} is not one of {', '.join(SPLIT_NUMBERS)}.")
        if min(height, width) < SMALLEST_SIDE:
            raise ConfigError(f"Drawn films of {height}x{width} are too small to draw: take at least 64x64.")
        if min(films, frames) < 1:
            raise ConfigError(f"There are {films} films of {frames} frames: a data set needs at least one of each.")
        self.split, self.films, self.frames = split, films, frames
        self.height, self.width, self.seed = height, width, seed

    def __len__(self) -> int:
        """Return the number of frames of all films."""
        return self.films * self.frames

    def sample_id(self, index: int) -> str:
        """Return film and frame, such as `train-000012/0003`."""
        film, frame = self._place(index)
        return f"{self.split}-{film:06d}/{frame:04d}"

    def previous(self, index: int) -> int | None:
        """Return the frame before in the same film; None for the first."""
        return index - 1 if self._place(index)[1] else None

    def load(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Draw frame `index`, `(height, width, 3)` uint8 RGB, and its mask, uint8 train ids with 255 = void."""
        scene = self._scene(index)
        return scene.image.copy(), scene.mask.copy()

    @property
    def maps(self) -> tuple[MapName, ...]:
        """Depth, and the things' numbers, which stay the same through a film."""
        return ("depth", "instances")

    def read_map(self, name: MapName, index: int) -> np.ndarray:
        """Return one of the truths `(height, width)` beside the mask; see `drawn_scenes.map_of`."""
        return map_of(self._scene(index), name)

    def _scene(self, index: int) -> DrawnScene:
        film, frame = self._place(index)
        return _last_frame((self.seed, SPLIT_NUMBERS[self.split], film), frame, self.height, self.width)

    def _place(self, index: int) -> tuple[int, int]:
        if not 0 <= index < len(self):
            raise IndexError(f"index {index} is outside 0..{len(self) - 1}.")
        return divmod(index, self.frames)


@dataclass(frozen=True)
class DrawnFilmsOptions(DataOptions):
    """The drawn films' own options."""

    height: Annotated[int, at_least(SMALLEST_SIDE)] = 129
    """Height of every image in pixels."""
    width: Annotated[int, at_least(SMALLEST_SIDE)] = 129
    """Width of every image in pixels."""
    frames: Annotated[int, at_least(1)] = 16
    """Frames of every film."""
    train_films: Annotated[int, at_least(1)] = 1250
    """Number of films for training; they are drawn anew whenever they are used, so many cost no memory."""
    val_films: Annotated[int, at_least(1)] = 8
    """Number of films for validation."""
    test_films: Annotated[int, at_least(1)] = 16
    """Number of films for the test."""
    scene_seed: Annotated[int, Between(0, 2**32 - 1)] = 0
    """Seed of the films; another one draws others, in all splits."""


class DrawnFilmsDataModule(SegmentationDataModule):
    """Drawn scenes that move, film by film, from a seed."""

    Options = DrawnFilmsOptions
    options: DrawnFilmsOptions
    labels = DRAWN_SCENES

    def build_dataset(self, split: Split) -> DrawnFilms:
        """Open a split; the splits never share a film."""
        options = self.options
        films = {"train": options.train_films, "val": options.val_films, "test": options.test_films}[split]
        return DrawnFilms(split, films, options.frames, options.height, options.width, options.scene_seed)
