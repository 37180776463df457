"""The user's own images and masks, in files of their own: `data/pairing/patterns.py` says how these may be called."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from lightning.pytorch.utilities import rank_zero_info

from ...errors import ConfigError
from ...labels import RGB, LabelSet, own_labels
from ...options import Between, above, at_least
from ...types import MapName
from ..classes.masks import MaskDecoder
from ..datamodule import Split
from ..forms.folder_reading import Folder, ImageKind, find_maps, find_pairs
from ..forms.own_images import OwnImagesDataModule, OwnImagesOptions
from ..pairing.layout import Recognised
from ..pairing.pattern_report import is_of_subfolders, recognised
from ..pairing.pattern_search import search
from ..pairing.splitting import SPLITS, names_of, split_called, split_lists


@dataclass(frozen=True, kw_only=True)
class FolderOptions(OwnImagesOptions):
    """What is to be read, and what its pixels mean."""

    images: str = "images"
    """Folder of the images below the root, or a pattern of their paths, such as '{split}/{name}_sat'."""
    masks: str = "masks"
    """Folder of the masks below the root, or a pattern of their paths, such as '{split}/{name}_mask': {name} is what
    an image and its mask share."""
    palette: list[list[Annotated[int, Between(0, 255)]]] | None = None
    """RGB colour of each class, 0..255: by which masks in colours are read, indexed ones by their own palettes, and for
    display; null reads numbers, and shows the classes in PASCAL VOC's colours."""
    void_colours: list[list[Annotated[int, Between(0, 255)]]] | None = None
    """RGB colours, 0..255, in masks in colours that are ignored."""
    ignore_index: Annotated[int, Between(0, 255)] = 255
    """Value in masks that neither loss nor metric counts."""
    label_map: dict[int, int] | None = None
    """Value in a mask -> class id or ignore_index, for all values that occur: {0: 0, 255: 1} for black and white masks;
    null takes the values for class ids."""
    mask_threshold: Annotated[float, above(0, near=128)] | None = None
    """Value from which masks of soft edges show the second of two classes, such as 128; null takes values as they
    are."""
    pixel_range: Annotated[float, above(0, near=255)] = 255.0
    """Stored value that means 1.0: 255 for 8 bits, 65535 for 16 bits, 1 for floating point."""
    window_size: Annotated[int, at_least(1)] | None = None
    """Divide TIFF into windows of at most this many pixels a side, which are read one by one."""
    depth: str | None = None
    """Folder or pattern of depth maps below the root, called after their images: 16-bit PNG, TIFF or .npy; 0 or NaN is
    unknown. Read where the model has a depth head."""
    depth_scale: Annotated[float, above(0, near=0.001)] = 1.0
    """What a stored depth of 1 means in the unit wanted, such as 0.001 for millimetres in metres."""
    instances: str | None = None
    """Folder or pattern of files with the number of the object at each pixel, called after their images: 8, 16 or 32
    bits, indexed, or a colour for each; 0 is none. Read where the model tells objects apart."""
    things: tuple[str, ...] = ()
    """Classes whose objects are told apart by these numbers; all others are stuff."""

    def check(self) -> None:
        """Refuse a threshold between other than two classes, or beside a map of values."""
        super().check()
        if self.mask_threshold is not None and (len(self.class_names) != 2 or self.label_map or self.palette):
            raise ConfigError(
                f"--data.mask_threshold {self.mask_threshold:g} divides masks into two classes by their grey values: "
                f"give two class_names (found {len(self.class_names)}), and neither label_map nor palette."
            )
        if (self.instances is None) != (not self.things):
            given, missing = ("instances", "things") if self.instances else ("things", "instances")
            what = "which classes have objects" if missing == "things" else "where their objects are numbered"
            example = f"[{', '.join(self.class_names[1:])}]" if missing == "things" else "instances"
            raise ConfigError(f"--data.{given} is given without --data.{missing}: say {what}, such as {example}.")


class FolderDataModule(OwnImagesDataModule):
    """The user's own images and masks, in files that two patterns tell apart.

    The slices of a volume and the windows of a raster stay together when images are divided by chance.
    """

    Options = FolderOptions
    options: FolderOptions
    layout = "images/ and masks/, or other names that pair images with masks"
    generality = 9

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        own = self.options
        colours: dict[RGB, int] | None = None
        if own.palette is not None:
            colours = {colour: label for label, colour in enumerate(self.labels.palette)}
            colours |= {_rgb(colour, "void_colours"): own.ignore_index for colour in own.void_colours or ()}
        self.decoder = MaskDecoder(self.labels, own.label_map, colours, own.mask_threshold)
        self.kind = ImageKind(len(own.mean), own.pixel_range, own.window_size)

    @classmethod
    def label_set(cls, options: FolderOptions) -> LabelSet:
        """Say what the numbers in masks mean.

        Raises:
            ConfigError: There are too few classes, or a colour is none or is there twice.
        """
        labels = own_labels(options.class_names)
        void_colours = [_rgb(colour, "void_colours") for colour in options.void_colours or ()]
        if options.palette is not None:
            labels = replace(labels, palette=tuple(_rgb(colour, "palette") for colour in options.palette))
            used = [*labels.palette, *void_colours]
            twice = next((colour for colour in used if used.count(colour) > 1), None)
            if twice is not None:
                raise ConfigError(
                    f"{list(twice)} stands twice in data.palette and void_colours: each class needs its own."
                )
        if void_colours:
            labels = replace(labels, void_colour=void_colours[0])
        return replace(labels, ignore_index=options.ignore_index, things=options.things)

    @classmethod
    def recognise(cls, root: Path) -> Recognised | None:
        """Recognise images and masks by how they are called, whatever that is; the masks tell the classes.

        What lies in a folder or two within `root` is left to those, which may have a layout of their own.
        """
        layouts = search(root)
        return recognised(root, layouts) if layouts and not is_of_subfolders(root, layouts[0]) else None

    @cached_property
    def files(self) -> dict[str, tuple[Path, Path]]:
        """Name -> the files of image and mask."""
        return find_pairs(self.root, self.options.images, self.options.masks, all_paired=not self._has_lists())

    @cached_property
    def splits(self) -> dict[str, list[str]]:
        """Split -> names of its files. Which rule decided is said when they are first asked for."""
        names = list(self.files)
        splits = self.divided(names)
        chance = f"by chance (split_seed {self.options.split_seed})"
        lists, folders = split_lists(self.root), {split_called(name.partition("/")[0]) for name in names if "/" in name}
        rule = "as the lists say" if lists else "as the folders say" if folders & {*SPLITS} else chance
        if rule != chance and "val" not in (lists or folders):
            rule += f", and val is taken from train {chance}"
        sizes = ", ".join(f"{len(inside)} {split}" for split, inside in splits.items())
        rank_zero_info(f"{self.root}: files are divided {rule}: {sizes}")
        return splits

    def build_dataset(self, split: Split) -> Folder:
        """Open a split."""
        options, names = self.options, names_of(self.splits, split)
        places: dict[MapName, str | None] = {"depth": options.depth, "instances": options.instances}
        maps = {
            kind: find_maps(self.root, names, kind, where, options.images)
            for kind, where in places.items()
            if where is not None
        }
        return Folder(self.files, names, self.decoder, self.kind, maps, options.depth_scale)

    def _has_lists(self) -> bool:
        return bool(split_lists(self.root))


def _rgb(colour: Sequence[int], option: str) -> RGB:
    if len(colour) != 3 or not all(0 <= value <= 255 for value in colour):
        raise ConfigError(f"data.{option} holds {list(colour)}, expected red, green and blue, 0..255 each.")
    red, green, blue = colour
    return red, green, blue
