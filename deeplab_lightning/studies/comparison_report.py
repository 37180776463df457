"""A comparison of runs as a page that stands by itself, and as text for the terminal. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

from ..reporting.gallery import StoredImage
from ..reporting.html.charts import Point, scatter_chart
from ..reporting.html.page import Section, note, page
from ..reporting.html.tables import Cell, number, table
from ..reporting.html.viewer import Layer, ViewedImage, disagreement_png, viewer
from ..reporting.records import RunRecord
from ..reporting.run_report import class_words, curves, legend_of
from .comparison import Comparison, Group, costs, machine
from .statistics import CONFIDENCE, class_iou
from .tables import describe_p

MOST_LISTED = 25
"""Images in the table of disagreements."""
MOST_VIEWED = 60
"""Images in the viewer."""


def comparison_report(comparison: Comparison, title: str) -> str:
    """Return a comparison as one HTML document."""
    sections = [Section("Configuration", _config(comparison))]
    several = len(comparison.groups) > 1
    for place, group in enumerate(comparison.groups, start=1):
        label = f", group {place}" if several else ""
        sections += [
            Section(f"Scores{label}", f"<p>{escape(group.title)}</p>" + _scores(group)),
            Section(f"Classes{label}", _classes(group)),
        ]
        if group.disagreements:
            sections.append(Section(f"Disagreement{label}", _disagreements(group)))
            if images := _images(group):
                sections.append(Section(f"Images{label}", images))
        if shown := _costs(group):
            sections.append(Section(f"Accuracy against cost{label}", shown))
    if charts := curves(comparison.records):
        warning = ""
        if several:
            warning = note("Validation curves of runs in different groups are not to be compared.", "warning")
        sections.append(Section("Curves", warning + charts))
    kinds = ["warning" if several and place == 0 else "note" for place in range(len(comparison.notes))]
    notes = "".join(note(text, kind) for text, kind in zip(comparison.notes, kinds, strict=True))
    sections.insert(0, Section("Read this first", notes or note("Nothing to be careful about was found.")))
    return page(
        title, f"{len(comparison.records)} runs; the first of a table is what the others are compared with", sections
    )


def comparison_text(comparison: Comparison) -> str:
    """Return the tables for the terminal, as Markdown."""
    parts = [*(f"! {text}\n" for text in comparison.notes)]
    if comparison.config:
        parts.append(_markdown(*_config_rows(comparison.records, comparison.config)))
    elif not comparison.only_in_some:
        parts.append("The configurations are the same.\n")
    if comparison.only_in_some:
        parts.append(f"Only some runs have these settings: {', '.join(comparison.only_in_some)}\n")
    for group in comparison.groups:
        parts += [f"## {group.title}\n", _markdown(*_score_rows(group)), _markdown(*_cost_rows(group))]
        if len(group.records) > 1:
            parts += [_markdown(*_class_rows(group)), f"*: the class's {CONFIDENCE:.0%} interval leaves out zero.\n"]
            headings, rows = _disagreement_rows(group)
            parts.append(_markdown(headings, rows[:5]))
    return "\n".join(parts)


Rows = list[list[Cell | str]]


def _config(comparison: Comparison) -> str:
    if not comparison.config and not comparison.only_in_some:
        return "<p>The configurations are the same.</p>"
    parts = []
    if comparison.config:
        headings, rows = _config_rows(comparison.records, comparison.config)
        parts.append(table("Only settings that differ", headings, rows, numbers_from=len(headings)))
    if comparison.only_in_some:
        headings, rows = _config_rows(comparison.records, comparison.only_in_some)
        what = f"{len(rows)} settings that not all runs have: their classes or versions differ"
        shown = table(what, headings, rows, numbers_from=len(headings))
        parts.append(f"<details><summary>{what}</summary>{shown}</details>")
    return "".join(parts)


def _config_rows(records: Sequence[RunRecord], config: Mapping[str, list[str]]) -> tuple[list[str], Rows]:
    return ["setting", *(record.name for record in records)], [[key, *values] for key, values in config.items()]


def _scores(group: Group) -> str:
    caption = (
        f"mIoU in percent; differences from {group.records[0].name} with the {CONFIDENCE:.0%} interval and the "
        "two-sided p-value of the paired bootstrap over images"
    )
    return table(caption, *_score_rows(group))


def _score_rows(group: Group) -> tuple[list[str], Rows]:
    headings = ["run", "mIoU", "difference", "interval", "p", "p (Holm)", "pixel acc"]
    rows: Rows = []
    for record, found, adjusted in zip(group.records, group.comparisons, group.adjusted_p, strict=True):
        scores = record.scores
        compared: list[Cell | str] = ["baseline", "", "", ""]
        if found is not None:
            compared = [
                Cell(f"{100 * found.difference:+.2f}", _kind(found.low, found.high)),
                f"[{100 * found.low:+.2f}, {100 * found.high:+.2f}]",
                describe_p(found.p_value),
                describe_p(adjusted),
            ]
        rows.append([record.name, _percent(scores.mIoU), *compared, _percent(scores.pixel_acc)])
    return headings, rows


def _cost_rows(group: Group) -> tuple[list[str], Rows]:
    known = [costs(record) for record in group.records]
    names = list(dict.fromkeys(name for found in known for name in found))
    rows: Rows = []
    for record, found in zip(group.records, known, strict=True):
        values = [found.get(name, math.nan) for name in names]
        texts = [
            "-" if math.isnan(value) else f"{value:,.0f}" if name == "parameters" else f"{value:.3g}"
            for name, value in zip(names, values, strict=True)
        ]
        rows.append([record.name, _percent(record.scores.mIoU), *texts, machine(record)])
    return ["run", "mIoU", *names, "machine"], rows


def _classes(group: Group) -> str:
    caption = (
        f"IoU of {group.records[0].name} in percent, and differences from it; *: the class's {CONFIDENCE:.0%} interval "
        f"leaves out zero. Of {len(group.tallies[0].class_names)} classes some will do so by chance"
    )
    return table(caption, *_class_rows(group))


def _class_rows(group: Group) -> tuple[list[str], Rows]:
    headings = ["class", *(record.name for record in group.records)]
    baseline = class_iou(group.tallies[0])
    rows: Rows = []
    for index, name in enumerate(group.tallies[0].class_names):
        row: list[Cell | str] = [name, _percent(baseline[index])]
        for found in group.comparisons[1:]:
            assert found is not None
            value = found.class_difference[index]
            kind = _kind(found.class_low[index], found.class_high[index])
            row.append("-" if math.isnan(value) else Cell(f"{100 * value:+.2f}{'*' if kind else ''}", kind))
        rows.append(row)
    return headings, rows


def _disagreements(group: Group) -> str:
    caption = (
        f"The {min(MOST_LISTED, len(group.disagreements))} images scored most differently, of all "
        f"{len(group.disagreements)}: IoU averaged over the classes of the image"
    )
    return table(caption, *_disagreement_rows(group))


def _disagreement_rows(group: Group) -> tuple[list[str], Rows]:
    headings = ["image", *(record.name for record in group.records), "spread"]
    shown = group.disagreements[:MOST_LISTED]
    return headings, [[e.sample_id, *map(number, e.scores), number(e.spread)] for e in shown]


def _images(group: Group) -> str:
    """Return the viewer of images that all runs of the group kept."""
    galleries = [record.gallery for record in group.records if record.gallery is not None]
    if len(galleries) < len(group.records):
        return ""
    viewed: list[ViewedImage] = []
    kept: list[StoredImage] = []
    for entry in group.disagreements:
        stored = [gallery.images.get(entry.sample_id) for gallery in galleries]
        images = [image for image in stored if image is not None]
        if len(images) < len(stored) or len(viewed) == MOST_VIEWED:
            continue
        kept += images
        viewed.append(_viewed(entry.sample_id, entry.scores, entry.spread, group.records, images))
    if not viewed:
        return ""
    text = (
        f"{len(viewed)} images that all runs kept with their masks. The last stop of the slider shows in red where "
        "the predictions are not all the same."
    )
    return note(text) + viewer(viewed, legend_of(galleries[0], kept), "spread of IoU", lowest_first=False)


def _viewed(
    sample_id: str,
    scores: Sequence[float],
    spread: float,
    records: Sequence[RunRecord],
    images: Sequence[StoredImage],
) -> ViewedImage:
    names = records[0].counts.class_names
    preds = [image.pred() for image in images]
    share = np.any([pred != preds[0] for pred in preds[1:]], axis=0).mean()
    layers = [
        Layer("image", images[0].jpeg, f"image {sample_id}"),
        Layer("truth", images[0].truth_png, f"truth: {class_words(images[0].truth(), names)}"),
        *(
            Layer(record.name, image.pred_png, f"prediction of {record.name}: {class_words(pred, names)}")
            for record, image, pred in zip(records, images, preds, strict=True)
        ),
        Layer("differ", disagreement_png(preds), f"in red, {share:.1%} of the pixels on which runs differ", True),
    ]
    found = [record.image_scores(sample_id) for record in records]
    of_classes = {}
    for index, name in enumerate(names):
        values = [scores.iou[index] for scores in found]
        if not any(map(math.isnan, values)):
            of_classes[name] = float(max(values) - min(values))
    text = ", ".join(f"{record.name} {score:.3f}" for record, score in zip(records, scores, strict=True))
    return ViewedImage(
        sample_id, f"IoU: {text}; {share:.1%} of the pixels differ", layers, spread, of_classes, start=len(layers) - 1
    )


def _costs(group: Group) -> str:
    """Return what is known of each run's cost, and mIoU against it; times only where all ran on one machine."""
    shown = table("What the runs cost, as far as their folders tell", *_cost_rows(group), last_is_text=True)
    known = [costs(record) for record in group.records]
    same_machine = len({machine(record) for record in group.records}) == 1
    charts = []
    for name in known[0] if len(known) > 1 else ():
        if not all(name in found for found in known) or not (same_machine or name == "parameters"):
            continue
        points = [
            Point(record.name, found[name], 100 * record.scores.mIoU)
            for record, found in zip(group.records, known, strict=True)
            if not math.isnan(record.scores.mIoU)
        ]
        if points:
            charts.append(scatter_chart(f"mIoU against {name}", points, name, "mIoU, %"))
    if not charts:
        return shown
    text = "Filled points: no other run is both as cheap and as good."
    text += "" if same_machine else " Times are not drawn: the runs come from different machines."
    return shown + note(text) + f'<div class="charts">{"".join(charts)}</div>'


def _kind(low: float, high: float) -> str:
    """Return the look of a difference whose interval leaves out zero."""
    return "better" if low > 0 else "worse" if high < 0 else ""


def _percent(value: float) -> str:
    return "-" if math.isnan(value) else f"{100 * value:.2f}"


def _markdown(headings: Sequence[str], rows: Sequence[Sequence[Cell | str]]) -> str:
    """Return a table whose columns are as wide as they must be."""
    texts = [list(headings), *([cell.text if isinstance(cell, Cell) else cell for cell in row] for row in rows)]
    widths = [max(len(row[place]) for row in texts) for place in range(len(headings))]
    lines = [
        "| " + " | ".join(
            text.ljust(width) if place == 0 else text.rjust(width)
            for place, (text, width) in enumerate(zip(row, widths, strict=True))
        ) + " |"
        for row in texts
    ]  # fmt: skip
    rule = (
        "|"
        + "|".join("-" * (width + 2) if place == 0 else "-" * (width + 1) + ":" for place, width in enumerate(widths))
        + "|"
    )
    return "\n".join([lines[0], rule, *lines[1:], ""])
