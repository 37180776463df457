"""Trimap curves: how good the labels are within narrow bands around boundaries, against the bands' width.

The figure of the papers (v1, v2 and v3+ after Kohli and others, 2009): IoU over those labelled pixels alone that are
within `width` pixels of a boundary, for widths of up to 40. What a boundary is, differs:

- `around="void"`, as in the papers: the void pixels, which PASCAL VOC's annotators drew along every object. Difficult
  objects that are void as a whole have a band around them, too. The band lies on both sides of the void strip.
- `around="boundaries"`, for data without such strips: a pixel is in the band when a labelled pixel of another class is
  within `width`. Width 1 is one pixel on each side. Void between two classes counts as distance.

The papers dilate void without a word on the shape; here distances are Euclidean, as of a disc. Counts are summed over
all images before dividing, and void is never counted itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..errors import DataError
from .boundary import VOID, distance_to, distance_to_another_class
from .scores import scores_from_confusion

Around = Literal["void", "boundaries"]

WIDTHS = (1, 2, 3, 5, 7, 10, 15, 20, 30, 40)
"""In pixels: close together where the curve bends."""


@dataclass(frozen=True, eq=False)
class TrimapCurve:
    """Scores against the width of the band. Fractions in 0..1; NaN for what does not occur.

    Attributes:
        class_names: `C` names.
        protocol: Around what, in words.
        widths: `(W,)` int64, in pixels, growing.
        iou: `(W, C)` float64.
        mIoU: `(W,)` float64, over the classes that occur in the band of that width, in truth or prediction.
        pixel_acc: `(W,)` float64.
        pixels: `(W,)` int64, labelled pixels within the band.
    """

    class_names: tuple[str, ...]
    protocol: str
    widths: np.ndarray
    iou: np.ndarray
    mIoU: np.ndarray  # noqa: N815 - the name the field uses
    pixel_acc: np.ndarray
    pixels: np.ndarray


def confusion_in_bands(
    pred: np.ndarray, mask: np.ndarray, num_classes: int, around: Around, widths: np.ndarray
) -> np.ndarray:
    """Return `(W, C, C)` int64: the confusion matrices of one image's bands, each pixel in its narrowest one.

    Args:
        pred: `(H, W)` int16 class ids, `VOID` where the mask is.
        mask: `(H, W)` int16 class ids or `VOID`.
        num_classes: `C`.
        around: Where the bands lie; see the module's docstring.
        widths: `(W,)` int64, in pixels, growing.
    """
    reach = int(widths[-1])
    distance = distance_to(mask == VOID) if around == "void" else distance_to_another_class(mask, reach)
    near = (distance <= reach) & (mask != VOID)
    band = np.searchsorted(widths, distance[near])
    cells = (band * num_classes + mask[near]) * num_classes + pred[near]
    shape = (len(widths), num_classes, num_classes)
    return np.bincount(cells, minlength=math.prod(shape)).reshape(shape)


def trimap_curve_of(pixels: np.ndarray, class_names: Sequence[str], around: Around, widths: np.ndarray) -> TrimapCurve:
    """Return the curve of `confusion_in_bands`, summed over all images.

    Raises:
        DataError: No labelled pixel is in any band.
    """
    confusions = pixels.cumsum(axis=0)  # a broad band holds the narrow ones
    if not confusions.any():
        remedy = "These masks have no void: use around='boundaries'." if around == "void" else ""
        raise DataError(f"No labelled pixel is within {widths[-1]} pixels of {around}. {remedy}".rstrip())
    scores = [scores_from_confusion(confusion, class_names) for confusion in confusions]
    return TrimapCurve(
        class_names=tuple(class_names),
        protocol=f"around {around}",
        widths=widths,
        iou=np.stack([score.iou for score in scores]),
        mIoU=np.array([score.mIoU for score in scores]),
        pixel_acc=np.array([score.pixel_acc for score in scores]),
        pixels=confusions.sum(axis=(1, 2)),
    )
