"""Drawn scenes that move: films whose things keep their numbers from frame to frame."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated

from ...errors import ConfigError
from ...options import at_least
from ..datamodule import SegmentationDataModule, Split
from ..drawing import draw_frame
from ..drawing.scene import DrawnScene
from .drawn_scenes import DRAWN_SCENES, SPLIT_NUMBERS, Drawn, DrawnOptions

_last_frame = lru_cache(maxsize=1)(draw_frame)  # drawn once for all that is asked of it


class DrawnFilms(Drawn):
    """The frames of drawn films, film by film; classes as in `DRAWN_SCENES`, things keep their numbers through a film.

    A frame is a pure function of (seed, split, film, frame, height, width); the splits share no film. `films` are how
    many there are, of `frames` frames each.
    """

    def __init__(self, split: Split, films: int, frames: int, height: int, width: int, seed: int = 0) -> None:
        super().__init__(split, height, width, seed)
        if min(films, frames) < 1:
            raise ConfigError(f"There are {films} films of {frames} frames: a data set needs at least one of each.")
        self.films, self.frames = films, frames

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

    def scene(self, index: int) -> DrawnScene:
        """Draw frame `index`, or return it if it was the last."""
        film, frame = self._place(index)
        return _last_frame((self.seed, SPLIT_NUMBERS[self.split], film), frame, self.height, self.width)

    def _place(self, index: int) -> tuple[int, int]:
        """Return film and frame."""
        return divmod(self.checked(index), self.frames)


@dataclass(frozen=True)
class DrawnFilmsOptions(DrawnOptions):
    """The drawn films' own options."""

    frames: Annotated[int, at_least(1)] = 16
    """Frames of every film."""
    train_films: Annotated[int, at_least(1)] = 1250
    """Number of films for training; they are drawn anew whenever they are used, so many cost no memory."""
    val_films: Annotated[int, at_least(1)] = 8
    """Number of films for validation."""
    test_films: Annotated[int, at_least(1)] = 16
    """Number of films for the test."""


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
