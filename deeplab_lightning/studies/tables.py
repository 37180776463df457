"""A study's table as papers print it: Markdown, CSV and LaTeX."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..files import write_csv, write_text
from ..reporting.tables import number
from .results import RowResult, warnings_of
from .statistics import CONFIDENCE, mean_and_std
from .study_file import Study


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
    parts = [f"# {study.name}", "", *_markdown_table(headings, rows, len(study.rows[0].levels)), ""]
    images = {len(run.sample_ids) for result in results for run in result.runs.values()}
    notes = [
        f"mIoU in percent, mean ± standard deviation over seeds (n - 1). Differences are from the baseline, "
        f"{baseline.row.name}, over the seeds that both have; in brackets the {CONFIDENCE:.0%} interval and p the "
        f"two-sided p-value of the paired bootstrap over {' or '.join(map(str, sorted(images))) or 'no'} images "
        f"({resamples} resamples), not adjusted for the number of rows (table.csv has Holm's adjustment). The "
        f"interval speaks of other images, not of other seeds; `better in` says how many seeds agree."
    ]
    if any(result.row.published for result in results) or study.also_published:
        notes.append(f"Published: {study.source or 'no source is given'}.")
    notes += warnings_of(study, results)
    parts += [note + "\n" for note in notes]
    if baseline.runs:
        parts += ["## Classes", "", *_markdown_classes(study, results), ""]
    return "\n".join(parts)


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

    def difference(result: RowResult) -> str:
        found = result.comparison
        if found is None:
            return "baseline" if result is baseline else ""
        interval = f"[{100 * found.low:+.2f}, {100 * found.high:+.2f}]"
        return f"{dollar}{100 * found.difference:+.2f} {interval}{dollar}"

    def better_in(result: RowResult) -> str:
        found = result.comparison
        return "" if found is None or found.seeds < 2 else f"{found.seeds_better}/{found.seeds}"

    def published(figure: float | None) -> str:
        if figure is None or baseline.row.published is None:
            return "" if figure is None else f"{figure:.2f}"
        return f"{figure:.2f} ({figure - baseline.row.published:+.2f})"

    columns.append(("difference", [difference(result) for result in results]))
    columns.append(("p", ["" if r.comparison is None else describe_p(r.comparison.p_value, dollar) for r in results]))
    add("better in", [better_in(result) for result in results])
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


def _markdown_table(headings: Sequence[str], rows: Sequence[Sequence[str]], left: int) -> list[str]:
    """Return the lines of a table whose first `left` columns are aligned to the left."""
    rule = ["---"] * left + ["---:"] * (len(headings) - left)
    cells = [[cell.replace("|", "\\|") for cell in row] for row in (headings, rule, *rows)]
    return [f"| {' | '.join(row)} |" for row in cells]


def _markdown_classes(study: Study, results: Sequence[RowResult]) -> list[str]:
    """Return the baseline's IoU of each class and the rows' differences, marked where the interval leaves out zero."""
    baseline = results[study.baseline]
    names = next(iter(baseline.runs.values())).class_names
    compared = [result for result in results if result.comparison is not None]
    headings = ["class", baseline.row.name, *(result.row.name for result in compared)]
    rows = []
    means = np.nanmean(baseline.class_scores, axis=0) if len(baseline.runs) else np.full(len(names), np.nan)
    for index, name in enumerate(names):
        cells = [name, number(100 * means[index], 2)]
        for result in compared:
            found = result.comparison
            assert found is not None
            value = found.class_difference[index]
            certain = found.class_low[index] > 0 or found.class_high[index] < 0
            cells.append("-" if np.isnan(value) else f"{100 * value:+.2f}{'*' if certain else ''}")
        rows.append(cells)
    legend = f"IoU of the baseline, and differences from it; *: the class's {CONFIDENCE:.0%} interval leaves out zero."
    return [legend, "", *_markdown_table(headings, rows, 1)]


def _table_rows(study: Study, results: Sequence[RowResult]) -> tuple[list[str], list[list[object]]]:
    """Return headings and rows: everything in full precision, fractions in 0..1 but for the published percent."""
    boundaries = sorted({name for result in results for name in result.boundary})
    header = [
        *results[0].row.levels,
        *("seeds", "parameters", "multiply_adds", "seconds_per_step", "mIoU_mean", "mIoU_std", "mIoU_of_seeds"),
        *(f"{name}_mean" for name in boundaries),
        *("difference", "low", "high", "p_value", "p_value_holm", "seeds_compared", "seeds_better", "seeds_worse"),
        "published_percent",
    ]
    rows: list[list[object]] = []
    for result in results:
        found = result.comparison
        compared: list[object] = [None] * 8
        if found is not None:
            compared = [found.difference, found.low, found.high, found.p_value, result.adjusted_p]
            compared += [found.seeds, found.seeds_better, found.seeds_worse]
        rows.append(
            [
                *result.row.levels.values(),
                *(len(result.runs), result.parameters, result.multiply_adds, result.step_seconds),
                *mean_and_std(result.scores),
                " ".join(f"{seed}:{score:.6f}" for seed, score in zip(result.runs, result.scores, strict=True)),
                *(mean_and_std(result.boundary[name])[0] if name in result.boundary else None for name in boundaries),
                *compared,
                result.row.published,
            ]
        )
    width = len(results[0].row.levels)
    for name, figure in study.also_published:
        rows.append([name, *[""] * (width - 1), *[None] * (len(header) - width - 1), figure])
    return header, rows


def _class_rows(study: Study, results: Sequence[RowResult]) -> tuple[list[str], list[list[object]]]:
    rows: list[list[object]] = []
    for result in results:
        found = result.comparison
        for index, name in enumerate(next(iter(result.runs.values())).class_names if result.runs else ()):
            known = [value for value in result.class_scores[:, index].tolist() if not math.isnan(value)]
            compared: list[object] = [None] * 3
            if found is not None:
                compared = [found.class_difference[index], found.class_low[index], found.class_high[index]]
            rows.append([result.row.name, name, *mean_and_std(known), *compared])
    return ["row", "class", "IoU_mean", "IoU_std", "difference", "low", "high"], rows


def _escape(text: str) -> str:
    for character in "&%#_{}":
        text = text.replace(character, "\\" + character)
    return text.replace("±", r"$\pm$").replace("<", "$<$").replace("->", r"$\to$")
