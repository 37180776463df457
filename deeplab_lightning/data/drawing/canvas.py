"""An image that antialiased, textured polygons are painted on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np

from .textures import Material

_SUBPIXEL_BITS = 4  # OpenCV takes polygon corners as integers; these many bits are behind the point
_INK = 0.6  # how much of the light a contour swallows


class Box(NamedTuple):
    """Pixel rows `top` to `bottom` and columns `left` to `right`, ends excluded."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def window(self) -> tuple[slice, slice]:
        """The box as an index into the last two axes."""
        return slice(self.top, self.bottom), slice(self.left, self.right)


@dataclass(frozen=True)
class Light:
    """How light falls on one thing: brightness is 1 + slope . (x, y), with x and y in -1..1 over the thing's box.

    Attributes:
        middle: x, y of the box's centre in pixels.
        half: Half the box's width and height in pixels.
        slope_x: Brightness gained from the middle to the right border.
        slope_y: Brightness gained from the middle to the lower border.
    """

    middle: tuple[float, float]
    half: tuple[float, float]
    slope_x: float
    slope_y: float

    @classmethod
    def over(cls, outline: np.ndarray, slope_x: float, slope_y: float) -> Light:
        """Return the light on the box around `outline`, `(points, 2)` pixels."""
        (left, top), (right, bottom) = outline.min(axis=0).tolist(), outline.max(axis=0).tolist()
        half = max((right - left) / 2, 0.5), max((bottom - top) / 2, 0.5)
        return cls(((left + right) / 2, (top + bottom) / 2), half, slope_x, slope_y)

    def on_board(self, box: Box) -> np.ndarray:
        """Return the brightness of a flat thing in `box`, `(height, width)` float32."""
        x, y = self._coordinates(box)
        return (1 + self.slope_y * y)[:, None] + self.slope_x * x

    def on_ball(self, box: Box) -> np.ndarray:
        """Return the brightness of a ball in `box`: steeper, and darker towards the rim."""
        x, y = self._coordinates(box)
        down = 1.1 + y * (1.6 * self.slope_y - 0.2 * y)
        across = x * (1.6 * self.slope_x - 0.2 * x)
        return down[:, None] + across

    def _coordinates(self, box: Box) -> tuple[np.ndarray, np.ndarray]:
        x = np.arange(box.left + 0.5 - self.middle[0], box.right - self.middle[0], dtype=np.float32)
        y = np.arange(box.top + 0.5 - self.middle[1], box.bottom - self.middle[1], dtype=np.float32)
        return x * np.float32(1 / self.half[0]), y * np.float32(1 / self.half[1])


class Canvas:
    """A float image and what is needed to paint on it.

    Attributes:
        image: `(3, height, width)` float32 RGB, nominally 0..255. Planes first, because NumPy is several times faster
            on long inner rows than on inner triples.
        instances: `(height, width)` int32, the number of the thing that covers half a pixel or more; 0 = background.
    """

    def __init__(self, height: int, width: int) -> None:
        self.height, self.width = height, width
        self.image = np.zeros((3, height, width), np.float32)
        self.instances = np.zeros((height, width), np.int32)
        self._pen = max(1, round(min(height, width) / 160))  # pixels

    def fill(
        self,
        outline: np.ndarray,
        material: Material,
        light: Light | None = None,
        rounded: bool = False,
        instance: int = 0,
    ) -> None:
        """Paint a polygon with antialiasing: bare, or, under a `light`, shaded and with an inked contour.

        Args:
            outline: `(points, 2)` x, y in pixels; pixel i covers i..i+1.
            material: What it is filled with.
            light: How it is lit: as a part of the flat thing that the light falls on.
            rounded: Light the polygon itself as a ball instead.
            instance: What it is part of.
        """
        (left, top), (right, bottom) = outline.min(axis=0).tolist(), outline.max(axis=0).tolist()
        box = self._clipped(math.floor(top) - 1, math.floor(left) - 1, math.ceil(bottom) + 1, math.ceil(right) + 1)
        if box is None:
            return
        cover = np.zeros((box.bottom - box.top, box.right - box.left), np.uint8)
        corners = np.rint((outline - (box.left + 0.5, box.top + 0.5)) * (1 << _SUBPIXEL_BITS)).astype(np.int32)
        cv2.fillPoly(cover, [corners], 255, cv2.LINE_AA, _SUBPIXEL_BITS)
        rows, columns = box.window
        region = self.image[:, rows, columns]
        paint = material.render(box.top, box.left, *cover.shape)
        if light is not None:
            lit = Light.over(outline, light.slope_x, light.slope_y).on_ball(box) if rounded else light.on_board(box)
            paint = paint * lit
        region += (paint - region) * (cover * np.float32(1 / 255))
        if light is not None:
            ink = np.zeros_like(cover)
            cv2.polylines(ink, [corners], True, 255, self._pen, cv2.LINE_AA, _SUBPIXEL_BITS)
            region *= 1 - ink * np.float32(_INK / 255)
        if instance:
            self.instances[rows, columns][cover > 127] = instance

    def darken(self, x: float, y: float, radius_x: float, radius_y: float, strength: float) -> None:
        """Lay a soft elliptic shadow around `x`, `y`; a negative `strength` is a glow."""
        left, top = math.floor(x - radius_x), math.floor(y - radius_y)
        width, height = math.ceil(2 * radius_x) + 1, math.ceil(2 * radius_y) + 1
        box = self._clipped(top, left, top + height, left + width)
        if box is None:
            return
        soft = cv2.resize(_soft_disc(), (width, height), interpolation=cv2.INTER_LINEAR)
        soft = soft[box.top - top : box.bottom - top, box.left - left : box.right - left]
        rows, columns = box.window
        self.image[:, rows, columns] *= 1 - np.float32(strength) * soft

    def _clipped(self, top: int, left: int, bottom: int, right: int) -> Box | None:
        """Return the part of a box that lies on the canvas, or None."""
        box = Box(max(top, 0), max(left, 0), min(bottom, self.height), min(right, self.width))
        return box if box.top < box.bottom and box.left < box.right else None


@lru_cache(maxsize=1)
def _soft_disc() -> np.ndarray:
    """Return `(64, 64)` float32: 1 in the middle, falling smoothly to 0 at the inscribed circle."""
    axis = (np.arange(64, dtype=np.float32) - 31.5) / 31.5
    inside = np.clip(1 - np.hypot(axis[:, None], axis[None, :]), 0, 1)
    return (inside * inside * (3 - 2 * inside)).astype(np.float32)
