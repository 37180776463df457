"""Films: scenes in which the things move, come nearer and hide one another, frame by frame.

The camera glides sideways and forwards, so that near things pass faster than far ones; cars, boats, fish, balls and
balloons go ways of their own. Things keep their looks, their light and their numbers; they leave the image and come
back. What moves where follows from the frame's number alone: no frame needs the one before.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .canvas import Canvas
from .landscape import Landscape, paint_landscape, pick_landscape
from .objects import LOOKS
from .palettes import pick_palette
from .placement import Placement, place_objects
from .scene import DrawnScene, finish_scene, paint_object

_COMPOSITION, _LANDSCAPE, _LENS, _NOISE, _THINGS = range(1, 6)  # random streams of a film
_STANDING = ("house", "tree", "lamp", "tent")
_GLIDE = 0.012  # the camera's fastest way to a side, in shares of the width per frame, of what is nearest
_APPROACH = 0.006  # its fastest way forwards or backwards, in nearness per frame
_OWN_WAY = (0.022, 0.010)  # likewise, of things that move
_BEYOND = 0.2  # how far things leave the image before they turn back, in shares of the width


class _Way(NamedTuple):
    """How a thing moves: what is added in each frame, to its `x` in shares of the width and to its nearness."""

    across: float
    nearer: float


def draw_frame(key: tuple[int, ...], frame: int, height: int, width: int) -> DrawnScene:
    """Draw a frame of the film that belongs to `key`, always the same for the same arguments.

    A thing's number is the same in all frames; `objects` are in the order of their numbers.

    Args:
        key: Non-negative integers that seed the random streams, for example `(seed, split, film)`.
        frame: 0 or more.
        height: Height of the image in pixels.
        width: Width of the image in pixels.
    """
    rng = _stream(key, _COMPOSITION)
    scape = pick_landscape(rng, pick_palette(rng))
    placements = place_objects(rng, scape, width / height)
    camera = _Way(rng.uniform(-_GLIDE, _GLIDE), rng.uniform(-_APPROACH, _APPROACH))
    ways = [_way(rng, placement, camera) for placement in placements]
    placements = [_moved(placement, way, camera, frame, scape) for placement, way in zip(placements, ways, strict=True)]
    canvas = Canvas(height, width)
    paint_landscape(_stream(key, _LANDSCAPE), canvas, scape)
    for place in sorted(range(len(placements)), key=lambda place: (placements[place].nearness, place)):
        paint_object(_stream(key, _THINGS, place), canvas, scape, placements[place], place + 1)
    return finish_scene(_stream(key, _LENS), canvas, scape, placements, _stream(key, _NOISE, frame))


def _stream(key: tuple[int, ...], *purpose: int) -> np.random.Generator:
    return np.random.default_rng([*key, *purpose, len(purpose)])  # of nothing that ends in 0: zeros do not count


def _way(rng: np.random.Generator, placement: Placement, camera: _Way) -> _Way:
    """Draw how a thing moves; what stands moves as the camera makes it."""
    across, nearer = rng.uniform(-1, 1, 2) * _OWN_WAY
    own = _Way(0, 0) if placement.look in _STANDING else _Way(across, nearer)
    return _Way(own.across, own.nearer + camera.nearer)


def _moved(placement: Placement, way: _Way, camera: _Way, frame: int, scape: Landscape) -> Placement:
    """Return where a thing is in a frame: things stay on their land, on their water, or in the air."""
    look = LOOKS[placement.look]
    if look.where == "air":
        nearness = _there_and_back(placement.nearness + way.nearer * frame, 0.05, 1.0)
        growth, base = (0.5 + 0.5 * nearness) / (0.5 + 0.5 * placement.nearness), placement.base
    else:
        low, high = scape.between(look.where == "water")
        downwards = way.nearer * (1 - scape.horizon)
        base = _there_and_back(placement.base + downwards * frame, low, high)
        nearness = scape.nearness(base)
        growth = (0.42 + 0.58 * nearness) / (0.42 + 0.58 * placement.nearness)
    glide = camera.across * (0.3 + 0.7 * nearness)
    x = _there_and_back(placement.x + (way.across + glide) * frame, -_BEYOND, 1 + _BEYOND)
    return placement._replace(x=x, base=base, size=placement.size * growth, nearness=nearness)


def _there_and_back(value: float, low: float, high: float) -> float:
    """Return a value within bounds that was reflected at them, however often."""
    span = high - low
    return low + span - abs((value - low) % (2 * span) - span)
