"""Two metrics of torchmetrics that count faster, for people who bring their own loop.

```
iou = JaccardIndex(num_classes=21, ignore_index=255)
iou.update(logits, mask)          # (B, C, H, W) or class ids (B, H, W); uint8 will do
iou.compute()
```
"""

from __future__ import annotations

from torch import Tensor
from torchmetrics.classification import MulticlassConfusionMatrix, MulticlassJaccardIndex

from .segmentation import confusion_matrix, most_likely

VOID = -1
"""Stands for no ignored label: it is never found."""


class _Counting:
    """`update` as `metrics.segmentation` counts. All else, `compute` and merging processes too, is torchmetrics'."""

    num_classes: int
    ignore_index: int | None
    confmat: Tensor

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Count a batch.

        Args:
            preds: Logits or probabilities `(B, C, H, W)`, or class ids `(B, H, W)`.
            target: `(B, H, W)` integer train ids.
        """
        if preds.is_floating_point():
            preds = most_likely(preds)
        ignore_index = VOID if self.ignore_index is None else self.ignore_index
        self.confmat += confusion_matrix(preds, target, self.num_classes, ignore_index)


class ConfusionMatrix(_Counting, MulticlassConfusionMatrix):
    """`MulticlassConfusionMatrix`, with our `update`."""


class JaccardIndex(_Counting, MulticlassJaccardIndex):
    """`MulticlassJaccardIndex` (the IoU), with our `update`."""
