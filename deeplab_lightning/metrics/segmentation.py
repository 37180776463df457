"""IoU and the other scores of class maps, from confusion matrices that are kept image by image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..errors import NotFiniteError, of_image
from .by_image import ByImage, Counted, images_of
from .confusion import confusion_matrix, most_likely
from .per_image import ImageCounts
from .scores import Scores, scores_from_confusion


class SegmentationScores(ByImage):
    """IoU of each class and all that comes from the confusion matrix, as one metric of torchmetrics.

    Nothing is averaged on the way: the matrix of the split is the sum of its images', and every score is computed from
    that matrix. `compute` returns `loss` (where `update` was given one), `mIoU`, `pixel_acc`, `mean_acc`, `fwIoU`,
    `mean_dice` and `IoU/<class>`; `scores` has the rest.

    Args:
        class_names: One per class.
        ignore_index: Label that does not count.
        options: Of `ByImage`: `only`, and torchmetrics' own.
    """

    def __init__(self, class_names: Sequence[str], ignore_index: int, **options: Any) -> None:
        size = len(class_names)
        super().__init__("confusion matrix", class_names, ignore_index, (size, size), **options)

    def update(
        self,
        pred: Any,
        truth: Any,
        sample_id: str | Sequence[str] | None = None,
        loss_sum: float | Sequence[float] | Tensor | None = None,
    ) -> None:
        """Count one image, or a batch.

        Args:
            pred: `(H, W)` integer class ids, or logits `(C, H, W)`; for several one dimension more, or a list.
            truth: `(H, W)` integer train ids, at the label's own size; for several `(B, H, W)`, or a list.
            sample_id: Unique within the split; for several one for each. An image counts once, and one without an
                id every time it comes.
            loss_sum: The loss summed over the image's labelled pixels; for several one for each.
        """
        images = list(images_of(pred, truth, sample_id))
        losses: list[Any] = [()] * len(images)
        if loss_sum is not None:
            losses = torch.as_tensor(loss_sum, dtype=torch.float64, device="cpu").reshape(-1, 1).tolist()
        for (guess, labels, name), loss in zip(images, losses, strict=True):
            with of_image(name or "An image"):
                self.add(name, self.count(guess, labels)._replace(sums=loss))

    def count(self, pred: Tensor, truth: Tensor) -> Counted:
        """Return the confusion matrix of one image."""
        if pred.is_floating_point():
            if not bool(pred.isfinite().all()):
                raise NotFiniteError("its logits are NaN or infinite, and no class can be made of them.")
            pred = most_likely(pred[None])[0]
        return Counted(confusion_matrix(pred, truth, len(self.class_names), self.ignore_index).cpu().numpy())

    def values(self) -> dict[str, float]:
        """Return what `compute` does."""
        images = self.images().values()
        scores, loss = self.scores(), [image.sums[0] for image in images if len(image.sums)]
        values = {"loss": math.fsum(loss) / max(int(scores.support.sum()), 1)} if loss else {}
        values |= {
            "mIoU": scores.mIoU,
            "pixel_acc": scores.pixel_acc,
            "mean_acc": scores.mean_acc,
            "fwIoU": scores.fwIoU,
            "mean_dice": scores.mean_dice,
        }
        return values | {f"IoU/{name}": iou for name, iou in zip(scores.class_names, scores.iou.tolist(), strict=True)}

    def scores(self) -> Scores:
        """Return every score of the images that are here."""
        return scores_from_confusion(self.total(), self.class_names)

    def counts(self) -> ImageCounts:
        """Return the matrices of the images that are here, for `per_image.npz` and reports."""
        return ImageCounts(self.class_names, {name: image[:2] for name, image in self.images().items()})
