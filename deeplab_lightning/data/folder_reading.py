"""The user's own images and masks, in two folders.

Layout below the root, of which each part may lie in further folders:

    images/NAME.jpg         masks/NAME.png               one folder each; or images/train/..., masks/train/..., and val
    train/images/NAME.jpg   train/masks/NAME.png         or the splits outside, and val

Images are of any kind that `rasters` reads; a volume or a big raster holds many. Masks hold numbers or colours, as
`masks.MaskDecoder` is told. The names of images are those below `images/`, without ending: `day 2/pic1`; the parts of
a file are told apart behind a `#`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import ConfigError, DataError
from .checks import check_pair
from .dataset import SegmentationDataset
from .depth_maps import DEPTH_SUFFIXES, read_depth
from .finding import IMAGE_SUFFIXES, RASTER_SUFFIXES, images_below, on_disk, without_ending
from .georasters import RasterPart, check_same_grid
from .masks import BLACK_AND_WHITE, MaskDecoder, is_black_and_white
from .rasters import Source, has_ending, read_source, sources_in
from .spacing import spread
from .splitting import split_folders
from .volumes import NIFTI_SUFFIXES, check_same_space
from .wording import composed, first_few, found_instead

SUFFIXES = (*IMAGE_SUFFIXES, *RASTER_SUFFIXES)
"""Endings of images and of masks."""

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
        kind: What the images are like. The first one is read, to see whether that is so.
        depth_files: Name -> the file of its depth map, if there are any.
        depth_scale: What a stored depth of 1 means in the wanted unit.

    Raises:
        ConfigError: A package for this kind of file is missing.
        DataError: The first image is not of this kind, the masks are black and white and nothing says what 255
            means, or image and mask of a volume or a raster do not fit together.
    """

    def __init__(
        self,
        files: Mapping[str, tuple[Path, Path]],
        names: Sequence[str],
        decoder: MaskDecoder,
        kind: ImageKind,
        depth_files: Mapping[str, Path] | None = None,
        depth_scale: float = 1.0,
    ) -> None:
        self.labels = decoder.labels
        self._decoder, self._kind = decoder, kind
        named = [(name, pair) for name in names for pair in _parts(*files[name], kind.window_size)]
        self._pairs = [pair for _, pair in named]
        self._ids = [name + image.mark for name, (image, _) in named]
        self._depth_files: list[tuple[Path, float]] = []
        if depth_files is not None:
            self._depth_files = [(depth_files[name], depth_scale) for name in names]
            if len(self._depth_files) != len(self._pairs):
                raise ConfigError(
                    "Depth maps are read for images that are files of their own; here a file holds many (a volume, "
                    "or a raster divided by window_size). Leave out data.depth."
                )
        if self._pairs:
            read_source(self._pairs[0][0], kind.channels, kind.pixel_range)
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

    def depth(self, index: int) -> np.ndarray:
        """Read the depth of image `index`, `(H, W)` float32, 0 where it is unknown."""
        return read_depth(*self._depth_files[index])

    @property
    def has_depth(self) -> bool:
        """Whether there are depth maps."""
        return bool(self._depth_files)

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
    root: Path, images: str = "images", masks: str = "masks", mask_suffix: str = "", all_paired: bool = True
) -> dict[str, tuple[Path, Path]]:
    """Pair images with their masks by name.

    Args:
        root: Folder of the data.
        images: Folder of the images below it, or below each of `train/`, `val/` and `test/`.
        masks: Folder of the masks, likewise.
        mask_suffix: What the masks' names have behind the images', such as `_L`.
        all_paired: Whether an image without mask is an error, and a mask without image; left out otherwise.

    Returns:
        Name -> the files of image and mask, in the order of the names.

    Raises:
        DataError: A folder is missing, an image has no mask or a mask no image, or a name has several files.
    """
    image_files, labels = _files_below(root, images, masks), _files_below(root, masks, images)
    if mask_suffix := composed(mask_suffix):
        if images == masks:
            image_files = {name: path for name, path in image_files.items() if not name.endswith(mask_suffix)}
        labels = {name.removesuffix(mask_suffix): path for name, path in labels.items() if name.endswith(mask_suffix)}
    lonely = [name for name in image_files if name not in labels]
    if lonely and (all_paired or len(lonely) == len(image_files)):
        raise DataError(
            f"{len(lonely)} of {len(image_files)} images in {root}/{images} have no mask {masks}/NAME{mask_suffix}.*: "
            f"{first_few(lonely)}.{_other_suffix(lonely, labels)} Add the masks, or move these images away.",
            kind="missing_files",
        )
    lonely = [name for name in labels if name not in image_files]
    if lonely and all_paired:
        raise DataError(
            f"{len(lonely)} of {len(labels)} masks in {root}/{masks} have no image {images}/NAME.*: "
            f"{first_few(lonely)}. Add the images, or move these masks away.",
            kind="missing_files",
        )
    return {name: (image_files[name], labels[name]) for name in sorted(image_files) if name in labels}


def find_depth_maps(root: Path, names: Iterable[str], folder: str, other: str) -> dict[str, Path]:
    """Find the depth maps of images in `root/folder`; `other`, the folder of the images, is for the message.

    Raises:
        DataError: The folder or an image's map is missing.
    """
    found = _files_below(root, folder, other, DEPTH_SUFFIXES)
    lonely = [name for name in names if name not in found]
    if lonely:
        raise DataError(
            f"{len(lonely)} images in {root}/{other} have no depth map {folder}/NAME.png, .tif or .npy: "
            f"{first_few(lonely)}. Add them, or leave out data.depth."
        )
    return found


def _files_below(root: Path, folder: str, other: str, suffixes: tuple[str, ...] = SUFFIXES) -> dict[str, Path]:
    """List the files below `root/folder`, or below `root/SPLIT/folder`, by their names without ending."""
    base = on_disk(root / folder)
    if base.is_dir():
        places = {"": base}
    else:
        places = {f"{name}/": root / name / folder for name in split_folders(root) if (root / name / folder).is_dir()}
    if not places:
        raise DataError(
            f"There is no {folder}/ to read: {found_instead(root, folder)} Expected {folder}/ with {other}/ beside it, "
            f"or train/{folder}/. Set data.root to the folder that holds them, or data.images and data.masks to their "
            f"names."
        )
    found: dict[str, Path] = {}
    for start, place in places.items():
        for path in images_below(place, suffixes):
            name = start + composed(without_ending(path.relative_to(place)).as_posix())
            if name in found:
                raise DataError(f"{found[name]} and {path.name} have one name. Keep one of them in {folder}/.")
            found[name] = path
    if not found:
        raise DataError(f"{base} holds no file that ends in {', '.join(suffixes)}.")
    return found


def _other_suffix(lonely: Sequence[str], labels: Mapping[str, Path]) -> str:
    """Suggest a `mask_suffix` where masks are called after images with something behind."""
    endings = Counter(
        label[len(name) :] for name in lonely[:50] for label in labels if label.startswith(name) and label != name
    )
    common = endings.most_common(1)
    return f" If the masks are called {lonely[0]}{common[0][0]}, set mask_suffix: {common[0][0]}." if common else ""


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
    if all(has_ending(path, NIFTI_SUFFIXES) for path in (image, mask)):
        check_same_space(image, mask)
    return list(zip(parts, labels, strict=True))
