"""What a network sees, drawn over an image: the windows of its branches, and where the taps of their kernels stand.

matplotlib is imported on use, as in `plots.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.patches import Patch

INK, FAINT, INSIDE_GREY = "#1f2937", "#9ca3af", "#374151"
COLOURS = ("#2a6fbb", "#3a9a5b", "#e07b39", "#b0307a", "#7c5cc4", "#b8860b")
FADED = 0.55
"""How much of the image is left behind the lines."""


class SeenWindow(NamedTuple):
    """The window of pixels that the centre of a feature map sees.

    Attributes:
        label: What it belongs to.
        rows: First and last pixel row; both may lie outside the image.
        columns: Likewise.
        taps: `(row, column)` of the kernel's taps in pixels; none for a map that is no atrous branch.
        note: Said beside the taps.
    """

    label: str
    rows: tuple[int, int]
    columns: tuple[int, int]
    taps: Sequence[tuple[float, float]] = ()
    note: str = ""


def plot_receptive_fields(image: np.ndarray, windows: Sequence[SeenWindow], title: str, png: Path | IO[bytes]) -> None:
    """Draw windows, the smallest first, over a faded image `(H, W, 3)` uint8 RGB, and beside it the taps of each."""
    from matplotlib.figure import Figure

    branches = [window for window in windows if window.taps]
    columns = 0 if not branches else 1 if len(branches) <= 3 else 2
    figure = Figure(figsize=(8.4 + 2.9 * columns, 8.4), layout="constrained")
    grid = figure.add_gridspec(
        max(1, -(-len(branches) // max(columns, 1))), 1 + columns, width_ratios=[8] + [2.7] * columns
    )
    colours = dict(zip([window.label for window in branches], COLOURS * len(branches), strict=False))

    axes = figure.add_subplot(grid[:, 0])
    _show(axes, image, [(window.rows, window.columns) for window in windows])
    axes.set_title(title, loc="left", fontsize=11, color=INK)
    for window in windows:
        _outline(axes, window, colours.get(window.label, INK))
    axes.plot(
        sum(windows[0].columns) / 2, sum(windows[0].rows) / 2, marker="+", color=INK, markersize=11, markeredgewidth=1.6
    )
    axes.set_xlabel("pixels")

    reached = [[(min(axis), max(axis)) for axis in zip(*window.taps, strict=True)] for window in branches]
    for index, window in enumerate(branches):
        small = figure.add_subplot(grid[index // columns, 1 + index % columns])
        _show(small, image, reached)
        _scatter(small, window, image, colours[window.label])
    figure.savefig(png, format="png", dpi=110, bbox_inches="tight", pad_inches=0.15)


def _show(axes: Axes, image: np.ndarray, in_view: Sequence[Sequence[tuple[float, float]]]) -> None:
    """Show the faded image, with room for it and for rows and columns that reach beyond it."""
    height, width = image.shape[:2]
    axes.imshow((255 - FADED * (255 - image.astype(np.float32))).astype(np.uint8), interpolation="bilinear")
    axes.add_patch(_rectangle((0, height - 1), (0, width - 1), edgecolor=FAINT, linewidth=1))
    # First and last pixel of each, along both axes.
    extents = np.array([((0, height), (0, width)), *in_view])
    (top, left), (bottom, right) = extents[..., 0].min(axis=0), extents[..., 1].max(axis=0)
    margin = 0.04 * max(right - left, bottom - top)
    axes.set_xlim(left - margin, right + margin)
    axes.set_ylim(bottom + margin, top - margin)
    axes.set_aspect("equal")
    axes.tick_params(labelsize=8, color=FAINT, labelcolor=INSIDE_GREY)
    axes.spines[:].set_visible(False)


def _outline(axes: Axes, window: SeenWindow, colour: str) -> None:
    dashed = "-" if window.taps else (0, (5, 3))
    axes.add_patch(_rectangle(window.rows, window.columns, edgecolor=colour, linewidth=2, linestyle=dashed))
    height, width = (last - first + 1 for first, last in (window.rows, window.columns))
    size = f"{width}" if width == height else f"{width} x {height}"
    beneath = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none", "alpha": 0.75}
    place: dict[str, Any] = {"xytext": (5, -4), "textcoords": "offset points", "ha": "left", "va": "top"}
    corner = window.columns[0], window.rows[0]
    axes.annotate(f"{window.label}: {size} px", corner, fontsize=9, color=colour, bbox=beneath, **place)


def _scatter(axes: Axes, window: SeenWindow, image: np.ndarray, colour: str) -> None:
    """Dots where the taps stand: full within the image, hollow where they read padding."""
    rows, columns = np.array(window.taps).T
    inside = (rows >= 0) & (rows < image.shape[0]) & (columns >= 0) & (columns < image.shape[1])
    axes.scatter(columns[inside], rows[inside], s=26, color=colour, zorder=3)
    axes.scatter(columns[~inside], rows[~inside], s=26, facecolors="white", edgecolors=colour, zorder=3)
    axes.set_title(f"{window.label}\n{window.note}", loc="left", fontsize=9, color=colour)
    axes.set_xticks([])
    axes.set_yticks([])


def _rectangle(rows: tuple[int, int], columns: tuple[int, int], **style: Any) -> Patch:
    from matplotlib.patches import Rectangle

    corner = (columns[0] - 0.5, rows[0] - 0.5)
    size = (columns[1] - columns[0] + 1, rows[1] - rows[0] + 1)
    return Rectangle(corner, *size, fill=False, **style)
