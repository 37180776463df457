"""The report on a study: its tables as a page that stands by itself. Imports no torch."""

from __future__ import annotations

import csv
import math
from pathlib import Path

from ..errors import DataError
from ..reporting.html.charts import Point, scatter_chart
from ..reporting.html.page import Section, note, page
from ..reporting.html.tables import Cell, table
from .statistics import CONFIDENCE

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
    rows = _read(folder / TABLE)
    factors = list(rows[0])[: list(rows[0]).index("seeds")]
    names = [", ".join(row[factor] for factor in factors if row[factor]) for row in rows]
    sections = [Section("Rows", _rows(rows, factors, names))]
    if (folder / CLASSES).is_file():
        sections.append(Section("Classes", _classes(_read(folder / CLASSES))))
    if charts := _costs(rows, names):
        sections.append(Section("Accuracy against cost", charts))
    seeds = sorted({row["seeds"] for row in rows if row["seeds"]})
    text = (
        f"mIoU in percent, mean and standard deviation over {' or '.join(seeds)} seeds. Differences are from the "
        f"baseline, over the seeds that both have; intervals ({CONFIDENCE:.0%}) and p-values are of the paired "
        "bootstrap over images: they speak of other images, not of other seeds."
    )
    sections.insert(0, Section("How to read this", note(text)))
    return page(f"Study {folder.resolve().name}", f"{len(rows)} rows; factors: {', '.join(factors)}", sections)


def _rows(rows: list[dict[str, str]], factors: list[str], names: list[str]) -> str:
    headings = [*factors, "seeds", "parameters", "mIoU", "±", "difference", "interval", "p", "p (Holm)"]
    published = any(row.get("published_percent") for row in rows)
    cells: list[list[Cell | str]] = []
    for row in rows:
        low, high = _number(row["low"]), _number(row["high"])
        kind = "better" if low > 0 else "worse" if high < 0 else ""
        interval = "" if math.isnan(low) else f"[{100 * low:+.2f}, {100 * high:+.2f}]"
        difference = _number(row["difference"])
        parameters = _number(row["parameters"])
        cells.append(
            [
                *(row[factor] for factor in factors),
                row["seeds"],
                "" if math.isnan(parameters) else f"{parameters:,.0f}",
                _percent(row["mIoU_mean"]),
                _percent(row["mIoU_std"]),
                Cell("" if math.isnan(difference) else f"{100 * difference:+.2f}", kind),
                interval,
                _p(row["p_value"]),
                _p(row["p_value_holm"]),
                *([row["published_percent"]] if published else []),
            ]
        )
    return table("The study's rows", [*headings, *(["published"] if published else [])], cells, len(factors))


def _classes(rows: list[dict[str, str]]) -> str:
    names = list(dict.fromkeys(row["row"] for row in rows))
    classes = list(dict.fromkeys(row["class"] for row in rows))
    found = {(row["row"], row["class"]): row for row in rows}
    cells: list[list[Cell | str]] = []
    for class_name in classes:
        line: list[Cell | str] = [class_name]
        for name in names:
            row = found.get((name, class_name))
            low, high = (_number(row[key]) if row else math.nan for key in ("low", "high"))
            kind = "better" if low > 0 else "worse" if high < 0 else ""
            text = _percent(row["IoU_mean"]) if row else ""
            line.append(Cell(f"{text}{'*' if kind else ''}", kind))
        cells.append(line)
    caption = (
        f"IoU of each class in percent, mean over seeds; *: its difference's {CONFIDENCE:.0%} interval leaves out zero"
    )
    return table(caption, ["class", *names], cells)


def _costs(rows: list[dict[str, str]], names: list[str]) -> str:
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
    return f'<div class="charts">{"".join(charts)}</div>' if charts else ""


def _read(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}): `ablate STUDY.yaml --table` writes it.") from error
    wanted = {"row", "class", "IoU_mean"} if path.name == CLASSES else {"seeds", "mIoU_mean", "difference"}
    if not rows or not wanted <= rows[0].keys():
        raise DataError(f"{path} has no table of a study: expected the columns {', '.join(sorted(wanted))} and a row.")
    return rows


def _number(text: str | None) -> float:
    return float(text) if text else math.nan


def _percent(text: str) -> str:
    value = _number(text)
    return "" if math.isnan(value) else f"{100 * value:.2f}"


def _p(text: str) -> str:
    value = _number(text)
    return "" if math.isnan(value) else "< 0.001" if value < 0.001 else f"{value:.3f}"
