"""STQ, AQ and SQ of films whose objects keep their numbers, counted frame by frame."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..errors import DataError
from .by_image import ByImage, CountedImage
from .segments import VOID, checked_things, overlaps

NUMBER_BITS = 23
"""Of an object's number: two of them and two classes fit in a word."""
CLASS_BITS = 8
_SEGMENT_BITS = NUMBER_BITS + CLASS_BITS
_VOID = (1 << CLASS_BITS) - 1


class TrackingQuality(NamedTuple):
    """Scores of one film or of all, in 0..1; NaN where there is nothing to be scored."""

    stq: float
    """Segmentation and tracking quality: the root of `aq` times `sq`."""
    aq: float
    """Association quality."""
    sq: float
    """Segmentation quality, the mean IoU."""
    tubes: int
    """Objects of the truth that `aq` averages over."""


class TrackingScores(ByImage):
    """Segmentation and tracking quality (Weber and others, STEP, 2021), as deeplab2 computes it.

    A tube is all that is of one class and one number in the frames of a film. With `T` the tubes of things in the truth
    and `P` those predicted, whatever their class,

        AQ  = mean over t in T of 1/|t| * sum over p in P of |t and p| * IoU(t, p)
        SQ  = mean IoU of the classes over all frames
        STQ = sqrt(AQ * SQ)

    - Pixels of crowds (a thing class with number 0 in the truth) count in no tube, but in SQ.
    - Pixels on which the truth is void count in a predicted tube's size, as in deeplab2, but not in SQ.
    - Predicted void is wrong in SQ. deeplab2's program counts it as one more class of IoU 0, if it occurs, so that one
      such pixel costs a whole class; here, as in the paper, only classes are averaged.
    - Over several films tubes are averaged together, and pixels counted together.

    What is kept is, for each frame, the pairs of segments that meet, with their pixels: 16 bytes a pair. Frames may
    come in any order and from any process, and each counts once. `compute` returns `STQ`, `AQ`, `SQ`; `films` has the
    scores of each film.

    `update(preds, truths, sample_ids)` takes lists with a pair `(classes, numbers)` (see `metrics.segments`) for each
    frame, or one pair, a tuple, with its id. The film of a frame is what stands before the last `/` of its id, as in
    `film/000012`, and numbers mean one object within a film.

    Args:
        class_names: One per class, at most 255.
        things: Train ids of the classes that have objects.
        ignore_index: Void, in truth and prediction.
        options: Of `ByImage`: `only`, and torchmetrics' own.

    Raises:
        ConfigError: A thing is no class.
        DataError: There are too many classes.
    """

    def __init__(self, class_names: Sequence[str], things: Sequence[int], ignore_index: int, **options: Any) -> None:
        if len(class_names) > _VOID:
            raise DataError(f"Films of {len(class_names)} classes cannot be scored: expected at most {_VOID}.")
        self.things = checked_things(things, class_names)
        protocol = f"segmentation and tracking quality, things {' '.join(map(str, self.things))}"
        super().__init__(protocol, class_names, ignore_index, (), **options)

    def count(self, pred: Any, truth: Any) -> CountedImage:
        """Return the pairs of segments that meet, and on how many pixels.

        Raises:
            DataError: Of the maps (see `segments.overlaps`), or an object's number is too large.
        """
        found = overlaps(pred, truth, len(self.class_names), self.things, self.ignore_index)
        highest = max(found.truth_numbers.max(), found.pred_numbers.max())
        if highest >> NUMBER_BITS:
            raise DataError(f"An object has the number {highest}: films hold 0 to {(1 << NUMBER_BITS) - 1}.")
        rows, columns = found.pixels.nonzero()
        truths = _packed(found.truth_classes, found.truth_numbers)[rows]
        preds = _packed(found.pred_classes, found.pred_numbers)[columns]
        return CountedImage(truths << _SEGMENT_BITS | preds, found.pixels[rows, columns], np.zeros(0))

    def update(self, pred: Any, truth: Any, sample_id: str | Sequence[str] | None = None) -> None:
        """Count one frame, or several.

        Args:
            pred: A pair `(classes, numbers)`, or a list.
            truth: Likewise.
            sample_id: `film/frame`, or a list; a frame counts once.

        Raises:
            DataError: There is no id, or a frame cannot be counted.
        """
        if sample_id is None:
            raise DataError("Frames need ids, 'film/frame': without, nobody knows which film they are of.")
        super().update(pred, truth, sample_id)

    def values(self) -> dict[str, float]:
        """Return what `compute` does."""
        quality = self.quality()
        return {"STQ": quality.stq, "AQ": quality.aq, "SQ": quality.sq}

    def quality(self) -> TrackingQuality:
        """Return the scores of all films together."""
        return self._quality(list(self._films().values()))

    def films(self) -> dict[str, TrackingQuality]:
        """Return the scores of each film."""
        return {name: self._quality([film]) for name, film in self._films().items()}

    def _films(self) -> dict[str, _Film]:
        frames: dict[str, list[CountedImage]] = {}
        for name, frame in self.images().items():
            frames.setdefault(name.rpartition("/")[0], []).append(frame)
        return {name: _film(of_film) for name, of_film in frames.items()}

    def _quality(self, films: Sequence[_Film]) -> TrackingQuality:
        associated = [share for film in films for share in film.associated(self.things)]
        aq = math.fsum(associated) / len(associated) if associated else math.nan
        sq = _mean_iou(sum((film.confusion(len(self.class_names)) for film in films), np.zeros((), dtype=np.int64)))
        return TrackingQuality(math.sqrt(aq * sq), aq, sq, len(associated))


class _Film(NamedTuple):
    """The pairs of tubes of a film that meet, each once; class `_VOID` is void."""

    truths: np.ndarray
    """`(k,)` int64, packed class and number."""
    preds: np.ndarray
    """Likewise."""
    pixels: np.ndarray
    """`(k,)` int64, of both tubes."""

    def associated(self, things: Sequence[int]) -> list[float]:
        """Return for each true tube the sum over predicted ones of shared pixels times IoU, as a share of its size."""
        is_thing = np.isin(self.truths >> NUMBER_BITS, things)
        real = is_thing & (self.truths & ((1 << NUMBER_BITS) - 1) > 0)
        is_tube = np.isin(self.preds >> NUMBER_BITS, things) & (real | ~is_thing)  # not on crowds
        true_tubes, of_truth = np.unique(self.truths, return_inverse=True)
        pred_tubes, of_pred = np.unique(self.preds, return_inverse=True)
        true_sizes, pred_sizes = (np.zeros(len(tubes), dtype=np.int64) for tubes in (true_tubes, pred_tubes))
        np.add.at(true_sizes, of_truth[real], self.pixels[real])
        np.add.at(pred_sizes, of_pred[is_tube], self.pixels[is_tube])
        both = real & is_tube
        shared = self.pixels[both]
        iou = shared / (true_sizes[of_truth[both]] + pred_sizes[of_pred[both]] - shared)
        parts: dict[int, list[float]] = {tube: [] for tube in np.flatnonzero(true_sizes).tolist()}
        for tube, part in zip(of_truth[both].tolist(), (shared * iou).tolist(), strict=True):
            parts[tube].append(part)
        return [math.fsum(found) / int(true_sizes[tube]) for tube, found in parts.items()]

    def confusion(self, num_classes: int) -> np.ndarray:
        """Return pixels by true and predicted class, `(C, C + 1)` int64; the last column is predicted void."""
        true_classes, pred_classes = self.truths >> NUMBER_BITS, self.preds >> NUMBER_BITS
        matrix = np.zeros((num_classes, num_classes + 1), dtype=np.int64)
        labelled = true_classes != _VOID
        np.add.at(matrix, (true_classes[labelled], pred_classes[labelled].clip(max=num_classes)), self.pixels[labelled])
        return matrix


def _film(frames: Sequence[CountedImage]) -> _Film:
    """Add up the frames of a film."""
    keys, places = np.unique(np.concatenate([frame.cells for frame in frames]), return_inverse=True)
    pixels = np.zeros(len(keys), dtype=np.int64)
    np.add.at(pixels, places, np.concatenate([frame.counts for frame in frames]))
    return _Film(keys >> _SEGMENT_BITS, keys & ((1 << _SEGMENT_BITS) - 1), pixels)


def _packed(classes: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Return class and number of each segment in one integer; void has class `_VOID`."""
    return np.where(classes == VOID, _VOID, classes) << NUMBER_BITS | numbers


def _mean_iou(confusion: np.ndarray) -> float:
    """Return the mean over the classes that occur, from `_Film.confusion`; NaN without any."""
    if not confusion.ndim:
        return math.nan
    hit = confusion.diagonal()
    union = confusion.sum(axis=1) + confusion[:, :-1].sum(axis=0) - hit
    iou = hit[union > 0] / union[union > 0]
    return math.fsum(iou) / len(iou) if len(iou) else math.nan
