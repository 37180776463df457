"""Where boundaries are, and how far away: what trimaps, boundary IoU and the BF score are made of. Numpy and OpenCV.

Distances are Euclidean, in pixels between pixel centres, and exact: a pixel has the distance 1 to its neighbour in a
row or column and 1.41 to that on the diagonal.

Void has no influence: where the truth is void, a prediction is taken for void too, whatever it says. Hence a prediction
that is right on all labelled pixels has the full score in every measure, and none can be gained or lost on void.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import cv2
import numpy as np

from ..errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

VOID = -1
"""Stands for the ignored label in masks and predictions that are measured."""
_CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
_SQUARE = np.ones((3, 3), np.uint8)


def distance_to(points: np.ndarray) -> np.ndarray:
    """Return each pixel's distance to the nearest of `points`, infinite where there is none.

    Args:
        points: `(H, W)` bool.

    Returns:
        `(H, W)` float32, in pixels.
    """
    if not points.any():
        return np.full(points.shape, np.inf, dtype=np.float32)
    return cv2.distanceTransform((~points).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)


def nearer_than(limit: float, points: np.ndarray) -> np.ndarray:
    """Return which pixels have one of `points` nearer than `limit`: `distance_to(points) < limit`.

    Painting a disc onto each point takes a tenth of the time of finding distances, if it is a small one.

    Args:
        limit: In pixels, above 0.
        points: `(H, W)` bool.

    Returns:
        `(H, W)` bool.
    """
    radius = math.ceil(limit) - 1
    offsets = np.arange(-radius, radius + 1)
    disc = np.hypot(offsets[:, None], offsets) < limit
    return cv2.dilate(points.view(np.uint8), disc.view(np.uint8)).view(bool)


def distance_to_another_class(mask: np.ndarray, reach: int) -> np.ndarray:
    """Return each labelled pixel's distance to the nearest labelled pixel of another class.

    The two pixels on either side of a border have the distance 1. Void is no class: a border that runs through a strip
    of void counts on both sides of it, the farther, the broader the strip.

    Args:
        mask: `(H, W)` class ids or `VOID`.
        reach: Distances beyond this need not be found; they are then infinite, or too large.

    Returns:
        `(H, W)` float32, in pixels; infinite on void.
    """
    distance = np.full(mask.shape, np.inf, dtype=np.float32)
    for index in classes_in(mask):
        window = bounding_window(mask == index, reach)
        part = mask[window]
        inside = part == index
        distance[window][inside] = distance_to(~inside & (part != VOID))[inside]
    return distance


def contour(inside: np.ndarray) -> np.ndarray:
    """Return the pixels of a region that have a neighbour outside of it, in their row or column.

    The image's edge is no contour.

    Args:
        inside: `(H, W)` bool.

    Returns:
        `(H, W)` bool.
    """
    return inside & ~cv2.erode(inside.view(np.uint8), _CROSS).view(bool)


def inner_band(inside: np.ndarray, width: int) -> np.ndarray:
    """Return the pixels of a region that are within `width` of its contour, `width` of them across.

    Distance is counted along rows, columns and diagonals alike (a square), and the image's edge is contour: so the
    program of the paper on boundary IoU has it.

    Args:
        inside: `(H, W)` bool.
        width: In pixels.

    Returns:
        `(H, W)` bool.
    """
    outside_of_image = {"borderType": cv2.BORDER_CONSTANT, "borderValue": 0}
    return inside & ~cv2.erode(inside.view(np.uint8), _SQUARE, iterations=width, **outside_of_image).view(bool)


def classes_in(*masks: np.ndarray) -> list[int]:
    """Return the ids of the classes that occur in any of `masks`, in order, void left out."""
    ids = np.concatenate([mask.ravel() for mask in masks])
    return np.flatnonzero(np.bincount(ids - VOID)[1:]).tolist()


def bounding_window(inside: np.ndarray, margin: int) -> tuple[slice, slice]:
    """Return the window of rows and columns around all of `inside`, grown by `margin`, within the image.

    Args:
        inside: `(H, W)` bool, somewhere True.
        margin: In pixels.
    """
    left, top, width, height = cv2.boundingRect(inside.view(np.uint8))
    rows = slice(max(top - margin, 0), top + height + margin)
    return rows, slice(max(left - margin, 0), left + width + margin)


def diagonal(mask: np.ndarray) -> float:
    """Return the image's diagonal in pixels."""
    return math.hypot(*mask.shape)


def measurable(
    pred: np.ndarray | Tensor, mask: np.ndarray | Tensor, num_classes: int, ignore_index: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return prediction and mask as the measures take them: `(H, W)` int16, `VOID` in both where the mask is ignored.

    Args:
        pred: `(H, W)` integer class ids, uint8 for example; an array, or a tensor on any device.
        mask: `(H, W)` integer train ids, at the label's own size.
        num_classes: Of both.
        ignore_index: Label that does not count.

    Raises:
        DataError: The sizes differ, or a label or a prediction is no class.
    """
    pred, mask = _array(pred), _array(mask)
    if pred.ndim != 2 or pred.shape != mask.shape:
        raise DataError(
            f"Prediction {pred.shape} and mask {mask.shape} do not fit together: expected (H, W) class ids of one "
            "size. Bring logits to the label's size; never resize labels."
        )
    void = mask == ignore_index
    checked = []
    for what, ids in (("label", mask), ("prediction", pred)):
        ids = np.where(void, VOID, ids)
        wrong = (ids < VOID) | (ids >= num_classes) | ((ids == VOID) & ~void)
        if wrong.any():
            raise DataError(
                f"A {what} is no class: found {int(ids[wrong][0])}, with {num_classes} classes and "
                f"ignore_index {ignore_index}."
            )
        checked.append(ids.astype(np.int16))
    return checked[1], checked[0]


def _array(ids: np.ndarray | Tensor) -> np.ndarray:
    """Return an array of integers that can hold `VOID`."""
    array = np.asarray(ids if isinstance(ids, np.ndarray) else ids.cpu())
    if not np.issubdtype(array.dtype, np.integer):
        raise DataError(f"Class ids of type {array.dtype}: expected integers, such as uint8.")
    return array.astype(np.int16) if array.dtype in (np.uint8, np.int8, np.int16) else array.astype(np.int64)
