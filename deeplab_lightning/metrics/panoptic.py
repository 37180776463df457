"""PQ, SQ and RQ of images as stuff and objects, counted image by image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .by_image import ByImage, Counted
from .panoptic_quality import PanopticCounts, PanopticQuality
from .per_image import dense
from .segments import checked_things, overlaps


class PanopticScores(ByImage):
    """Panoptic quality after COCO's panopticapi, as one metric of torchmetrics.

    A predicted segment and one of the truth match if they are of one class and their IoU is above 0.5; no segment then
    has two matches. What does not count, and where it does not:

    - Pixels on which the truth is void are taken out of the predicted segment before the IoU.
    - A predicted segment without a match of which more than half is void, or crowd of its class, is no FP.
    - A crowd (a thing class with number 0 in the truth) is neither TP nor FN.
    - Predicted void is no segment; what is missed by it is FN.

    Of Cityscapes the same holds: its own program scores with this definition, its `*group` regions being crowds.

    `compute` returns `PQ`, `SQ`, `RQ`, each also as `..._things` and `..._stuff`, means over the classes that occur,
    and `PQ/<class>`, `SQ/<class>`, `RQ/<class>`; NaN for what does not occur. `quality` has the counts, too.

    `update(preds, truths, sample_ids)` takes lists with a pair for each image, `(classes, numbers)` as
    `metrics.segments` describes them, on any device; or one pair, a tuple, with its id.

    Args:
        class_names: One per class.
        things: Train ids of the classes that have objects.
        ignore_index: Void, in truth and prediction.
        options: Of `ByImage`: `only`, and torchmetrics' own.

    Raises:
        ConfigError: A thing is no class.
    """

    def __init__(self, class_names: Sequence[str], things: Sequence[int], ignore_index: int, **options: Any) -> None:
        self.things = checked_things(things, class_names)
        protocol = f"panoptic quality, things {' '.join(map(str, self.things))}"
        super().__init__(protocol, class_names, ignore_index, (3, len(class_names)), **options)

    def count(self, pred: Any, truth: Any) -> Counted:
        """Return TP, FP and FN of each class, and the sums of the IoUs of TP."""
        classes = len(self.class_names)
        found = overlaps(pred, truth, classes, self.things, self.ignore_index)
        pixels, crowd = found.pixels, found.crowd(self.things)
        of_pred, of_truth = pixels.sum(axis=0), pixels.sum(axis=1)
        union = of_truth[:, None] + (of_pred - found.void_pixels) - pixels
        same = found.truth_classes[:, None] == found.pred_classes  # void is a class here, and left out below
        real = (found.truth_classes >= 0) & ~crowd
        iou = np.where(same & real[:, None], pixels / np.maximum(union, 1), 0)
        match = iou > 0.5
        passed_over = found.void_pixels + np.where(same & crowd[:, None], pixels, 0).sum(axis=0)
        extra = (found.pred_classes >= 0) & ~match.any(axis=0) & (passed_over / of_pred <= 0.5)
        missed = real & ~match.any(axis=1)
        rows, columns = match.nonzero()
        matched_classes = found.truth_classes[rows]
        table = [
            np.bincount(ids, minlength=classes)
            for ids in (matched_classes, found.pred_classes[extra], found.truth_classes[missed])
        ]
        ious = iou[rows, columns]
        return Counted(np.stack(table), [math.fsum(ious[matched_classes == index]) for index in range(classes)])

    def values(self) -> dict[str, float]:
        """Return what `compute` does."""
        quality, values = self.quality(), dict[str, float]()
        groups = (("", quality.all), ("_things", quality.of_things), ("_stuff", quality.of_stuff))
        for suffix, means in groups:
            values |= {f"{name.upper()}{suffix}": getattr(means, name) for name in ("pq", "sq", "rq")}
        for name in ("pq", "sq", "rq"):
            of_classes = zip(quality.class_names, getattr(quality, name).tolist(), strict=True)
            values |= {f"{name.upper()}/{class_name}": score for class_name, score in of_classes}
        return values

    def quality(self) -> PanopticQuality:
        """Return every score of the images that are here."""
        return self.counts().quality()

    def counts(self) -> PanopticCounts:
        """Return what each image counts, for `panoptic.npz` and reports."""
        return PanopticCounts(
            self.class_names,
            self.things,
            {name: (dense([image[:2]], self.shape), image.sums) for name, image in self.images().items()},
        )
