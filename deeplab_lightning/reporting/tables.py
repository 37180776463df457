"""Tables of the classes, for the terminal and as a file, others in Markdown, and the confusion matrix as a file."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import shown
from ..files import atomic_open, write_csv
from ..metrics.panoptic_quality import PanopticQuality
from ..metrics.scores import Scores, check_confusion

if TYPE_CHECKING:
    from rich.console import RenderableType


def per_class_table(scores: Scores, title: str, caption: str) -> RenderableType:
    """Make the table that ends a validation or a test: each class, the averages, and the overall scores.

    It fits 80 columns and stays readable in a log without colours. Absent classes show "-". The caption is the
    evaluation protocol, without which scores cannot be compared: size, scales, flip, window, output stride, CRF.
    """
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(
        box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1), title=title, title_justify="left", title_style="bold"
    )
    pixels = f"{scores.support.sum():,}"
    # Where 80 columns are too few the name is cut; left to itself, rich would cut the numbers too. The other columns
    # take 28 besides the pixels, and the space between the six of them 17.
    table.add_column("class", no_wrap=True, overflow="ellipsis", max_width=80 - 28 - 17 - len(pixels))
    for heading in ("IoU", "Dice/F1", "precision", "recall", "pixels"):
        table.add_column(heading, justify="right", no_wrap=True)

    columns = (scores.iou, scores.dice, scores.precision, scores.recall)
    for index, name in enumerate(scores.class_names):
        cells = [number(column[index]) for column in columns]
        table.add_row(
            Text(shown(name)), *cells, f"{scores.support[index]:,}", style="dim" if np.isnan(scores.iou[index]) else ""
        )
    table.add_section()
    for name, mean in (("macro", scores.macro), ("micro", scores.micro), ("weighted", scores.weighted)):
        cells = [number(value) for value in (mean.iou, mean.dice, mean.precision, mean.recall)]
        table.add_row(f"{name} average", *cells, pixels)

    overall = Text()
    overall.append(f"mIoU {number(scores.mIoU)}", style="bold")
    overall.append(f" over {scores.num_averaged} of {len(scores.class_names)} classes\n")
    others = (("pixel acc", scores.pixel_acc), ("mean acc", scores.mean_acc), ("fwIoU", scores.fwIoU))
    overall.append(" | ".join(f"{name} {number(value)}" for name, value in others))
    return Group(table, overall, Text(shown(caption), style="dim"))


def panoptic_table(quality: PanopticQuality, title: str) -> RenderableType:
    """Make the table of PQ, SQ and RQ: each class with its matched, extra and missed segments, and the means."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(
        box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1), title=title, title_justify="left", title_style="bold"
    )
    table.add_column("class", no_wrap=True, overflow="ellipsis", max_width=30)
    for heading in ("PQ", "SQ", "RQ", "TP", "FP", "FN"):
        table.add_column(heading, justify="right", no_wrap=True)
    for index, name in enumerate(quality.class_names):
        scores = [number(column[index]) for column in (quality.pq, quality.sq, quality.rq)]
        counts = [f"{column[index]:,}" for column in (quality.matched, quality.extra, quality.missed)]
        table.add_row(Text(name), *scores, *counts, style="dim" if np.isnan(quality.pq[index]) else "")
    table.add_section()
    for name, means in (("all", quality.all), ("things", quality.of_things), ("stuff", quality.of_stuff)):
        table.add_row(f"{name}, {means.classes} classes", *map(number, means[:3]))
    return table


def number(value: float | None, digits: int = 4) -> str:
    """Return `0.1234`, or "-" for NaN and None."""
    return "-" if value is None or math.isnan(value) else f"{value:.{digits}f}"


def markdown_table(
    headings: Sequence[str], rows: Iterable[Sequence[str]], numbers: slice = slice(1, None), padded: bool = False
) -> str:
    """Return a table in Markdown whose columns of `numbers` are aligned to the right, padded for the terminal."""
    columns = []
    for place, column in enumerate(zip(headings, *rows, strict=True)):
        cells = [shown(cell).replace("|", "\\|") for cell in column]
        width, right = max(map(len, cells)) if padded else 0, place in range(len(headings))[numbers]
        aligned = [f" {cell.rjust(width) if right else cell.ljust(width)} " for cell in cells]
        rule = "-" * (width + 2 - right if padded else 3) + ":" * right
        columns.append([aligned[0], rule, *aligned[1:]])
    return "\n".join(f"|{'|'.join(line)}|" for line in zip(*columns, strict=True))


PER_CLASS_COLUMNS = ("class", "IoU", "Dice", "precision", "recall", "support")
PANOPTIC_COLUMNS = ("PQ", "SQ", "RQ", "TP", "FP", "FN")


def per_class_rows(scores: Scores) -> list[tuple[str, float | None, float | None, float | None, float | None, int]]:
    """Return one row per class under `PER_CLASS_COLUMNS`; the scores of an absent class are None."""
    columns = (_plain(column) for column in (scores.iou, scores.dice, scores.precision, scores.recall))
    return list(zip(scores.class_names, *columns, scores.support.tolist(), strict=True))


def panoptic_rows(quality: PanopticQuality) -> list[tuple[float | None, float | None, float | None, int, int, int]]:
    """Return one row per class under `PANOPTIC_COLUMNS`; the scores of an absent class are None."""
    scores = (_plain(column) for column in (quality.pq, quality.sq, quality.rq))
    return list(zip(*scores, *map(np.ndarray.tolist, (quality.matched, quality.extra, quality.missed)), strict=True))


def _plain(column: np.ndarray) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in column]


def write_per_class_csv(path: Path, scores: Scores, quality: PanopticQuality | None = None) -> None:
    """Write the scores of each class in full precision; cells of absent classes are empty.

    Averages are left out: they follow from `confusion.npz`, and those of PQ from `panoptic.npz`.

    Args:
        path: The file.
        scores: Of class maps, under `PER_CLASS_COLUMNS`.
        quality: Of objects and stuff, for the further `PANOPTIC_COLUMNS`.
    """
    if quality is None:
        write_csv(path, PER_CLASS_COLUMNS, per_class_rows(scores))
        return
    rows = zip(per_class_rows(scores), panoptic_rows(quality), strict=True)
    write_csv(path, [*PER_CLASS_COLUMNS, *PANOPTIC_COLUMNS], ([*row, *more] for row, more in rows))


def write_confusion(path: Path, matrix: np.ndarray, class_names: Sequence[str]) -> None:
    """Write pixel counts `(C, C)`, rows the truth, as an `.npz` of plain arrays: `matrix` int64 and `class_names`."""
    matrix = check_confusion(matrix, class_names)
    with atomic_open(path) as file:
        np.savez_compressed(file, matrix=matrix, class_names=np.array(class_names, dtype=np.str_))
