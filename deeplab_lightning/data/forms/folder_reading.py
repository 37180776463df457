"""The user's own images and masks, in files of their own.

Where they lie is told by two patterns (`patterns`), of which a folder is the simplest:

    images/NAME.jpg         masks/NAME.png               images and masks; or images/train/..., masks/train/..., and val
    train/images/NAME.jpg   train/masks/NAME.png         likewise: the splits outside, and val
    train/NAME_sat.jpg      train/NAME_mask.png          {split}/{name}_sat and {split}/{name}_mask

Images are of any kind that `rasters` reads; a volume or a big raster holds many. Masks hold numbers or colours, as
`masks.MaskDecoder` is told. Images are called after what their pattern leaves open: `day 2/pic1`, `train/pic1`; the
parts of a file are told apart behind a `#`. Depth and the numbers of objects lie in files of their own, called after
their images.

Images of one folder may be the frames of a film, in the order of their names: `previous` says so of all.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from lightning.pytorch.utilities import rank_zero_info

from ...errors import ConfigError, DataError
from ...types import MapName
from ..checks import check_pair
from ..classes.masks import BLACK_AND_WHITE, MaskDecoder, is_black_and_white
from ..dataset import MAPS, SegmentationDataset
from ..files.depth_maps import DEPTH_SUFFIXES, read_depth
from ..files.georasters import RasterPart, check_same_grid
from ..files.object_numbers import NUMBER_SUFFIXES, numbers_of_things, read_numbers
from ..files.rasters import Source, check_same_place, read_source, sources_in
from ..pairing.finding import on_disk
from ..pairing.pattern_search import search
from ..pairing.patterns import NAME, SPLIT, SUFFIXES, Found, Pairing, Pattern, pair_up, what_is_left_out
from ..pairing.splitting import split_folders
from ..spacing import spread
from ..wording import first_few, found_instead

MASKS_LOOKED_AT = 8
"""Masks of a split that are read beforehand, to see whether they are black and white."""


@dataclass(frozen=True)
class ImageKind:
    """What the data's description says of the images.

    Attributes:
        channels: How many.
        pixel_range: The stored value that means 1.0.
        window_size: Largest side of the windows into which TIFF are divided, in pixels; not divided if None.
    """

    channels: int = 3
    pixel_range: float = 255.0
    window_size: int | None = None


class Folder(SegmentationDataset):
    """Some of the images of a folder, with their masks.

    Args:
        files: Name -> the files of image and mask, as `find_pairs` gives them.
        names: Which to read; all parts of a file belong together.
        decoder: Turns masks into train ids.
        kind: What the images are like. The first one that can be read is, to see whether that is so.
        map_files: Map -> name -> the file of it, for the maps that there are.
        depth_scale: What a stored depth of 1 means in the wanted unit.

    Raises:
        ConfigError: A package for this kind of file is missing.
        DataError: The first image that can be read is not of this kind, or none can be, the masks are black and white
            and nothing says what 255 means, or image and mask of a volume or a raster do not fit together.
    """

    def __init__(
        self,
        files: Mapping[str, tuple[Path, Path]],
        names: Sequence[str],
        decoder: MaskDecoder,
        kind: ImageKind,
        map_files: Mapping[MapName, Mapping[str, Path]] | None = None,
        depth_scale: float = 1.0,
    ) -> None:
        self.labels = decoder.labels
        self._decoder, self._kind = decoder, kind
        named = [(name, pair) for name in names for pair in _parts(*files[name], kind.window_size)]
        self._pairs = [pair for _, pair in named]
        self._ids = [name + image.mark for name, (image, _) in named]
        self._before = frames_before(self._ids)
        self._map_files = [{kind: files[name] for kind, files in (map_files or {}).items()} for name in names]
        self._maps: tuple[MapName, ...] = tuple(map_files or {})
        self._depth_scale = depth_scale
        if self._maps and len(names) != len(self._pairs):
            kinds = " and ".join(f"data.{kind}" for kind in self._maps)
            raise ConfigError(
                f"{MAPS[self._maps[0]].called.capitalize()} are read for images that are files of their own; here a "
                f"file holds many (a volume, or a raster divided by window_size). Leave out {kinds}."
            )
        if self._pairs:
            self._check_first_image()
            self._check_first_masks()

    def __len__(self) -> int:
        return len(self._pairs)

    def sample_id(self, index: int) -> str:
        """Return the image's name, such as `day 2/pic1`, and what part of its file it is (`scan#017`)."""
        return self._ids[index]

    def files(self, index: int) -> tuple[Path, ...]:
        """Return the image's file and its mask's."""
        image, mask = self._pairs[index]
        return image.path, mask.path

    def load(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Read image `index` as `(H, W, C)` uint8 or float32, and its mask `(H, W)` uint8 of class ids.

        Raises:
            DataError: A file is unreadable, the sizes differ, the image has other channels than declared, or the
                mask holds an unknown value or colour.
        """
        source, mask = self._pairs[index]
        image = read_source(source, self._kind.channels, self._kind.pixel_range)
        labels = self._decoder.read(mask)
        check_pair(image, labels, str(source), str(mask))
        return image, labels

    @property
    def maps(self) -> tuple[MapName, ...]:
        """Those that have files."""
        return self._maps

    def map_files(self, index: int) -> tuple[Path, ...]:
        """Return the files of the image's maps."""
        return tuple(self._map_files[index].values())

    def read_map(self, name: MapName, index: int) -> np.ndarray:
        """Read the depth of image `index`, or the numbers of the objects where its mask shows things."""
        path = self._map_files[index][name]
        if name == "depth":
            return read_depth(path, self._depth_scale)
        numbers, mask = read_numbers(path), self._pairs[index][1]
        labels = self._decoder.read(mask)
        check_pair(numbers, labels, path, str(mask))
        return numbers_of_things(numbers, labels, self.labels, path)

    def previous(self, index: int) -> int | None:
        """Return the image before in the same folder; None for the first, and for what lies in none."""
        return self._before[index]

    def _check_first_image(self) -> None:
        """Refuse images of another kind; those that cannot be read are left to whoever loads them, if not all are."""
        unreadable: list[DataError] = []
        for index in spread(len(self), MASKS_LOOKED_AT):
            try:
                read_source(self._pairs[index][0], self._kind.channels, self._kind.pixel_range)
            except DataError as error:  # noqa: PERF203
                if error.kind != "unreadable_image":
                    raise
                unreadable.append(error)
            else:
                return
        raise unreadable[0]

    def _check_first_masks(self) -> None:
        """Refuse masks of which nothing would be learned: all ignored, or {0, 255} and nobody says what 255 is."""
        masks = [self._pairs[index][1] for index in spread(len(self), MASKS_LOOKED_AT)]
        stored = [pixels for mask in masks if (pixels := self._stored_in(mask)) is not None]
        if not stored:
            self._decoder.read(masks[0])  # says what is wrong
        self._check_black_and_white(masks, stored)
        if all(self._is_ignored(pixels) for pixels in stored):
            raise DataError(
                f"All pixels of the {len(masks)} masks looked at ({masks[0].path} for one) are ignored: nothing can be "
                f"learned. Say in data.label_map or data.palette which values are classes."
            )

    def _stored_in(self, mask: Source) -> np.ndarray | None:
        """Read a mask's file; one that cannot be read is left to whoever loads it."""
        try:
            return self._decoder.stored_in(mask)
        except DataError:
            return None

    def _is_ignored(self, stored: np.ndarray) -> bool:
        """Whether all of a mask is known to be ignored."""
        try:
            return bool((self._decoder(stored, "") == self.labels.ignore_index).all())
        except DataError:
            return False

    def _check_black_and_white(self, masks: Sequence[Source], stored: Sequence[np.ndarray]) -> None:
        if self._decoder.by_value or self._decoder.threshold is not None or self.labels.ignore_index != 255:
            return
        if self._decoder.by_colour and any(values.ndim == 3 for values in stored):
            return
        if is_black_and_white(np.concatenate([np.unique(values) for values in stored])):
            raise DataError(
                f"All of {len(masks)} masks looked at ({masks[0].path} for one) are black and white, and 255 is "
                f"ignored: nothing but class {self.labels.class_names[0]!r} would be learned. If white is class "
                f"{self.labels.class_names[1]!r}, set {BLACK_AND_WHITE}; if it is void, set label_map: {{0: 0, "
                f"255: {self.labels.ignore_index}}}"
            )


def find_pairs(
    root: Path, images: str = "images", masks: str = "masks", all_paired: bool = True
) -> dict[str, tuple[Path, Path]]:
    """Pair images with their masks by name; what is left aside on purpose is said.

    Args:
        root: Folder of the data.
        images: Folder of the images below it, or below each of `train/`, `val/` and `test/`; or a pattern of their
            paths (`data/pairing/patterns.py`).
        masks: Folder or pattern of the masks, likewise.
        all_paired: Whether an image without mask is an error, and a mask without image; left out otherwise.

    Returns:
        Name -> the files of image and mask, in the order of the names.

    Raises:
        ConfigError: A pattern cannot be one.
        DataError: A folder is missing, an image has no mask or a mask no image, or a name has several files.
    """
    of_images, of_masks = pattern_below(root, images), pattern_below(root, masks)
    image_files, mask_files = _files(root, of_images, images, masks), _files(root, of_masks, masks, images)
    found = pair_up(of_images, of_masks, image_files, mask_files)
    for lonely, what, other in ((found.lonely_images, "image", "mask"), (found.lonely_masks, "mask", "image")):
        if lonely and (all_paired or not found.pairs):
            own, its = (of_images, of_masks) if what == "image" else (of_masks, of_images)
            nearest = _nearest(root, of_images, of_masks, found)
            raise DataError(
                f"{len(lonely)} of {len(lonely) + len(found.pairs)} {what}s {own} of {root} have no {other} {its}: "
                f"{first_few(lonely)}. {nearest or f'Add the {other}s, or move these {what}s away.'}",
                kind="missing_files",
            )
    for said in what_is_left_out(found):
        rank_zero_info(f"{root}: {said}")
    return found.pairs


def pattern_below(root: Path, text: str, suffixes: tuple[str, ...] = SUFFIXES) -> Pattern:
    """Return the pattern that an option means: a folder's name may stand in the root, or in each folder of a split.

    Raises:
        ConfigError: It cannot be a pattern.
    """
    in_split = any((root / folder / text).is_dir() for folder in split_folders(root))
    if NAME not in text and SPLIT not in text and in_split and not on_disk(root / text).is_dir():
        text = f"{SPLIT}/{text}"
    return Pattern(text, suffixes)


MAP_SUFFIXES: dict[MapName, tuple[str, ...]] = {"depth": DEPTH_SUFFIXES, "instances": NUMBER_SUFFIXES}
"""Endings of files of each kind of map."""


def find_maps(root: Path, names: Iterable[str], kind: MapName, where: str, images: str) -> dict[str, Path]:
    """Find the maps of images by a folder or pattern.

    Args:
        root: Folder of the data.
        names: Of the images.
        kind: Of the maps.
        where: Their folder or pattern.
        images: That of the images, for the message.

    Raises:
        ConfigError: It cannot be a pattern.
        DataError: The folder or an image's map is missing.
    """
    suffixes = MAP_SUFFIXES[kind]
    files = _files(root, pattern_below(root, where, suffixes), where, images)
    found = {one.full_name: one.path for one in files}
    lonely = [name for name in names if name not in found]
    if lonely:
        raise DataError(
            f"{len(lonely)} images in {root}/{images} have no {MAPS[kind].called}, {where}/NAME with "
            f"{', '.join(suffixes)}: {first_few(lonely)}. Add them, or leave out data.{kind}."
        )
    return found


def frames_before(names: Sequence[str]) -> list[int | None]:
    """Return for each image that before it in its folder, by the numbers in the names: 2 comes before 10.

    What lies in no folder is of no film.
    """
    before: list[int | None] = [None] * len(names)
    ordered = sorted(range(len(names)), key=lambda index: [film_of(names[index]), *_by_numbers(names[index])])
    for first, second in pairwise(ordered):
        if film_of(names[second]) and film_of(names[first]) == film_of(names[second]):
            before[second] = first
    return before


def film_of(name: str) -> str:
    """Return the folder in an image's name, which is its film."""
    return name.rpartition("/")[0]


def _by_numbers(name: str) -> list[tuple[int, str]]:
    return [(int(piece), "") if piece.isdecimal() else (-1, piece) for piece in re.split(r"(\d+)", name)]


def _files(root: Path, pattern: Pattern, option: str, other: str) -> list[Found]:
    """List the files of a pattern, of which there are some."""
    found = pattern.files(root)
    if found:
        return found
    is_folder = NAME not in option and SPLIT not in option
    if is_folder and on_disk(root / option).is_dir():
        raise DataError(f"{root / option} holds no file that ends in {', '.join(pattern.suffixes)}.")
    if is_folder:
        raise DataError(
            f"There is no {option}/ to read: {found_instead(root, option)} Expected {option}/ with {other}/ beside it, "
            f"or train/{option}/. Set data.root to the folder that holds them, or data.images and data.masks to their "
            f"names."
        )
    raise DataError(f"No file of {root} fits {pattern}: {found_instead(root, '')}{_nearest(root)}")


def _nearest(
    root: Path, images: Pattern | None = None, masks: Pattern | None = None, found: Pairing | None = None
) -> str:
    """Name the patterns that pair more of a folder's files than these, if some do."""
    best = next(iter(search(root)), None)
    if best is None or (found is not None and len(best.pairing.pairs) <= len(found.pairs)):
        return ""
    if images is not None and masks is not None and (best.images, best.masks) == (images.text, masks.text):
        return ""
    return (
        f" Other patterns pair {len(best.pairing.pairs)} images with masks: data.images '{best.images}', data.masks "
        f"'{best.masks}'."
    )


def _parts(image: Path, mask: Path, window_size: int | None) -> list[tuple[Source, Source]]:
    """Pair the parts of two files."""
    parts = sources_in(image, window_size)
    if parts == [Source(image)]:
        return [(parts[0], Source(mask))]
    if isinstance(parts[0].part, RasterPart):
        check_same_grid(image, mask)
        return [(part, Source(mask, part.part)) for part in parts]
    labels = sources_in(mask)
    if len(labels) != len(parts) or labels[0].part is None:
        raise DataError(
            f"{image} has {len(parts)} slices and its mask {mask} {len(labels)}: expected a volume of the same size."
        )
    check_same_place(image, mask)
    return list(zip(parts, labels, strict=True))
