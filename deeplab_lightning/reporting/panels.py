"""Images beside their truth, prediction and errors, and predictions laid over them. Numpy, OpenCV, Pillow only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..data.display import displayable
from ..errors import DataError
from ..labels import VOID_COLOUR

MAX_SIDE = 480
"""Images larger than this on their longer side are shrunk in panels."""
MIN_SIDE = 260
"""Images smaller than this are enlarged by a whole factor, as far as they stay within it."""

GAP, MARGIN = 8, 12
INK, FAINT_INK, PAPER = (31, 41, 55), (107, 114, 128), (255, 255, 255)
ERROR_COLOUR = (220, 38, 38)
ERROR_VOID_COLOUR = (203, 213, 225)
COLUMNS = ("image", "truth", "prediction", "error")

Entry = tuple[str, tuple[int, ...]]
"""A class name and its colour in the legend."""


class PanelImage(NamedTuple):
    """One image with its masks, as the panels show it.

    Attributes:
        title: Shown above it, usually the sample id.
        image: `(H, W, C)` or, for grey, `(H, W)`, as stored.
        truth: `(H, W)` integer train ids; any value outside 0..num_classes-1 is void, as `ignore_index` always is.
        pred: `(H, W)` integer train ids.
    """

    title: str
    image: np.ndarray
    truth: np.ndarray
    pred: np.ndarray


def panel_overview(
    images: Sequence[PanelImage], class_names: Sequence[str], palette: Sequence[Sequence[int]]
) -> np.ndarray:
    """Draw images one above the other, each with its truth, prediction and errors, and a legend of their classes.

    Errors are red on the faded image; void pixels, which do not count, are plain grey there.

    Large images are shrunk, tiny ones enlarged. The overview is `(H, W, 3)` uint8 RGB, the palette RGB in 0..255.

    Raises:
        DataError: There is no image, or one and its masks do not fit together.
    """
    if not images:
        raise DataError("A panel overview needs at least one image, got none.")
    fitted = [fit(image) for image in images]
    width = max(image.image.shape[1] for image in fitted)
    overview_width = 2 * MARGIN + len(COLUMNS) * width + (len(COLUMNS) - 1) * GAP
    size = min(max(13, width // 26), 18)  # letters that stay readable when a wide overview is shown smaller
    font, line = ImageFont.load_default(size), size + 7

    legend = _legend(fitted, class_names, palette)
    entry_widths = [2 * line + round(font.getlength(name)) for name, _ in legend]
    legend_rows = _flow(list(zip(legend, entry_widths, strict=True)), overview_width - 2 * MARGIN)
    height = 2 * MARGIN + sum(line + image.image.shape[0] + GAP for image in fitted) + line * (1 + len(legend_rows))
    overview = Image.new("RGB", (overview_width, height), PAPER)
    draw = ImageDraw.Draw(overview)
    lefts = [MARGIN + column * (width + GAP) for column in range(len(COLUMNS))]

    top = MARGIN
    for left, caption in zip(lefts, COLUMNS, strict=True):
        draw.text((left, top), caption, INK, font)
    top += line
    for stored, image in zip(images, fitted, strict=True):
        wrong, void = _errors(image, len(class_names))
        draw.text((lefts[0], top), _cut(image.title, font, 3 * width), FAINT_INK, font)
        draw.text((lefts[3], top), _share_wrong(stored, len(class_names)), FAINT_INK, font)
        top += line
        masks = (_paint(mask, palette) for mask in (image.truth, image.pred))
        views = (image.image, *masks, _error_view(image.image, wrong, void))
        for left, view in zip(lefts, views, strict=True):
            overview.paste(Image.fromarray(view), (left, top))
        top += image.image.shape[0] + GAP
    for row in legend_rows:
        left = MARGIN
        for (name, colour), entry_width in row:
            draw.rectangle((left, top + 3, left + line - 8, top + line - 5), fill=colour, outline=FAINT_INK)
            draw.text((left + line, top), name, INK, font)
            left += entry_width
        top += line
    return np.asarray(overview)


def fit(panel: PanelImage) -> PanelImage:
    """Bring an image and its masks to a size for looking at: the longer side at most `MAX_SIDE`, tiny ones enlarged.

    Masks keep their ids (nearest neighbour). The image becomes RGB (`displayable`).

    Raises:
        DataError: Image and masks do not fit together.
    """
    image, truth, pred = panel.image, panel.truth, panel.pred
    if image.ndim not in (2, 3) or not image.shape[:2] == truth.shape == pred.shape:
        raise DataError(
            f"Panel image {panel.title!r} is {image.shape}, its truth {truth.shape} and its prediction "
            f"{pred.shape}: expected (H, W, C) or (H, W) for the image, as stored, and (H, W) of one size."
        )
    longer = max(truth.shape)
    scale = MAX_SIDE / longer if longer > MAX_SIDE else max(1, MIN_SIDE // longer)
    return PanelImage(panel.title, *scaled(image, truth, pred, scale))


def scaled(image: np.ndarray, truth: np.ndarray, pred: np.ndarray, scale: float) -> tuple[np.ndarray, ...]:
    """Scale an image, which becomes RGB (`displayable`), and its masks, which keep their ids (nearest neighbour)."""
    height, width = truth.shape
    new_height, new_width = max(1, round(height * scale)), max(1, round(width * scale))
    rows = ((np.arange(new_height) + 0.5) * height / new_height).astype(np.intp)
    columns = ((np.arange(new_width) + 0.5) * width / new_width).astype(np.intp)
    nearest, shown = np.ix_(rows, columns), displayable(image)
    shown = cv2.resize(shown, (new_width, new_height), interpolation=cv2.INTER_AREA) if scale < 1 else shown[nearest]
    return shown, truth[nearest], pred[nearest]


def overlay(image: np.ndarray, pred: np.ndarray, table: np.ndarray, opacity: float) -> np.ndarray:
    """Lay a prediction's colours over its image.

    Args:
        image: `(H, W, C)`, shown as `displayable` shows it.
        pred: `(H, W)` integer ids, each a row of `table`.
        table: `(256, 3)` uint8 RGB, `LabelSet.colour_table()`.
        opacity: From 0 (the image alone) to 1 (the colours alone).

    Returns:
        `(H, W, 3)` uint8 RGB.
    """
    return cv2.addWeighted(table[pred], opacity, displayable(image), 1 - opacity, 0)


def _is_void(mask: np.ndarray, num_classes: int) -> np.ndarray:
    return (mask < 0) | (mask >= num_classes)


def _paint(mask: np.ndarray, palette: Sequence[Sequence[int]]) -> np.ndarray:
    """Return `(H, W, 3)` uint8: each class in its colour, void in the void colour."""
    table = np.array([*palette, VOID_COLOUR], dtype=np.uint8)
    return table[np.where(_is_void(mask, len(palette)), len(palette), mask)]


def _errors(image: PanelImage, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return where the prediction is wrong and where the truth is void, both `(H, W)` bool."""
    void = _is_void(image.truth, num_classes)
    return (image.pred != image.truth) & ~void, void


def _share_wrong(image: PanelImage, num_classes: int) -> str:
    """Return the share of labelled pixels that are wrong, in words."""
    wrong, void = _errors(image, num_classes)
    return "nothing labelled" if void.all() else f"{wrong.sum() / (~void).sum():.1%} wrong"


def _error_view(image: np.ndarray, wrong: np.ndarray, void: np.ndarray) -> np.ndarray:
    """Return `(H, W, 3)` uint8: errors red on the faded grey image, void plain grey."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    view = np.repeat((150 + grey // 3)[:, :, None], 3, axis=2).astype(np.uint8)
    view[void] = ERROR_VOID_COLOUR
    view[wrong] = ERROR_COLOUR
    return view


def _legend(images: Sequence[PanelImage], class_names: Sequence[str], palette: Sequence[Sequence[int]]) -> list[Entry]:
    """Return names and colours of the classes that occur, void last: data sets with 150 classes need no full legend."""
    ids = np.unique(np.concatenate([np.unique(mask) for image in images for mask in (image.truth, image.pred)]))
    void = _is_void(ids, len(class_names))
    legend = [(class_names[index], tuple(palette[index])) for index in ids[~void]]
    return [*legend, ("void", VOID_COLOUR)] if void.any() else legend


def _flow(entries: Sequence[tuple[Entry, int]], width: int) -> list[list[tuple[Entry, int]]]:
    """Break entries with their widths into rows no longer than `width`, like words into lines."""
    rows: list[list[tuple[Entry, int]]] = []
    for entry in entries:
        if not rows or sum(taken for _, taken in rows[-1]) + entry[1] > width:
            rows.append([])
        rows[-1].append(entry)
    return rows


def _cut(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """Shorten a text at its start, where sample ids say the least, until it is at most `width` pixels wide."""
    cuts = (text, *("..." + text[start:] for start in range(1, len(text))))
    return next((cut for cut in cuts if font.getlength(cut) <= width), cuts[-1])
