"""What all datamodules share: their options, loaders, augmentation, and describing themselves."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from lightning.pytorch import LightningDataModule
from lightning.pytorch.utilities import rank_zero_info
from lightning.pytorch.utilities.parsing import AttributeDict
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from torch.utils.data import DataLoader
from tqdm import tqdm

from ..errors import ConfigError
from ..labels import LabelSet
from ..options import Between, Options, at_least
from ..plugins import name_of
from ..types import DataDescription, MapName, Sample
from .checks import check_labels
from .dataset import SegmentationDataset
from .files.limits import set_most_pixels
from .loading import (
    LoaderView,
    ResumableLoader,
    check_has_map,
    collate_crops,
    collate_images,
    leave_signals_to_the_main_process,
)
from .pairing.layout import Recognised
from .sampling import EpochSampler, ShardSampler
from .spacing import spread
from .subset import Subset, repeated
from .tiles import TiledDataset
from .transforms.pipelines import AugmentationOptions, TrainingTransform

Split = Literal["train", "val", "test"]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class PixelOptions(Options):
    """How stored pixels become what a network is fed with."""

    section: ClassVar[str] = "data"

    mean: tuple[float, ...] = IMAGENET_MEAN
    """Mean of each channel, of pixels divided by the pixel range, that is subtracted from every image; as many numbers
    as the images have channels."""
    std: tuple[float, ...] = IMAGENET_STD
    """Standard deviation of each channel, of pixels divided by the pixel range, by which images are divided once the
    mean is subtracted."""

    @property
    def pixel_range(self) -> float:
        """The stored value that means 1.0."""
        return 255.0

    def check(self) -> None:
        """Refuse means and standard deviations that are not of as many channels, or not above 0."""
        super().check()
        if len(self.mean) != len(self.std) or min(self.std, default=0) <= 0:
            raise ConfigError(
                f"--data.mean {list(self.mean)} and --data.std {list(self.std)}: expected one number for each channel, "
                f"and standard deviations above 0."
            )


@dataclass(frozen=True)
class LoaderOptions(Options):
    """How images are drawn and read."""

    section: ClassVar[str] = "data"

    batch_size: Annotated[int, at_least(1)] = 16
    """Images per training step and process."""
    eval_batch_size: Annotated[int, at_least(1)] = 4
    """Images per evaluation step and process; scores do not depend on it."""
    num_workers: Annotated[int, at_least(0)] = 2
    """Processes that read images, for each process that trains; 0 reads in the training process itself."""
    max_pixels: Annotated[int, at_least(1)] | None = None
    """Refuse images of more pixels than this; by default what this machine's memory holds, and 268,435,456 at most."""
    cache: str | None = None
    """Folder in which decoded images are kept, as tiles without loss; for images that are slow to decode, such as PNGs
    of Cityscapes. Needs the package zstandard."""
    preview: Annotated[int, at_least(0)] = 0
    """Before training, write an overview of so many augmented samples into the run folder."""
    repeat_classes: dict[str, Annotated[int, at_least(1)]] | None = None
    """Let training images that show certain classes be drawn several times an epoch, by name: {chair: 2, sofa: 2}. All
    training masks are read once for it."""
    train_limit: Annotated[int, at_least(1)] | None = None
    """Train on the first so many images alone; null trains on all."""
    val_on_train: bool = False
    """Validate on the training images (those of train_limit), whole and not augmented: a network that does not learn
    these by heart has something wrong."""
    seed: Annotated[int, Between(0, 2**32 - 1)] | None = None
    """Seed of the order and the augmentation of training images; null takes the run's (--seed_everything)."""


@dataclass(frozen=True)
class DataOptions(LoaderOptions, AugmentationOptions, PixelOptions):
    """What can be said of any data set."""


class SegmentationDataModule(LightningDataModule, ABC):
    """Base of the datamodules. A new one names its `Options` and its `labels`, and builds its datasets.

    Where the labels follow from the options, it overrides `label_set` instead.

    Args:
        options: Those of the class's `Options`, by name.

    Attributes:
        options: The same, checked.
        labels: What the numbers in masks mean.
        seed: Of the order and the augmentation of training images.

    Raises:
        ConfigError: An option is unknown, out of range, or contradicts another.
    """

    Options: ClassVar[type[DataOptions]] = DataOptions
    """The data set's options."""
    options: DataOptions
    labels: LabelSet

    layout: ClassVar[str | None] = None
    """What its folder looks like, for people, such as `VOC2012 (JPEGImages/, ImageSets/)`; None if none is read."""
    generality: ClassVar[int] = 0
    """Of layouts that are like many others, those of a higher number are tried later."""
    reads_subfolders: ClassVar[bool] = False
    """Whether its layout may lie in any depth of folders: then it is tried last, on the outermost folder alone."""
    known_by_number: ClassVar[bool] = False
    """Whether networks for these classes are passed on so often that `import` knows them by their number of classes."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.options = self.Options.of(options)
        set_most_pixels(self.options.max_pixels)
        self.save_hyperparameters({"name": self.name_in_yaml(), **self.options.plain()})
        self.labels = self.label_set(self.options)
        seed = self.options.seed
        self.seed = int(os.environ.get("PL_GLOBAL_SEED", "0")) if seed is None else seed
        self._maps: list[MapName] = []
        self._loaders: list[DataLoader[Sample]] = []
        self._datasets: dict[Split, SegmentationDataset] = {}
        pad_value = [self.options.pixel_range * value for value in self.options.mean]
        self.transform = TrainingTransform(self.options, pad_value, self.labels.ignore_index)

    @classmethod
    def name_in_yaml(cls) -> str:
        """Return the name by which a configuration chooses it: `VOC`, or `mymodule.MyDataModule`."""
        name = name_of(cls)
        return name if "." in name else name.removesuffix("DataModule")

    @property
    def hparams_initial(self) -> AttributeDict:
        """What loggers are told: below a name of its own, so that no option clashes with one of the model."""
        return AttributeDict({"data": dict(super().hparams_initial)})

    @abstractmethod
    def build_dataset(self, split: Split) -> SegmentationDataset:
        """Open a split.

        Raises:
            DataError: It is not there, and where to get it.
        """

    @classmethod
    def recognise(cls, root: Path) -> Recognised | None:
        """Say how this data set reads a folder, which exists; None if the folder has another layout."""
        return None

    @classmethod
    def label_set(cls, options: Any) -> LabelSet:
        """Say what the numbers in masks mean, from the options (of the class's `Options`) alone."""
        return cls.labels

    @classmethod
    def describe(cls, options: DataOptions) -> DataDescription:
        """Say what a model must know of the data, from the options alone: no pixel is read."""
        labels = cls.label_set(options)
        description: DataDescription = {
            "class_names": list(labels.class_names),
            "palette": [list(colour) for colour in labels.palette],
            "ignore_index": labels.ignore_index,
            "channels": len(options.mean),
            "mean": list(options.mean),
            "std": list(options.std),
            "pixel_range": options.pixel_range,
        }
        if labels.things:
            description["things"] = list(labels.thing_ids)
        return description

    @property
    def description(self) -> DataDescription:
        """What a model must know of this data."""
        return self.describe(self.options)

    def dataset(self, split: Split) -> SegmentationDataset:
        """Return a split, opened once; from the cache if there is one. `train_limit` and `val_on_train` are heeded."""
        if split == "val" and self.options.val_on_train:
            split = "train"
        if split not in self._datasets:
            dataset = self.build_dataset(split)
            if self.options.cache is not None:
                dataset = TiledDataset(dataset, self.options.cache)
            if split == "train" and self.options.train_limit is not None:
                dataset = Subset(dataset, range(min(self.options.train_limit, len(dataset))))
            self._datasets[split] = dataset
        return self._datasets[split]

    @cached_property
    def drawn_dataset(self) -> SegmentationDataset:
        """The training split as it is drawn from: with images of `repeat_classes` several times."""
        dataset = self.dataset("train")
        if not self.options.repeat_classes:
            return dataset
        several = repeated(dataset, self.options.repeat_classes, quiet=not _is_first_process())
        rank_zero_info(f"repeat_classes: {len(dataset)} training images are drawn from as {len(several)}")
        return several

    def deliver(self, name: MapName) -> None:
        """Put a map that lies beside the mask into all batches, below its name.

        Raises:
            ConfigError: This data has none, and which data has.
        """
        for dataset in self._datasets.values():
            check_has_map(dataset, name)
        self._maps = [*dict.fromkeys([*self._maps, name])]

    def setup(self, stage: str) -> None:
        """Open what a stage needs, so that missing data is reported before anything else happens."""
        splits: dict[str, tuple[Split, ...]] = {"fit": ("train", "val"), "validate": ("val",), "predict": ("val",)}
        splits["test"] = ("test",)
        for split in splits.get(stage, ()):
            self.dataset(split)

    def class_counts(self, limit: int = 1000) -> tuple[np.ndarray, np.ndarray]:
        """Count the training masks' pixels, of at most `limit` images that are spread evenly over the split.

        Returns:
            `(C,)` labelled pixels of each class, and `(C,)` labelled pixels of all images in which the class occurs,
            both int64.

        Raises:
            DataError: A mask holds a label that is no class.
        """
        dataset = self.dataset("train")
        classes = self.labels.num_classes
        pixels, of_images = np.zeros(classes, np.int64), np.zeros(classes, np.int64)
        chosen = spread(len(dataset), limit)
        for index in tqdm(chosen, desc="counting classes", unit="masks", disable=not _is_first_process()):
            mask = dataset.load(index)[1]
            check_labels(mask, classes, self.labels.ignore_index, dataset.sample_id(index))
            counts = np.bincount(mask.ravel(), minlength=classes)[:classes]
            pixels += counts
            of_images += (counts > 0) * counts.sum()
        return pixels, of_images

    def train_dataloader(self) -> DataLoader[Sample]:
        """Shuffled, augmented, complete batches; goes on where a resumed run stopped."""
        dataset = self.drawn_dataset
        order = EpochSampler(len(dataset), self.seed)
        if len(order) < self.options.batch_size:
            shared = "" if order.world_size == 1 else f", {len(order)} for each of {order.world_size} processes:"
            raise ConfigError(
                f"The training split has {len(dataset)} images{shared or ','} fewer than one batch of "
                f"{self.options.batch_size}. Set --data.batch_size {len(order)} or less."
            )
        if isinstance(dataset, TiledDataset):
            rank_zero_info(dataset.summary())
        loader = ResumableLoader(
            LoaderView(dataset, self.transform, self.seed, self._maps),
            order,
            self._place,
            batch_size=self.options.batch_size,
            drop_last=True,
            collate_fn=collate_crops,
            **self._reading(),
        )
        self._loaders.append(loader)
        return loader

    def val_dataloader(self) -> DataLoader[Sample]:
        """Whole images of the validation split, each exactly once over all processes."""
        return self._evaluation_loader("val")

    def test_dataloader(self) -> DataLoader[Sample]:
        """Whole images of the test split, each exactly once over all processes."""
        return self._evaluation_loader("test")

    def predict_dataloader(self) -> DataLoader[Sample]:
        """Those of validation: `Trainer.predict` returns their class maps."""
        return self._evaluation_loader("val")

    def _evaluation_loader(self, split: Split) -> DataLoader[Sample]:
        dataset = self.dataset(split)
        loader = DataLoader(
            LoaderView(dataset, maps=self._maps),
            batch_size=self.options.eval_batch_size,
            sampler=ShardSampler(len(dataset)),
            collate_fn=collate_images,
            **self._reading(),
        )
        self._loaders.append(loader)
        return loader

    def state_dict(self) -> dict[str, Any]:
        """Return the seed."""
        return {"seed": self.seed}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with the seed so far, unless another one is given."""
        if self.options.seed is None and "PL_GLOBAL_SEED" not in os.environ:
            self.seed = state_dict["seed"]

    def teardown(self, stage: str) -> None:
        """End the workers."""
        while self._loaders:
            iterator: Any = self._loaders.pop()._iterator
            if iterator is not None:
                iterator._shutdown_workers()

    def on_exception(self, exception: BaseException) -> None:
        """End the workers."""
        self.teardown("fit")

    def _reading(self) -> dict[str, Any]:
        return {
            "num_workers": self.options.num_workers,
            "persistent_workers": self.options.num_workers > 0,
            "worker_init_fn": leave_signals_to_the_main_process,
            "pin_memory": self.trainer is not None and self.trainer.strategy.root_device.type == "cuda",
        }

    def _place(self, loader: ResumableLoader) -> tuple[int, int] | None:
        """Return epoch and batch that training has reached; for a loader aside from it, the epoch's beginning.

        Both follow from the number of batches that were trained: Lightning's own count of epochs is behind where a run
        was saved at the end of one.
        """
        if self.trainer is None or self.trainer.train_dataloader is None:
            return None
        loop: Any = self.trainer.fit_loop
        trained, in_epoch = loop.epoch_loop.batch_progress.total.processed, int(loop.max_batches)
        if self.trainer.train_dataloader is loader:
            return divmod(trained, in_epoch)
        return max(trained - 1, 0) // in_epoch, 0


def _is_first_process() -> bool:
    return int(getattr(rank_zero_only, "rank", 0)) == 0
