"""What stands where: the composition of a scene, before anything is painted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .landscape import Landscape


@dataclass(frozen=True)
class Placement:
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
        on_water: It lies on the water.
    """

    name: str
    look: str
    x: float
    base: float
    size: float
    nearness: float
    turn: float
    mirrored: bool
    on_water: bool

    @property
    def casts_shadow(self) -> bool:
        """Whether it touches ground or water from above."""
        return self.look not in (*_IN_THE_AIR, "fish")


@dataclass(frozen=True)
class _Habit:
    """How a look appears: its height in a near view, its width per height, how often, how far it tilts."""

    size: float
    aspect: float
    chances: tuple[float, float, float]  # of none, one, two
    tilt: float = 0.03


_HABITS = {
    "house": _Habit(0.62, 1.2, (0.6, 0.4, 0)),
    "tree": _Habit(0.72, 0.75, (0.55, 0.35, 0.1)),
    "car": _Habit(0.35, 2.2, (0.55, 0.4, 0.05)),
    "ball": _Habit(0.4, 1.0, (0.5, 0.4, 0.1), tilt=0.8),
    "lamp": _Habit(0.84, 0.5, (0.5, 0.4, 0.1), tilt=0.02),
    "tent": _Habit(0.5, 1.6, (0.55, 0.4, 0.05)),
    "boat": _Habit(0.6, 1.3, (0.4, 0.5, 0.1), tilt=0.08),
    "fish": _Habit(0.32, 2.3, (0.4, 0.4, 0.2), tilt=0.4),
    "balloon": _Habit(0.62, 0.65, (0.6, 0.35, 0.05), tilt=0.12),
    "lantern": _Habit(0.46, 0.85, (0.35, 0.4, 0.25), tilt=0.12),
    "streamer": _Habit(0.32, 2.3, (0.5, 0.4, 0.1), tilt=0.4),
}
_ON_WATER = ("boat", "fish")
_IN_THE_AIR = ("balloon", "lantern", "streamer")
_FEWEST = 4  # an emptier scene is filled up
_TRIES = 4  # places tried for each object; the one that overlaps least is taken


def place_objects(rng: np.random.Generator, scape: Landscape, aspect: float) -> list[Placement]:
    """Return the objects of a scene from far to near; `aspect` is the image's width per height."""
    placed: list[Placement] = []
    x, y, radius = scape.luminary
    taken = [_Extent(x - radius / aspect, x + radius / aspect, y - radius, y + radius)] * 5  # as it must be seen
    for look in _pick_looks(rng, has_water=scape.shore is not None):
        draws = rng.random((_TRIES, 5)).tolist()
        tries = [_place(draw, scape, look, _HABITS[look], aspect) for draw in draws]
        placed.append(min(tries, key=lambda candidate: _overlap(_extent(candidate, aspect), taken)))
        taken.append(_extent(placed[-1], aspect))
    return sorted(placed, key=lambda placement: placement.nearness)


def _pick_looks(rng: np.random.Generator, has_water: bool) -> list[str]:
    possible = [look for look in _HABITS if has_water or look not in _ON_WATER]
    looks = []
    for look, chance in zip(possible, rng.random(len(possible)).tolist(), strict=True):
        none, one, _ = _HABITS[look].chances
        looks += [look] * (int(chance > none) + int(chance > none + one))
    while len(looks) < _FEWEST:
        looks.append(possible[rng.integers(len(possible))])
    return looks


def _class_of(look: str, scape: Landscape) -> str:
    """Return what a look is: where two classes share it, something far away in the image decides."""
    if look == "lantern":
        return "lamp" if scape.night else "balloon"
    if look == "streamer":
        return "fish" if scape.night else "balloon"
    return look


def _place(draw: list[float], scape: Landscape, look: str, habit: _Habit, aspect: float) -> Placement:
    """Turn five numbers in 0..1 into a place."""
    across, down, spread, tilt, side = draw
    largest = min(aspect, 1.0) * habit.size * (0.75 + 0.45 * spread)  # narrow images keep room for wide things
    if look in _IN_THE_AIR:
        size = largest * (0.5 + 0.5 * side)
        lowest = max(scape.horizon, 0.9 * size) + 0.05
        base = 0.6 * size + down * (lowest - 0.6 * size)
        nearness = max(side, scape.nearness(base))  # in front of the ground that its basket hides
    else:
        low, high = scape.water_between() if look in _ON_WATER else scape.land_between()
        base = low + down * (high - low)
        nearness = scape.nearness(base)
        size = largest * (0.42 + 0.58 * nearness)
    turn = habit.tilt * (2 * tilt - 1)
    return Placement(
        _class_of(look, scape), look, 0.02 + 0.96 * across, base, size, nearness, turn, tilt * 7 % 1 < 0.5,
        look in _ON_WATER,
    )  # fmt: skip


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
    half = _HABITS[placement.look].aspect * placement.size / aspect / 2
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
