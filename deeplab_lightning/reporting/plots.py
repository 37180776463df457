"""Learning curves and the confusion matrix as figures.

matplotlib is imported on use and without pyplot: nothing global is touched, and no display is needed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from ..errors import DataError
from ..metrics.scores import check_confusion
from ..runs import read_metrics

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLUE, ORANGE, GREEN, GREY = "#2a6fbb", "#e07b39", "#3a9a5b", "#6b7280"


def plot_curves(metrics_csv: Path, png: Path | IO[bytes]) -> None:
    """Draw loss, validation scores and learning rate against the step; what was not logged is left out.

    Args:
        metrics_csv: A run's `metrics.csv` with the column `step` and any of `train/loss`, `val/loss`, `val/mIoU`,
            `val/pixel_acc`, `lr`.
        png: The image to write.

    Raises:
        DataError: There is nothing to draw.
    """
    from matplotlib.figure import Figure

    columns = read_metrics(metrics_csv)
    groups = {
        "loss": ("train/loss", "val/loss"),
        "validation score": ("val/mIoU", "val/pixel_acc"),
        "learning rate": ("lr",),
    }
    series = {name: logged(columns, name) for names in groups.values() for name in names}
    series = {name: points for name, points in series.items() if len(points[0])}
    groups = {label: names for label, names in groups.items() if series.keys() & names}
    if not groups:
        raise DataError(
            f"{metrics_csv} has nothing to draw: expected the column 'step' and one of train/loss, val/loss, val/mIoU, "
            f"val/pixel_acc, lr with numbers in it, found the columns {', '.join(columns) or 'none'}."
        )

    heights = [1 if label == "learning rate" else 2.2 for label in groups]
    figure = Figure(figsize=(8, 0.6 + 1.15 * sum(heights)), layout="constrained")
    all_axes = figure.subplots(len(groups), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    for axes, (label, names) in zip(all_axes, groups.items(), strict=True):
        style(axes, label)
        for name in names:
            if name in series:
                _draw(axes, name, *series[name])
        if label != "learning rate":
            axes.legend(frameon=False, fontsize=9, loc="best")
    all_axes[-1].set_xlabel("step")
    figure.savefig(png, format="png", dpi=130)


def logged(columns: Mapping[str, np.ndarray], name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return steps and values of one column. A resumed run logs some steps again: of those the later row counts."""
    if name not in columns or "step" not in columns:
        return np.zeros(0), np.zeros(0)
    known = np.isfinite(columns[name]) & np.isfinite(columns["step"])
    latest = dict(zip(columns["step"][known].tolist(), columns[name][known].tolist(), strict=True))
    steps = sorted(latest)
    return np.array(steps), np.array([latest[step] for step in steps])


def smoothed(values: np.ndarray) -> np.ndarray:
    """Return the running mean over about a twentieth of the points.

    It is centred: a trailing mean lags, and would draw a falling training loss above the validation loss.
    """
    half = len(values) // 40
    sums = np.concatenate([[0.0], np.cumsum(values)])
    index = np.arange(len(values))
    half_here = np.minimum(half, np.minimum(index, len(values) - 1 - index))  # shorter towards the ends, still centred
    return (sums[index + half_here + 1] - sums[index - half_here]) / (2 * half_here + 1)


_LINES: dict[str, dict[str, Any]] = {
    "train/loss": {"color": BLUE, "alpha": 0.25, "linewidth": 0.8},
    "val/loss": {"color": ORANGE, "marker": "o", "markersize": 3.5, "linewidth": 1.5, "label": "validation"},
    "val/mIoU": {"color": GREEN, "marker": "o", "markersize": 3.5, "linewidth": 1.8},
    "val/pixel_acc": {"color": GREY, "marker": "o", "markersize": 2.5, "linewidth": 1.2, "label": "pixel accuracy"},
    "lr": {"color": GREY, "linewidth": 1.5},
}


def _draw(axes: Axes, name: str, steps: np.ndarray, values: np.ndarray) -> None:
    (line,) = axes.plot(steps, values, **_LINES[name])
    if name == "train/loss":
        axes.plot(steps, smoothed(values), color=BLUE, linewidth=1.8, label="train (smoothed)")
    elif name == "val/mIoU":
        best = int(values.argmax())
        line.set_label(f"mIoU (best {values[best]:.3f} at step {steps[best]:.0f})")
        ring: dict[str, Any] = {"markersize": 9, "markerfacecolor": "none", "markeredgewidth": 1.5}
        axes.plot(steps[best], values[best], color=GREEN, marker="o", **ring)
    axes.set_ylim(0, 1 if name in ("val/mIoU", "val/pixel_acc") else None)


def style(axes: Axes, label: str) -> None:
    """Give axes the house's look: a label at the left, a light grid, no frame above and at the right."""
    axes.set_ylabel(label)
    axes.grid(color="#e5e7eb", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.01)


MAX_NUMBERED_CLASSES = 25
"""Above this, percentages in the cells would be too small to read."""


def plot_confusion(matrix: np.ndarray, class_names: Sequence[str], png: Path | IO[bytes]) -> None:
    """Draw a confusion matrix, each row in percent of its true class.

    Up to 25 classes the cells carry their percentage, where it rounds to at least 1. The row of a class that is not in
    the truth is grey.

    `matrix`, `(C, C)`, holds integer pixel counts; rows are the truth, columns the prediction.
    """
    from matplotlib.figure import Figure

    matrix = check_confusion(matrix, class_names)
    size = len(class_names)
    truth = matrix.sum(axis=1, keepdims=True)
    percent = np.where(truth > 0, 100 * matrix / np.maximum(truth, 1), np.nan)

    numbered = size <= MAX_NUMBERED_CLASSES
    cell = 0.42 if numbered else max(0.11, 10.5 / size)  # inches
    font = 9 if numbered else max(5.0, cell * 72 * 0.62)  # points
    side = max(2.2, cell * size)
    # Placed by hand: a layout engine measures every text several times. `tight` below makes room for the names.
    figure = Figure(figsize=(side + 0.5, side))
    axes = figure.add_axes((0, 0, side / (side + 0.5), 1))
    axes.set_facecolor("#e5e7eb")
    image = axes.imshow(percent, cmap="Blues", vmin=0, vmax=100)
    axes.set_xticks(range(size), class_names, rotation=90 if size > 4 else 0, fontsize=font)
    axes.set_yticks(range(size), class_names, fontsize=font)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    between = np.arange(1, size) - 0.5  # lines of one collection: as minor ticks they would take seconds
    width, edges = 1 if numbered else 0.3, (-0.5, size - 0.5)
    axes.hlines(between, *edges, color="white", linewidth=width)
    axes.vlines(between, *edges, color="white", linewidth=width)
    axes.set_xlabel("prediction")
    axes.set_ylabel("truth")
    axes.set_title("Confusion, % of each true class", loc="left", fontsize=11)
    if numbered:
        for row, column in np.argwhere(percent >= 0.5):
            value = percent[row, column]
            colour = "white" if value > 55 else "#1f2937"
            text = axes.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=8, color=colour)
            text.set_in_layout(False)  # it lies within its cell
    bar = figure.colorbar(
        image, cax=figure.add_axes(((side + 0.15) / (side + 0.5), 0.2, 0.024 * side / (side + 0.5), 0.6))
    )
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0, labelsize=8)
    figure.savefig(png, format="png", dpi=130, bbox_inches="tight", pad_inches=0.15)
