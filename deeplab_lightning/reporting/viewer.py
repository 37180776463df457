"""The viewer of images: a slider fades from an image to its truth, its predictions and their errors."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from markupsafe import Markup
from PIL import Image

from .gallery import VOID, VOID_COLOUR, Gallery, StoredImage, mask_png
from .pages import macro
from .panels import ERROR_COLOUR, ERROR_VOID_COLOUR

JPEG_BUDGETS = ((90, 1.0), (70, 1.0), (60, 0.75), (50, 0.5), (40, 0.33))
"""Quality and size of images, tried in turn until the page is small enough."""
LARGEST_PAGE = 9_500_000
"""Bytes of a viewer, so that a page stays under 10 MB."""


class ImageLayer(NamedTuple):
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
        class_scores: The same for each class, NaN for those that do not occur.
        start: Number of the layer shown at first.
    """

    name: str
    caption: str
    layers: list[ImageLayer]
    score: float
    class_scores: Mapping[str, float]
    start: int

    @property
    def known_scores(self) -> dict[str, float]:
        """Scores of the classes that occur."""
        return {name: round(value, 4) for name, value in self.class_scores.items() if not math.isnan(value)}

    @property
    def aspect_ratio(self) -> str:
        """Width and height as CSS has them."""
        with Image.open(io.BytesIO(self.layers[-1].content)) as shown:  # a mask: never shrunk
            return "{}/{}".format(*shown.size)


def viewer(
    images: Sequence[ViewedImage],
    legend: Sequence[tuple[str, Sequence[int]]],
    score_name: str,
    lowest_first: bool = True,
) -> Markup:
    """Return the viewer of images, at least one, with its controls and a legend of class names and colours.

    Images are sorted by their score, called `score_name`; with `lowest_first` the lowest is the one to look at first.
    """
    classes = sorted({name for image in images for name in image.known_scores})
    ends = [(end, f"{end} {score_name} first") for end in ("lowest", "highest")]
    return macro("viewer.html.j2", "viewer")(
        images=_fitted(images),
        legend=legend,
        sortings=[*(ends if lowest_first else ends[::-1]), ("name", "name")],
        classes=[("", "all classes"), *((name, name) for name in classes)],
    )


def legend_of(gallery: Gallery, images: Sequence[StoredImage]) -> list[tuple[str, Sequence[int]]]:
    """Return names and colours of the classes in some images, void last."""
    masks = (mask for image in images for mask in (image.truth(), image.pred()))
    ids = {index for mask in masks for index in np.unique(mask).tolist()}
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


def error_png(truth: np.ndarray, pred: np.ndarray) -> bytes:
    """Return wrong pixels red and void ones grey, to be laid over an image that fades where all is right.

    Both masks are `(H, W)` uint8, the truth `VOID` where nothing counts.
    """
    void = truth == VOID
    kinds = np.where(void, 2, np.where(pred != truth, 1, 0)).astype(np.uint8)
    return mask_png(kinds, [255, 255, 255, *ERROR_COLOUR, *ERROR_VOID_COLOUR], bytes([150, 255, 230]))


def disagreement_png(preds: Sequence[np.ndarray]) -> bytes:
    """Return pixels red on which predictions `(H, W)` are not all the same, over an image that fades elsewhere."""
    differ = np.any([pred != preds[0] for pred in preds[1:]], axis=0).astype(np.uint8)
    return mask_png(differ, [255, 255, 255, *ERROR_COLOUR], bytes([150, 255]))


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
