"""A study's table as papers print it: Markdown, CSV and LaTeX."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..files import write_csv, write_text
from ..reporting.pages import difference_cell
from ..reporting.tables import markdown_table, number
from .results import RowResult, RowScores, warnings_of
from .statistics import CONFIDENCE, PairedComparison, mean_and_std
from .study_file import Study

COMPARED = ("difference", "low", "high", "p_value", "p_value_holm", "seeds_compared", "seeds_better", "seeds_worse")
"""Columns of a comparison with the baseline, in `table.csv`."""


def write_tables(study: Study, results: Sequence[RowResult], folder: Path, resamples: int) -> list[Path]:
    """Write `table.md`, `table.csv`, `table.tex` and `per_class.csv`, and return where they are.

    `resamples`, of the bootstrap, is said under the table.
    """
    paths = [folder / name for name in ("table.md", "table.csv", "table.tex", "per_class.csv")]
    folder.mkdir(parents=True, exist_ok=True)
    write_text(paths[0], markdown(study, results, resamples))
    write_csv(paths[1], *_table_rows(study, results))
    write_text(paths[2], latex(study, results))
    write_csv(paths[3], *_class_rows(study, results))
    return paths


def markdown(study: Study, results: Sequence[RowResult], resamples: int) -> str:
    """Return the table of rows, the table of classes, and what must be known to read them."""
    baseline = results[study.baseline]
    headings, rows = _cells(study, results)
    parts = [f"# {study.name}", "", markdown_table(headings, rows, slice(len(study.rows[0].levels), None)), ""]
    images = {len(run.sample_ids) for result in results for run in result.runs.values()}
    score = "mIoU and PQ" if any(result.panoptic.runs for result in results) else "mIoU"
    notes = [
        f"{score} in percent, mean ± standard deviation over seeds (n - 1). Differences are from the baseline, "
        f"{baseline.row.name}, over the seeds that both have; in brackets the {CONFIDENCE:.0%} interval and p the "
        f"two-sided p-value of the paired bootstrap over {' or '.join(map(str, sorted(images))) or 'no'} images "
        f"({resamples} resamples), not adjusted for the number of rows (table.csv has Holm's adjustment). The "
        f"interval speaks of other images, not of other seeds; `better in` says how many seeds agree."
    ]
    if any(result.row.published for result in results) or study.also_published:
        notes.append(f"Published: {study.source or 'no source is given'}.")
    notes += warnings_of(study, results)
    parts += [note + "\n" for note in notes]
    for scores in ([*results], [result.panoptic for result in results]):
        if scores[study.baseline].runs:
            parts += _markdown_of_classes([result.row.name for result in results], scores, study.baseline)
    return "\n".join(parts)


def _markdown_of_classes(names: Sequence[str], results: Sequence[RowScores], number: int) -> list[str]:
    """Return the lines of a table of the classes' scores, those of row `number` and the differences from it."""
    baseline, rows = results[number], zip(names, results, strict=True)
    compared = [(name, result.comparison) for name, result in rows if result.comparison is not None]
    first, means = next(iter(baseline.runs.values())), np.nanmean(baseline.class_scores, axis=0)
    of_classes = class_differences(first.class_names, means, [found for _, found in compared])
    headings = ["class", names[number], *(name for name, _ in compared)]
    title = "## Classes" if first.class_score == "IoU" else f"## Classes, {first.class_score}"
    legend = f"*: the class's {CONFIDENCE:.0%} interval leaves out zero."
    words = f"{first.class_score} of the baseline, and differences from it; {legend}"
    return [title, "", words, "", markdown_table(headings, of_classes), ""]


def latex(study: Study, results: Sequence[RowResult]) -> str:
    """Return the table of rows for LaTeX with booktabs, the best mIoU in bold."""
    headings, rows = _cells(study, results, math_mode=True)
    means = [mean_and_std(result.scores)[0] if result.runs else -math.inf for result in results]
    best = int(np.argmax(means)) if any(result.runs for result in results) else None
    factors = len(results[0].row.levels)
    score = headings.index("mIoU")
    lines = [
        "% needs \\usepackage{booktabs}",
        f"\\begin{{tabular}}{{{'l' * factors}{'r' * (len(headings) - factors)}}}",
        "\\toprule",
        " & ".join(_escape(heading) for heading in headings) + r" \\",
        "\\midrule",
    ]
    for index, row in enumerate(rows):
        cells = [_escape(cell) if "$" not in cell else cell for cell in row]
        if index == best:
            cells[score] = cells[score].replace("$", "$\\mathbf{", 1).replace(" \\pm", "}\\pm", 1)
            if "\\pm" not in cells[score]:
                cells[score] = cells[score][:-1] + "}$"
        lines.append(" & ".join(cells) + r" \\")
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}", ""])


def _cells(study: Study, results: Sequence[RowResult], math_mode: bool = False) -> tuple[list[str], list[list[str]]]:
    """Return headings and rows, each column only where something is known of it."""
    dollar, plus_minus = ("$", r"\pm") if math_mode else ("", "±")
    baseline = results[study.baseline]
    boundaries = sorted({name for result in results for name in result.boundary})
    columns: list[tuple[str, list[str]]] = [
        (factor, [result.row.levels[factor] for result in results]) for factor in results[0].row.levels
    ]

    def add(heading: str, values: list[str]) -> None:
        if any(values):
            columns.append((heading, values))

    add("params (M)", ["" if r.parameters is None else f"{r.parameters / 1e6:.2f}" for r in results])
    add("mult-adds (G)", ["" if r.multiply_adds is None else f"{r.multiply_adds / 1e9:.2f}" for r in results])
    add("s/step", ["" if math.isnan(r.step_seconds) else f"{r.step_seconds:.3g}" for r in results])

    def score(values: Sequence[float]) -> str:
        if not values:
            return ""
        mean, std = mean_and_std(values)
        spread = "" if math.isnan(std) else f" {plus_minus} {100 * std:.2f}"
        return f"{dollar}{100 * mean:.2f}{spread}{dollar}"

    columns.append(("mIoU", [score(result.scores) for result in results]))
    for name in boundaries:
        add(name.removeprefix("val/"), [score(result.boundary.get(name, [])) for result in results])

    def difference(result: RowScores) -> str:
        found = result.comparison
        if found is None:
            return "baseline" if result is baseline or (result is baseline.panoptic and result.runs) else ""
        return f"{dollar}{100 * found.difference:+.2f} {found.interval}".rstrip() + dollar

    def p_of(result: RowScores) -> str:
        return "" if result.comparison is None else describe_p(result.comparison.p_value, dollar)

    def better_in(result: RowResult) -> str:
        found = result.comparison
        return "" if found is None or found.seeds < 2 else f"{found.seeds_better}/{found.seeds}"

    def published(figure: float | None) -> str:
        if figure is None or baseline.row.published is None:
            return "" if figure is None else f"{figure:.2f}"
        return f"{figure:.2f} ({figure - baseline.row.published:+.2f})"

    columns.append(("difference", [difference(result) for result in results]))
    columns.append(("p", [p_of(result) for result in results]))
    add("better in", [better_in(result) for result in results])
    segments = [result.panoptic for result in results]
    add("PQ", [score(of_segments.scores) for of_segments in segments])
    add("PQ difference", [difference(of_segments) for of_segments in segments])
    add("PQ p", [p_of(of_segments) for of_segments in segments])
    if study.also_published or any(result.row.published is not None for result in results):
        shown = [published(result.row.published) for result in results]
        if baseline.row.published is not None:
            shown[study.baseline] = f"{baseline.row.published:.2f}"
        columns.append(("published", shown))
    rows = [list(row) for row in zip(*(values for _, values in columns), strict=True)]
    rows += [[name, *[""] * (len(columns) - 2), published(figure)] for name, figure in study.also_published]
    return [heading for heading, _ in columns], rows


def describe_p(p_value: float, dollar: str = "") -> str:
    """Return `0.012`, `< 0.001`."""
    if math.isnan(p_value):
        return ""
    return f"{dollar}< 0.001{dollar}" if p_value < 0.001 else f"{p_value:.3f}"


def class_differences(
    names: Sequence[str], baseline: np.ndarray, compared: Sequence[PairedComparison]
) -> list[list[str]]:
    """Return a row for each class: the baseline's IoU, and the differences, marked where the interval is off zero."""

    def cell(found: PairedComparison, index: int) -> str:
        value, low, high = found.class_difference[index], found.class_low[index], found.class_high[index]
        return "-" if math.isnan(value) else difference_cell(f"{100 * value:+.2f}", low, high, mark="*")

    return [
        [name, number(100 * baseline[index], 2), *(cell(found, index) for found in compared)]
        for index, name in enumerate(names)
    ]


def _table_rows(study: Study, results: Sequence[RowResult]) -> tuple[list[str], list[list[object]]]:
    """Return headings and rows: everything in full precision, fractions in 0..1 but for the published percent."""
    boundaries = sorted({name for result in results for name in result.boundary})
    segments = any(result.panoptic.runs for result in results)
    header = [
        *results[0].row.levels,
        *("seeds", "parameters", "multiply_adds", "seconds_per_step", "mIoU_mean", "mIoU_std", "mIoU_of_seeds"),
        *(f"{name}_mean" for name in boundaries),
        *COMPARED,
        "published_percent",
        *(f"PQ_{name}" for name in ("mean", "std", "of_seeds", *COMPARED) if segments),
    ]
    rows: list[list[object]] = [
        [
            *result.row.levels.values(),
            *(len(result.runs), result.parameters, result.multiply_adds, result.step_seconds),
            *_of_seeds(result),
            *(mean_and_std(result.boundary[name])[0] if name in result.boundary else None for name in boundaries),
            *_compared(result),
            result.row.published,
            *([*_of_seeds(result.panoptic), *_compared(result.panoptic)] if segments else []),
        ]
        for result in results
    ]
    width = len(results[0].row.levels)
    for name, figure in study.also_published:
        cells: list[object] = [name, *[""] * (width - 1), *[None] * (len(header) - width)]
        cells[header.index("published_percent")] = figure
        rows.append(cells)
    return header, rows


def _of_seeds(result: RowScores) -> list[object]:
    """Return mean, standard deviation, and the score of each seed."""
    scores = zip(result.runs, result.scores, strict=True)
    return [*mean_and_std(result.scores), " ".join(f"{seed}:{score:.6f}" for seed, score in scores)]


def _compared(result: RowScores) -> list[object]:
    """Return the cells of the columns `COMPARED`."""
    found = result.comparison
    if found is None:
        return [None] * len(COMPARED)
    figures = [found.difference, found.low, found.high, found.p_value, result.adjusted_p]
    return [*figures, found.seeds, found.seeds_better, found.seeds_worse]


def _class_rows(study: Study, results: Sequence[RowResult]) -> tuple[list[str], list[list[object]]]:
    segments = any(result.panoptic.runs for result in results)
    rows: list[list[object]] = []
    for result in results:
        for index, name in enumerate(next(iter(result.runs.values())).class_names if result.runs else ()):
            cells = [result.row.name, name, *_class_cells(result, index)]
            rows.append(cells + _class_cells(result.panoptic, index) if segments else cells)
    header = ["IoU_mean", "IoU_std", "difference", "low", "high"]
    of_segments = ["PQ_mean", "PQ_std", "PQ_difference", "PQ_low", "PQ_high"] if segments else []
    return ["row", "class", *header, *of_segments], rows


def _class_cells(result: RowScores, index: int) -> list[object]:
    """Return mean, standard deviation, difference and its interval of a class's score."""
    if not result.runs:
        return [None] * 5
    known = [value for value in result.class_scores[:, index].tolist() if not math.isnan(value)]
    found = result.comparison
    compared: list[object] = [None] * 3
    if found is not None:
        compared = [found.class_difference[index], found.class_low[index], found.class_high[index]]
    return [*mean_and_std(known), *compared]


def _escape(text: str) -> str:
    for character in "&%#_{}":
        text = text.replace(character, "\\" + character)
    return text.replace("±", r"$\pm$").replace("<", "$<$").replace("->", r"$\to$")
