"""An overview of augmented samples: what the network is shown in training, each crop beside its mask."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..errors import DataError
from .panels import FAINT_INK, GAP, INK, MARGIN, PAPER

PAIRS_PER_ROW = 3
SIDE = 256
"""Crops are shown with sides of at most so many pixels."""


def augmented_overview(
    samples: Sequence[tuple[str, np.ndarray, np.ndarray]], table: np.ndarray, caption: str
) -> np.ndarray:
    """Draw samples in rows of pairs, below the lines of a caption; the overview is `(H, W, 3)` uint8 RGB.

    Samples are title, image `(H, W, 3)` uint8 RGB and mask `(H, W)` uint8; all of one size. `table` is
    `LabelSet.colour_table()`.

    Raises:
        DataError: There are no samples.
    """
    if not samples:
        raise DataError("An overview needs at least one sample, got none.")
    height, width = samples[0][2].shape
    scale = min(1.0, SIDE / max(height, width))
    height, width = max(1, round(height * scale)), max(1, round(width * scale))
    font = ImageFont.load_default(13)
    line, lines = 18, caption.splitlines()
    across = min(PAIRS_PER_ROW, len(samples))
    rows = -(-len(samples) // across)
    pair = 2 * width + GAP // 2
    overview_width = max(
        2 * MARGIN + across * pair + (across - 1) * 2 * GAP,
        2 * MARGIN + round(max(map(font.getlength, lines), default=0)),
    )
    overview = Image.new(
        "RGB", (overview_width, 2 * MARGIN + (len(lines) + 1) * line + rows * (height + line + GAP)), PAPER
    )
    draw = ImageDraw.Draw(overview)
    for number, text in enumerate(lines):
        draw.text((MARGIN, MARGIN + number * line), text, INK, font)
    for number, (title, image, mask) in enumerate(samples):
        left = MARGIN + number % across * (pair + 2 * GAP)
        top = MARGIN + (len(lines) + 1) * line + number // across * (height + line + GAP)
        shown = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
        painted = cv2.resize(table[mask], (width, height), interpolation=cv2.INTER_NEAREST)
        draw.text((left, top), title, FAINT_INK, font)
        overview.paste(Image.fromarray(shown), (left, top + line))
        overview.paste(Image.fromarray(painted), (left + width + GAP // 2, top + line))
    return np.asarray(overview)
