"""What all datamodules share: loaders, augmentation, and describing themselves."""

from __future__ import annotations

import os
import signal
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, Literal

import numpy as np
from lightning.pytorch import LightningDataModule
from lightning.pytorch.utilities import rank_zero_info
from lightning.pytorch.utilities.parsing import AttributeDict
from torch.utils.data import DataLoader
from tqdm import tqdm

from ...errors import ConfigError
from ...labels import LabelSet
from ...types import DataDescription, Sample
from ..datasets.base import LoaderView, SegmentationDataset, collate_crops, collate_images
from ..datasets.subset import Subset, repeated
from ..sampling import EpochSampler, ShardSampler
from ..tiles import TiledDataset
from ..transforms.pipelines import TrainingTransform

Split = Literal["train", "val", "test"]

WORKER_PATIENCE = 60
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class SegmentationDataModule(LightningDataModule, ABC):
    """Base of the datamodules. A new one names its `labels` and builds its datasets.

    Where the labels are the user's own, it overrides `label_set` and sets `labels` before calling this constructor.

    Args:
        batch_size: Images per training step and process.
        eval_batch_size: Images per evaluation step; scores do not depend on it.
        num_workers: Processes that read images.
        crop_size: Side of the training window in pixels; `16 * k + 1` suits DeepLab. Evaluation never crops.
        scale_range: Random scaling of training images, smallest and largest factor.
        scale_step: Draw only factors this far apart (the released code: 0.25); any factor between if not given.
        flip: Probability of mirroring a training image.
        colour_jitter: Largest relative change of brightness, contrast and saturation in training.
        hue_jitter: Largest turn of the colours in training, as a share of the colour circle (0..0.5).
        rotation: Turn training images by up to so many degrees, either way.
        rare_class_crops: Probability that a training window shows a rare class: of the classes in the image one is
            drawn, the fewer its pixels the likelier, and a window around one of its pixels.
        blur: Probability of blurring a training window.
        elastic: Probability of deforming a training window (some 60 ms each at 513).
        transforms: Further transforms of albumentations for training windows, by name with their arguments:
            [{GaussNoise: {p: 0.3}}, {CoarseDropout: {}}].
        cache: Folder in which decoded images are kept, as tiles without loss; for images that are slow to decode,
            such as PNGs of Cityscapes. Needs the package zstandard.
        preview: Before training, write an overview of so many augmented samples into the run folder.
        repeat_classes: Let training images that show certain classes be drawn several times an epoch, by name:
            {chair: 2, sofa: 2}. All training masks are read once for it.
        train_limit: Train on the first so many images alone.
        val_on_train: Validate on the training images (of `train_limit`), whole and not augmented: a network that does
            not learn these by heart has something wrong.
        mean: Per channel, of pixels in 0..1, subtracted from every image.
        std: Per channel, by which the rest is divided.
        seed: Of the order and the augmentation of training images; the run's (`--seed_everything`) if not given.
    """

    labels: LabelSet
    pixel_range: float = 255.0
    """The stored value that means 1.0; where it is the user's to set, it is set before this constructor is called."""

    def __init__(
        self,
        batch_size: int = 16,
        eval_batch_size: int = 4,
        num_workers: int = 2,
        crop_size: int = 513,
        scale_range: tuple[float, float] = (0.5, 2.0),
        scale_step: float | None = None,
        flip: float = 0.5,
        colour_jitter: float = 0.0,
        hue_jitter: float = 0.0,
        rotation: float = 0.0,
        rare_class_crops: float = 0.0,
        blur: float = 0.0,
        elastic: float = 0.0,
        transforms: list[dict[str, dict[str, Any] | None]] | None = None,
        cache: str | None = None,
        preview: int = 0,
        repeat_classes: dict[str, int] | None = None,
        train_limit: int | None = None,
        val_on_train: bool = False,
        mean: tuple[float, ...] = IMAGENET_MEAN,
        std: tuple[float, ...] = IMAGENET_STD,
        seed: int | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.num_workers = num_workers
        self.seed = int(os.environ.get("PL_GLOBAL_SEED", "0")) if seed is None else seed
        if self.seed < 0:
            raise ConfigError(f"--data.seed is {self.seed}; expected 0 or more.")
        self.cache = cache
        self.preview = preview
        self.repeat_classes, self.train_limit, self.val_on_train = repeat_classes, train_limit, val_on_train
        if train_limit is not None and train_limit < 1:
            raise ConfigError(f"--data.train_limit is {train_limit}; expected 1 image or more.")
        self._with_depth = False
        self._loaders: list[DataLoader[Sample]] = []
        self._datasets: dict[Split, SegmentationDataset] = {}
        self.transform = TrainingTransform(
            crop_size,
            (scale_range[0], scale_range[1]),
            flip,
            colour_jitter,
            pad_value=[self.pixel_range * value for value in mean],
            ignore_index=self.labels.ignore_index,
            scale_step=scale_step,
            rotation=rotation,
            hue_jitter=hue_jitter,
            rare_class_crops=rare_class_crops,
            blur=blur,
            elastic=elastic,
            transforms=transforms,
        )

    @property
    def hparams_initial(self) -> AttributeDict:
        """What loggers are told: without facts that the model's hyper-parameters tell too, at which Lightning stops."""
        told_by_the_model = ("class_names", "ignore_index", "num_classes")
        return AttributeDict({k: v for k, v in super().hparams_initial.items() if k not in told_by_the_model})

    @abstractmethod
    def build_dataset(self, split: Split) -> SegmentationDataset:
        """Open a split.

        Raises:
            DataError: It is not there, and where to get it.
        """

    @classmethod
    def label_set(cls, **_: Any) -> LabelSet:
        """Say what the numbers in masks mean, from the constructor's arguments alone."""
        return cls.labels

    @classmethod
    def describe(
        cls,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
        pixel_range: float = 255.0,
        **others: Any,
    ) -> DataDescription:
        """Say what a model must know of the data, from the constructor's arguments alone: no pixel is read.

        Raises:
            ConfigError: `mean` and `std` are not of as many channels, or a standard deviation is not above 0.
        """
        if len(mean) != len(std) or min(std, default=0) <= 0:
            raise ConfigError(
                f"--data.mean {list(mean)} and --data.std {list(std)}: expected one number for each channel, and "
                f"standard deviations above 0."
            )
        labels = cls.label_set(**others)
        return {
            "class_names": list(labels.class_names),
            "palette": [list(colour) for colour in labels.palette],
            "ignore_index": labels.ignore_index,
            "channels": len(mean),
            "mean": list(mean),
            "std": list(std),
            "pixel_range": pixel_range,
        }

    def dataset(self, split: Split) -> SegmentationDataset:
        """Return a split, opened once; from the cache if there is one. `train_limit` and `val_on_train` are heeded."""
        if split == "val" and self.val_on_train:
            split = "train"
        if split not in self._datasets:
            dataset = self.build_dataset(split)
            if self.cache is not None:
                dataset = TiledDataset(dataset, self.cache)
            if split == "train" and self.train_limit is not None:
                dataset = Subset(dataset, range(min(self.train_limit, len(dataset))))
            self._datasets[split] = dataset
        return self._datasets[split]

    @cached_property
    def drawn_dataset(self) -> SegmentationDataset:
        """The training split as it is drawn from: with images of `repeat_classes` several times."""
        dataset = self.dataset("train")
        if not self.repeat_classes:
            return dataset
        several = repeated(dataset, self.repeat_classes, quiet=self._rank()[0] != 0)
        rank_zero_info(f"repeat_classes: {len(dataset)} training images are drawn from as {len(several)}")
        return several

    def deliver_depth(self) -> None:
        """Put depth maps into all batches.

        Raises:
            ConfigError: This data has none.
        """
        for split in ("train", "val", "test"):
            if split in self._datasets and not self._datasets[split].has_depth:
                raise ConfigError(
                    f"--loss.depth.weight needs depth maps, and {type(self).__name__} has none: drawn scenes "
                    f"have, and a FolderDataModule with --data.depth depth."
                )
        self._with_depth = True

    def setup(self, stage: str) -> None:
        """Open what a stage needs, so that missing data is reported before anything else happens."""
        splits: dict[str, tuple[Split, ...]] = {"fit": ("train", "val"), "validate": ("val",), "test": ("test",)}
        for split in splits.get(stage, ()):
            self.dataset(split)

    def class_counts(self, limit: int = 1000) -> tuple[np.ndarray, np.ndarray]:
        """Count the training masks' pixels, of at most `limit` images that are spread evenly over the split.

        Returns:
            `(C,)` labelled pixels of each class, and `(C,)` labelled pixels of all images in which the class occurs,
            both int64.
        """
        dataset = self.dataset("train")
        classes = self.labels.num_classes
        pixels, of_images = np.zeros(classes, np.int64), np.zeros(classes, np.int64)
        chosen = np.unique(np.linspace(0, len(dataset) - 1, min(limit, len(dataset))).round().astype(int)).tolist()
        for index in tqdm(chosen, desc="counting classes", unit="masks", disable=self._rank()[0] != 0):
            counts = np.bincount(dataset.load(index)[1].ravel(), minlength=classes)[:classes]
            pixels += counts
            of_images += (counts > 0) * counts.sum()
        return pixels, of_images

    def train_dataloader(self) -> DataLoader[Sample]:
        """Shuffled, augmented, complete batches; goes on where a resumed run stopped."""
        dataset = self.drawn_dataset
        if len(dataset) < self.batch_size:
            raise ConfigError(
                f"The training split has {len(dataset)} images, fewer than one batch of {self.batch_size}. "
                f"Set --data.batch_size {len(dataset)} or less."
            )
        if isinstance(dataset, TiledDataset):
            rank_zero_info(dataset.summary())
        rank, world_size = self._rank()
        epoch = self.trainer.current_epoch if self.trainer else 0
        loader = ResumableLoader(
            LoaderView(dataset, self.transform, self.seed, self._with_depth),
            EpochSampler(len(dataset), self.seed, rank, world_size, epoch),
            batches_trained=self._batches_trained,
            batch_size=self.batch_size,
            drop_last=True,
            collate_fn=collate_crops,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            worker_init_fn=leave_signals_to_the_main_process,
            pin_memory=self._on_gpu(),
        )
        self._loaders.append(loader)
        return loader

    def val_dataloader(self) -> DataLoader[Sample]:
        """Whole images of the validation split, each exactly once over all processes."""
        return self._evaluation_loader("val")

    def test_dataloader(self) -> DataLoader[Sample]:
        """Whole images of the test split, each exactly once over all processes."""
        return self._evaluation_loader("test")

    def _evaluation_loader(self, split: Split) -> DataLoader[Sample]:
        dataset = self.dataset(split)
        loader = DataLoader(
            LoaderView(dataset, with_depth=self._with_depth),
            batch_size=self.eval_batch_size,
            sampler=ShardSampler(len(dataset), *self._rank()),
            num_workers=self.num_workers,
            worker_init_fn=leave_signals_to_the_main_process,
            persistent_workers=self.num_workers > 0,
            collate_fn=collate_images,
            pin_memory=self._on_gpu(),
        )
        self._loaders.append(loader)
        return loader

    def teardown(self, stage: str) -> None:
        """End the workers."""
        while self._loaders:
            iterator: Any = self._loaders.pop()._iterator
            if iterator is not None:
                iterator._shutdown_workers()

    def on_exception(self, exception: BaseException) -> None:
        """End the workers."""
        self.teardown("fit")

    def _rank(self) -> tuple[int, int]:
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    def _on_gpu(self) -> bool:
        return self.trainer is not None and self.trainer.strategy.root_device.type == "cuda"

    def _batches_trained(self) -> int:
        if self.trainer is None:
            return 0
        progress: Any = self.trainer.fit_loop.epoch_loop.batch_progress.current
        return int(progress.processed)


class ResumableLoader(DataLoader[Sample]):
    """A loader whose saved position counts the batches that were trained, not those its workers had fetched.

    Args:
        dataset: As for `DataLoader`.
        sampler: The order.
        batches_trained: Tells how many batches of this epoch the training loop has used.
        options: As for `DataLoader`.
    """

    def __init__(
        self, dataset: LoaderView, sampler: EpochSampler, batches_trained: Callable[[], int], **options: Any
    ) -> None:
        super().__init__(dataset, sampler=sampler, **options)
        self.batches_trained = batches_trained

    def state_dict(self) -> dict[str, int]:
        """Return how many of this process's draws of the epoch were trained."""
        return {"draws": self.batches_trained() * (self.batch_size or 1)}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Begin the current epoch behind the draws that were trained; at its end, begin the next one."""
        assert isinstance(self.sampler, EpochSampler)
        whole_epoch = len(self) * (self.batch_size or 1)
        if state["draws"] < whole_epoch:
            self.sampler.start = state["draws"]
        else:
            self.sampler.set_epoch(self.sampler.epoch + 1)


def leave_signals_to_the_main_process(worker: int) -> None:
    """Let a loader's worker live through Ctrl-C and SIGTERM, which terminals and schedulers send to all processes.

    The main process needs its workers to finish the step and a due validation before it saves, and ends them itself;
    should it fail to, they end `WORKER_PATIENCE` seconds after SIGTERM.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: signal.alarm(WORKER_PATIENCE))
