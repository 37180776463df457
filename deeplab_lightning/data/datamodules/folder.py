"""The user's own images and masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_info

from ...errors import ConfigError
from ...labels import LabelSet
from ...labels.label_set import RGB
from ...labels.own import own_labels
from ..datasets.folder import Folder, ImageKind, find_depth_maps, find_pairs
from ..masks import MaskDecoder
from ..splitting import SPLITS, names_of, split_names
from .base import IMAGENET_MEAN, IMAGENET_STD, SegmentationDataModule, Split


class FolderDataModule(SegmentationDataModule):
    """The user's own images in one folder and their masks in another.

    Splits are laid down by lists `train.txt` and `val.txt` (and `test.txt`) in the root, or by folders `train/` and
    `val/` (and `test/`), otherwise by chance (`data/splitting.py`). The slices of a volume and the windows of a raster
    stay together.

    Args:
        root: Folder that holds `images/` and `masks/`, or `train/images/` and so on.
        class_names: In the order of their ids.
        images: Folder of the images, below the root.
        masks: Folder of the masks: a mask is called after its image.
        mask_suffix: What masks have behind their images' names, such as `_mask`.
        palette: RGB colour of each class: for display, and by which masks in colours are read. PASCAL VOC's for display
            if not given.
        void_colour: RGB colour in such masks that is ignored.
        ignore_index: The id that neither loss nor metric counts, 0..255.
        label_map: Value in a mask -> class id or `ignore_index`, for all values that occur: {0: 0, 255: 1} for black
            and white masks. If not given, the values are class ids.
        mean: Per channel, of pixels divided by `pixel_range`; as many as the images have channels.
        std: Per channel, likewise.
        pixel_range: The stored value that means 1.0: 255 for 8 bits, 65535 for 16 bits, 1 for floating point.
        window_size: Divide TIFF into windows of at most this many pixels a side, which are read one by one.
        depth: Folder of depth maps below the root, called after their images: 16-bit PNG, TIFF or .npy; 0 or NaN is
            unknown. Read where the model has a depth head (`--loss.depth.weight`).
        depth_scale: What a stored depth of 1 means in the unit wanted, such as 0.001 for millimetres in metres.
        val_fraction: Share of files for validation, 0..1, where neither lists nor folders say.
        test_fraction: Share of files for the test, likewise.
        split_seed: Of the division by chance.
        kwargs: Loaders and augmentation, see `SegmentationDataModule`.
    """

    def __init__(
        self,
        root: str,
        class_names: list[str],
        images: str = "images",
        masks: str = "masks",
        mask_suffix: str = "",
        palette: list[list[int]] | None = None,
        void_colour: list[int] | None = None,
        ignore_index: int = 255,
        label_map: dict[int, int] | None = None,
        mean: tuple[float, ...] = IMAGENET_MEAN,
        std: tuple[float, ...] = IMAGENET_STD,
        pixel_range: float = 255.0,
        window_size: int | None = None,
        depth: str | None = None,
        depth_scale: float = 1.0,
        val_fraction: float = 0.2,
        test_fraction: float = 0.0,
        split_seed: int = 0,
        **kwargs: Any,
    ) -> None:
        self.labels = self.label_set(class_names, palette, ignore_index, void_colour)
        self.pixel_range = pixel_range
        super().__init__(mean=mean, std=std, **kwargs)
        self.root = Path(root).expanduser()
        self.images, self.masks, self.mask_suffix = images, masks, mask_suffix
        colours: dict[RGB, int] | None = None
        if palette is not None:
            colours = {colour: label for label, colour in enumerate(self.labels.palette)}
            if void_colour is not None:
                colours[self.labels.void_colour] = ignore_index
        self.decoder = MaskDecoder(self.labels, label_map, colours)
        if depth_scale <= 0:
            raise ConfigError(f"data.depth_scale is {depth_scale:g}; expected a number above 0, such as 0.001.")
        self.kind = ImageKind(len(mean), pixel_range, window_size)
        self.depth_folder, self.depth_scale = depth, depth_scale
        self.val_fraction, self.test_fraction, self.split_seed = val_fraction, test_fraction, split_seed

    @classmethod
    def label_set(
        cls,
        class_names: Sequence[str] = (),
        palette: Sequence[Sequence[int]] | None = None,
        ignore_index: int = 255,
        void_colour: Sequence[int] | None = None,
        **_: Any,
    ) -> LabelSet:
        """Say what the numbers in masks mean.

        Raises:
            ConfigError: There are too few classes, a colour is none or is there twice, or `ignore_index` is no byte.
        """
        labels = own_labels(class_names)
        if not 0 <= ignore_index <= 255:
            raise ConfigError(f"data.ignore_index is {ignore_index}; masks are bytes, so it must be one of 0..255.")
        if palette is not None:
            labels = replace(labels, palette=tuple(_rgb(colour, "palette") for colour in palette))
        if void_colour is not None:
            labels = replace(labels, void_colour=_rgb(void_colour, "void_colour"))
        if palette is not None:
            used = [*labels.palette] + ([labels.void_colour] if void_colour is not None else [])
            twice = next((colour for colour in used if used.count(colour) > 1), None)
            if twice is not None:
                raise ConfigError(
                    f"{list(twice)} stands twice in data.palette and void_colour: each class needs its own."
                )
        return replace(labels, ignore_index=ignore_index)

    @cached_property
    def files(self) -> dict[str, tuple[Path, Path]]:
        """Name -> the files of image and mask."""
        return find_pairs(self.root, self.images, self.masks, self.mask_suffix, all_paired=not self._has_lists())

    @cached_property
    def splits(self) -> dict[str, list[str]]:
        """Split -> names of its files. Which rule decided is said when they are first asked for."""
        names = list(self.files)
        splits = split_names(self.root, names, self.val_fraction, self.test_fraction, self.split_seed)
        if self._has_lists():
            rule = "as the lists say"
        elif names[0].startswith(tuple(f"{split}/" for split in SPLITS)):
            rule = "as the folders say"
        else:
            rule = f"by chance (split_seed {self.split_seed})"
        sizes = ", ".join(f"{len(inside)} {split}" for split, inside in splits.items())
        rank_zero_info(f"{self.root}: files are divided {rule}: {sizes}")
        return splits

    def build_dataset(self, split: Split) -> Folder:
        """Open a split."""
        names = names_of(self.splits, split)
        depth = None if self.depth_folder is None else find_depth_maps(self.root, names, self.depth_folder, self.images)
        return Folder(self.files, names, self.decoder, self.kind, depth, self.depth_scale)

    def _has_lists(self) -> bool:
        return any((self.root / f"{split}.txt").is_file() for split in SPLITS)


def _rgb(colour: Sequence[int], option: str) -> RGB:
    if len(colour) != 3 or not all(0 <= value <= 255 for value in colour):
        raise ConfigError(f"data.{option} holds {list(colour)}, expected red, green and blue, 0..255 each.")
    red, green, blue = colour
    return red, green, blue
