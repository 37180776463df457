"""What stands where: the composition of a scene, before anything is painted."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .landscape import Landscape
from .objects import LOOKS, Look

_FEWEST = 4  # an emptier scene is filled up
_TRIES = 4  # places tried for each object; the one that overlaps least is taken
_BY_DAY_AND_NIGHT = {"lantern": ("balloon", "lamp"), "streamer": ("balloon", "fish")}


class Placement(NamedTuple):
    """Where one object stands. Lengths are shares of the image's height, `x` of its width.

    Attributes:
        name: Class name.
        look: What it looks like: its class, or a look that two classes share (`objects.LOOKS`).
        x: Its middle.
        base: Its lowest point.
        size: Its height.
        nearness: 0 at the horizon, 1 at the lower border; orders the painting.
        turn: Rotation in radians.
        mirrored: Left and right are exchanged.
    """

    name: str
    look: str
    x: float
    base: float
    size: float
    nearness: float
    turn: float
    mirrored: bool


def place_objects(rng: np.random.Generator, scape: Landscape, aspect: float) -> list[Placement]:
    """Return the objects of a scene from far to near; `aspect` is the image's width per height."""
    placed: list[Placement] = []
    x, y, radius = scape.luminary
    taken = [_Extent(x - radius / aspect, x + radius / aspect, y - radius, y + radius)] * 5  # as it must be seen
    for look in _pick_looks(rng, has_water=scape.shore is not None):
        draws = rng.random((_TRIES, 5)).tolist()
        tries = [_place(draw, scape, look, LOOKS[look], aspect) for draw in draws]
        placed.append(min(tries, key=lambda candidate: _overlap(_extent(candidate, aspect), taken)))
        taken.append(_extent(placed[-1], aspect))
    return sorted(placed, key=lambda placement: placement.nearness)


def _pick_looks(rng: np.random.Generator, has_water: bool) -> list[str]:
    possible = [name for name, look in LOOKS.items() if has_water or look.where != "water"]
    looks = []
    for look, chance in zip(possible, rng.random(len(possible)).tolist(), strict=True):
        none, one, _ = LOOKS[look].chances
        looks += [look] * (int(chance > none) + int(chance > none + one))
    while len(looks) < _FEWEST:
        looks.append(possible[rng.integers(len(possible))])
    return looks


def _place(draw: list[float], scape: Landscape, name: str, look: Look, aspect: float) -> Placement:
    """Turn five numbers in 0..1 into a place."""
    across, down, spread, tilt, side = draw
    largest = min(aspect, 1.0) * look.size * (0.75 + 0.45 * spread)  # narrow images keep room for wide things
    if look.where == "air":
        size = largest * (0.5 + 0.5 * side)
        lowest = max(scape.horizon, 0.9 * size) + 0.05
        base = 0.6 * size + down * (lowest - 0.6 * size)
        nearness = max(side, scape.nearness(base))  # in front of the ground that its basket hides
    else:
        low, high = scape.between(look.where == "water")
        base = low + down * (high - low)
        nearness = scape.nearness(base)
        size = largest * (0.42 + 0.58 * nearness)
    class_name = _BY_DAY_AND_NIGHT.get(name, (name, name))[scape.night]
    turn = look.tilt * (2 * tilt - 1)
    return Placement(class_name, name, 0.02 + 0.96 * across, base, size, nearness, turn, tilt * 7 % 1 < 0.5)


class _Extent(NamedTuple):
    """The box around a thing, in shares of the image's width and height."""

    left: float
    right: float
    top: float
    bottom: float

    @property
    def area(self) -> float:
        return (self.right - self.left) * (self.bottom - self.top)


def _extent(placement: Placement, aspect: float) -> _Extent:
    half = LOOKS[placement.look].aspect * placement.size / aspect / 2
    return _Extent(placement.x - half, placement.x + half, placement.base - placement.size, placement.base)


def _overlap(candidate: _Extent, others: list[_Extent]) -> float:
    """Return the sum, over `others`, of the share that is hidden of whichever is the smaller."""
    total = 0.0
    for other in others:
        across = min(candidate.right, other.right) - max(candidate.left, other.left)
        down = min(candidate.bottom, other.bottom) - max(candidate.top, other.top)
        if across > 0 and down > 0:
            total += across * down / min(candidate.area, other.area)
    return total
