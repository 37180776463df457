"""What each class looks like: one function per class, from a random stream to parts.

An object stands on y = 0 and is about 1 tall, centred on x = 0. `thin` is the narrowest line that can still be seen, in
the object's units. Classes share their local parts on purpose, so that only the whole tells: the same decorated disc is
a ball on the ground, a balloon in the air and a lamp on a pole; triangles are roofs, tents, sails and firs; boxes with
windows are houses, vans and cabins.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np

from .palettes import Colour
from .shapes import DETAIL, MAIN, SECOND, Part, arc, box, ellipse, line, lobed, polygon, soft_box


def house(rng: np.random.Generator, thin: float) -> list[Part]:
    """Walls, a gable or hip roof, a door, windows and perhaps a chimney."""
    half, wall = rng.uniform(0.38, 0.62), rng.uniform(0.52, 0.66)
    eave, ridge = half + 0.08, rng.choice([0.0, 0.0, half * 0.55])
    parts = []
    if rng.random() < 0.6:
        parts.append(Part(box(half * 0.45, wall, half * 0.45 + 0.11, 0.98), DETAIL))
    parts.append(Part(box(-half, 0, half, wall + 0.02)))
    parts.append(Part(polygon((-eave, wall), (eave, wall), (ridge, 1), (-ridge, 1)), SECOND))
    door = rng.uniform(-0.5, 0.5) * half
    parts.append(Part(box(door - 0.08, 0, door + 0.08, 0.27), DETAIL))
    parts += _windows(-half + 0.08, half - 0.08, wall - 0.22, wall - 0.08, count=int(rng.integers(2, 5)))
    return parts


def tree(rng: np.random.Generator, thin: float) -> list[Part]:
    """A trunk under a lobed crown, a slim poplar's, or a fir's stacked triangles."""
    stem = max(rng.uniform(0.04, 0.065), 0.6 * thin)
    trunk = Part(polygon((-1.3 * stem, 0), (1.3 * stem, 0), (stem, 0.5), (-stem, 0.5)), DETAIL)
    kind = rng.integers(3)
    if kind == 0:
        width = rng.uniform(0.32, 0.44)
        return [
            trunk,
            Part(lobed(rng, 0, 0.64, width, 0.36), MAIN, rounded=True),
            Part(lobed(rng, -0.1, 0.74, width * 0.55, 0.2), SECOND, rounded=True),
        ]
    if kind == 1:
        return [trunk, Part(lobed(rng, 0, 0.58, rng.uniform(0.17, 0.24), 0.42), MAIN, rounded=True)]
    width = rng.uniform(0.28, 0.4)
    tiers = ((0.16, 0.6, width, MAIN), (0.38, 0.8, width * 0.8, SECOND), (0.6, 1.0, width * 0.6, MAIN))
    return [trunk, *(Part(polygon((-half, low), (half, low), (0, high)), fill) for low, high, half, fill in tiers)]


def car(rng: np.random.Generator, thin: float) -> list[Part]:
    """A body on two wheels: a saloon, or a van whose side is one box."""
    half, wheel = rng.uniform(0.95, 1.2), rng.uniform(0.2, 0.26)
    if rng.random() < 0.4:
        parts = [Part(soft_box(-half, 0.18, half, 1, 0.1))]
        parts.append(Part(box(-half + 0.02, 0.3, half - 0.02, 0.42), SECOND))
        parts += _windows(-half + 0.12, half - 0.08, 0.58, 0.86, count=int(rng.integers(2, 4)))
    else:
        front, back = rng.uniform(0.25, 0.5) * half, -rng.uniform(0.55, 0.85) * half
        cabin = polygon((back - 0.15, 0.55), (front + 0.25, 0.55), (front, 1), (back, 1))
        glass = polygon((back - 0.02, 0.6), (front + 0.12, 0.6), (front - 0.04, 0.92), (back + 0.06, 0.92))
        middle = (front + back) / 2
        parts = [Part(cabin, SECOND), Part(glass, DETAIL), Part(box(middle - 0.04, 0.58, middle + 0.04, 0.95), SECOND)]
        parts.append(Part(soft_box(-half, 0.18, half, 0.62, 0.16)))
    for x in (-0.58 * half, 0.6 * half):
        parts.append(Part(ellipse(x, wheel, wheel), DETAIL))
        parts.append(Part(ellipse(x, wheel, wheel * 0.5), SECOND))
    return parts


def boat(rng: np.random.Generator, thin: float) -> list[Part]:
    """A hull with mast and sails, or with a cabin and a funnel."""
    if rng.random() < 0.6:
        half, mast = rng.uniform(0.42, 0.58), rng.uniform(-0.1, 0.1)
        boom, jib = mast - half * rng.uniform(0.75, 0.95), mast + half * rng.uniform(0.7, 0.95)
        pole = line(np.array([[mast, 0.15], [mast, 0.6], [mast, 1.0]]), max(0.035, thin))
        main_sail = polygon((mast - 0.02, 0.3), (mast - 0.02, 0.97), (mast - 0.3 * half, 0.68), (boom, 0.3))
        fore_sail = polygon((mast + 0.03, 0.32), (mast + 0.03, 0.88), (jib, 0.32))
        return [
            Part(pole, DETAIL),
            Part(main_sail, SECOND),
            Part(fore_sail, DETAIL if rng.random() < 0.4 else SECOND),
            *_hull(half, 0.25, rng.uniform(0.5, 0.75)),
        ]
    half = rng.uniform(0.75, 1.0)
    funnel = rng.uniform(-0.3, 0.15) * half
    return [
        Part(box(funnel, 0.55, funnel + 0.2, 0.98), DETAIL),
        Part(soft_box(-0.6 * half, 0.3, 0.5 * half, 0.68, 0.04), SECOND),
        *_windows(-0.6 * half + 0.06, 0.5 * half - 0.04, 0.46, 0.6, count=int(rng.integers(2, 5))),
        *_hull(half, 0.36, rng.uniform(0.55, 0.8)),
    ]


def balloon(rng: np.random.Generator, thin: float) -> list[Part]:
    """A decorated disc in the air, with a basket on ropes or with a wavy string."""
    if rng.random() < 0.55:
        radius = rng.uniform(0.31, 0.36)
        rope = max(0.02, thin)
        ropes = [
            Part(line(np.array([[side * 0.6 * radius, 0.4], [side * 0.1, 0.12]]), rope), DETAIL) for side in (-1, 1)
        ]
        throat = Part(polygon((-radius * 0.72, 0.45), (radius * 0.72, 0.45), (0.1, 0.25), (-0.1, 0.25)))
        return [*ropes, throat, *_disc(rng, 0, 1 - radius, radius), Part(box(-0.1, 0, 0.1, 0.14), SECOND)]
    radius = rng.uniform(0.27, 0.31)
    y = np.linspace(0, 0.45, 10)
    sway = 0.05 * np.sin(y * rng.uniform(14, 22) + rng.uniform(0, 6))
    string = line(np.stack([sway * (0.45 - y) * 2.2, y], axis=1), max(0.025, thin))
    knot = Part(polygon((-0.06, 0.38), (0.06, 0.38), (0, 0.47)), SECOND)
    return [Part(string, DETAIL), knot, *_disc(rng, 0, 1 - radius, radius)]


def lantern(rng: np.random.Generator, thin: float) -> list[Part]:
    """A decorated disc that hangs in the air between two small collars: a balloon by day, a lamp by night."""
    collars = [Part(box(-0.13, 0, 0.13, 0.24), DETAIL), Part(box(-0.16, 0.84, 0.16, 1), SECOND)]
    return collars + _disc(rng, 0, 0.53, rng.uniform(0.38, 0.42))


def ball(rng: np.random.Generator, thin: float) -> list[Part]:
    """A decorated disc that lies on the ground."""
    return _disc(rng, 0, 0.5, 0.5)


def lamp(rng: np.random.Generator, thin: float) -> list[Part]:
    """A pole on a foot that carries a decorated disc, two of them, or a lantern."""
    width = max(rng.uniform(0.035, 0.055), thin)
    foot = Part(polygon((-0.13, 0), (0.13, 0), (0.05, 0.08), (-0.05, 0.08)), SECOND)
    kind = rng.integers(3)
    if kind == 0:
        radius = rng.uniform(0.19, 0.25)
        return [foot, _pole(1 - radius, width), *_disc(rng, 0, 1 - radius, radius)]
    if kind == 1:
        radius, reach = rng.uniform(0.14, 0.18), rng.uniform(0.24, 0.32)
        arm = line(np.array([[-reach, 0.86], [-reach, 0.66], [reach, 0.66], [reach, 0.86]]), width)
        discs = _disc(rng, -reach, 1 - radius, radius) + _disc(rng, reach, 1 - radius, radius)
        return [foot, _pole(0.9, width), Part(arm, DETAIL), *discs]
    half = rng.uniform(0.18, 0.24)
    glass = polygon((-half * 0.6, 0.6), (half * 0.6, 0.6), (half, 0.88), (-half, 0.88))
    hood = polygon((-half * 1.15, 0.87), (half * 1.15, 0.87), (0, 1))
    return [foot, _pole(0.65, width), Part(glass), Part(hood, SECOND)]


def fish(rng: np.random.Generator, thin: float) -> list[Part]:
    """A lens-shaped body with tail, fins and an eye."""
    half, girth = rng.uniform(0.7, 0.95), rng.uniform(0.34, 0.42)
    upper = arc(0, 0.5, half, girth, 0.12, np.pi - 0.12)
    lower = arc(0, 0.5, half, girth, np.pi + 0.12, 2 * np.pi - 0.12)
    root = -half * 0.82
    tail = polygon((root, 0.5), (root - 0.42, 0.92), (root - 0.3, 0.5), (root - 0.42, 0.08))
    back_fin = polygon((-0.35 * half, 0.8), (0.25 * half, 0.85), (-0.3 * half, 1.06))
    band = polygon(
        (0.3 * half, 0.5 + girth * 0.9), (0.16 * half, 0.5), (0.3 * half, 0.5 - girth * 0.9), (0.4 * half, 0.5)
    )
    return [
        Part(tail, SECOND),
        Part(back_fin, SECOND),
        Part(np.concatenate([upper, lower]), MAIN, rounded=True),
        Part(band, SECOND),
        Part(ellipse(0.62 * half, 0.58, 0.075), DETAIL),
    ]


def tent(rng: np.random.Generator, thin: float) -> list[Part]:
    """A triangle with a slit for a door: a ridge tent with one long side, or a tall one with crossed poles."""
    if rng.random() < 0.55:
        half, long = rng.uniform(0.5, 0.65), rng.uniform(0.5, 1.0)
        side = polygon((-long / 2, 0.95), (long / 2, 0.88), (long / 2 + half, 0.06), (half - long / 2, 0))
        front = polygon((-half - long / 2, 0), (half - long / 2, 0), (-long / 2, 0.96))
        slit = polygon((-0.17 - long / 2, 0), (0.17 - long / 2, 0), (-long / 2, 0.62))
        return [Part(side, SECOND), Part(front), Part(slit, DETAIL)]
    half = rng.uniform(0.42, 0.58)
    poles = [
        Part(line(np.array([[-side * 0.14, 0.75], [side * 0.12, 1.06]]), max(0.03, thin)), DETAIL) for side in (-1, 1)
    ]
    band = [Part(polygon((-half * 0.5, 0.47), (half * 0.5, 0.47), (half * 0.36, 0.6), (-half * 0.36, 0.6)), SECOND)]
    return [
        *poles,
        Part(polygon((-half, 0), (half, 0), (0.04, 0.94), (-0.04, 0.94))),
        *(band if rng.random() < 0.6 else []),
        Part(polygon((-0.15, 0), (0.15, 0), (0, 0.45)), DETAIL),
    ]


def _disc(rng: np.random.Generator, x: float, y: float, radius: float) -> list[Part]:
    """The disc that balls, balloons and lamps share: plain, or with a belt, gores or wedges."""
    parts = [Part(ellipse(x, y, radius), MAIN, rounded=True)]
    kind = rng.integers(4)
    if kind == 1:
        low = rng.uniform(0.1, 0.4)
        right, left = arc(x, y, radius, radius, -low, low), arc(x, y, radius, radius, np.pi - low, np.pi + low)
        parts.append(Part(np.concatenate([right, left]), SECOND, rounded=True))
    elif kind == 2:
        parts.append(Part(ellipse(x, y, radius * 0.66, radius), SECOND, rounded=True))
        parts.append(Part(ellipse(x, y, radius * 0.25, radius), MAIN, rounded=True))
    elif kind == 3:
        pole, turn = polygon((x - 0.25 * radius, y + 0.35 * radius)), rng.uniform(0, 2)
        for start in turn + np.array([0.0, 2.1, 4.2]):
            wedge = np.concatenate([pole, arc(x, y, radius, radius, start, start + 1.05)])
            parts.append(Part(wedge, SECOND, rounded=True))
    return parts


def _windows(left: float, right: float, bottom: float, top: float, count: int) -> list[Part]:
    """A row of `count` equal windows."""
    pitch = (right - left) / count
    return [Part(box(left + (i + 0.14) * pitch, bottom, left + (i + 0.86) * pitch, top), DETAIL) for i in range(count)]


def _hull(half: float, height: float, keel: float) -> list[Part]:
    """A curved hull with a rail; the bow is on the right."""
    hull = polygon(
        (-half, height), (half * 1.12, height), (half * 0.95, height * 0.45), (half * keel, 0), (-half * keel, 0),
        (-half * 0.92, height * 0.4),
    )  # fmt: skip
    low, high = height * 0.76, height * 1.04
    return [
        Part(hull),
        Part(polygon((-half, low), (half * 1.06, low), (half * 1.12, high), (-half * 1.01, high)), SECOND),
    ]


def _pole(top: float, width: float) -> Part:
    """An upright pole in the middle, from the foot to `top`."""
    return Part(box(-width / 2, 0.02, width / 2, top), DETAIL)


class Look(NamedTuple):
    """What a thing can look like, and how it appears.

    Attributes:
        build: Makes its parts.
        leaning: RGB that its things lean to. Some lean only a little: colour hints, and does not tell.
        textures: What it is made of. Texture narrows the choice, shape and place decide: most textures belong to
            several classes, all of them appear in the landscape, and ball, balloon and lamp are made of the same.
        where: On the land, on the water or in the air.
        size: Its height in a near view.
        aspect: Its width per height.
        chances: Of none, one, two.
        tilt: How far it tilts either way, in radians.
    """

    build: Callable[[np.random.Generator, float], list[Part]]
    leaning: Colour
    textures: tuple[str, str]
    where: Literal["land", "water", "air"]
    size: float
    aspect: float
    chances: tuple[float, float, float]
    tilt: float = 0.03


LOOKS = {
    "house": Look(house, (186, 84, 62), ("bricks", "planks"), "land", 0.62, 1.2, (0.6, 0.4, 0)),
    "tree": Look(tree, (74, 140, 70), ("blotches", "dots"), "land", 0.72, 0.75, (0.55, 0.35, 0.1)),
    "car": Look(car, (52, 104, 190), ("grain", "checks"), "land", 0.35, 2.2, (0.55, 0.4, 0.05)),
    "ball": Look(ball, (60, 182, 186), ("grain", "ribs"), "land", 0.4, 1.0, (0.5, 0.4, 0.1), tilt=0.8),
    "lamp": Look(lamp, (60, 58, 72), ("grain", "ribs"), "land", 0.84, 0.5, (0.5, 0.4, 0.1), tilt=0.02),
    "tent": Look(tent, (206, 172, 96), ("zigzag", "stripes"), "land", 0.5, 1.6, (0.55, 0.4, 0.05)),
    "boat": Look(boat, (236, 148, 52), ("planks", "checks"), "water", 0.6, 1.3, (0.4, 0.5, 0.1), tilt=0.08),
    "fish": Look(fish, (128, 88, 190), ("dots", "zigzag"), "water", 0.32, 2.3, (0.4, 0.4, 0.2), tilt=0.4),
    "balloon": Look(balloon, (216, 84, 160), ("grain", "ribs"), "air", 0.62, 0.65, (0.6, 0.35, 0.05), tilt=0.12),
    "lantern": Look(lantern, (226, 74, 74), ("grain", "ribs"), "air", 0.46, 0.85, (0.35, 0.4, 0.25), tilt=0.12),
    "streamer": Look(fish, (150, 196, 60), ("dots", "zigzag"), "air", 0.32, 2.3, (0.5, 0.4, 0.1), tilt=0.4),
}
"""Looks are named like their class. Two are shared by two classes, which only sun or moon, elsewhere in the sky, tell
apart: a `lantern` is a balloon by day and a lamp by night; a `streamer`, a fish in the air, is a balloon by day and a
flying fish by night."""
