"""Scale, crop, pad, flip and rotation in one step that computes only the pixels of the crop.

    image, as stored          scaled image              crop
    +---------------------+     +--------------------+      +---------+
    |    +------+         |     |                    |      |  part   |##
    |    | read |         | --> |    window---+      |  --> |         |##  # border: mean pixel, void
    |    +------+         |     |    |        |      |      +---------+##
    +---------------------+     +----+--------+------+       ############

A `Window` says all about it, and is decided from the image's size alone (rare-class windows look at the mask, too).
The scaled image is never made: `cv2.resize` works on the part of the stored image that the window needs.

Equal to `A.RandomScale`, `A.PadIfNeeded` (top left), `A.RandomCrop`, `A.HorizontalFlip` with the same parameters: masks
to the bit, images to `PRECISION` of a stored pixel and one grey level of rounding. As there and in the papers' code,
shrinking is bilinear without a filter before it.

Papers: v1 (section 4.2 of v2's article counts scale and mirror) to v3+ train on scaled, cropped, mirrored images.
Rotation and rare-class windows are not in the papers, and off.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, Protocol

import albumentations as A
import cv2
import numpy as np
from albumentations.core.type_definitions import Targets

from ...errors import ConfigError

PRECISION = 1 / 64
"""How far pixels may lie from where scaling the whole image puts them, in stored pixels; cv2's own warps round to
1/32."""

CHANNELS_AT_ONCE = 4
"""cv2 warps pixels of at most so many channels."""


TRIES = 10
"""Turned windows that are drawn for a rare class at most: a turned grid may pass over a single pixel."""


class Stored(Protocol):
    """An image `(H, W, C)` or mask `(H, W)`, of which parts are read: an array, or what reads tiles from a file."""

    @property
    def shape(self) -> tuple[int, ...]:
        """As an array's."""

    def __getitem__(self, part: tuple[slice, slice], /) -> np.ndarray:
        """Return rows and columns."""


class Span:
    """One axis of a window.

    Args:
        stored: Length of the stored image along this axis.
        scaled: Its length once scaled.
        start: First pixel of the window, in the scaled image.
        size: Length of the window; what reaches beyond the scaled image is border.
    """

    def __init__(self, stored: int, scaled: int, start: int, size: int) -> None:
        self.stored, self.scaled, self.start, self.size = stored, scaled, start, size
        self.length = min(size, scaled - start)
        """Pixels of the window that lie in the image."""
        self.ratio = 1 / (scaled / stored)  # as cv2 computes it
        """Stored pixels per scaled one."""

    @cached_property
    def enclosing(self) -> tuple[int, int]:
        """First and last place in the scaled image between which to resize, so that phases come out right.

        `cv2.resize` maps the edges of what it is given onto the edges of what it makes. So both must be places of the
        scaled image that fall on the edge of a stored pixel: the nearest such places around the window, and at the
        utmost the ends of the image, where its edge pixels are repeated as they are in resizing it whole.
        """
        if self.stored == self.scaled:
            return self.start, self.start + self.length
        if self.length == self.scaled:
            return 0, self.scaled
        margin = math.ceil(0.5 + 0.5 / self.ratio)  # of pixels that would mix with what is not read
        before = np.arange(max(self.start - margin, 0), -1, -1)
        after = np.arange(min(self.start + self.length + margin, self.scaled), self.scaled + 1)
        return self._first_on_an_edge(before), self._first_on_an_edge(after)

    def _first_on_an_edge(self, places: np.ndarray) -> int:
        edges = places * self.ratio
        return int(places[np.argmax(np.abs(edges - np.rint(edges)) <= PRECISION)])

    @property
    def read(self) -> slice:
        """The stored pixels that the image's part of the window is made of."""
        first, last = self.enclosing
        return slice(round(first * self.ratio), round(last * self.ratio))

    def nearest(self) -> np.ndarray:
        """Return the stored pixel `(length,)` of each one of the window, by cv2's rule for nearest neighbour."""
        places = np.arange(self.start, self.start + self.length)
        return np.minimum((places * self.ratio).astype(np.intp), self.stored - 1)


class Window:
    """Which crop to take: two axes, a mirror left and right, and a turn anticlockwise about the centre, in degrees."""

    def __init__(self, rows: Span, columns: Span, flip: bool = False, angle: float = 0.0) -> None:
        self.rows, self.columns, self.flip, self.angle = rows, columns, flip, angle

    @property
    def part(self) -> tuple[slice, slice]:
        """Where in the crop the image lies; all of it if turned."""
        height, width = self.rows.length, self.columns.length
        if self.angle:
            height, width = self.rows.size, self.columns.size
        return slice(0, height), slice(self.columns.size - width, None) if self.flip else slice(0, width)

    def cut(self, image: Stored, recolour: Callable[[np.ndarray], np.ndarray] | None = None) -> np.ndarray:
        """Return the part of the crop in which the image lies, `(h, w, C)` of the image's dtype.

        If turned, it is the whole crop, with the image's edge repeated beyond the image.

        Args:
            image: `(H, W, C)`, or what reads parts of it.
            recolour: Changes each pixel by itself. It and the mirror work where pixels are fewest: before the image
                is enlarged, or after it shrinks.
        """
        if self.angle:
            turned = self._turned(image, cv2.INTER_LINEAR, cv2.BORDER_REPLICATE)
            return recolour(turned) if recolour else turned

        def finish(pixels: np.ndarray) -> np.ndarray:
            pixels = recolour(pixels) if recolour else pixels
            return _by_channels(lambda some: cv2.flip(some, 1), pixels) if self.flip else pixels

        rows, columns = self.rows, self.columns
        (top, bottom), (left, right) = rows.enclosing, columns.enclosing
        source, size = image[rows.read, columns.read], (right - left, bottom - top)
        y, x = rows.start - top, columns.start - left
        enlarges = size[0] * size[1] > source.shape[0] * source.shape[1]
        if enlarges:
            source = finish(source)
            x = size[0] - x - columns.length if self.flip else x
        if source.shape[1::-1] != size:
            source = _by_channels(lambda some: _resized(some, size), source)
        part = source[y : y + rows.length, x : x + columns.length]
        return part if enlarges else finish(part)

    def cut_mask(self, mask: Stored, fill: int) -> np.ndarray:
        """Return the mask of the crop, `(size, size)`, with `fill` beyond the image.

        Whatever the dtype, the same pixels are taken, and their values to the bit.
        """
        if self.angle:
            return self._turned(mask, cv2.INTER_NEAREST, cv2.BORDER_CONSTANT, fill)
        rows, columns = self.rows.nearest(), self.columns.nearest()
        top, left = rows[0], columns[0]
        source = mask[top : rows[-1] + 1, left : columns[-1] + 1]
        if self.flip:
            columns = columns[::-1]
        # Rows are picked faster than columns.
        part = cv2.transpose(cv2.transpose(source).take(columns - left, axis=0)).take(rows - top, axis=0)
        if part.shape == (self.rows.size, self.columns.size):
            return part
        crop = np.full((self.rows.size, self.columns.size), fill, part.dtype)
        crop[self.part] = part
        return crop

    def frame(self, part: np.ndarray, fill: Sequence[float]) -> np.ndarray:
        """Return the crop `(size, size, C)`, contiguous: `part`, as `cut` returned it, and `fill` beyond the image.

        Two steps, so that colours can be changed in between: the border then keeps its own.
        """
        colour = np.asarray(fill)
        colour = (np.rint(colour) if np.issubdtype(part.dtype, np.integer) else colour).astype(part.dtype)
        if not self.angle and part.shape[:2] == (self.rows.size, self.columns.size):
            return np.ascontiguousarray(part)
        crop = np.empty((self.rows.size, self.columns.size, part.shape[2]), part.dtype)
        lines = crop.reshape(len(crop), -1)  # far faster by lines than by pixels
        line = np.tile(colour, self.columns.size)
        if self.angle:
            lines[:] = line
            whole = np.ones((self.rows.stored, self.columns.stored), np.uint8)
            inside = self._turned(whole, cv2.INTER_NEAREST, cv2.BORDER_CONSTANT).astype(bool)
            np.copyto(crop, part, where=inside[..., None])
        else:
            height, width = part.shape[:2]
            beside = slice(0, line.size - width * part.shape[2]) if self.flip else slice(width * part.shape[2], None)
            lines[:height, beside], lines[height:] = line[beside], line
            crop[self.part] = part
        return crop

    def _turned(self, stored: Stored, interpolation: int, border: int, fill: int = 0) -> np.ndarray:
        """Warp the part of the stored image that a turned window needs."""
        matrix = self._to_stored()
        corners = np.array([(x, y, 1) for x in (0, self.columns.size - 1) for y in (0, self.rows.size - 1)]) @ matrix.T
        left, top = np.floor(corners.min(0)).astype(int) - 1
        right, bottom = np.ceil(corners.max(0)).astype(int) + 2
        left, right = sorted(np.clip((left, right), 0, self.columns.stored).tolist())
        top, bottom = sorted(np.clip((top, bottom), 0, self.rows.stored).tolist())
        matrix[:, 2] -= left, top
        size, flags = (self.columns.size, self.rows.size), interpolation | cv2.WARP_INVERSE_MAP
        part = stored[top:bottom, left:right]

        def warp(pixels: np.ndarray, value: int) -> np.ndarray:
            return cv2.warpAffine(pixels, matrix, size, flags=flags, borderMode=border, borderValue=value)

        if interpolation == cv2.INTER_NEAREST and part.dtype.itemsize > 1:
            # Which pixel is the nearest cv2 rounds otherwise for integers than for bytes: byte by byte all agree.
            planes = np.ascontiguousarray(part).view(np.uint8).reshape(*part.shape, part.dtype.itemsize)
            outside = np.array([fill], part.dtype).view(np.uint8).tolist()
            turned = [warp(np.ascontiguousarray(planes[..., byte]), value) for byte, value in enumerate(outside)]
            return np.stack(turned, axis=-1).view(part.dtype)[..., 0]
        return _by_channels(lambda some: warp(some, fill), part)

    def _to_stored(self) -> np.ndarray:
        """Return the `(2, 3)` matrix from (x, y) in the crop to (x, y) in the stored image, both at pixel centres."""
        centre_x, centre_y = (self.columns.size - 1) / 2, (self.rows.size - 1) / 2
        turn = np.vstack([cv2.getRotationMatrix2D((centre_x, centre_y), -self.angle, 1), (0, 0, 1)])
        mirror = np.array([(-1, 0, 2 * centre_x), (0, 1, 0), (0, 0, 1)]) if self.flip else np.eye(3)
        x, y = self.columns, self.rows
        across, down = (x.start + 0.5) * x.ratio - 0.5, (y.start + 0.5) * y.ratio - 0.5
        unscale = np.array([(x.ratio, 0, across), (0, y.ratio, down)])
        return unscale @ turn @ mirror


class RandomWindow(A.DualTransform):
    """Random scale, rotation, crop, padding and mirror, in one step; for any `A.Compose`.

    Images `(H, W, C)` or `(H, W)`, uint8 or float32, any number of channels; masks `(H, W)` uint8.

    Args:
        size: Side of the square crop in pixels.
        scale_range: Smallest and largest factor; uniform between.
        scale_step: Draw one of smallest, smallest + step, ..., largest instead, as the released code does (0.25).
        rotation: Turn by up to so many degrees, either way.
        flip: Probability of mirroring left and right.
        rare_classes: Probability of a crop that shows a rare class: of the classes in the mask one is drawn, with
            probability inversely proportional to its pixels, and of its pixels one that the window must contain.
        fill: Colour beyond the image, for each channel or for all.
        fill_mask: Label beyond the image. It is no class: rare-class crops do not look for it.
        p: Probability of being applied at all; output has the crop's size only if it is.

    Raises:
        ConfigError: A size, factor or probability is out of range, or the steps do not lead from end to end.
    """

    _targets = (Targets.IMAGE, Targets.MASK)

    def __init__(
        self,
        size: int,
        scale_range: tuple[float, float] = (0.5, 2.0),
        scale_step: float | None = None,
        rotation: float = 0.0,
        flip: float = 0.5,
        rare_classes: float = 0.0,
        fill: float | Sequence[float] = 0.0,
        fill_mask: int = 255,
        p: float = 1.0,
    ) -> None:
        super().__init__(p=p)
        smallest, largest = scale_range
        self._scales = None if scale_step is None else scale_choices((smallest, largest), scale_step)
        if size < 1:
            raise ConfigError(f"Crops of {size} pixels: expected a size of 1 or more, such as 513.")
        check_scales((smallest, largest))
        if not 0 <= rotation <= 180:
            raise ConfigError(f"rotation is {rotation:g}; expected degrees from 0 to 180, such as 10.")
        for name, value in {"flip": flip, "rare_classes": rare_classes}.items():
            if not 0 <= value <= 1:
                raise ConfigError(f"{name} is {value:g}; it is a probability: expected a number from 0 to 1.")
        self.size, self.scale_range, self.scale_step = size, (smallest, largest), scale_step
        self.rotation, self.flip, self.rare_classes = rotation, flip, rare_classes
        self.fill, self.fill_mask = fill, fill_mask

    @property
    def targets_as_params(self) -> list[str]:
        """Rare-class crops look at the mask."""
        return ["mask"] if self.rare_classes else []

    def draw(self, shape: tuple[int, ...], mask: Stored | None, generator: np.random.Generator) -> Window:
        """Draw a window of an image of `shape`; the mask is only read for a rare-class crop."""
        height, width = shape[:2]
        scale = generator.uniform(*self.scale_range) if self._scales is None else generator.choice(self._scales)
        angle = generator.uniform(-self.rotation, self.rotation) if self.rotation else 0.0
        flip = generator.random() < self.flip

        def around(row: int | None, column: int | None) -> Window:
            rows = self._span(height, float(scale), row, angle, generator)
            return Window(rows, self._span(width, float(scale), column, angle, generator), flip, angle)

        if mask is not None and generator.random() < self.rare_classes:
            stored = mask[0:height, 0:width]
            for _ in range(TRIES):
                wanted = self._rare_pixel(stored, float(scale), generator)
                if wanted is None:
                    break
                label, row, column = wanted
                window = around(row, column)
                if not angle or (window.cut_mask(mask, self.fill_mask) == label).any():
                    return window
        return around(None, None)

    def _span(
        self, stored: int, scale: float, wanted: int | None, angle: float, generator: np.random.Generator
    ) -> Span:
        """Draw one axis, uniformly over all legal windows, or over those that show the stored pixel `wanted`.

        Of a turned window only the upright square in its middle surely shows what lies there. Where no legal window has
        the pixel in it, one that reaches beyond the image does.
        """
        scaled = _scaled(stored, scale)
        first, last = 0, max(scaled - self.size, 0)
        if wanted is not None:
            place = int(np.searchsorted(_shown(stored, scaled), wanted))
            corner = (self.size - 1) / 2
            turn = math.radians(angle)
            reach = corner / (abs(math.cos(turn)) + abs(math.sin(turn)))
            lowest, highest = math.ceil(place - corner - reach), math.floor(place - corner + reach)
            if lowest > highest:
                lowest = highest = round(place - corner)
            first, last = max(lowest, min(first, highest)), min(highest, max(last, lowest))
        return Span(stored, scaled, int(generator.integers(first, last + 1)), self.size)

    def _rare_pixel(
        self, mask: np.ndarray, scale: float, generator: np.random.Generator
    ) -> tuple[int, int, int] | None:
        """Draw a labelled pixel: first its class, the rarer the likelier; None if all is void.

        Pixels that this scale passes over cannot be shown, and are left out.

        Returns:
            Class, row and column.
        """
        rows, columns = (np.unique(_shown(length, _scaled(length, scale))) for length in mask.shape)
        mask = mask[rows][:, columns] if scale < 1 else mask
        counts = cv2.calcHist([mask], [0], None, [256], [0, 256]).ravel().astype(np.float64)
        if 0 <= self.fill_mask < 256:
            counts[self.fill_mask] = 0
        present = np.flatnonzero(counts)
        if not len(present):
            return None
        weights = 1 / counts[present]
        label = generator.choice(present, p=weights / weights.sum())
        pixels = np.flatnonzero(mask == label)
        row, column = divmod(int(pixels[generator.integers(len(pixels))]), mask.shape[1])
        return int(label), int(rows[row]), int(columns[column])

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        """Draw the window, from albumentations' generator."""
        mask = data.get("mask") if self.rare_classes else None
        return {"window": self.draw(params["shape"], mask, self.random_generator)}

    def apply(self, img: np.ndarray, window: Window, **params: Any) -> np.ndarray:
        """Return the crop of an image."""
        image = img if img.ndim == 3 else img[..., None]
        fill = np.broadcast_to(np.asarray(self.fill, np.float64), (image.shape[2],))
        return window.frame(window.cut(image), fill.tolist()).reshape(self.size, self.size, *img.shape[2:])

    def apply_to_mask(self, mask: np.ndarray, window: Window, **params: Any) -> np.ndarray:
        """Return the crop of a mask."""
        return window.cut_mask(mask, self.fill_mask)


def scale_choices(scale_range: tuple[float, float], scale_step: float) -> list[float]:
    """Return the factors from the smallest to the largest of `scale_range` in steps.

    Raises:
        ConfigError: The steps do not lead from the one to the other.
    """
    smallest, largest = scale_range
    steps = (largest - smallest) / scale_step if scale_step > 0 else -1.0
    if steps < 0 or abs(steps - round(steps)) > 1e-6:
        raise ConfigError(
            f"scale_step {scale_step:g} does not lead from {smallest:g} to {largest:g}, the ends of scale_range. "
            f"0.25 leads from 0.5 to 2; leave it out to draw any factor between."
        )
    return [smallest + index * scale_step for index in range(round(steps) + 1)]


def check_scales(scale_range: tuple[float, float]) -> None:
    """Refuse factors that are not above 0, or the larger one first.

    Raises:
        ConfigError: Both factors.
    """
    smallest, largest = scale_range
    if not 0 < smallest <= largest:
        raise ConfigError(
            f"scale_range goes from {smallest:g} to {largest:g}; expected 0 < smallest <= largest, such as [0.5, 2]."
        )


def _scaled(stored: int, scale: float) -> int:
    """Return the length of an axis once scaled, as A.RandomScale rounds."""
    return max(1, int(stored * scale))


def _shown(stored: int, scaled: int) -> np.ndarray:
    """Return the stored pixel that each one of a scaled axis shows."""
    return Span(stored, scaled, 0, scaled).nearest()


def _resized(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize bilinearly, by Intel's IPP where OpenCV was built with it (on x86-64).

    OpenCV keeps to its own code for 8 bits unless told that a grey level of difference is welcome. Here it is: measured
    against float64, IPP is off by up to 0.52 grey levels, OpenCV's own by 0.81, and IPP takes half the time.
    """
    before = cv2.ipp.useIPP_NotExact()
    cv2.ipp.setUseIPP_NotExact(True)  # of this thread
    try:
        return cv2.resize(pixels, size, interpolation=cv2.INTER_LINEAR)
    finally:
        cv2.ipp.setUseIPP_NotExact(before)


def _by_channels(function: Callable[[np.ndarray], np.ndarray], image: np.ndarray) -> np.ndarray:
    """Apply a function of cv2 to a mask `(H, W)`, or to `(H, W, C)` with any number of channels."""
    if image.ndim == 2:
        return function(image)
    channels = image.shape[2]
    if channels <= CHANNELS_AT_ONCE:
        result = function(image)
        return result.reshape(*result.shape[:2], channels)  # cv2 drops an axis of one channel
    parts = [
        function(np.ascontiguousarray(image[..., first : first + CHANNELS_AT_ONCE]))
        for first in range(0, channels, CHANNELS_AT_ONCE)
    ]
    return np.concatenate([part.reshape(*part.shape[:2], -1) for part in parts], axis=2)
