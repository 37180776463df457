"""Feature maps made visible: the strongest channels of a part of a network, and where it is active in the image.

matplotlib is imported on use, as in `plots.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import IO

import numpy as np

INK, GREY = "#1f2937", "#6b7280"
ROWS, COLUMNS = 4, 6
"""Channels shown, at most."""


def plot_activations(
    image: np.ndarray,
    maps: np.ndarray,
    name: str,
    png: Path | IO[bytes],
    *,
    covered: tuple[int, int],
    align_corners: bool,
) -> None:
    """Draw the mean activation over the image, and beside it the channels that are strongest on the average.

    Strength is the mean absolute activation. Each channel has its own scale, from zero to its maximum; with negative
    values, red is positive, blue negative and white zero.

    Args:
        image: `(H, W, 3)` uint8 RGB.
        maps: `(C, h, w)` float.
        name: Of the part, for the title.
        png: The image to write.
        covered: `(H', W')` that the maps stand for: the image, or the image padded at the bottom and right.
        align_corners: Whether the corner samples of maps and image stand on top of each other.
    """
    from matplotlib.figure import Figure

    channels, height, width = maps.shape
    strength = np.abs(maps).mean(axis=(1, 2))
    strongest = np.argsort(-strength, kind="stable")[: ROWS * COLUMNS]
    aspect = image.shape[0] / image.shape[1]
    side = 5.2
    figure = Figure(figsize=(side + 1.25 * COLUMNS, max(side * aspect, 2.2) + 0.75))
    outer = figure.add_gridspec(1, 2, width_ratios=(side, 1.25 * COLUMNS), left=0.01, right=0.99, bottom=0.02,
                                top=1 - 0.7 / figure.get_figheight(), wspace=0.03)  # fmt: skip
    figure.suptitle(
        f"{name}: {channels} channels of {height} x {width}", x=0.01, ha="left", fontsize=12, color=INK,
        y=1 - 0.12 / figure.get_figheight(), va="top",
    )  # fmt: skip

    axes = figure.add_subplot(outer[0])
    axes.imshow(image)
    axes.imshow(
        np.abs(maps).mean(axis=0),
        cmap="inferno",
        alpha=0.6,
        interpolation="bilinear" if min(height, width) > 1 else "nearest",
        extent=_extent((height, width), covered, align_corners),
    )
    axes.set_xlim(-0.5, image.shape[1] - 0.5)
    axes.set_ylim(image.shape[0] - 0.5, -0.5)
    axes.set_title("mean activation over the image", loc="left", fontsize=9, color=GREY)
    axes.axis("off")

    inner = outer[1].subgridspec(ROWS, COLUMNS, wspace=0.06, hspace=0.28)
    for place, channel in enumerate(strongest):
        axes = figure.add_subplot(inner[place // COLUMNS, place % COLUMNS])
        values = maps[channel]
        limit = float(np.abs(values).max()) or 1.0
        signed = values.min() < 0
        axes.imshow(values, cmap="RdBu_r" if signed else "viridis", vmin=-limit if signed else 0, vmax=limit)
        axes.set_title(f"{channel}  max {limit:.2g}", loc="left", fontsize=7, color=GREY, pad=2)
        axes.axis("off")
    figure.savefig(png, format="png", dpi=110)


def _extent(sides: tuple[int, int], covered: tuple[int, int], align_corners: bool) -> tuple[float, float, float, float]:
    """Return left, right, bottom and top of a map in the image's pixels, as matplotlib wants them."""
    edges = []
    for side, pixels in zip(sides, covered, strict=True):
        # The outermost samples stand on the corner pixels and reach half a step beyond; or the map ends where they do.
        half = (pixels - 1) / (side - 1) / 2 if align_corners and side > 1 else 0.5
        edges.append((-half, pixels - 1 + half))
    (top, bottom), (left, right) = edges
    return left, right, bottom, top
