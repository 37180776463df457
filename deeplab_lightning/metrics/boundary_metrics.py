"""Trimap, boundary IoU and BF score as metrics of torchmetrics; their own modules say how they are counted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import ConfigError
from .bf_score import BFScores, bf_scores_of, contour_pixels
from .boundary import measurable
from .boundary_iou import BoundaryIoUScores, boundary_iou_of, boundary_pixels
from .by_image import ByImage, Counted
from .trimap import WIDTHS, Around, TrimapCurve, confusion_in_bands, trimap_curve_of


class BoundaryIoU(ByImage):
    """The IoU of the bands along the contours; see `boundary_iou`.

    `compute` returns `boundary_IoU`, the mean over the classes, and `boundary_IoU/<class>`.

    Args:
        class_names: `C` names.
        ignore_index: Label that does not count.
        dilation_ratio: Width of the band as a share of the diagonal; it is rounded to pixels, and is at least 1.
        options: Of `ByImage`: `only`, and torchmetrics' own.
    """

    def __init__(
        self, class_names: Sequence[str], ignore_index: int, dilation_ratio: float = 0.02, **options: Any
    ) -> None:
        if not 0 < dilation_ratio <= 1:
            raise ConfigError(f"dilation_ratio is a share of the diagonal above 0, at most 1; got {dilation_ratio}.")
        protocol = f"boundary IoU, band of {dilation_ratio:.2%} of the diagonal"
        super().__init__(protocol, class_names, ignore_index, (2, len(class_names)), **options)
        self.dilation_ratio = dilation_ratio

    def count(self, pred: Any, truth: Any) -> Counted:
        """Return the pixels in both bands, and in either, of each class."""
        size = len(self.class_names)
        return Counted(boundary_pixels(*measurable(pred, truth, size, self.ignore_index), size, self.dilation_ratio))

    def values(self) -> dict[str, float]:
        """Return what `compute` does."""
        scores = self.scores()
        return {"boundary_IoU": scores.mean} | _by_class("boundary_IoU", self.class_names, scores.iou)

    def scores(self) -> BoundaryIoUScores:
        """Return the scores of the images that are here.

        Raises:
            DataError: There is no image.
        """
        return boundary_iou_of(self.tables().sum(axis=0), self.class_names)


class BFScore(ByImage):
    """The F1 of contours; see `bf_score`.

    `compute` returns `BF`, the mean over the classes of an image, then over images, and `BF/<class>`.

    Args:
        class_names: `C` names.
        ignore_index: Label that does not count.
        tolerance: As a share of the diagonal; contours match when nearer than this.
        options: Of `ByImage`: `only`, and torchmetrics' own.
    """

    def __init__(
        self, class_names: Sequence[str], ignore_index: int, tolerance: float = 0.0075, **options: Any
    ) -> None:
        if not 0 < tolerance <= 1:
            raise ConfigError(f"tolerance is a share of the diagonal above 0, at most 1; got {tolerance}.")
        protocol = f"BF score, tolerance {tolerance:.2%} of the diagonal"
        super().__init__(protocol, class_names, ignore_index, (4, len(class_names)), **options)
        self.tolerance = tolerance

    def count(self, pred: Any, truth: Any) -> Counted:
        """Return contour pixels that match and all of them, of prediction and truth, of each class."""
        size = len(self.class_names)
        return Counted(contour_pixels(*measurable(pred, truth, size, self.ignore_index), size, self.tolerance))

    def values(self) -> dict[str, float]:
        """Return what `compute` does."""
        scores = self.scores()
        return {"BF": scores.mean} | _by_class("BF", self.class_names, scores.f1)

    def scores(self) -> BFScores:
        """Return the scores of the images that are here.

        Raises:
            DataError: There is no image.
        """
        return bf_scores_of(self.tables(), self.class_names)


class Trimap(ByImage):
    """The curve of mIoU within bands around boundaries against the bands' width; see `trimap`.

    `compute` returns `trimap_mIoU/<width>`, NaN where no image has a labelled pixel in any band.

    Args:
        class_names: `C` names.
        ignore_index: Label that does not count.
        around: Where the bands lie: "void" or "boundaries".
        widths: Of the bands, in whole pixels of at least 1, growing.
        options: Of `ByImage`: `only`, and torchmetrics' own.

    Raises:
        ConfigError: Widths or place make no sense.
    """

    def __init__(
        self,
        class_names: Sequence[str],
        ignore_index: int,
        around: Around = "boundaries",
        widths: Sequence[int] = WIDTHS,
        **options: Any,
    ) -> None:
        if around not in ("void", "boundaries"):
            raise ConfigError(f"Trimaps lie around 'void' or 'boundaries', not {around!r}.")
        growing = list(widths) == sorted(set(widths)) and all(int(width) == width >= 1 for width in widths)
        if not widths or not growing:
            raise ConfigError(f"Widths of trimaps are whole pixels from 1 on, growing; got {list(widths)}.")
        size = len(class_names)
        protocol = f"trimap around {around}, {', '.join(map(str, widths))} px"
        super().__init__(protocol, class_names, ignore_index, (len(widths), size, size), **options)
        self.around: Around = around
        self.widths = np.array(widths, dtype=np.int64)

    def count(self, pred: Any, truth: Any) -> Counted:
        """Return the confusion matrices of the bands, each pixel in its narrowest one."""
        size = len(self.class_names)
        images = measurable(pred, truth, size, self.ignore_index)
        return Counted(confusion_in_bands(*images, size, self.around, self.widths))

    def values(self) -> dict[str, float]:
        """Return what `compute` does."""
        miou = self.scores().mIoU.tolist() if self.total().any() else [math.nan] * len(self.widths)
        return {f"trimap_mIoU/{width}": value for width, value in zip(self.widths.tolist(), miou, strict=True)}

    def scores(self) -> TrimapCurve:
        """Return the curve of the images that are here.

        Raises:
            DataError: No labelled pixel is in any band.
        """
        return trimap_curve_of(self.total(), self.class_names, self.around, self.widths)


def _by_class(name: str, class_names: Sequence[str], values: np.ndarray) -> dict[str, float]:
    return {f"{name}/{class_name}": value for class_name, value in zip(class_names, values.tolist(), strict=True)}
