"""What `evaluate` can measure, and under which columns its table shows it. A further measure is one more line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from .boundary_metrics import BFScore, BoundaryIoU, Trimap
from .by_image import ByImage
from .segmentation import SegmentationScores


class Measure(NamedTuple):
    """A metric and what is shown of it."""

    make: Callable[[Sequence[str], int], ByImage]
    """From class names and ignored label."""
    columns: dict[str, str]
    """Column -> name in the metric's `values`."""


_TRIMAP = {f"trimap {width} px": f"trimap_mIoU/{width}" for width in (2, 10, 40)}

MEASURES = {
    "regions": Measure(SegmentationScores, {"mIoU": "mIoU", "pixel acc": "pixel_acc"}),
    "boundary_iou": Measure(BoundaryIoU, {"boundary IoU": "boundary_IoU"}),
    "bf_score": Measure(BFScore, {"BF": "BF"}),
    "trimap": Measure(Trimap, _TRIMAP),
    "trimap_void": Measure(partial(Trimap, around="void"), _TRIMAP),
}

ALWAYS = ("regions",)
"""Measured whatever is asked for."""
CHEAP = ("boundary_iou", "bf_score")
"""Measured unless something else is asked for: some milliseconds an image each (docs/boundaries.md)."""
