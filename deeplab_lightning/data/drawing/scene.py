"""One scene: a landscape, the things in it from far to near, and the truth about every pixel."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from .canvas import Canvas, Light
from .landscape import Landscape, background_distance, distance, paint_landscape, pick_landscape
from .objects import LOOKS
from .palettes import pick_colour, pick_palette
from .placement import Placement, place_objects
from .textures import Material, noise_bank, pick_material, soft_field, wrapped_crop

CLASS_NAMES = ("background", "house", "tree", "car", "boat", "balloon", "ball", "lamp", "fish", "tent")
"""What is told apart, in the order of the ids in masks."""
VOID = 255
"""The value in masks of the borders between regions."""

_BORDER_SHARE = 1 / 130  # width of the void border as a share of the shorter side: VOC's is about 1/75
_LEANING = (0.5, 1.0)  # how far a thing leans to its class's colour, drawn anew for each
_THINNEST = 2.2  # pixels: the narrowest line that is drawn


@dataclass(frozen=True)
class DrawnObject:
    """One thing in a scene.

    Attributes:
        class_id: Train id of its class, 1 or more.
        instance_id: Its value in `DrawnScene.instances`: 1 for the first painted, the farthest; in films it stays.
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
        objects: The things in the order of their numbers: in scenes, from far to near as they are painted.
    """

    image: np.ndarray
    mask: np.ndarray
    instances: np.ndarray
    depth: np.ndarray
    objects: tuple[DrawnObject, ...]


def draw_scene(key: tuple[int, ...], height: int, width: int) -> DrawnScene:
    """Draw the scene that belongs to `key`, always the same for the same arguments.

    Args:
        key: Non-negative integers that seed the random stream, for example `(seed, split, index)`.
        height: Height of the image in pixels.
        width: Width of the image in pixels.
    """
    rng = np.random.default_rng(key)
    palette = pick_palette(rng)
    scape = pick_landscape(rng, palette)
    placements = place_objects(rng, scape, width / height)
    canvas = Canvas(height, width)
    paint_landscape(rng, canvas, scape)
    for instance_id, placement in enumerate(placements, start=1):
        paint_object(rng, canvas, scape, placement, instance_id)
    return finish_scene(rng, canvas, scape, placements)


def finish_scene(
    rng: np.random.Generator,
    canvas: Canvas,
    scape: Landscape,
    placements: Sequence[Placement],
    noise: np.random.Generator | None = None,
) -> DrawnScene:
    """Take the photograph of what was painted, and tell the truth about it.

    Args:
        rng: Draws the light, and the camera.
        canvas: What was painted.
        scape: Where.
        placements: The things in the order of their numbers, from 1.
        noise: Draws the sensor's noise; None takes `rng`.
    """
    height, width = canvas.height, canvas.width
    instances = canvas.instances
    classes = np.array([0, *(CLASS_NAMES.index(placement.name) for placement in placements)], np.uint8)
    distances = np.array([0, *(distance(placement.nearness) for placement in placements)])
    visible = np.bincount(instances.ravel(), minlength=len(classes))
    facts = list(zip(classes.tolist(), range(len(classes)), distances.tolist(), visible.tolist(), strict=True))
    depth = np.where(instances > 0, distances.astype(np.float32)[instances], background_distance(scape, height, width))
    mask = classes[instances]
    mask[_borders(instances)] = VOID
    objects = tuple(DrawnObject(*fact) for fact in facts[1:])
    return DrawnScene(_expose(rng, canvas.image, noise or rng), mask, instances, depth, objects)


def paint_object(
    rng: np.random.Generator, canvas: Canvas, scape: Landscape, placement: Placement, instance_id: int
) -> None:
    """Paint one object with its shadow."""
    look, scale = LOOKS[placement.look], placement.size * canvas.height  # pixels per unit of the object
    parts = look.build(rng, _THINNEST / scale)
    materials = _pick_materials(rng, scape, placement)
    corners = _to_pixels(np.concatenate([part.outline for part in parts]), placement, scale, canvas)
    light = Light.over(corners, 0.16 * scape.light, -0.1)
    if look.where != "air" and placement.look != "fish":  # a shadow, on the side away from the light
        (x, y), (half, half_height) = light.middle, light.half
        canvas.darken(x - 0.5 * half * scape.light, y + half_height, 1.5 * half, 0.4 * half + 2, 0.55)
    ends = np.cumsum([len(part.outline) for part in parts])
    for part, outline in zip(parts, np.split(corners, ends[:-1]), strict=True):
        canvas.fill(outline, materials[part.fill], light, part.rounded, instance_id)


def _pick_materials(rng: np.random.Generator, scape: Landscape, placement: Placement) -> list[Material]:
    """Return the materials `MAIN`, `SECOND` and `DETAIL` of an object."""
    look = LOOKS[placement.look]
    behind = [scape.sky.colour, (scape.water if look.where == "water" else scape.land).colour]
    main = pick_material(rng, scape.palette, behind, look.textures)
    second = pick_material(rng, scape.palette, [main.colour, *behind], look.textures)
    detail = pick_colour(rng, scape.palette, [main.colour, second.colour, *behind])
    leaning = rng.uniform(*_LEANING)
    haze = 0.4 * max(0.0, 1 - 2.2 * placement.nearness)
    materials = [*(material.tinted(look.leaning, leaning) for material in (main, second)), Material(detail, detail)]
    return [material.tinted(scape.veil, haze) for material in materials]


def _to_pixels(outline: np.ndarray, placement: Placement, scale: float, canvas: Canvas) -> np.ndarray:
    """Turn, mirror, scale and move `(points, 2)` x, y from the object's units to pixels."""
    cosine, sine = math.cos(placement.turn), math.sin(placement.turn)
    x, y = outline[:, 0], outline[:, 1] - 0.5
    across = (x * cosine - y * sine) * (-scale if placement.mirrored else scale)
    up = (x * sine + y * cosine + 0.5) * scale
    return np.stack([placement.x * canvas.width + across, placement.base * canvas.height - up], axis=1)


def _borders(instances: np.ndarray) -> np.ndarray:
    """Return where two instances meet, `(height, width)` bool: a band that grows with the image."""
    side = 1 + max(1, round(min(instances.shape) * _BORDER_SHARE))
    ids = instances.astype(np.uint8)
    window = np.ones((side, side), np.uint8)
    return cv2.dilate(ids, window) != cv2.erode(ids, window)


def _expose(rng: np.random.Generator, image: np.ndarray, noise: np.random.Generator) -> np.ndarray:
    """Turn a painted image, `(3, height, width)` float32, into a photographed one, `(height, width, 3)` uint8.

    A camera adds exposure, a colour cast, uneven light and sensor noise.
    """
    height, width = image.shape[1:]
    cast = (rng.uniform(0.78, 1.14) * rng.uniform(0.92, 1.08, 3)).astype(np.float32)
    slope_x, slope_y = rng.uniform(-0.18, 0.18, 2).astype(np.float32)
    light = 1 + slope_y * np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    light = light + slope_x * np.linspace(-1, 1, width, dtype=np.float32)
    if rng.random() < 0.5:  # shadows of clouds
        light -= np.float32(rng.uniform(0.1, 0.3)) * np.clip(soft_field(rng, height, width) * 2, 0, 1)
    row, column = (int(corner) for corner in noise.integers(256, size=2))
    grain = wrapped_crop(noise_bank(), row, column, height, width)
    strength = np.float32(rng.uniform(1.5, 5.0))
    planes = image * light * cast[:, None, None] + strength * grain
    return cv2.merge([np.clip(plane, 0, 255).astype(np.uint8) for plane in planes])
