"""The report on one run: a page that stands by itself. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from .card import describe_energy, wall_seconds
from .evaluation import UNKNOWN
from .gallery import VOID, VOID_COLOUR, Gallery, StoredImage
from .html.charts import Line, line_chart
from .html.page import Section, facts, note, page
from .html.tables import class_table, confusion_table, number, table
from .html.viewer import Layer, ViewedImage, error_png, viewer
from .plots import smoothed
from .records import RunRecord, curve, describe_value, flattened

MOST_LISTED = 25
"""Images in the table of the worst."""


def run_report(record: RunRecord) -> str:
    """Return the report on a run as one HTML document."""
    sections = [Section("Summary", _summary(record))]
    if charts := curves([record]):
        sections.append(Section("Curves", charts))
    matrix = record.counts.total()
    sections += [
        Section("Classes", class_table(record.scores)),
        Section("Confusion", confusion_table(matrix, record.counts.class_names)),
        Section("Worst images", _worst(record)),
    ]
    if record.gallery is not None and record.gallery.images:
        sections.append(Section("Images", _images(record, record.gallery)))
    sections += [Section("Reproducibility", _card(record)), Section("Configuration", _configuration(record))]
    return page(f"Run {record.name}", protocol_line(record), sections)


def protocol_line(record: RunRecord) -> str:
    """Return what scores of this run were measured on, which stands beside all of them."""
    evaluation = record.evaluation
    protocol = f"protocol {UNKNOWN}" if evaluation.protocol == UNKNOWN else evaluation.protocol
    return f"{evaluation.images} images of the split {evaluation.split}; {protocol}"


def curves(records: Sequence[RunRecord]) -> str:
    """Return charts of loss, scores and learning rate over the steps; of several runs, one line for each."""
    charts = []
    for title, keys, dots in (
        ("Training loss (smoothed)", ("train/loss",), False),
        ("Validation loss", ("val/loss",), True),
        ("Validation mIoU and pixel accuracy" if len(records) == 1 else "Validation mIoU",
         ("val/mIoU", "val/pixel_acc") if len(records) == 1 else ("val/mIoU",), True),
        ("Learning rate", ("lr",), False),
    ):  # fmt: skip
        lines = []
        for record in records:
            for key in keys:
                steps, values = curve(record.metrics, key)
                if len(steps):
                    name = key.removeprefix("val/") if len(records) == 1 else record.name
                    lines.append(Line(name, steps, smoothed(values) if key == "train/loss" else values, dots))
        if lines:
            charts.append(line_chart(title, lines, "optimiser step"))
    return f'<div class="charts">{"".join(charts)}</div>' if charts else ""


def legend_of(gallery: Gallery, images: Sequence[StoredImage]) -> list[tuple[str, Sequence[int]]]:
    """Return names and colours of the classes in some images, void last."""
    ids: set[int] = set()
    for image in images:
        ids |= {*np.unique(image.truth()).tolist(), *np.unique(image.pred()).tolist()}
    legend: list[tuple[str, Sequence[int]]] = [
        (gallery.class_names[index], gallery.palette[index]) for index in sorted(ids - {VOID})
    ]
    return [*legend, ("void", VOID_COLOUR)] if VOID in ids else legend


def class_words(ids: np.ndarray, names: Sequence[str]) -> str:
    """Return the classes of a mask with their shares, the largest first, for who cannot see it."""
    values, counts = np.unique(ids, return_counts=True)
    order = np.argsort(-counts)[:6]
    shares = 100 * counts[order] / ids.size
    found = [("void" if v == VOID else names[v], s) for v, s in zip(values[order].tolist(), shares, strict=True)]
    return ", ".join(f"{name} {share:.0f}%" for name, share in found)


def _summary(record: RunRecord) -> str:
    scores, evaluation, card = record.scores, record.evaluation, record.card
    seconds = wall_seconds(card)
    entries = [
        ("mIoU", f"{number(scores.mIoU)} over {scores.num_averaged} of {len(scores.class_names)} classes"),
        ("pixel accuracy", number(scores.pixel_acc)),
        ("mean accuracy", number(scores.mean_acc)),
        ("frequency-weighted IoU", number(scores.fwIoU)),
        ("mean Dice", number(scores.mean_dice)),
        ("split", evaluation.split),
        ("protocol", evaluation.protocol),
        ("images", f"{evaluation.images}"),
    ]
    flat = flattened(record.config)
    entries += [(name, describe_value(flat[name])) for name in ("model", "model.backbone", "data") if name in flat]
    if evaluation.step:
        entries.append(("checkpoint of step", f"{evaluation.step}"))
    if "parameters" in card:
        entries.append(("parameters", f"{card['parameters']:,}"))
    if seconds is not None:
        entries += [("training took", f"{seconds / 60:.1f} minutes"), ("energy", describe_energy(card))]
    warning = ""
    if evaluation.protocol == UNKNOWN:
        warning = note(
            "This run is from before protocols were recorded: do not set its scores beside others.", "warning"
        )
    return warning + facts(entries)


def _worst(record: RunRecord) -> str:
    counts = record.counts
    found = [(record.image_scores(sample_id), sample_id) for sample_id in counts.sample_ids]
    labelled = [(scores, sample_id) for scores, sample_id in found if not math.isnan(scores.mIoU)]
    worst = sorted(labelled, key=lambda entry: entry[0].mIoU)[:MOST_LISTED]
    rows = []
    for scores, sample_id in worst:
        missed = [
            f"{name} {value:.2f}"
            for name, value in sorted(zip(scores.class_names, scores.iou.tolist(), strict=True), key=lambda x: x[1])
            if not math.isnan(value)
        ][:3]
        rows.append([sample_id, number(scores.mIoU), f"{1 - scores.pixel_acc:.1%}", ", ".join(missed)])
    caption = f"The {len(rows)} images of all {len(counts)} with the lowest IoU, averaged over the classes of the image"
    return table(caption, ("image", "IoU", "wrong", "worst classes, IoU"), rows, last_is_text=True)


def _images(record: RunRecord, gallery: Gallery) -> str:
    viewed = []
    names = gallery.class_names
    for image in gallery.images.values():
        scores = record.image_scores(image.sample_id)
        truth, pred = image.truth(), image.pred()
        wrong = f"{1 - scores.pixel_acc:.1%} wrong" if not math.isnan(scores.pixel_acc) else "nothing labelled"
        layers = [
            Layer("image", image.jpeg, f"image {image.sample_id}"),
            Layer("truth", image.truth_png, f"truth: {class_words(truth, names)}"),
            Layer("prediction", image.pred_png, f"prediction: {class_words(pred, names)}"),
            Layer("error", error_png(truth, pred), f"errors in red: {wrong}", see_through=True),
        ]
        of_classes = dict(zip(scores.class_names, scores.iou.tolist(), strict=True))
        caption = f"IoU {number(scores.mIoU, 3)}, {wrong}; {image.size[0]} x {image.size[1]} pixels"
        viewed.append(
            ViewedImage(
                image.sample_id,
                caption,
                layers,
                scores.mIoU,
                {name: value for name, value in of_classes.items() if not math.isnan(value)},
                start=2,
            )
        )
    kept = list(gallery.images.values())
    worst = sum(image.why == "worst" for image in kept)
    text = (
        f"{len(kept)} of {len(record.counts)} images were kept with their masks: {len(kept) - worst} spread evenly "
        f"over the split, and the {worst} worst of the others. Scores are of the whole image at its own size."
    )
    return note(text) + viewer(viewed, legend_of(gallery, kept), "IoU")


def _card(record: RunRecord) -> str:
    card = record.card
    if not card:
        return note("This run has no environment.json.")
    entries = [("command", card.get("command")), ("date", card.get("date")), ("seed", card.get("seed"))]
    commit = card.get("git_commit")
    dirty = " with differences, see code.diff" if card.get("git_dirty") else ""
    entries += [
        ("commit", f"{commit}{dirty}" if commit else "no checkout"),
        ("version", card.get("deeplab_lightning")),
        ("python", card.get("python")),
        ("packages", ", ".join(f"{name} {version}" for name, version in (card.get("packages") or {}).items())),
        ("processor", f"{card.get('cpu')}, {card.get('cpu_cores')} cores"),
        ("GPU", ", ".join(card.get("gpus") or []) or card.get("gpu") or "none"),
        ("platform", card.get("platform")),
    ]
    for split, found in (card.get("data") or {}).items():
        value = f"{found['images']} images, files {found['files']}, masks {found['masks']}"
        entries.append((f"data, {split}", value))
    sessions = card.get("sessions") or []
    for place, session in enumerate(sessions, start=1):
        value = f"steps {session['from_step']} to {session['to_step']}, {session['seconds'] / 60:.1f} minutes"
        entries.append((f"stretch {place} of {len(sessions)}", f"{session['date']}: {value}"))
    return facts([(name, str(value)) for name, value in entries if value is not None])


def _configuration(record: RunRecord) -> str:
    rows = [[key, describe_value(value)] for key, value in flattened(record.config).items()]
    shown = table("Every setting of the run", ("setting", "value"), rows, numbers_from=2)
    return f"<details><summary>All {len(rows)} settings</summary>{shown}</details>"
