"""What the boundary measures have in common: counts kept image by image, so that several processes add up exactly.

Void has no influence: where the truth is void, a prediction is taken for void too, whatever it says. Hence a prediction
that is right on all labelled pixels has the full score in every measure, and none can be gained or lost on void.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

VOID = -1
"""Stands for `ignore_index` in the arrays that `_measure` gets."""


class ByImage(ABC):
    """Counts of each image, keyed by sample id: an id that comes twice counts once.

    Args:
        class_names: `C` names.
        ignore_index: Label that does not count.

    Attributes:
        images: Sample id -> the counts that `_measure` returned.
    """

    def __init__(self, class_names: Sequence[str], ignore_index: int) -> None:
        self.class_names = tuple(class_names)
        self.ignore_index = ignore_index
        self.images: dict[str, np.ndarray] = {}

    @property
    @abstractmethod
    def protocol(self) -> str:
        """What is measured, in words, to stand beside the score."""

    @abstractmethod
    def _measure(self, pred: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Return one image's integer counts.

        Args:
            pred: `(H, W)` int16 class ids, `VOID` where the mask is.
            mask: `(H, W)` int16 class ids or `VOID`.
        """

    def reset(self) -> None:
        """Forget everything."""
        self.images = {}

    def update(self, pred: np.ndarray | Tensor, mask: np.ndarray | Tensor, sample_id: str) -> None:
        """Measure one image.

        Args:
            pred: `(H, W)` integer class ids, uint8 for example; an array, or a tensor on any device.
            mask: `(H, W)` integer train ids, at the label's own size.
            sample_id: Unique within the split.

        Raises:
            DataError: The sizes differ, or a label or a prediction is no class.
        """
        if sample_id not in self.images:
            self.images[sample_id] = self._measure(*self._checked(_array(pred), _array(mask)))

    def merge(self, other: ByImage) -> None:
        """Take over the images of `other` that are not here yet, for example those of another process."""
        if other.protocol != self.protocol or other.class_names != self.class_names:
            raise DataError(
                f"Counts of '{other.protocol}' over {len(other.class_names)} classes cannot be merged with counts of "
                f"'{self.protocol}' over {len(self.class_names)}: measure both in the same way."
            )
        self.images = other.images | self.images

    def state(self) -> dict[str, np.ndarray]:
        """Return the images' counts as plain arrays, to be kept in a file; each is a table of two dimensions."""
        counts = list(self.images.values())
        return {
            "ids": np.array(list(self.images), dtype=np.str_),
            "shapes": np.array([count.shape for count in counts], dtype=np.int64).reshape(-1, 2),
            "counts": np.concatenate([np.empty(0, np.int64), *(count.ravel() for count in counts)]),
        }

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Take up what `state` returned."""
        ends = state["shapes"].prod(axis=1).cumsum()
        parts = np.split(state["counts"], ends[:-1]) if len(ends) else []
        self.images = {
            sample_id: part.reshape(shape)
            for sample_id, part, shape in zip(state["ids"].tolist(), parts, state["shapes"], strict=True)
        }

    def gather(self) -> None:
        """Bring the images of all processes together, in each of them."""
        from torch import distributed

        if not (distributed.is_available() and distributed.is_initialized()):
            return
        everyone: list[dict[str, np.ndarray] | None] = [None] * distributed.get_world_size()
        distributed.all_gather_object(everyone, self.images)
        self.reset()
        for images in everyone:  # in the order of the ranks, so that all keep the same one's counts
            assert images is not None
            self.images = images | self.images

    def _stacked(self) -> np.ndarray:
        """Return the counts of all images, one behind the other, in the order of their ids.

        Raises:
            DataError: There is no image.
        """
        if not self.images:
            raise DataError(f"{self.protocol}: no image has been measured yet.")
        return np.stack([self.images[sample_id] for sample_id in sorted(self.images)])

    def _checked(self, pred: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if pred.ndim != 2 or pred.shape != mask.shape:
            raise DataError(
                f"Prediction {pred.shape} and mask {mask.shape} do not fit together: expected (H, W) class ids of one "
                "size. Bring logits to the label's size; never resize labels."
            )
        void = mask == self.ignore_index
        checked = []
        for what, ids in (("label", mask), ("prediction", pred)):
            ids = np.where(void, VOID, ids)
            wrong = (ids < VOID) | (ids >= len(self.class_names)) | ((ids == VOID) & ~void)
            if wrong.any():
                raise DataError(
                    f"A {what} is no class: found {int(ids[wrong][0])}, with {len(self.class_names)} classes and "
                    f"ignore_index {self.ignore_index}."
                )
            checked.append(ids.astype(np.int16))
        return checked[1], checked[0]


def _array(ids: np.ndarray | Tensor) -> np.ndarray:
    """Return an array of integers that can hold `VOID`."""
    array = np.asarray(ids.cpu() if hasattr(ids, "cpu") else ids)
    if not np.issubdtype(array.dtype, np.integer):
        raise DataError(f"Class ids of type {array.dtype}: expected integers, such as uint8.")
    return array.astype(np.int16) if array.dtype in (np.uint8, np.int8, np.int16) else array.astype(np.int64)
