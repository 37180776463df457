"""Images annotated with LabelMe."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from ...labels import LabelSet
from ...labels.own import own_labels
from ..datasets.labelme import LabelMe, find_annotations
from ..splitting import names_of, split_names
from .base import SegmentationDataModule, Split


class LabelMeDataModule(SegmentationDataModule):
    """The user's own images, annotated with LabelMe: polygons and other shapes in JSON files.

    Splits are laid down by lists `train.txt` and `val.txt` in the root or by folders `train/` and `val/`, otherwise by
    chance (`data/splitting.py`).

    Args:
        root: Folder of the annotations and, beside them, the images; subfolders are searched.
        class_names: In the order of their ids; the first is the background, which is where no shape lies.
        ignored_labels: Labels of shapes whose pixels are ignored.
        val_fraction: Share of images for validation, 0..1, where neither lists nor folders say.
        test_fraction: Share of images for the test, likewise.
        split_seed: Of the division by chance.
        kwargs: Loaders and augmentation, see `SegmentationDataModule`.
    """

    def __init__(
        self,
        root: str,
        class_names: list[str],
        ignored_labels: Sequence[str] = ("__ignore__",),
        val_fraction: float = 0.2,
        test_fraction: float = 0.0,
        split_seed: int = 0,
        **kwargs: Any,
    ) -> None:
        self.labels = self.label_set(class_names)
        super().__init__(**kwargs)
        self.root, self.ignored_labels = Path(root).expanduser(), tuple(ignored_labels)
        self.val_fraction, self.test_fraction, self.split_seed = val_fraction, test_fraction, split_seed

    @classmethod
    def label_set(cls, class_names: Sequence[str] = (), **_: Any) -> LabelSet:
        """Say what the numbers in masks mean."""
        return own_labels(class_names)

    @cached_property
    def splits(self) -> dict[str, list[str]]:
        """Split -> names of its images."""
        names = find_annotations(self.root)
        return split_names(self.root, names, self.val_fraction, self.test_fraction, self.split_seed)

    def build_dataset(self, split: Split) -> LabelMe:
        """Open a split."""
        return LabelMe(self.root, names_of(self.splits, split), self.labels, self.ignored_labels)
