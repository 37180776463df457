"""How good the labels are near boundaries: trimap, boundary IoU and BF score, as metrics of torchmetrics.

Void has no influence on any of them; `boundary` says how, and what distances are.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from ..errors import ConfigError, DataError
from .boundary import (
    VOID,
    bounding_window,
    classes_in,
    contour,
    diagonal,
    distance_to,
    distance_to_another_class,
    inner_band,
    measurable,
    nearer_than,
)
from .by_image import ByImage, Counted
from .scores import scores_from_confusion

Around = Literal["void", "boundaries"]

WIDTHS = (1, 2, 3, 5, 7, 10, 15, 20, 30, 40)
"""Of trimaps, in pixels: close together where the curve bends."""


class BoundaryMetric(ByImage):
    """A metric of numpy's class maps, which takes arrays and tensors on any device alike.

    It is made of `class_names`, `ignore_index`, what each metric lists for itself, and the options of `ByImage`.
    """

    def count(self, pred: Any, truth: Any) -> Counted:
        """Return what `measure` finds in one image.

        Raises:
            DataError: The sizes differ, or a label or a prediction is no class.
        """
        return Counted(self.measure(*measurable(pred, truth, len(self.class_names), self.ignore_index)))

    @abstractmethod
    def measure(self, pred: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Return the table of one image, from two maps `(H, W)` int16 of class ids, `VOID` where the mask is void."""

    def named(self, name: str, mean: float, of_classes: np.ndarray) -> dict[str, float]:
        """Return a mean and the score of each class under the names that they are logged by."""
        scores = zip(self.class_names, of_classes.tolist(), strict=True)
        return {name: mean} | {f"{name}/{class_name}": score for class_name, score in scores}


class BoundaryIoUScores(NamedTuple):
    """Fractions in 0..1; NaN marks an absent class."""

    iou: np.ndarray
    """`(C,)` float64, the boundary IoU of each class."""
    mean: float
    """Over the classes that are not absent."""


class BoundaryIoU(BoundaryMetric):
    """Boundary IoU: the IoU of the bands along the contours (Cheng and others, CVPR 2021).

    For each class, `G` are its pixels in the truth within `d` of its contour there, and `P` those in the prediction
    within `d` of its contour there; the score is `|G and P| / |G or P|`, with `d` 2 % of the image's diagonal. Unlike a
    trimap it looks at the prediction's contours as well as the truth's, and unlike IoU it does not pass over the
    contours of large objects. An object that is nowhere broader than `2 d` has its plain IoU.

    - The band is that of the paper's program: eroding the class `d` times by 3 x 3, the image's edge being contour.
    - The paper scores single objects; here a class is scored, over all images: the pixels of the bands are summed over
      the data set before dividing, as they are for IoU. A class that occurs neither in truth nor prediction enters no
      mean.
    - Void: a class ends where void begins, in truth and prediction alike. On PASCAL VOC, where void strips surround all
      objects, contours hence are the strips' rims, wherever within the strip a prediction's own contour runs.

    `compute` returns `boundary_IoU`, the mean over the classes, and `boundary_IoU/<class>`.

    Args:
        dilation_ratio: Width of the band as a share of the diagonal; it is rounded to pixels, and is at least 1.
    """

    def __init__(
        self, class_names: Sequence[str], ignore_index: int, dilation_ratio: float = 0.02, **options: Any
    ) -> None:
        protocol = f"boundary IoU, band of {_share_of_diagonal('dilation_ratio', dilation_ratio)}"
        super().__init__(protocol, class_names, ignore_index, (2, len(class_names)), **options)
        self.dilation_ratio = dilation_ratio

    def measure(self, pred: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Return the pixels in both bands, and in either, of each class."""
        counts = np.zeros(self.shape, dtype=np.int64)
        width = max(1, round(self.dilation_ratio * diagonal(mask)))
        for index in classes_in(mask, pred):
            window = bounding_window((mask == index) | (pred == index), 0)  # nothing of the class is outside
            truth_band = inner_band(mask[window] == index, width)
            pred_band = inner_band(pred[window] == index, width)
            counts[:, index] = np.count_nonzero(truth_band & pred_band), np.count_nonzero(truth_band | pred_band)
        return counts

    def values(self) -> dict[str, float]:
        """Return what `compute` does."""
        scores = self.scores()
        return self.named("boundary_IoU", scores.mean, scores.iou)

    def scores(self) -> BoundaryIoUScores:
        """Return the scores of the images that are here.

        Raises:
            DataError: There is no image.
        """
        both, either = self.tables().sum(axis=0)
        iou = np.where(either > 0, both / np.maximum(either, 1), np.nan)
        return BoundaryIoUScores(iou, float(_mean(iou, either > 0)))


class BFScores(NamedTuple):
    """Fractions in 0..1; NaN marks a class that counts in no image."""

    f1: np.ndarray
    """`(C,)` float64, the mean over the images in which the class counts."""
    precision: np.ndarray
    """`(C,)` float64, the mean over the same images; 0 where the prediction has no contour."""
    recall: np.ndarray
    """`(C,)` float64, the mean over the same images."""
    images: np.ndarray
    """`(C,)` int64, how many those are."""
    mean: float
    """Over classes within an image, then over images."""


class BFScore(BoundaryMetric):
    """BF score: the F1 of contours, of which those count that have a counterpart within a tolerance.

    Of Csurka and others (BMVC 2013), as the SegNet paper uses it. For a class in an image

        precision = share of the prediction's contour pixels with one of the truth's nearer than the tolerance
        recall    = share of the truth's contour pixels with one of the prediction's nearer than the tolerance
        BF        = 2 precision recall / (precision + recall)

    with a tolerance of 0.75 % of the image's diagonal. The mean is SegNet's figure: F1 averaged over the classes that
    the image's truth has, then over images. Means per class, over the images whose truth has it, are given too.

    - A contour pixel belongs to the class and has a neighbour, in its row or column, that does not; the image's edge
      makes no contour.
    - A class without contour in both (it fills the image) does not count there. With a contour in one of them only it
      counts 0. Images in which no class counts do not count.
    - Void: a class ends where void begins, in truth and prediction alike, and this too is contour: that of a prediction
      is then right wherever the class is. On data with void strips along all borders, the score says little; it is
      meant for data such as CamVid.

    `compute` returns `BF`, the mean over the classes of an image, then over images, and `BF/<class>`.

    Args:
        tolerance: As a share of the diagonal; contours match when nearer than this.
    """

    def __init__(
        self, class_names: Sequence[str], ignore_index: int, tolerance: float = 0.0075, **options: Any
    ) -> None:
        protocol = f"BF score, tolerance {_share_of_diagonal('tolerance', tolerance)}"
        super().__init__(protocol, class_names, ignore_index, (4, len(class_names)), **options)
        self.tolerance = tolerance

    def measure(self, pred: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Return contour pixels that match and all of them, of prediction and truth, of each class of the truth."""
        counts = np.zeros(self.shape, dtype=np.int64)
        limit = self.tolerance * diagonal(mask)
        for index in classes_in(mask):
            window = bounding_window((mask == index) | (pred == index), 1)  # 1: neighbours tell what is contour
            truth_contour = contour(mask[window] == index)
            pred_contour = contour(pred[window] == index)
            pred_matches = nearer_than(limit, truth_contour)[pred_contour]
            truth_matches = nearer_than(limit, pred_contour)[truth_contour]
            counts[:, index] = pred_matches.sum(), pred_matches.size, truth_matches.sum(), truth_matches.size
        return counts

    def values(self) -> dict[str, float]:
        """Return what `compute` does."""
        scores = self.scores()
        return self.named("BF", scores.mean, scores.f1)

    def scores(self) -> BFScores:
        """Return the scores of the images that are here.

        Raises:
            DataError: There is no image.
        """
        pred_hit, pred_all, truth_hit, truth_all = np.moveaxis(self.tables(), 1, 0)  # (images, C) each
        counts = pred_all + truth_all > 0
        precision, recall = pred_hit / np.maximum(pred_all, 1), truth_hit / np.maximum(truth_all, 1)
        f1 = 2 * precision * recall / np.where(precision + recall > 0, precision + recall, 1)
        of_images = _mean(f1, counts, axis=1)
        return BFScores(
            *(_mean(f1, counts), _mean(precision, counts), _mean(recall, counts)),
            images=counts.sum(axis=0),
            mean=float(_mean(of_images, counts.any(axis=1))),
        )


class TrimapCurve(NamedTuple):
    """Scores against the width of the band. Fractions in 0..1; NaN for what does not occur."""

    class_names: tuple[str, ...]
    """`C` names."""
    protocol: str
    """Around what, in words."""
    widths: np.ndarray
    """`(W,)` int64, in pixels, growing."""
    iou: np.ndarray
    """`(W, C)` float64."""
    mIoU: np.ndarray  # noqa: N815 - the name the field uses
    """`(W,)` float64, over the classes that occur in the band of that width, in truth or prediction."""
    pixel_acc: np.ndarray
    """`(W,)` float64."""
    pixels: np.ndarray
    """`(W,)` int64, labelled pixels within the band."""


class Trimap(BoundaryMetric):
    """Trimap curve: mIoU of the labels within narrow bands around boundaries, against the bands' width.

    The figure of the papers (v1, v2 and v3+ after Kohli and others, 2009): IoU over those labelled pixels alone that
    are within `width` pixels of a boundary, for widths of up to 40. What a boundary is, differs:

    - `around="void"`, as in the papers: the void pixels, which PASCAL VOC's annotators drew along every object.
      Difficult objects that are void as a whole have a band around them, too. The band lies on both sides of the strip.
    - `around="boundaries"`, for data without such strips: a pixel is in the band when a labelled pixel of another class
      is within `width`. Width 1 is one pixel on each side. Void between two classes counts as distance.

    The papers dilate void without a word on the shape; here distances are Euclidean, as of a disc. Counts are summed
    over all images before dividing, and void is never counted itself.

    `compute` returns `trimap_mIoU/<width>`, NaN where no image has a labelled pixel in any band.

    Args:
        around: Where the bands lie: "void" or "boundaries".
        widths: Of the bands, in whole pixels of at least 1, growing.

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

    def measure(self, pred: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Return the confusion matrices of the bands, each pixel in its narrowest one."""
        size, reach = len(self.class_names), int(self.widths[-1])
        distance = distance_to(mask == VOID) if self.around == "void" else distance_to_another_class(mask, reach)
        near = (distance <= reach) & (mask != VOID)
        band = np.searchsorted(self.widths, distance[near])
        cells = (band * size + mask[near]) * size + pred[near]
        return np.bincount(cells, minlength=math.prod(self.shape)).reshape(self.shape)

    def values(self) -> dict[str, float]:
        """Return what `compute` does."""
        miou = self.scores().mIoU.tolist() if self.total().any() else [math.nan] * len(self.widths)
        return {f"trimap_mIoU/{width}": value for width, value in zip(self.widths.tolist(), miou, strict=True)}

    def scores(self) -> TrimapCurve:
        """Return the curve of the images that are here.

        Raises:
            DataError: No labelled pixel is in any band.
        """
        confusions = self.total().cumsum(axis=0)  # a broad band holds the narrow ones
        if not confusions.any():
            remedy = " These masks have no void: use around='boundaries'." if self.around == "void" else ""
            raise DataError(f"No labelled pixel is within {self.widths[-1]} pixels of {self.around}.{remedy}")
        scores = [scores_from_confusion(confusion, self.class_names) for confusion in confusions]
        return TrimapCurve(
            class_names=self.class_names,
            protocol=f"around {self.around}",
            widths=self.widths,
            iou=np.stack([score.iou for score in scores]),
            mIoU=np.array([score.mIoU for score in scores]),
            pixel_acc=np.array([score.pixel_acc for score in scores]),
            pixels=confusions.sum(axis=(1, 2)),
        )


def _share_of_diagonal(name: str, share: float) -> str:
    """Return in words what is a share of the diagonal, checked."""
    if not 0 < share <= 1:
        raise ConfigError(f"{name} is a share of the diagonal above 0, at most 1; got {share}.")
    return f"{share:.2%} of the diagonal"


def _mean(values: np.ndarray, counts: np.ndarray, axis: int = 0) -> np.ndarray:
    """Return the mean of the values that count; NaN where none does."""
    number = counts.sum(axis=axis)
    return np.where(number > 0, np.where(counts, values, 0).sum(axis=axis) / np.maximum(number, 1), np.nan)
