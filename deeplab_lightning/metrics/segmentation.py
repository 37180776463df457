"""From logits to counts: the most likely classes, and the one int64 confusion matrix, kept image by image."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ..errors import DataError
from .per_image import ImageCounts
from .processes import from_all_processes
from .scores import Scores, scores_from_confusion


def confusion_matrix(pred: Tensor, mask: Tensor, num_classes: int, ignore_index: int) -> Tensor:
    """Count pixels by true and predicted class: `(num_classes, num_classes)` int64, rows are the truth.

    Ignored pixels are counted in a row of their own, which is cut off: that is faster than taking them out first.

    Args:
        pred: Integer class ids, of any shape.
        mask: Integer train ids, of the same shape.
        num_classes: Of both.
        ignore_index: Label that does not count.

    Raises:
        DataError: A label or a prediction that is no class.
    """
    truth = mask.to(torch.int32)
    cells = truth.where(truth != ignore_index, num_classes).mul_(num_classes).add_(pred)
    counts = cells.flatten().bincount(minlength=(num_classes + 1) * num_classes)
    if len(counts) > (num_classes + 1) * num_classes:
        raise DataError(
            f"A label or a prediction is no class: labels are {int(mask.min())} to {int(mask.max())} and predictions "
            f"{int(pred.min())} to {int(pred.max())}, with {num_classes} classes and ignore_index {ignore_index}."
        )
    return counts[: num_classes * num_classes].view(num_classes, num_classes)


def most_likely(logits: Tensor) -> Tensor:
    """Return the class with the largest logit, `(B, C, H, W) -> (B, H, W)` uint8.

    Of equal ones the first. On a CPU this is several times faster than `max(1).indices`, and many times faster than
    `argmax(1)`, which look for the place one value at a time: here every step goes over many pixels of a class at once.
    """
    classes = logits.shape[1]
    from_last = torch.arange(classes - 1, -1, -1, dtype=torch.uint8, device=logits.device).view(1, -1, 1, 1)
    is_best = logits == logits.amax(1, keepdim=True)
    return classes - 1 - (is_best * from_last).amax(1)


class SegmentationEvaluation:
    """Collects predictions and gives exact scores, whatever the batch size and the number of processes.

    Nothing is averaged on the way: each image's confusion counts are kept by sample id, the matrix of the split is
    their sum, and every score is computed from that matrix. Several processes merge their counts by id, so an image
    that two of them saw counts once.

    Args:
        class_names: One per class.
        ignore_index: Label that does not count.
    """

    def __init__(self, class_names: Sequence[str], ignore_index: int) -> None:
        self.class_names = list(class_names)
        self.ignore_index = ignore_index
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self.images = ImageCounts(self.class_names)
        self._losses: dict[str, float] = {}

    def update(self, pred: Tensor, mask: Tensor, sample_id: str, loss_sum: float = 0.0) -> None:
        """Count one image.

        Args:
            pred: `(H, W)` integer class ids.
            mask: `(H, W)` integer train ids, at the label's own size.
            sample_id: Unique within the split.
            loss_sum: The loss summed over the image's labelled pixels.
        """
        matrix = confusion_matrix(pred, mask, len(self.class_names), self.ignore_index)
        self.images.add(sample_id, matrix.cpu().numpy())
        self._losses.setdefault(sample_id, loss_sum)

    def gather(self) -> None:
        """Bring the images of all processes together, in each of them."""
        everyone = from_all_processes((self.images, self._losses))
        if len(everyone) == 1:
            return
        # In the order of the ranks: where two processes saw an image differently, all keep the same one's counts.
        self.reset()
        for images, losses in everyone:
            self.images.merge(images)
            self._losses = losses | self._losses

    def loss(self) -> float:
        """Mean loss over the labelled pixels of all images counted so far; 0 if there is none."""
        return math.fsum(self._losses.values()) / max(int(self.images.total().sum()), 1)

    def scores(self) -> Scores:
        """Scores over all images counted so far."""
        return scores_from_confusion(self.images.total(), self.class_names)
