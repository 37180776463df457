"""Images with annotations in the form of COCO."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...labels import LabelSet
from ...labels.own import own_labels
from ..datasets.coco import COCO, AnnotatedImage, read_annotations
from ..splitting import names_of, split_names
from .base import SegmentationDataModule, Split


class COCODataModule(SegmentationDataModule):
    """COCO itself, or the user's own images with annotations in its form: polygons or run lengths in JSON.

    Without `val_annotations`, splits are laid down by lists `train.txt` and `val.txt` in the root or by folders in the
    images' names, otherwise by chance (`data/splitting.py`).

    Args:
        root: Folder below which all files lie.
        class_names: In the order of their ids: the background, then names of the file's categories.
        annotations: File of the training annotations, or of all, below the root.
        images: Folder of its images, below the root.
        val_annotations: File of the validation annotations; if not given, `annotations` is divided.
        val_images: Folder of its images; `images` if not given.
        val_fraction: Share of images for validation, 0..1, where neither a file nor lists nor folders say.
        test_fraction: Share of images for the test, likewise.
        split_seed: Of the division by chance.
        kwargs: Loaders and augmentation, see `SegmentationDataModule`.
    """

    def __init__(
        self,
        root: str,
        class_names: list[str],
        annotations: str = "annotations.json",
        images: str = ".",
        val_annotations: str | None = None,
        val_images: str | None = None,
        val_fraction: float = 0.2,
        test_fraction: float = 0.0,
        split_seed: int = 0,
        **kwargs: Any,
    ) -> None:
        self.labels = self.label_set(class_names)
        super().__init__(**kwargs)
        self.root = Path(root).expanduser()
        self.annotations, self.images = self.root / annotations, self.root / images
        self.val_annotations = self.root / val_annotations if val_annotations else None
        self.val_images = self.root / val_images if val_images else self.images
        self.val_fraction, self.test_fraction, self.split_seed = val_fraction, test_fraction, split_seed
        self._read: dict[Path, dict[str, AnnotatedImage]] = {}

    @classmethod
    def label_set(cls, class_names: Sequence[str] = (), **_: Any) -> LabelSet:
        """Say what the numbers in masks mean."""
        return own_labels(class_names)

    def build_dataset(self, split: Split) -> COCO:
        """Open a split."""
        if self.val_annotations and split == "val":
            images = self._images(self.val_annotations)
            return COCO(self.val_annotations, list(images.values()), self.val_images, self.labels)
        images = self._images(self.annotations)
        splits = {"train": list(images)}
        if self.val_annotations is None:
            splits = split_names(self.root, list(images), self.val_fraction, self.test_fraction, self.split_seed)
        chosen = [images[name] for name in names_of(splits, split)]
        return COCO(self.annotations, chosen, self.images, self.labels)

    def _images(self, path: Path) -> dict[str, AnnotatedImage]:
        """Read a file once."""
        if path not in self._read:
            self._read[path] = read_annotations(path, self.labels)
        return self._read[path]
