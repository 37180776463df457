"""The overview: images of each split beside their masks, and how often each class occurs.

matplotlib is imported on use and without pyplot, as in `reporting/plots.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from ..data.dataset import SegmentationDataset
from ..data.spacing import spread
from ..reporting.panels import PanelImage, fit
from .images import Look, class_counts

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .examination import Examination

PAIRS = 6
"""Images on the overview, with their masks."""
PAIRS_IN_A_ROW = 3
MOST_LETTERS = 34
"""Of a title."""
CANDIDATES = 12
"""Images of a split that are chosen from, spread evenly, so that no two frames of a video stand side by side."""
MOST_BARS = 40
"""Classes that get bars; of more, the most frequent."""
INK, GREY, HOLLOW = "#1f2937", "#6b7280", "#e5e7eb"


def write_overview(done: Examination, title: str, png: Path | IO[bytes]) -> None:
    """Draw the overview of a data set of which at least one image can be loaded."""
    from matplotlib.figure import Figure

    chosen = choose(done)
    rows = -(-len(chosen) // PAIRS_IN_A_ROW)
    pixels = np.asarray(sum(class_counts(looks, done.labels.num_classes)[0] for looks in done.looks.values()))
    classes = sorted(np.argsort(-pixels, kind="stable")[:MOST_BARS].tolist())
    bars = 0.55 + 0.19 * len(classes)  # inches
    figure = Figure(figsize=(13, 0.5 + 1.9 * rows + bars), layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", fontsize=12, color=INK)
    parts: Any = figure.subfigures(2, 1, height_ratios=[1.9 * rows, bars])
    images, table = parts
    grid = images.subplots(rows, 2 * PAIRS_IN_A_ROW, squeeze=False).ravel()
    for axes in grid:
        axes.set_axis_off()
    for place, (split, dataset, look) in enumerate(chosen):
        image, mask = dataset.load(look.index)
        shown, name = fit(PanelImage(look.sample_id, image, mask, mask)), f"{split}: {look.sample_id}"
        name = name if len(name) <= MOST_LETTERS else f"...{name[3 - MOST_LETTERS :]}"
        grid[2 * place].imshow(shown.image)
        grid[2 * place].set_title(name, loc="left", fontsize=7, color=GREY)
        grid[2 * place + 1].imshow(done.labels.colour_table()[shown.truth])
    of_pixels, of_images = table.subplots(1, 2, sharey=True)
    _draw_bars(of_pixels, of_images, done, classes)
    figure.savefig(png, format="png", dpi=85)


def choose(done: Examination) -> list[tuple[str, SegmentationDataset, Look]]:
    """Choose images, split by split in turn, each showing as many classes as possible that none before it shows."""

    def classes(look: Look) -> set[int]:
        return set(np.flatnonzero(look.counts[: done.labels.num_classes]).tolist())

    left: dict[str, list[Look]] = {}
    for split, looks in done.looks.items():
        loadable = [look for look in looks if look.error is None]
        left[split] = [loadable[place] for place in spread(len(loadable), CANDIDATES)]
    shown: set[int] = set()
    chosen: list[tuple[str, SegmentationDataset, Look]] = []
    while len(chosen) < PAIRS and any(left.values()):
        for split in [split for split, looks in left.items() if looks]:
            best = max(left[split], key=lambda look: (len(classes(look) - shown), len(classes(look))))
            left[split].remove(best)
            shown |= classes(best)
            chosen.append((split, done.datasets[split], best))
    return chosen[:PAIRS]


def _draw_bars(shares: Axes, images: Axes, done: Examination, classes: list[int]) -> None:
    """Draw each class's colour, and its share of the labelled pixels, and of the images: train solid, val hollow."""
    places = np.arange(len(classes))
    colours = [tuple(value / 255 for value in done.labels.palette[index]) for index in classes]
    splits = [split for split in ("train", "val") if done.loadable(split)]
    height = 0.8 / max(1, len(splits))
    for number, split in enumerate(splits):
        looks = done.looks[split]
        pixels, of_images = class_counts(looks, done.labels.num_classes)
        columns = (
            (shares, 100 * pixels[classes] / max(1, pixels.sum())),
            (images, 100 * of_images[classes] / max(1, sum(look.error is None for look in looks))),
        )
        for axes, percent in columns:
            solid = split == "train"
            middles = places + (number - (len(splits) - 1) / 2) * height
            fill = colours if solid else "none"
            axes.barh(middles, percent, 0.9 * height, color=fill, edgecolor=GREY, linewidth=0.6)
            for place, value in zip(places.tolist(), percent.tolist(), strict=True):
                if solid:
                    axes.text(value, place - height / 2 if len(splits) > 1 else place, f" {value:.1f}", va="center",
                              fontsize=6.5, color=INK)  # fmt: skip
    at_the_names = shares.get_yaxis_transform()
    shares.scatter(
        np.full(len(places), -0.012), places, s=34, c=colours, marker="s", edgecolors=GREY, linewidths=0.5,
        transform=at_the_names, clip_on=False,
    )  # fmt: skip
    shares.tick_params(axis="y", pad=9)
    shares.set_yticks(places, [done.labels.class_names[index] for index in classes], fontsize=8)
    shares.invert_yaxis()
    titles = ("% of the labelled pixels", "% of the images that show it")
    for axes, what in zip((shares, images), titles, strict=True):
        axes.set_title(f"{what} (solid: train, hollow: val)", loc="left", fontsize=9, color=INK)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8, length=0)
        axes.grid(axis="x", color=HOLLOW, linewidth=0.8)
        axes.set_axisbelow(True)
