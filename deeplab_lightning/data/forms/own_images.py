"""What data sets of the user's own images share: class names of his own, and splits that he lays down or chance."""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn

from ...errors import ConfigError
from ...labels import LabelSet, own_labels
from ...options import Between, at_least
from ..datamodule import DataOptions, SegmentationDataModule
from ..pairing.finding import on_disk
from ..pairing.groups import divided_groups, kept_together
from ..pairing.splitting import fold_split, split_names


@dataclass(frozen=True, kw_only=True)
class OwnImagesOptions(DataOptions):
    """What must be said of the user's own images, and how they are divided."""

    root: str
    """Folder below which all files lie."""
    class_names: list[str]
    """Names of the classes in the order of their ids; where objects are outlined, the first is the background."""
    val_fraction: Annotated[float, Between(0, 1, open_low=True, open_high=True, near=0.2)] = 0.2
    """Share of images for validation, where neither lists (train.txt, val.txt) nor folders (train/, val/) say."""
    test_fraction: Annotated[float, Between(0, 1, open_high=True, near=0.1)] = 0.0
    """Share of images for the test, where neither lists (test.txt) nor folders (test/) say; 0 makes no test split."""
    split_seed: int = 0
    """Seed of the division by chance; another one gives other splits."""
    folds: Annotated[int, at_least(2)] | None = None
    """Cross-validation: divide the images of train and val by chance into so many parts, of which one is for validation
    and all others are for training; a test split stays as it is. The command `folds` trains on all of them in turn."""
    fold: Annotated[int, at_least(0)] = 0
    """Which part of `folds` is for validation, from 0."""

    def check(self) -> None:
        """Refuse a part that there is not."""
        super().check()
        if self.fold >= (self.folds or 1):
            raise ConfigError(f"--data.fold is {self.fold}; expected 0 to --data.folds less 1 (folds: {self.folds}).")


class OwnImagesDataModule(SegmentationDataModule, ABC):
    """Base of the datamodules of the user's own images.

    Splits are laid down by lists `train.txt` and `val.txt` (and `test.txt`) in the root or by folders `train/` and
    `val/` (and `test/`), otherwise by chance (`data/pairing/splitting.py`).
    """

    Options: ClassVar[type[OwnImagesOptions]] = OwnImagesOptions
    options: OwnImagesOptions

    @property
    def root(self) -> Path:
        """Folder below which all files lie."""
        return on_disk(Path(self.options.root).expanduser())

    @classmethod
    def label_set(cls, options: Any) -> LabelSet:
        """Say what the numbers in masks mean."""
        return own_labels(options.class_names)

    def divided(self, names: Sequence[str], groups: Mapping[str, str] | None = None) -> dict[str, list[str]]:
        """Return the names of each split, given those of all images, and what must share a split if not names tell."""
        options = self.options
        fractions = (options.val_fraction, options.test_fraction)
        return self.folded(split_names(self.root, names, *fractions, options.split_seed, groups), groups)

    def folded(self, splits: dict[str, list[str]], groups: Mapping[str, str] | None = None) -> dict[str, list[str]]:
        """Return splits as they are, or those of a fold where there are folds; see `fold_split`.

        What divides a patient is said.
        """
        options = self.options
        if options.folds is None:
            names = [name for inside in splits.values() for name in inside]
            if said := divided_groups(splits, groups or kept_together(names)):
                rank_zero_warn(f"{self.root}: {said}")
            return splits
        rank_zero_info(f"{self.root}: val is part {options.fold + 1} of {options.folds} of the images of train and val")
        return fold_split(splits, options.folds, options.fold, options.split_seed, groups)
