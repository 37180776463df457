"""A comparison of runs as a page that stands by itself, and as text for the terminal. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from markupsafe import Markup

from ..errors import shown
from ..reporting.charts import Point, scatter_chart
from ..reporting.gallery import StoredImage
from ..reporting.pages import difference_cell, page
from ..reporting.records import RunRecord
from ..reporting.run_report import curves
from ..reporting.tables import markdown_table, number
from ..reporting.viewer import ImageLayer, ViewedImage, class_words, disagreement_png, legend_of, viewer
from .comparison import Comparison, Disagreement, Group, Measured, costs, machine
from .statistics import CONFIDENCE, class_scores, mean_score
from .tables import class_differences, describe_p

MOST_LISTED = 25
"""Images in the table of disagreements."""
MOST_VIEWED = 60
"""Images in the viewer."""


def comparison_report(comparison: Comparison, title: str) -> str:
    """Return a comparison as one HTML document."""
    return page(
        "comparison.html.j2",
        title,
        f"{len(comparison.records)} runs; the first of a table is what the others are compared with",
        comparison=comparison,
        confidence=f"{CONFIDENCE:.0%}",
        config_rows=_config_rows,
        score_rows=_score_rows,
        class_rows=_class_rows,
        disagreement_rows=_disagreement_rows,
        viewed_images=_viewed_images,
        viewer=_viewer,
        cost_rows=_cost_rows,
        cost_charts=_cost_charts,
        curves=curves(comparison.records),
    )


def comparison_text(comparison: Comparison) -> str:
    """Return the tables for the terminal, as Markdown."""
    parts = [*(f"! {shown(text)}\n" for text in comparison.notes)]
    if comparison.config:
        parts.append(_markdown(_config_rows(comparison.records, comparison.config)))
    elif not comparison.only_in_some:
        parts.append("The configurations are the same.\n")
    if comparison.only_in_some:
        parts.append(f"Only some runs have these settings: {shown(', '.join(comparison.only_in_some))}\n")
    for group in comparison.groups:
        parts += [f"## {shown(group.title)}\n", _markdown(_score_rows(group)), _markdown(_cost_rows(group))]
        if len(group.records) > 1:
            for measured in group.measured:
                parts.append(_markdown(_class_rows(group, measured)))
            parts += [f"*: the class's {CONFIDENCE:.0%} interval leaves out zero.\n"]
            parts.append(_markdown(_disagreement_rows(group, most=5)))
    return "\n".join(parts)


Table = tuple[list[str], list[list[str]]]
"""Headings and rows."""


def _markdown(table: Table) -> str:
    return markdown_table(*table, padded=True) + "\n"


def _config_rows(records: Sequence[RunRecord], config: Mapping[str, list[str]]) -> Table:
    return ["setting", *(record.name for record in records)], [[key, *values] for key, values in config.items()]


def _score_rows(group: Group) -> Table:
    headings, rows = ["run"], [[record.name] for record in group.records]
    for measured in group.measured:
        headings += [measured.tallies[0].score, "difference", "interval", "p", "p (Holm)"]
        for row, cells in zip(rows, _compared_cells(measured), strict=True):
            row += cells
    for row, record in zip(rows, group.records, strict=True):
        row.append(number(100 * record.scores.pixel_acc, 2))
    return [*headings, "pixel acc"], rows


def _compared_cells(measured: Measured) -> list[list[str]]:
    """Return the score of each run, and what sets it apart from the first."""
    rows = []
    for tallies, found, adjusted in zip(measured.tallies, measured.comparisons, measured.adjusted_p, strict=True):
        compared = ["baseline", "", "", ""]
        if found is not None:
            compared = [
                difference_cell(f"{100 * found.difference:+.2f}", found.low, found.high),
                found.interval,
                describe_p(found.p_value),
                describe_p(adjusted),
            ]
        rows.append([number(100 * float(mean_score(class_scores(tallies))), 2), *compared])
    return rows


def _cost_rows(group: Group) -> Table:
    known = [costs(record) for record in group.records]
    names = list(dict.fromkeys(name for found in known for name in found))
    rows = []
    for record, found in zip(group.records, known, strict=True):
        values = [found.get(name, math.nan) for name in names]
        texts = [
            "-" if math.isnan(value) else f"{value:,.0f}" if name == "parameters" else f"{value:.3g}"
            for name, value in zip(names, values, strict=True)
        ]
        rows.append([record.name, number(100 * record.scores.mIoU, 2), *texts, machine(record)])
    return ["run", "mIoU", *names, "machine"], rows


def _class_rows(group: Group, measured: Measured) -> Table:
    baseline, compared = measured.tallies[0], [found for found in measured.comparisons if found is not None]
    what = "class" if measured is group.regions else f"class, {baseline.class_score}"
    headings = [what, *(record.name for record in group.records)]
    return headings, class_differences(baseline.class_names, class_scores(baseline), compared)


def _disagreement_rows(group: Group, most: int = MOST_LISTED) -> Table:
    headings = ["image", *(record.name for record in group.records), "spread"]
    return headings, [[e.sample_id, *map(number, e.scores), number(e.spread)] for e in group.disagreements[:most]]


def _viewed_images(group: Group) -> list[ViewedImage]:
    """Return the images that all runs of the group kept, the most disputed first."""
    galleries = [record.gallery.images if record.gallery else {} for record in group.records]
    kept = [entry for entry in group.disagreements if all(entry.sample_id in images for images in galleries)]
    return [
        _viewed(entry, group.records, [images[entry.sample_id] for images in galleries]) for entry in kept[:MOST_VIEWED]
    ]


def _viewer(group: Group, viewed: Sequence[ViewedImage]) -> Markup:
    galleries = [record.gallery for record in group.records if record.gallery is not None]
    legend = legend_of(galleries[0], [gallery.images[image.name] for image in viewed for gallery in galleries])
    return viewer(viewed, legend, "spread of IoU", lowest_first=False)


def _viewed(entry: Disagreement, records: Sequence[RunRecord], images: Sequence[StoredImage]) -> ViewedImage:
    names = records[0].counts.class_names
    preds = [image.pred() for image in images]
    share = np.any([pred != preds[0] for pred in preds[1:]], axis=0).mean()
    layers = [
        ImageLayer("image", images[0].jpeg, f"image {entry.sample_id}"),
        ImageLayer("truth", images[0].truth_png, f"truth: {class_words(images[0].truth(), names)}"),
        *(
            ImageLayer(record.name, image.pred_png, f"prediction of {record.name}: {class_words(pred, names)}")
            for record, image, pred in zip(records, images, preds, strict=True)
        ),
        ImageLayer("differ", disagreement_png(preds), f"in red, {share:.1%} of the pixels on which runs differ", True),
    ]
    ious = np.array([record.image_scores(entry.sample_id).iou for record in records])
    text = ", ".join(f"{record.name} {score:.3f}" for record, score in zip(records, entry.scores, strict=True))
    return ViewedImage(
        entry.sample_id,
        f"IoU: {text}; {share:.1%} of the pixels differ",
        layers,
        entry.spread,
        dict(zip(names, np.ptp(ious, axis=0).tolist(), strict=True)),
        start=len(layers) - 1,
    )


def _cost_charts(group: Group) -> list[Markup]:
    """Return mIoU against each cost that is known of all runs; times only where all ran on one machine."""
    known = [costs(record) for record in group.records]
    charts = []
    for name in known[0] if len(known) > 1 else ():
        if not all(name in found for found in known) or not (group.same_machine or name == "parameters"):
            continue
        points = [
            Point(record.name, found[name], 100 * record.scores.mIoU)
            for record, found in zip(group.records, known, strict=True)
            if not math.isnan(record.scores.mIoU)
        ]
        if points:
            charts.append(scatter_chart(f"mIoU against {name}", points, name, "mIoU, %"))
    return charts
