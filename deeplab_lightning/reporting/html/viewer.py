"""The viewer of images: a slider fades from an image to its truth, its predictions and their errors."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import NamedTuple

import numpy as np
from PIL import Image

from ..gallery import VOID, mask_png
from ..panels import ERROR_COLOUR, ERROR_VOID_COLOUR
from .tables import data_uri

JPEG_BUDGETS = ((90, 1.0), (70, 1.0), (60, 0.75), (50, 0.5), (40, 0.33))
"""Quality and size of images, tried in turn until the page is small enough."""
LARGEST_PAGE = 9_500_000
"""Bytes of a viewer, so that a page stays under 10 MB."""


class Layer(NamedTuple):
    """What the slider stops at.

    Attributes:
        name: Such as `truth`.
        content: JPEG or PNG.
        description: For who cannot see it.
        see_through: The image shines through where nothing is to be said.
    """

    name: str
    content: bytes
    description: str
    see_through: bool = False


class ViewedImage(NamedTuple):
    """An image of the viewer.

    Attributes:
        name: Its sample id.
        caption: What else to say.
        layers: The image first; the same names in all images.
        score: To sort by, NaN if there is none.
        class_scores: Likewise for each class that occurs.
        start: Number of the layer shown at first.
    """

    name: str
    caption: str
    layers: list[Layer]
    score: float
    class_scores: Mapping[str, float]
    start: int


def viewer(
    images: Sequence[ViewedImage],
    legend: Sequence[tuple[str, Sequence[int]]],
    score_name: str,
    lowest_first: bool = True,
) -> str:
    """Return the viewer with its controls and a legend.

    Args:
        images: At least one.
        legend: Class names with their colours.
        score_name: What images are sorted by, such as IoU.
        lowest_first: Whether the lowest score is the one to look at first.
    """
    images = _fitted(images)
    names = [layer.name for layer in images[0].layers]
    classes = sorted({name for image in images for name in image.class_scores})
    sortings = [("lowest", f"lowest {score_name} first"), ("highest", f"highest {score_name} first"), ("name", "name")]
    if not lowest_first:
        sortings[0], sortings[1] = sortings[1], sortings[0]
    colours = "".join(
        f'<li><i style="background:rgb({",".join(map(str, colour))})"></i>{escape(name)}</li>'
        for name, colour in legend
    )
    controls = (
        _select("sort", "Order", sortings)
        + _select("class", "Only images with, and scores of", [("", "all classes"), *((c, c) for c in classes)])
        + _select("layer", "Show of all", [(str(place), name) for place, name in enumerate(names)], images[0].start)
    )
    return (
        f'<div class="viewer"><div class="controls" hidden>{controls}<span role="status"></span></div>'
        f'<ul class="legend" aria-label="Colours of the classes">{colours}</ul>'
        "<p>The slider below an image, also with the arrow keys, goes from the image to what is laid over it.</p>"
        f'<ul class="images">{"".join(map(_image, images))}</ul></div>'
    )


def error_png(truth: np.ndarray, pred: np.ndarray) -> bytes:
    """Return wrong pixels red and void ones grey, to be laid over an image that fades where all is right.

    Args:
        truth: `(H, W)` uint8, `VOID` where nothing counts.
        pred: `(H, W)` uint8.
    """
    void = truth == VOID
    kinds = np.where(void, 2, np.where(pred != truth, 1, 0)).astype(np.uint8)
    return mask_png(kinds, [255, 255, 255, *ERROR_COLOUR, *ERROR_VOID_COLOUR], bytes([150, 255, 230]))


def disagreement_png(preds: Sequence[np.ndarray]) -> bytes:
    """Return pixels red on which predictions `(H, W)` are not all the same, over an image that fades elsewhere."""
    differ = np.any([pred != preds[0] for pred in preds[1:]], axis=0).astype(np.uint8)
    return mask_png(differ, [255, 255, 255, *ERROR_COLOUR], bytes([150, 255]))


def _image(image: ViewedImage) -> str:
    names = [layer.name for layer in image.layers]
    with Image.open(io.BytesIO(image.layers[-1].content)) as shown:  # a mask: never shrunk
        width, height = shown.size
    layers = "".join(
        f'<img data-layer="{escape(layer.name)}" alt="{escape(layer.description)}" decoding="async"'
        f"{' data-see-through=1' if layer.see_through else ''}{' class=mask' if place else ''} "
        f'style="opacity:{int(place in (0, image.start))}" src="{_uri(layer.content)}">'
        for place, layer in enumerate(image.layers)
    )
    scores = {name: round(value, 4) for name, value in image.class_scores.items() if not math.isnan(value)}
    score = "NaN" if math.isnan(image.score) else f"{image.score:.4f}"
    return (
        f'<li data-name="{escape(image.name)}" data-score="{score}" data-scores="{escape(json.dumps(scores))}">'
        f'<figure class="image"><div class="stack" style="aspect-ratio:{width}/{height}">{layers}</div>'
        f'<input type="range" min="0" max="{len(names) - 1}" step="0.05" value="{image.start}" '
        f'aria-label="What is shown of {escape(image.name)}" aria-valuetext="{escape(names[image.start])}">'
        f'<div class="marks" aria-hidden="true">{"".join(f"<span>{escape(name)}</span>" for name in names)}</div>'
        f"<figcaption><strong>{escape(image.name)}</strong><br>{escape(image.caption)}</figcaption></figure></li>"
    )


def _select(control: str, label: str, options: Sequence[tuple[str, str]], chosen: int = 0) -> str:
    entries = "".join(
        f'<option value="{escape(value)}"{" selected" if place == chosen else ""}>{escape(text)}</option>'
        for place, (value, text) in enumerate(options)
    )
    return f'<label>{escape(label)}<select data-control="{control}">{entries}</select></label>'


def _uri(content: bytes) -> str:
    return data_uri(content, "image/png" if content[:4] == b"\x89PNG" else "image/jpeg")


def _fitted(images: Sequence[ViewedImage]) -> list[ViewedImage]:
    """Make the images themselves smaller, should all be too large for a page; masks stay as they are."""
    fitted = list(images)
    for quality, share in JPEG_BUDGETS:
        if sum(len(layer.content) for image in fitted for layer in image.layers) * 4 / 3 <= LARGEST_PAGE:
            break
        fitted = [
            image._replace(
                layers=[image.layers[0]._replace(content=_smaller(image.layers[0].content, quality, share)),
                        *image.layers[1:]]
            )
            for image in images
        ]  # fmt: skip
    return fitted


def _smaller(jpeg: bytes, quality: int, share: float) -> bytes:
    data = io.BytesIO()
    with Image.open(io.BytesIO(jpeg)) as image:
        size = max(1, round(image.width * share)), max(1, round(image.height * share))
        image.resize(size, Image.Resampling.BOX if share < 1 else Image.Resampling.NEAREST).save(
            data, "JPEG", quality=quality
        )
    return data.getvalue()
