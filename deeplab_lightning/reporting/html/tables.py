"""Tables of a report: plain ones, classes with bars, the confusion matrix."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

import numpy as np
from PIL import Image

from ...metrics.scores import Scores

MOST_CELLS = 40
"""Classes up to which the confusion matrix is a table of numbers; beyond, it is an image."""
MOST_CONFUSED = 30
"""Pairs of classes listed below it."""


class Cell(NamedTuple):
    """A cell of a table.

    Attributes:
        text: What it says.
        kind: Of its look: empty, `number`, `better`, `worse`.
    """

    text: str
    kind: str = ""


def table(
    caption: str,
    headings: Sequence[str],
    rows: Sequence[Sequence[Cell | str]],
    numbers_from: int = 1,
    last_is_text: bool = False,
) -> str:
    """Return a table whose first column heads the rows.

    Args:
        caption: What it shows.
        headings: One for each column.
        rows: Their cells.
        numbers_from: First column that is aligned as numbers are.
        last_is_text: Whether the last one is not.
    """
    numbers = range(numbers_from, len(headings) - last_is_text)
    head = "".join(
        f'<th scope="col"{_class("number" if place in numbers else "")}>{escape(heading)}</th>'
        for place, heading in enumerate(headings)
    )
    body = []
    for row in rows:
        cells = []
        for place, cell in enumerate(row):
            text, kind = cell if isinstance(cell, Cell) else (cell, "")
            kinds = " ".join(filter(None, ["number" if place in numbers else "", kind]))
            tag, scope = ("th", ' scope="row"') if place == 0 else ("td", "")
            cells.append(f"<{tag}{scope}{_class(kinds)}>{escape(text)}</{tag}>")
        body.append(f"<tr>{''.join(cells)}</tr>")
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}"><table>'
        f"<caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table></div>"
    )


def class_table(scores: Scores) -> str:
    """Return IoU, Dice, precision, recall and pixels of each class, with a bar for the IoU; absent classes show "-"."""
    headings = ("class", "IoU", "", "Dice/F1", "precision", "recall", "pixels")
    head = "".join(
        f'<th scope="col"{_class("number" if place not in (0, 2) else "")}>{escape(heading)}</th>'
        if heading
        else '<td aria-hidden="true"></td>'
        for place, heading in enumerate(headings)
    )
    rows = []
    for index, name in enumerate(scores.class_names):
        values = [column[index] for column in (scores.iou, scores.dice, scores.precision, scores.recall)]
        cells = [f'<td class="number">{number(value)}</td>' for value in values]
        width = 0.0 if math.isnan(values[0]) else 100 * values[0]
        bar = f'<td class="bar" aria-hidden="true"><span style="width:{width:.1f}%"></span></td>'
        pixels = f'<td class="number">{scores.support[index]:,}</td>'
        rows.append(f'<tr><th scope="row">{escape(name)}</th>{cells[0]}{bar}{"".join(cells[1:])}{pixels}</tr>')
    caption = "Scores of each class, fractions of 1; - marks a class that is neither in the truth nor predicted"
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="Scores of each class"><table>'
        f"<caption>{caption}</caption><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def confusion_table(matrix: np.ndarray, class_names: Sequence[str]) -> str:
    """Return the confusion matrix in percent of each true class, as numbers or, of many classes, as an image.

    Args:
        matrix: `(C, C)` integer pixel counts; rows are the truth, columns the prediction.
        class_names: `C` names.
    """
    truth = matrix.sum(axis=1, keepdims=True)
    percent = np.where(truth > 0, 100 * matrix / np.maximum(truth, 1), np.nan)
    most = _most_confused(percent, matrix, class_names)
    if len(class_names) > MOST_CELLS:
        return _heatmap(percent) + most
    head = "".join(f'<th scope="col" class="column">{escape(name)}</th>' for name in class_names)
    rows = []
    for name, row in zip(class_names, percent, strict=True):
        cells = "".join(
            "<td>-</td>"
            if math.isnan(value)
            else f'<td style="--p:{value:.0f}">{f"{value:.0f}" if value >= 0.5 else ""}</td>'
            for value in row
        )
        rows.append(f'<tr><th scope="row">{escape(name)}</th>{cells}</tr>')
    caption = "Percent of each true class (rows) that is predicted as each class (columns); empty: under 0.5"
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="Confusion matrix"><table class="confusion">'
        f"<caption>{caption}</caption><thead><tr><td></td>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
        f"{most}"
    )


def number(value: float, digits: int = 4) -> str:
    """Return `0.1234`, or "-" for NaN."""
    return "-" if math.isnan(value) else f"{value:.{digits}f}"


def _most_confused(percent: np.ndarray, matrix: np.ndarray, class_names: Sequence[str]) -> str:
    wrong = np.where(np.eye(len(class_names), dtype=bool), 0, np.nan_to_num(percent))
    order = np.argsort(-wrong, axis=None, kind="stable")[:MOST_CONFUSED]
    rows: list[list[Cell | str]] = []
    for place in order.tolist():
        truth, pred = divmod(place, len(class_names))
        if wrong[truth, pred] >= 0.5:
            shares = (f"{wrong[truth, pred]:.1f}", f"{matrix[truth, pred]:,}")
            rows.append([Cell(class_names[truth]), Cell(class_names[pred]), *shares])
    if not rows:
        return ""
    shown = table("The largest confusions", ("truth", "predicted as", "% of the truth", "pixels"), rows, 2)
    return f"<details><summary>The {len(rows)} largest confusions</summary>{shown}</details>"


def _heatmap(percent: np.ndarray) -> str:
    shades = (255 - 2.0 * np.nan_to_num(percent)).round().astype(np.uint8)
    data = io.BytesIO()
    Image.fromarray(np.stack([shades, shades, np.full_like(shades, 255)], axis=2)).save(data, "PNG")
    what = f"Confusion matrix of {len(percent)} classes; the largest confusions are listed below"
    return f'<img class="heatmap" alt="{what}" src="{data_uri(data.getvalue(), "image/png")}">'


def data_uri(content: bytes, media_type: str) -> str:
    """Return content as an address that holds it."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"


def _class(kinds: str) -> str:
    return f' class="{kinds}"' if kinds else ""
