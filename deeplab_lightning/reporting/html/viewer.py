"""The viewer of pictures: a slider fades from a picture to its truth, its predictions and their errors."""

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
"""Quality and size of pictures, tried in turn until the page is small enough."""
LARGEST_PAGE = 9_500_000
"""Bytes of a viewer, so that a page stays under 10 MB."""


class Layer(NamedTuple):
    """What the slider stops at.

    Attributes:
        name: Such as `truth`.
        content: JPEG or PNG.
        description: For who cannot see it.
        see_through: The picture shines through where nothing is to be said.
    """

    name: str
    content: bytes
    description: str
    see_through: bool = False


class ViewedPicture(NamedTuple):
    """A picture of the viewer.

    Attributes:
        name: Its sample id.
        caption: What else to say.
        layers: The picture first; the same names in all pictures.
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
    pictures: Sequence[ViewedPicture],
    legend: Sequence[tuple[str, Sequence[int]]],
    score_name: str,
    lowest_first: bool = True,
) -> str:
    """Return the viewer with its controls and a legend.

    Args:
        pictures: At least one.
        legend: Class names with their colours.
        score_name: What pictures are sorted by, such as IoU.
        lowest_first: Whether the lowest score is the one to look at first.
    """
    pictures = _fitted(pictures)
    names = [layer.name for layer in pictures[0].layers]
    classes = sorted({name for picture in pictures for name in picture.class_scores})
    sortings = [("lowest", f"lowest {score_name} first"), ("highest", f"highest {score_name} first"), ("name", "name")]
    if not lowest_first:
        sortings[0], sortings[1] = sortings[1], sortings[0]
    colours = "".join(
        f'<li><i style="background:rgb({",".join(map(str, colour))})"></i>{escape(name)}</li>'
        for name, colour in legend
    )
    controls = (
        _select("sort", "Order", sortings)
        + _select("class", "Only pictures with, and scores of", [("", "all classes"), *((c, c) for c in classes)])
        + _select("layer", "Show of all", [(str(place), name) for place, name in enumerate(names)], pictures[0].start)
    )
    return (
        f'<div class="viewer"><div class="controls" hidden>{controls}<span role="status"></span></div>'
        f'<ul class="legend" aria-label="Colours of the classes">{colours}</ul>'
        "<p>The slider below a picture, also with the arrow keys, goes from the picture to what is laid over it.</p>"
        f'<ul class="pictures">{"".join(map(_picture, pictures))}</ul></div>'
    )


def error_png(truth: np.ndarray, pred: np.ndarray) -> bytes:
    """Return wrong pixels red and void ones grey, to be laid over a picture that fades where all is right.

    Args:
        truth: `(H, W)` uint8, `VOID` where nothing counts.
        pred: `(H, W)` uint8.
    """
    void = truth == VOID
    kinds = np.where(void, 2, np.where(pred != truth, 1, 0)).astype(np.uint8)
    return mask_png(kinds, [255, 255, 255, *ERROR_COLOUR, *ERROR_VOID_COLOUR], bytes([150, 255, 230]))


def disagreement_png(preds: Sequence[np.ndarray]) -> bytes:
    """Return pixels red on which predictions `(H, W)` are not all the same, over a picture that fades elsewhere."""
    differ = np.any([pred != preds[0] for pred in preds[1:]], axis=0).astype(np.uint8)
    return mask_png(differ, [255, 255, 255, *ERROR_COLOUR], bytes([150, 255]))


def _picture(picture: ViewedPicture) -> str:
    names = [layer.name for layer in picture.layers]
    with Image.open(io.BytesIO(picture.layers[-1].content)) as shown:  # a mask: never shrunk
        width, height = shown.size
    layers = "".join(
        f'<img data-layer="{escape(layer.name)}" alt="{escape(layer.description)}" decoding="async"'
        f"{' data-see-through=1' if layer.see_through else ''}{' class=mask' if place else ''} "
        f'style="opacity:{int(place in (0, picture.start))}" src="{_uri(layer.content)}">'
        for place, layer in enumerate(picture.layers)
    )
    scores = {name: round(value, 4) for name, value in picture.class_scores.items() if not math.isnan(value)}
    score = "NaN" if math.isnan(picture.score) else f"{picture.score:.4f}"
    return (
        f'<li data-name="{escape(picture.name)}" data-score="{score}" data-scores="{escape(json.dumps(scores))}">'
        f'<figure class="picture"><div class="stack" style="aspect-ratio:{width}/{height}">{layers}</div>'
        f'<input type="range" min="0" max="{len(names) - 1}" step="0.05" value="{picture.start}" '
        f'aria-label="What is shown of {escape(picture.name)}" aria-valuetext="{escape(names[picture.start])}">'
        f'<div class="marks" aria-hidden="true">{"".join(f"<span>{escape(name)}</span>" for name in names)}</div>'
        f"<figcaption><strong>{escape(picture.name)}</strong><br>{escape(picture.caption)}</figcaption></figure></li>"
    )


def _select(control: str, label: str, options: Sequence[tuple[str, str]], chosen: int = 0) -> str:
    entries = "".join(
        f'<option value="{escape(value)}"{" selected" if place == chosen else ""}>{escape(text)}</option>'
        for place, (value, text) in enumerate(options)
    )
    return f'<label>{escape(label)}<select data-control="{control}">{entries}</select></label>'


def _uri(content: bytes) -> str:
    return data_uri(content, "image/png" if content[:4] == b"\x89PNG" else "image/jpeg")


def _fitted(pictures: Sequence[ViewedPicture]) -> list[ViewedPicture]:
    """Make the pictures themselves smaller, should all be too large for a page; masks stay as they are."""
    fitted = list(pictures)
    for quality, share in JPEG_BUDGETS:
        if sum(len(layer.content) for picture in fitted for layer in picture.layers) * 4 / 3 <= LARGEST_PAGE:
            break
        fitted = [
            picture._replace(
                layers=[picture.layers[0]._replace(content=_smaller(picture.layers[0].content, quality, share)),
                        *picture.layers[1:]]
            )
            for picture in pictures
        ]  # fmt: skip
    return fitted


def _smaller(jpeg: bytes, quality: int, share: float) -> bytes:
    data = io.BytesIO()
    with Image.open(io.BytesIO(jpeg)) as picture:
        size = max(1, round(picture.width * share)), max(1, round(picture.height * share))
        picture.resize(size, Image.Resampling.BOX if share < 1 else Image.Resampling.NEAREST).save(
            data, "JPEG", quality=quality
        )
    return data.getvalue()
