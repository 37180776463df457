"""The report on a study: its tables as a page that stands by itself. Imports no torch."""

from __future__ import annotations

import math
from pathlib import Path

from markupsafe import Markup

from ..errors import DataError
from ..files import read_csv
from ..reporting.charts import Point, scatter_chart
from ..reporting.pages import difference_cell, page
from .statistics import CONFIDENCE
from .tables import describe_p

TABLE, CLASSES = "table.csv", "per_class.csv"


def is_study(folder: Path) -> bool:
    """Whether a folder is one of a study: what `ablate` wrote."""
    return (folder / "study.json").is_file() or ((folder / TABLE).is_file() and (folder / "cells").is_dir())


def study_report(folder: Path) -> str:
    """Return the report on a study as one HTML document.

    Args:
        folder: `runs/STUDY`, with the tables that `ablate` writes.

    Raises:
        DataError: Its tables are not there yet, or hold something else.
    """
    try:
        return _page(folder)
    except DataError:
        raise
    except Exception as error:  # of a table that is made up
        raise DataError(f"{folder / TABLE} is no table of a study ({type(error).__name__}: {error}).") from error


def _page(folder: Path) -> str:
    rows = _read(folder / TABLE)
    factors = list(rows[0])[: list(rows[0]).index("seeds")]
    names = [", ".join(row[factor] for factor in factors if row[factor]) for row in rows]
    return page(
        "study.html.j2",
        f"Study {folder.resolve().name}",
        f"{len(rows)} rows; factors: {', '.join(factors)}",
        seeds=sorted({row["seeds"] for row in rows if row["seeds"]}),
        confidence=f"{CONFIDENCE:.0%}",
        rows=_row_table(rows, factors),
        classes=_class_tables(_read(folder / CLASSES)) if (folder / CLASSES).is_file() else {},
        charts=_cost_charts(rows, names),
    )


def _row_table(rows: list[dict[str, str]], factors: list[str]) -> tuple[list[str], list[list[str]], int]:
    """Return headings, rows, and the number of the first column of numbers."""
    headings = [*factors, "seeds", "parameters", "mIoU", "±", "difference", "interval", "p", "p (Holm)"]
    segments = ["PQ", "±", "PQ difference"] if any(row.get("PQ_mean") for row in rows) else []
    published = ["published_percent"] if any(row.get("published_percent") for row in rows) else []
    cells = []
    for row in rows:
        low, high = _number(row["low"]), _number(row["high"])
        cells.append(
            [
                *(row[factor] for factor in factors),
                row["seeds"],
                _text(row["parameters"], "{:,.0f}"),
                _text(row["mIoU_mean"], "{:.2f}", 100),
                _text(row["mIoU_std"], "{:.2f}", 100),
                difference_cell(_text(row["difference"], "{:+.2f}", 100), low, high),
                "" if math.isnan(low) else f"[{100 * low:+.2f}, {100 * high:+.2f}]",
                describe_p(_number(row["p_value"])),
                describe_p(_number(row["p_value_holm"])),
                *(_panoptic_cells(row) if segments else []),
                *(row[column] for column in published),
            ]
        )
    return [*headings, *segments, *("published" for _ in published)], cells, len(factors)


def _panoptic_cells(row: dict[str, str]) -> list[str]:
    """Return PQ, its standard deviation, and the difference from the baseline, of a row of `table.csv`."""
    difference = _text(row["PQ_difference"], "{:+.2f}", 100)
    return [
        _text(row["PQ_mean"], "{:.2f}", 100),
        _text(row["PQ_std"], "{:.2f}", 100),
        difference_cell(difference, _number(row["PQ_low"]), _number(row["PQ_high"])),
    ]


def _class_tables(rows: list[dict[str, str]]) -> dict[str, tuple[list[str], list[list[str]]]]:
    """Return headings and rows: IoU, and PQ if there is any, of each class under each row of the study."""
    tables = {"IoU": _class_table(rows, "IoU_mean", "")}
    if any(row.get("PQ_mean") for row in rows):
        tables["PQ"] = _class_table(rows, "PQ_mean", "PQ_")
    return tables


def _class_table(rows: list[dict[str, str]], mean: str, prefix: str) -> tuple[list[str], list[list[str]]]:
    """Return headings and rows from the columns `mean` and, behind a prefix, `low` and `high`."""
    names = list(dict.fromkeys(row["row"] for row in rows))
    found = {(row["row"], row["class"]): row for row in rows}

    def cell(name: str, class_name: str) -> str:
        row = found.get((name, class_name))
        if row is None:
            return ""
        text = _text(row[mean], "{:.2f}", 100)
        return difference_cell(text, _number(row[f"{prefix}low"]), _number(row[f"{prefix}high"]), mark="*")

    classes = dict.fromkeys(row["class"] for row in rows)
    return ["class", *names], [[class_name, *(cell(name, class_name) for name in names)] for class_name in classes]


def _cost_charts(rows: list[dict[str, str]], names: list[str]) -> list[Markup]:
    charts = []
    for key, label in (
        ("parameters", "parameters"),
        ("multiply_adds", "multiply-adds"),
        ("seconds_per_step", "seconds per training step"),
    ):
        points = [
            Point(name, _number(row[key]), 100 * _number(row["mIoU_mean"]))
            for row, name in zip(rows, names, strict=True)
            if not math.isnan(_number(row[key]) + _number(row["mIoU_mean"]))
        ]
        if len(points) > 1:
            charts.append(scatter_chart(f"mIoU against {label}", points, label, "mIoU, %"))
    return charts


def _read(path: Path) -> list[dict[str, str]]:
    try:
        rows = read_csv(path)
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}): `ablate STUDY.yaml --table` writes it.") from error
    wanted = {"row", "class", "IoU_mean"} if path.name == CLASSES else {"seeds", "mIoU_mean", "difference"}
    if not rows or not wanted <= rows[0].keys():
        raise DataError(f"{path} has no table of a study: expected the columns {', '.join(sorted(wanted))} and a row.")
    return rows


def _number(text: str | None) -> float:
    return float(text) if text else math.nan


def _text(number: str, form: str, factor: float = 1) -> str:
    return form.format(factor * float(number)) if number else ""
