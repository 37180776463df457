"""The report on one run: a page that stands by itself. Imports no torch."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from markupsafe import Markup
from PIL import Image

from .card import describe_energy, wall_seconds
from .charts import Line, line_chart
from .evaluation import UNKNOWN
from .gallery import Gallery
from .pages import page
from .plots import logged, smoothed
from .records import RunRecord, describe_value, flattened
from .tables import PANOPTIC_COLUMNS, number, panoptic_rows, per_class_rows
from .viewer import ImageLayer, ViewedImage, class_words, error_png, legend_of, viewer

MOST_LISTED = 25
"""Images in the table of the worst."""
MOST_CELLS = 40
"""Classes up to which the confusion matrix is a table of numbers; beyond, it is an image."""
MOST_CONFUSED = 30
"""Pairs of classes listed below it."""


def run_report(record: RunRecord) -> str:
    """Return the report on a run as one HTML document."""
    gallery = record.gallery
    return page(
        "run.html.j2",
        f"Run {record.name}",
        record.evaluation.words,
        record=record,
        UNKNOWN=UNKNOWN,
        settings={key: describe_value(value) for key, value in flattened(record.config).items()},
        seconds=wall_seconds(record.card),
        energy=describe_energy(record.card),
        charts=curves([record]),
        per_class_rows=per_class_rows,
        panoptic=_panoptic(record),
        confusion=_confusion(record.counts.total(), record.counts.class_names),
        worst=_worst(record),
        kept=list(gallery.images.values()) if gallery else [],
        viewer=_images(record, gallery) if gallery and gallery.images else None,
    )


def curves(records: Sequence[RunRecord]) -> list[Markup]:
    """Return charts of loss, scores and learning rate over the steps; of several runs, one line for each."""
    charts = []
    for title, keys, dots in (
        ("Training loss (smoothed)", ("train/loss",), False),
        ("Validation loss", ("val/loss",), True),
        ("Validation mIoU and pixel accuracy" if len(records) == 1 else "Validation mIoU",
         ("val/mIoU", "val/pixel_acc") if len(records) == 1 else ("val/mIoU",), True),
        ("Validation PQ", ("val/PQ",), True),
        ("Learning rate", ("lr",), False),
    ):  # fmt: skip
        lines = []
        for record in records:
            for key in keys:
                steps, values = logged(record.metrics, key)
                if len(steps):
                    name = key.removeprefix("val/") if len(records) == 1 else record.name
                    lines.append(Line(name, steps, smoothed(values) if key == "train/loss" else values, dots))
        if lines:
            charts.append(line_chart(title, lines, "optimiser step"))
    return charts


def _panoptic(record: RunRecord) -> dict[str, Any] | None:
    """Prepare PQ, SQ and RQ for the page: their means in words, and a table of the classes."""
    if record.panoptic is None:
        return None
    quality = record.panoptic.quality()
    means = {"all": quality.all, "things": quality.of_things, "stuff": quality.of_stuff}
    return {
        "facts": {
            score.upper(): ", ".join(f"{name} {number(getattr(of, score))}" for name, of in means.items())
            for score in ("pq", "sq", "rq")
        },
        "headings": ["class", *PANOPTIC_COLUMNS],
        "rows": [
            [name, *map(number, row[:3]), *(f"{count:,}" for count in row[3:])]
            for name, row in zip(quality.class_names, panoptic_rows(quality), strict=True)
        ],
    }


def _confusion(matrix: np.ndarray, class_names: Sequence[str]) -> dict[str, Any]:
    """Prepare a confusion matrix `(C, C)` of pixel counts for the page; rows are the truth, columns the prediction."""
    truth = matrix.sum(axis=1, keepdims=True)
    percent = np.where(truth > 0, 100 * matrix / np.maximum(truth, 1), 0)
    wrong = np.where(np.eye(len(class_names), dtype=bool), 0, percent)
    order = np.argsort(-wrong, axis=None, kind="stable")[:MOST_CONFUSED]
    pairs = [divmod(place, len(class_names)) for place in order.tolist()]
    heatmap = None
    if len(class_names) > MOST_CELLS:
        shades, data = (255 - 2.0 * percent).round().astype(np.uint8), io.BytesIO()
        Image.fromarray(np.stack([shades, shades, np.full_like(shades, 255)], axis=2)).save(data, "PNG")
        heatmap = data.getvalue()
    return {
        "class_names": class_names,
        "rows": [  # the percentages that are predicted as each class; None if there is nothing of the true class
            (name, row.tolist() if pixels else [None] * len(class_names))
            for name, row, pixels in zip(class_names, percent, truth[:, 0], strict=True)
        ],
        "heatmap": heatmap,
        "largest": [
            (class_names[t], class_names[p], f"{wrong[t, p]:.1f}", f"{matrix[t, p]:,}")
            for t, p in pairs
            if wrong[t, p] >= 0.5
        ],
    }


def _worst(record: RunRecord) -> list[tuple[str, str, str, str]]:
    """Return name, IoU, share of wrong pixels and worst classes of the images with the lowest IoU."""
    found = [(record.image_scores(sample_id), sample_id) for sample_id in record.counts.sample_ids]
    labelled = [(scores, sample_id) for scores, sample_id in found if not math.isnan(scores.mIoU)]
    rows = []
    for scores, sample_id in sorted(labelled, key=lambda entry: entry[0].mIoU)[:MOST_LISTED]:
        by_iou = sorted(zip(scores.class_names, scores.iou.tolist(), strict=True), key=lambda entry: entry[1])
        missed = [f"{name} {value:.2f}" for name, value in by_iou if not math.isnan(value)][:3]
        rows.append((sample_id, number(scores.mIoU), f"{1 - scores.pixel_acc:.1%}", ", ".join(missed)))
    return rows


def _images(record: RunRecord, gallery: Gallery) -> Markup:
    viewed = []
    names = gallery.class_names
    with_objects = all(image.outline_pngs for image in gallery.images.values())
    for image in gallery.images.values():
        scores = record.image_scores(image.sample_id)
        truth, pred = image.truth(), image.pred()
        wrong = f"{1 - scores.pixel_acc:.1%} wrong" if not math.isnan(scores.pixel_acc) else "nothing labelled"
        layers = [
            ImageLayer("image", image.jpeg, f"image {image.sample_id}"),
            ImageLayer("truth", image.truth_png, f"truth: {class_words(truth, names)}"),
            ImageLayer("prediction", image.pred_png, f"prediction: {class_words(pred, names)}"),
            ImageLayer("error", error_png(truth, pred), f"errors in red: {wrong}", see_through=True),
        ]
        if with_objects:
            for name, png in zip(("true objects", "objects"), image.outline_pngs, strict=True):
                layers.append(ImageLayer(name, png, f"{name} as outlines with their numbers", see_through=True))
        caption = f"IoU {number(scores.mIoU, 3)}, {wrong}; {image.size[0]} x {image.size[1]} pixels"
        of_classes = dict(zip(scores.class_names, scores.iou.tolist(), strict=True))
        viewed.append(ViewedImage(image.sample_id, caption, layers, scores.mIoU, of_classes, start=2))
    return viewer(viewed, legend_of(gallery, list(gallery.images.values())), "IoU")
