"""One scene: a landscape, the things in it from far to near, and the truth about every pixel."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from .camera import expose
from .canvas import Box, Canvas, Light
from .landscape import Landscape, background_distance, distance, paint_landscape, pick_landscape
from .objects import LOOKS
from .palettes import pick_colour, pick_palette
from .placement import Placement, place_objects
from .shapes import Fill
from .textures import Material, pick_material

CLASS_NAMES = ("background", "house", "tree", "car", "boat", "balloon", "ball", "lamp", "fish", "tent")
"""What is told apart, in the order of the ids in masks."""
VOID = 255
"""The value in masks of the borders between regions."""

_CLASS_IDS = {name: index for index, name in enumerate(CLASS_NAMES)}
_BORDER_SHARE = 1 / 130  # width of the void border as a share of the shorter side: VOC's is about 1/75
_LEANING = (0.5, 1.0)  # how far a thing leans to its class's colour, drawn anew for each
_THINNEST = 2.2  # pixels: the narrowest line that is drawn


@dataclass(frozen=True)
class DrawnObject:
    """One thing in a scene.

    Attributes:
        class_id: Train id of its class, 1 or more.
        instance_id: Its value in `DrawnScene.instances`: 1 for the first painted, the farthest.
        depth: Its distance; it covers everything that is farther away.
        visible_pixels: How many pixels show it; 0 when all of it is covered or outside.
    """

    class_id: int
    instance_id: int
    depth: float
    visible_pixels: int


@dataclass(frozen=True)
class DrawnScene:
    """An image with everything that is known about it.

    Attributes:
        image: `(height, width, 3)` uint8 RGB.
        mask: `(height, width)` uint8 train ids, 255 on the borders between regions.
        instances: `(height, width)` int32 instance ids without borders, 0 = background.
        depth: `(height, width)` float32 distance of what is seen: about 0.9 (near) to 20 (sky).
        objects: The things in painting order, from far to near.
    """

    image: np.ndarray
    mask: np.ndarray
    instances: np.ndarray
    depth: np.ndarray
    objects: tuple[DrawnObject, ...]


def draw_scene(key: tuple[int, ...], height: int, width: int) -> DrawnScene:
    """Draw the scene that belongs to `key`, such as `(seed, split, index)`: always the same for the same arguments."""
    rng = np.random.default_rng(key)
    palette = pick_palette(rng)
    scape = pick_landscape(rng, palette)
    placements = place_objects(rng, scape, width / height)
    canvas = Canvas(height, width)
    paint_landscape(rng, canvas, scape)
    instances = np.zeros((height, width), np.int32)
    depth = background_distance(scape, height, width)
    for instance_id, placement in enumerate(placements, start=1):
        shown = _paint_object(rng, canvas, scape, placement)
        if shown is not None:
            box, seen = shown
            instances[box.window][seen] = instance_id
            depth[box.window][seen] = distance(placement.nearness)
    classes = np.array([0, *(_CLASS_IDS[placement.name] for placement in placements)], np.uint8)
    visible = np.bincount(instances.ravel(), minlength=len(classes))
    objects = tuple(
        DrawnObject(int(classes[i]), i, float(distance(placement.nearness)), int(visible[i]))
        for i, placement in enumerate(placements, start=1)
    )
    mask = classes[instances]
    mask[_borders(instances)] = VOID
    return DrawnScene(expose(rng, canvas.image), mask, instances, depth, objects)


def _paint_object(
    rng: np.random.Generator, canvas: Canvas, scape: Landscape, placement: Placement
) -> tuple[Box, np.ndarray] | None:
    """Paint one object with its shadow; return its box and which of the box's pixels it covers, or None if outside."""
    scale = placement.size * canvas.height  # pixels per unit of the object
    parts = LOOKS[placement.look].build(rng, _THINNEST / scale)
    materials = _pick_materials(rng, scape, placement)
    corners = _to_pixels(np.concatenate([part.outline for part in parts]), placement, scale, canvas)
    light = Light.over(corners, 0.16 * scape.light, -0.1)
    if placement.casts_shadow:
        _paint_shadow(canvas, scape, light)
    covered, start = [], 0
    for part in parts:
        stop = start + len(part.outline)
        covered.append(canvas.fill(corners[start:stop], materials[part.fill], light, part.rounded))
        start = stop
    return _union([one for one in covered if one is not None])


def _pick_materials(rng: np.random.Generator, scape: Landscape, placement: Placement) -> dict[Fill, Material]:
    ground = scape.water if placement.on_water else scape.land
    behind = [scape.sky.colour, ground.colour]
    look = LOOKS[placement.look]
    main = pick_material(rng, scape.palette, behind, look.textures)
    second = pick_material(rng, scape.palette, [main.colour, *behind], look.textures)
    detail = pick_colour(rng, scape.palette, [main.colour, second.colour, *behind])
    leaning = rng.uniform(*_LEANING)
    main, second = (material.tinted(look.leaning, leaning) for material in (main, second))
    haze = 0.4 * max(0.0, 1 - 2.2 * placement.nearness)
    materials = {Fill.MAIN: main, Fill.SECOND: second, Fill.DETAIL: Material(detail, detail)}
    return {fill: material.tinted(scape.veil, haze) for fill, material in materials.items()}


def _to_pixels(outline: np.ndarray, placement: Placement, scale: float, canvas: Canvas) -> np.ndarray:
    """Turn, mirror, scale and move `(points, 2)` x, y from the object's units to pixels."""
    cosine, sine = math.cos(placement.turn), math.sin(placement.turn)
    x, y = outline[:, 0], outline[:, 1] - 0.5
    across = (x * cosine - y * sine) * (-scale if placement.mirrored else scale)
    up = (x * sine + y * cosine + 0.5) * scale
    return np.stack([placement.x * canvas.width + across, placement.base * canvas.height - up], axis=1)


def _paint_shadow(canvas: Canvas, scape: Landscape, light: Light) -> None:
    """Darken the ground, or the water, under a thing that stands on it, on the side away from the light."""
    half, foot = light.half[0], light.middle[1] + light.half[1]
    canvas.darken(light.middle[0] - 0.5 * half * scape.light, foot, 1.5 * half, 0.4 * half + 2, 0.55)


def _union(covered: list[tuple[Box, np.ndarray]]) -> tuple[Box, np.ndarray] | None:
    """Return the box of all parts, and where any of them covers half a pixel or more."""
    if not covered:
        return None
    tops, lefts, bottoms, rights = zip(*(box for box, _ in covered), strict=True)
    whole = Box(min(tops), min(lefts), max(bottoms), max(rights))
    seen = np.zeros((whole.bottom - whole.top, whole.right - whole.left), bool)
    for box, cover in covered:
        seen[box.top - whole.top : box.bottom - whole.top, box.left - whole.left : box.right - whole.left] |= (
            cover > 127
        )
    return whole, seen


def _borders(instances: np.ndarray) -> np.ndarray:
    """Return where two instances meet, `(height, width)` bool: a band that grows with the image."""
    side = 1 + max(1, round(min(instances.shape) * _BORDER_SHARE))
    ids = instances.astype(np.uint8)
    window = np.ones((side, side), np.uint8)
    return cv2.dilate(ids, window) != cv2.erode(ids, window)
