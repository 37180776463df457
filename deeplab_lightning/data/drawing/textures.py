"""Textures and noise: banks computed once from a fixed seed. A material lays two colours over a crop of one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from .palettes import Colour, mix, pick_colour

_SIDE = 512  # every tile repeats seamlessly with this period
_ORIGINS = 256  # crops start in the first half, so that one of up to 256 pixels is a plain slice
_BANK_SEED = 20180822  # any number does, but it must never change


@dataclass(frozen=True)
class Material:
    """How a region is filled: `colour` where a texture in -1..1 is 0, `crest` where it is 1.

    Attributes:
        colour, crest: RGB, 0..255.
        texture: Name in the bank; None leaves the colour flat.
        origin: Row and column of the bank that lie on the image's upper left corner.
    """

    colour: Colour
    crest: Colour
    texture: str | None = None
    origin: tuple[int, int] = (0, 0)

    def tinted(self, colour: Colour, share: float) -> Material:
        """Return the same material with `share` (0..1; nothing below 0) of `colour` in it, as through haze."""
        if share <= 0:
            return self
        return replace(self, colour=mix(self.colour, colour, share), crest=mix(self.crest, colour, share))

    def render(self, top: int, left: int, height: int, width: int) -> np.ndarray:
        """Return the fill of a box of the image, `(3, height, width)` float32; a flat one comes as `(3, 1, 1)`."""
        middle = np.array(self.colour, np.float32)[:, None, None]
        if self.texture is None:
            return middle
        crop = wrapped_crop(texture_bank()[self.texture], self.origin[0] + top, self.origin[1] + left, height, width)
        return middle + (np.array(self.crest, np.float32)[:, None, None] - middle) * crop


def pick_material(
    rng: np.random.Generator, palette: np.ndarray, avoid: Sequence[Colour], textures: Sequence[str]
) -> Material:
    """Draw a material: a colour of the scheme, with one of `textures` in its own light and dark."""
    colour = pick_colour(rng, palette, avoid)
    choice, row, column = rng.integers((len(textures), _ORIGINS, _ORIGINS)).tolist()
    crest = mix(colour, (0, 0, 0), -rng.uniform(0.1, 0.24))
    return Material(colour, crest, textures[choice], (row, column))


def wrapped_crop(tile: np.ndarray, top: int, left: int, height: int, width: int) -> np.ndarray:
    """Return `tile[..., top : top + height, left : left + width]` of the plane that `tile` covers by repeating."""
    side = tile.shape[-1]
    top, left = top % side, left % side
    if top + height <= side and left + width <= side:
        return tile[..., top : top + height, left : left + width]
    rows = np.arange(top, top + height) % side
    columns = np.arange(left, left + width) % side
    return tile[..., rows[:, None], columns]


@lru_cache(maxsize=1)
def noise_bank() -> np.ndarray:
    """Return `(3, 512, 512)` float32 of unit normal noise for the sensor."""
    return np.random.default_rng(_BANK_SEED + 1).standard_normal((3, _SIDE, _SIDE), dtype=np.float32)


@lru_cache(maxsize=1)
def texture_bank() -> dict[str, np.ndarray]:
    """Return the textures by name, each `(512, 512)` float32 in -1..1 and seamless at its borders."""
    rng = np.random.default_rng(_BANK_SEED)
    x, y = np.meshgrid(np.arange(_SIDE) / _SIDE, np.arange(_SIDE) / _SIDE)
    course = y * 48  # every second course of bricks is shifted by half a brick
    along, down = (x * 24 + 0.5 * (np.floor(course) % 2)) % 1, course % 1
    joint = np.minimum(np.minimum(along, 1 - along) * 2, np.minimum(down, 1 - down))
    tiles = {
        "grain": _cloud(rng, 0.8, 1),
        "blotches": _cloud(rng, 1.3, 1),
        "wood": _cloud(rng, 1.2, 6),
        "planks": _edge(np.sin(2 * np.pi * 48 * y)),
        "ribs": _edge(np.sin(2 * np.pi * 48 * x)),
        "stripes": _edge(np.sin(2 * np.pi * (32 * x + 32 * y))),
        "slants": _edge(np.sin(2 * np.pi * (48 * x - 32 * y))),
        "checks": _edge(np.sin(np.pi * 48 * x) * np.sin(np.pi * 48 * y), 4.0),
        "dots": _edge(np.cos(2 * np.pi * 40 * x) + np.cos(2 * np.pi * 40 * y) - 0.6, 2.0),
        "bricks": np.clip(joint * 12 - 1.8, -1, 0.5),
        "zigzag": _edge(np.sin(2 * np.pi * (36 * y + np.abs((x * 36) % 1 - 0.5)))),
    }
    return {name: _rounded(tile) for name, tile in tiles.items()}


def soft_field(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Return smooth blotches, `(height, width)` float32 in -1..1: clouds and their shadows."""
    return wrapped_crop(_soft_bank(), int(rng.integers(_ORIGINS)), int(rng.integers(_ORIGINS)), height, width)


@lru_cache(maxsize=1)
def _soft_bank() -> np.ndarray:
    return _rounded(_cloud(np.random.default_rng(_BANK_SEED + 2), 2.0, 2.5))


def _rounded(tiles: np.ndarray) -> np.ndarray:
    """Keep the last bits of a platform's FFT and sine out of the images."""
    return np.round(tiles * 64).astype(np.float32) / 64


def _edge(wave: np.ndarray, sharpness: float = 3.0) -> np.ndarray:
    """Steepen a wave in -1..1 towards a square wave, its edges left about a pixel wide."""
    return np.clip(wave * sharpness, -1, 1)


def _cloud(rng: np.random.Generator, power: float, stretch: float) -> np.ndarray:
    """Noise of spectrum 1 / frequency^power; `stretch` > 1 draws it out along the rows."""
    down, across = np.fft.fftfreq(_SIDE)[:, None], np.fft.fftfreq(_SIDE)[None, :]
    frequency = np.hypot(across * stretch, down)
    frequency[0, 0] = np.inf
    spectrum = np.fft.fft2(rng.standard_normal((_SIDE, _SIDE))) / np.maximum(frequency, 4 / _SIDE) ** power
    spectrum[0, 0] = 0
    cloud = np.fft.ifft2(spectrum).real
    return np.clip(cloud / (2.2 * cloud.std()), -1, 1)
