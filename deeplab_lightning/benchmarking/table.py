"""What was measured, as a table and an image."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .. import files
from ..reporting.tables import markdown_table
from .plan import BenchmarkCase

COLUMNS: dict[str, Callable[[Any], str]] = {
    **dict.fromkeys(("variant", "size", "precision", "runtime"), str),
    **dict.fromkeys(("median ms", "p95 ms"), "{:.1f}".format),
    **dict.fromkeys(("images/s", "peak GiB"), "{:.2f}".format),
    "parameters": lambda count: f"{count / 1e6:.2f} M",
    "multiply-adds": lambda count: f"{count / 1e9:.2f} B",
    "mIoU": "{:.4f}".format,
    "published": str,
}
"""Heading -> what stands in the table for a value."""
Measured = Sequence[tuple[BenchmarkCase, dict[str, Any]]]


def summary(case: BenchmarkCase, result: dict[str, Any]) -> dict[str, Any]:
    """Return the numbers of a line: median and 95th percentile of the rounds, in milliseconds for a whole batch."""
    median = statistics.median(result["milliseconds"])
    return {
        "variant": case.variant,
        "size": "x".join(map(str, case.size)) + (f", batch {case.batch}" if case.batch > 1 else ""),
        "precision": case.precision,
        "runtime": case.runtime,
        "median ms": median,
        "p95 ms": float(np.percentile(result["milliseconds"], 95)),
        "images/s": 1000 * case.batch / median,
        "peak GiB": result["peak_gib"],
        "parameters": result["parameters"],
        "multiply-adds": result["multiply_adds"],
        "mIoU": result.get("mIoU"),
        "published": case.published,
    }


def markdown(measured: Measured, machine: str) -> str:
    """Return the table, below a line that says where it was measured."""
    rows = (summary(case, result) for case, result in measured)
    cells = [["" if row[key] is None else written(row[key]) for key, written in COLUMNS.items()] for row in rows]
    return f"{machine}\n\n{markdown_table(list(COLUMNS), cells, slice(4, -1))}\n"


def write_csv(path: Path, measured: Measured) -> None:
    """Write the lines with all digits."""
    files.write_csv(path, list(COLUMNS), (summary(case, result) for case, result in measured))


def plot(path: Path, measured: Measured, machine: str) -> None:
    """Draw the time of each line as a bar, with a mark at the 95th percentile; mIoU, where known, beside it."""
    from matplotlib.figure import Figure

    rows = [summary(case, result) for case, result in measured][::-1]
    varying = [key for key in ("size", "precision", "runtime") if len({row[key] for row in rows}) > 1]
    figure = Figure(figsize=(8, 1.2 + 0.42 * len(rows)), layout="constrained")
    axes = figure.subplots()
    places = np.arange(len(rows))
    medians = [row["median ms"] for row in rows]
    axes.barh(places, medians, color="#2a6fbb", height=0.62)
    axes.plot([row["p95 ms"] for row in rows], places, "|", color="#e07b39", markersize=13, markeredgewidth=2)
    axes.set_yticks(places, [", ".join([row["variant"], *(row[key] for key in varying)]) for row in rows])
    for place, row in zip(places, rows, strict=True):
        score = "" if row["mIoU"] is None else f", mIoU {row['mIoU']:.3f}"
        axes.annotate(f" {row['median ms']:.0f} ms{score}", (max(row["median ms"], row["p95 ms"]), place),
                      xytext=(6, 0), textcoords="offset points", va="center", fontsize=8)  # fmt: skip
    axes.set_xlim(0, 1.3 * max(row["p95 ms"] for row in rows))
    axes.set_xlabel("ms from image to class map (bar: median, mark: 95th percentile)")
    axes.set_title(machine, fontsize=8, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=130)
