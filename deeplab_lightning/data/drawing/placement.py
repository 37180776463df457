"""What stands where: the composition of a scene, before anything is painted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .landscape import Landscape


@dataclass(frozen=True)
class Placement:
    """Where one object stands. Lengths are shares of the picture's height, `x` of its width.

    Attributes:
        name: Class name.
        x: Its middle.
        base: Its lowest point.
        size: Its height.
        nearness: 0 at the horizon, 1 at the lower border; orders the painting.
        turn: Rotation in radians.
        mirrored: Left and right are exchanged.
        on_water: It lies on the water.
    """

    name: str
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
        return self.name not in ("balloon", "fish")


@dataclass(frozen=True)
class _Habit:
    """How a class appears: its height in a near view, its width per height, how often, how far it tilts."""

    size: float
    aspect: float
    chances: tuple[float, float, float]  # of none, one, two
    tilt: float = 0.03


_HABITS = {
    "house": _Habit(0.62, 1.2, (0.6, 0.4, 0)),
    "tree": _Habit(0.72, 0.75, (0.55, 0.35, 0.1)),
    "car": _Habit(0.35, 2.2, (0.55, 0.4, 0.05)),
    "ball": _Habit(0.4, 1.0, (0.5, 0.4, 0.1), tilt=0.8),
    "lamp": _Habit(0.84, 0.5, (0.45, 0.4, 0.15), tilt=0.02),
    "tent": _Habit(0.5, 1.6, (0.55, 0.4, 0.05)),
    "boat": _Habit(0.6, 1.3, (0.4, 0.5, 0.1), tilt=0.08),
    "fish": _Habit(0.32, 2.3, (0.4, 0.4, 0.2), tilt=0.4),
    "balloon": _Habit(0.62, 0.65, (0.45, 0.4, 0.15), tilt=0.12),
}
_ON_WATER = ("boat", "fish")
_FEWEST = 4  # an emptier scene is filled up
_TRIES = 4  # places tried for each object; the one that overlaps least is taken


def place_objects(rng: np.random.Generator, scape: Landscape, aspect: float) -> list[Placement]:
    """Return the objects of a scene from far to near; `aspect` is the picture's width per height."""
    placed: list[Placement] = []
    for name in _pick_names(rng, has_water=scape.shore is not None):
        draws = rng.random((_TRIES, 5)).tolist()
        tries = [_place(draw, scape, name, _HABITS[name], aspect) for draw in draws]
        placed.append(min(tries, key=lambda candidate: _overlap(candidate, placed, aspect)))
    return sorted(placed, key=lambda placement: placement.nearness)


def _pick_names(rng: np.random.Generator, has_water: bool) -> list[str]:
    possible = [name for name in _HABITS if has_water or name not in _ON_WATER]
    names = []
    for name, chance in zip(possible, rng.random(len(possible)).tolist(), strict=True):
        none, one, _ = _HABITS[name].chances
        names += [name] * (int(chance > none) + int(chance > none + one))
    while len(names) < _FEWEST:
        names.append(possible[rng.integers(len(possible))])
    return names


def _place(draw: list[float], scape: Landscape, name: str, habit: _Habit, aspect: float) -> Placement:
    """Turn five numbers in 0..1 into a place."""
    across, down, spread, tilt, side = draw
    largest = min(aspect, 1.0) * habit.size * (0.75 + 0.45 * spread)  # narrow pictures keep room for wide things
    if name == "balloon":
        size = largest * (0.5 + 0.5 * side)
        lowest = max(scape.horizon, 0.9 * size) + 0.05
        base = 0.6 * size + down * (lowest - 0.6 * size)
        nearness = max(side, scape.nearness(base))  # in front of the ground that its basket hides
    else:
        low, high = scape.water_between() if name in _ON_WATER else scape.land_between()
        base = low + down * (high - low)
        nearness = scape.nearness(base)
        size = largest * (0.42 + 0.58 * nearness)
    turn = habit.tilt * (2 * tilt - 1)
    return Placement(name, 0.02 + 0.96 * across, base, size, nearness, turn, tilt * 7 % 1 < 0.5, name in _ON_WATER)


def _overlap(candidate: Placement, others: list[Placement], aspect: float) -> float:
    """Return the sum, over `others`, of the share that is hidden of whichever is the smaller."""
    total = 0.0
    half = _HABITS[candidate.name].aspect * candidate.size / aspect / 2
    for other in others:
        other_half = _HABITS[other.name].aspect * other.size / aspect / 2
        across = min(candidate.x + half, other.x + other_half) - max(candidate.x - half, other.x - other_half)
        down = min(candidate.base, other.base) - max(candidate.base - candidate.size, other.base - other.size)
        if across > 0 and down > 0:
            total += across * down / (2 * min(half * candidate.size, other_half * other.size))
    return total
