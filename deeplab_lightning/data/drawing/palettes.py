"""Colour schemes. One scheme colours a whole scene: sky, ground, water and every object take from the same list."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

_SCHEMES = (
    "f7efe1 f4d6a0 ee9b6a c8553d 8f2d56 5b2a5e 2d3047",
    "e9f0c9 a7c957 6a994e 386641 bc4749 f2d8a7 3d5a80",
    "e0fbfc 98c1d9 3d5a80 293241 ee6c4d f4d35e 5fa8a0",
    "ffd6e0 ffa5ab da627d a53860 5c1a33 f9e2ae 74a4bc",
    "dad7cd a3b18a 588157 3a5a40 e9c46a d4a373 8d5b4c",
    "eceff4 b8c5d6 81a1c1 5e81ac 3b4252 d08770 a3be8c",
    "f4f1de e07a5f 3d405b 81b29a f2cc8f b56576 5f797b",
    "fefae0 e9d8a6 d4a373 b7c79a a98467 6c584c 94524a",
    "2b2d4f 4a4e69 9a8c98 c9ada7 f2e9e4 5e60ce e5989b",
    "fff3b0 e09f3e 9e2a2b 5c1518 335c67 8fb9a8 f6bd60",
    "e2d4f0 b8a1d9 7f6aa8 4b3f72 ffc857 119da4 19647e",
    "d8f3dc 95d5b2 52b788 2d6a4f ffb4a2 e5989b 6d6875",
    "f1faee a8dadc 457b9d 1d3557 e63946 f4a261 2a9d8f",
    "f8edeb fec89a f9844a 9b2226 6b705c a5a58d 3f4a52",
)

Colour = tuple[float, float, float]
"""RGB, each 0..255."""

PALETTES = np.array([[list(bytes.fromhex(colour)) for colour in scheme.split()] for scheme in _SCHEMES], np.float64)
"""`(schemes, colours, 3)` float64 RGB in 0..255."""

_CONTRAST = 80.0  # RGB distance at which an object is seen at a glance against what lies behind it


def pick_palette(rng: np.random.Generator) -> np.ndarray:
    """Return one scheme, `(colours, 3)` float64 RGB in 0..255, its channels shifted a little from scene to scene."""
    palette = PALETTES[rng.integers(len(PALETTES))]
    return np.clip(palette * rng.uniform(0.9, 1.1, 3), 0, 255)


def pick_colour(rng: np.random.Generator, palette: np.ndarray, avoid: Sequence[Colour]) -> Colour:
    """Return a colour of `palette`, lightened or darkened a little, that stands out against each colour of `avoid`.

    The same function colours every object and the landscape; what a class leans to is added later
    (`objects.LEANINGS`).
    """
    candidates: list[Colour] = rng.permutation(palette * rng.uniform(0.85, 1.08)).tolist()
    clearances = []
    for candidate in candidates:
        clearances.append(min((math.dist(candidate, other) for other in avoid), default=math.inf))
        if clearances[-1] >= _CONTRAST:
            return candidate
    return candidates[int(np.argmax(clearances))]


def mix(colour: Colour, other: Colour, share: float) -> Colour:
    """Return `colour` with `share` (0..1) of `other` in it."""
    (red, green, blue), keep = colour, 1 - share
    return red * keep + other[0] * share, green * keep + other[1] * share, blue * keep + other[2] * share
