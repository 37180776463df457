"""The stage: sky, hills, land and water. All of it is the class `background`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from .canvas import Canvas, Light
from .palettes import Colour, mix
from .shapes import arc, ellipse, polygon
from .textures import Material, pick_material, soft_field, texture_bank

FAR = 20.0
"""Distance of the sky and the hills. The ground runs from about 10 at the horizon to about 1 at the lower border."""

_NEAREST_TO_HORIZON = 0.1  # keeps the ground's distance at the horizon finite

# The landscape is a wash on paper and the objects are inked on it: that sets objects off, whatever their class.
_PAPER: Colour = (235.0, 235.0, 235.0)
_WASH = 0.5
_SUN = Material((244.0, 150.0, 40.0), (244.0, 150.0, 40.0))
_MOON = Material((250.0, 250.0, 232.0), (250.0, 250.0, 232.0))


@dataclass
class Landscape:
    """Where things can stand, in shares of the image's height (0 top, 1 bottom).

    Attributes:
        horizon: Where sky and ground meet.
        shore: Where land and water meet, or None without water.
        water_in_front: Water lies below the shore, else between the horizon and the shore.
        sky, land, water: Their materials.
        palette: `(colours, 3)` float32, the scene's colour scheme.
        light: Direction that light comes from: -1 left, 1 right.
        night: The moon stands in the sky, else the sun. Nothing else tells.
        luminary: Where it stands: x in shares of the width; y and radius in shares of the height.
    """

    horizon: float
    shore: float | None
    water_in_front: bool
    sky: Material
    land: Material
    water: Material
    palette: np.ndarray
    light: float
    night: bool
    luminary: tuple[float, float, float]
    _shore_waves: np.ndarray = field(repr=False)

    @property
    def veil(self) -> Colour:
        """The colour that far things fade to."""
        return mix(self.sky.colour, (225, 225, 225), 0.4)

    def nearness(self, y: float) -> float:
        """Return 0 for ground at the horizon (and all above it), 1 at the lower border."""
        return max((y - self.horizon) / (1 - self.horizon), 0.0)

    def between(self, on_water: bool) -> tuple[float, float]:
        """Return the heights between which things stand on the land, or lie on the water."""
        if self.shore is None:
            return self.horizon + 0.04, 1.04
        if self.water_in_front == on_water:
            return (self.shore + 0.08, 1.0) if on_water else (self.shore + 0.05, 1.04)
        return (self.horizon + 0.04, self.shore - 0.04) if on_water else (self.horizon + 0.03, self.shore - 0.02)

    def shore_line(self, width: int, height: int) -> np.ndarray:
        """Return the shore from left to right, `(points, 2)` x, y in pixels."""
        assert self.shore is not None
        x = np.linspace(0, 1, 25)
        bend = self._shore_waves[0] * np.sin(2 * np.pi * x + self._shore_waves[1])
        ripple = self._shore_waves[2] * np.sin(7 * np.pi * x + self._shore_waves[3])
        return np.stack([x * (width + 4) - 2, (self.shore + bend + ripple) * height], axis=1)


def distance(nearness: float | np.ndarray) -> float | np.ndarray:
    """Return the distance that belongs to a nearness of 0 or more."""
    return 1 / (_NEAREST_TO_HORIZON + nearness)


def pick_landscape(rng: np.random.Generator, palette: np.ndarray) -> Landscape:
    """Draw a landscape: land alone, a sea behind the shore, or a lake in front of it."""
    horizon = rng.uniform(0.26, 0.5)
    kind = rng.random()
    shore = None if kind < 0.3 else float(rng.uniform(max(0.52, horizon + 0.16), 0.74))
    sky = _pick_wash(rng, palette, [])
    land = _pick_wash(rng, palette, [sky.colour])
    water = _pick_wash(rng, palette, [sky.colour, land.colour])
    waves = rng.uniform([0.005, 0, 0.002, 0], [0.025, 6.28, 0.008, 6.28])
    light = rng.uniform(-1, 1)
    luminary = (0.5 + 0.4 * light, rng.uniform(0.12, 0.16), 0.1)
    night = bool(rng.random() < 0.5)
    return Landscape(horizon, shore, kind > 0.65, sky, land, water, palette, light, night, luminary, waves)


def _pick_wash(rng: np.random.Generator, palette: np.ndarray, avoid: Sequence[Colour]) -> Material:
    return pick_material(rng, palette, avoid, tuple(texture_bank())).tinted(_PAPER, _WASH)


def paint_landscape(rng: np.random.Generator, canvas: Canvas, scape: Landscape) -> None:
    """Paint the sky with its clouds and sun, hills, land and water."""
    height, width = canvas.height, canvas.width
    horizon = scape.horizon * height
    _paint_sky(rng, canvas, scape)
    if rng.random() < 0.7:
        _paint_hills(rng, canvas, scape)
    _paint_luminary(canvas, scape)
    ground = _band(width, horizon, height)
    light = Light.over(ground, 0.06 * scape.light, -0.14)  # paler far away, darker at the observer's feet
    if scape.shore is None:
        canvas.fill(ground, scape.land, light)
        return
    shore = scape.shore_line(width, height)
    front = np.concatenate([shore, [[width + 2, height + 2], [-2, height + 2]]])
    back_fill, front_fill = (scape.land, scape.water) if scape.water_in_front else (scape.water, scape.land)
    canvas.fill(ground, back_fill, light)
    foam = mix(scape.water.colour, (255, 255, 255), 0.45)
    wash = np.array([0, 0.012 * height])
    canvas.fill(front - wash / 2, Material(foam, foam))
    canvas.fill(front + wash / 2, front_fill, light)


def background_distance(scape: Landscape, height: int, width: int) -> np.ndarray:
    """Return the distance of the bare landscape, `(height, width)` float32: `FAR` above the horizon."""
    rows = (np.arange(height) + 0.5) / height
    nearness = (rows - scape.horizon) / (1 - scape.horizon)
    column = np.where(nearness < 0, FAR, distance(np.maximum(nearness, 0))).astype(np.float32)
    return np.repeat(column[:, None], width, axis=1)


def _paint_sky(rng: np.random.Generator, canvas: Canvas, scape: Landscape) -> None:
    height, width = canvas.height, canvas.width
    rows = int(np.ceil(scape.horizon * height)) + 1
    sky = canvas.image[:, :rows]
    sky[:] = scape.sky.render(0, 0, rows, width)
    glow = np.linspace(-0.12, 0.45, rows, dtype=np.float32)[:, None]  # skies pale towards the horizon
    sky += (235 - sky) * np.maximum(glow, 0) + sky * np.minimum(glow, 0)
    if rng.random() < 0.5:
        clouds = np.clip(soft_field(rng, rows, width) * 2.2 - 0.5, 0, 1) * np.float32(rng.uniform(0.3, 0.7))
        sky += (np.float32(245) - sky) * clouds


def _paint_luminary(canvas: Canvas, scape: Landscape) -> None:
    """Paint the sun with its rays, or the crescent of the moon."""
    x, y, radius = scape.luminary
    middle = np.array([x * canvas.width, y * canvas.height])
    radius *= canvas.height
    canvas.darken(float(middle[0]), float(middle[1]), 2.5 * radius, 2.5 * radius, 0.5 if scape.night else -0.4)
    if scape.night:
        outer = arc(0, 0, 1, 1, 0.25 * np.pi, 1.75 * np.pi)
        inner = arc(0.45, 0, 0.76, 0.76, 0.31 * np.pi, 1.69 * np.pi)[::-1]
        outlines = [np.concatenate([outer, inner])]
    else:
        rays = [
            polygon((0.66, -0.12), (1.05, 0), (0.66, 0.12)) @ [[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]]
            for a in np.arange(8) * np.pi / 4
        ]
        outlines = [*rays, ellipse(0, 0, 0.6)]
    for outline in outlines:
        placed = middle + radius * outline
        canvas.fill(placed, _MOON if scape.night else _SUN, Light.over(placed, 0.0, 0.0))


def _paint_hills(rng: np.random.Generator, canvas: Canvas, scape: Landscape) -> None:
    material = _pick_wash(rng, scape.palette, [scape.sky.colour])
    x = np.linspace(0, 1, 33)
    ridge = sum(
        rng.uniform(0.2, 1) / wave * np.sin(2 * np.pi * (wave * rng.uniform(0.6, 1.2) * x + rng.random()))
        for wave in (1, 2, 4)
    )
    top = scape.horizon - rng.uniform(0.03, 0.11) * (1.1 + 0.55 * ridge)
    outline = np.stack([x * (canvas.width + 4) - 2, top * canvas.height], axis=1)
    foot = scape.horizon * canvas.height + 4
    canvas.fill(np.concatenate([outline, [[canvas.width + 2, foot], [-2, foot]]]), material)


def _band(width: int, top: float, bottom: float) -> np.ndarray:
    """Return the outline of a band over the whole width, a little beyond the borders."""
    return np.array([[-2, top], [width + 2, top], [width + 2, bottom + 2], [-2, bottom + 2]], np.float64)
