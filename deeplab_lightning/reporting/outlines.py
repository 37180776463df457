"""Objects as outlines with their numbers, over an image or as a layer of their own. Numpy, Pillow only."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..data.display import displayable

CLEAR = 255
"""In a layer: nothing is drawn here."""
INK, GROUND = 254, 253
"""In a layer: a number's digits and the edge of an outline, and what is around digits."""
INK_COLOUR, GROUND_COLOUR = (255, 255, 255), (17, 24, 39)
PIXELS_A_LINE = 700
"""For so many pixels of the shorter side, outlines are a pixel broader."""


def outlines(image: np.ndarray, classes: np.ndarray, numbers: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Draw each object's outline in its class's colour over an image, and its number in its middle.

    Args:
        image: `(H, W, C)` or `(H, W)`, shown as `displayable` shows it.
        classes: `(H, W)` uint8 train ids, below 253 where there is an object.
        numbers: `(H, W)` integers: 0 where there is none.
        table: `(256, 3)` uint8 RGB, `LabelSet.colour_table()`.

    Returns:
        `(H, W, 3)` uint8 RGB.
    """
    layer, shown = outline_layer(classes, numbers), displayable(image)
    return np.where((layer == CLEAR)[:, :, None], shown, layer_colours(table)[layer])


def layer_colours(table: np.ndarray) -> np.ndarray:
    """Return the `(256, 3)` uint8 RGB colours of a layer, from those of the classes."""
    colours = np.array(table, dtype=np.uint8)
    colours[[INK, GROUND]] = INK_COLOUR, GROUND_COLOUR
    return colours


def outline_layer(classes: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Return what `outlines` draws as `(H, W)` uint8: train ids on outlines, `INK` and `GROUND` of numbers, `CLEAR`.

    Outlines lie within the objects, so that those of neighbours stand side by side, and have a white edge, without
    which dark colours would not be seen on dark images. A number is left out where it would be broader than its object.

    Args:
        classes: `(H, W)` uint8 train ids.
        numbers: `(H, W)` integers: 0 where there is no object.
    """
    is_object = numbers > 0
    objects = np.where(is_object, classes.astype(np.int64) << 32 | numbers.astype(np.int64), 0)
    breadth = 1 + min(objects.shape) // PIXELS_A_LINE
    line, beside = (is_object & _near_another(objects, reach) for reach in (breadth, breadth + 1))
    layer = np.where(line, classes, np.where(beside, INK, CLEAR)).astype(np.uint8)
    return _with_numbers(layer, objects)


def _near_another(objects: np.ndarray, reach: int) -> np.ndarray:
    """Return where another object, or none, is within `reach` pixels in the row or column, `(H, W)` bool."""
    found = np.zeros(objects.shape, dtype=bool)
    for step in range(1, reach + 1):
        for axis in (0, 1):
            entries, near = np.moveaxis(objects, axis, 0), np.moveaxis(found, axis, 0)  # views
            differs = entries[step:] != entries[:-step]
            near[step:] |= differs
            near[:-step] |= differs
    return found


def _with_numbers(layer: np.ndarray, objects: np.ndarray) -> np.ndarray:
    """Write each object's number into the middle of the row that has as many of its pixels above as below."""
    size = max(12, min(layer.shape) // 45)
    font, drawn = ImageFont.load_default(size), Image.fromarray(layer)
    draw = ImageDraw.Draw(drawn)
    draw.fontmode = "1"  # no shades: they would be other classes
    keys, areas = np.unique(objects, return_counts=True)
    for key in keys[np.argsort(areas)][::-1]:  # small ones last, above the large
        if not key:
            continue
        rows, columns = (objects == key).nonzero()
        row = rows[len(rows) // 2]
        of_row = columns[rows == row]
        text, left, right = str(key & 0xFFFFFFFF), int(of_row.min()), int(of_row.max())
        if font.getlength(text) + 4 <= right - left and size + 2 <= rows[-1] - rows[0]:
            middle = (left + right) / 2, float(row)
            draw.text(middle, text, INK, font, anchor="mm", stroke_width=2, stroke_fill=GROUND)
    return np.asarray(drawn)
