"""Images of any kind, by what the data's description says of them: N channels, 8 or 16 bits, floating point.

The kinds are those of `images`, NumPy arrays (`.npy`), NIfTI slices, DICOM files and windows of big rasters. A file
may hold several images: a `Source` says which.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from ...errors import DataError, of_kind
from ...files import read_bytes
from .arrays import ARRAY_SUFFIXES, read_array
from .dicom import frame_count, is_dicom, read_dicom
from .georasters import RasterPart, read_raster, windows_of
from .images import (
    check_one_page,
    is_too_large,
    palette_of,
    read_image,
    read_mask_as_stored,
    read_stored,
    rgb_of,
    stored_in,
    whole_numbers,
)
from .nrrd import NRRD_SUFFIXES, nrrd_header, read_nrrd
from .nrrd import check_same_place as check_same_nrrd
from .volumes import NIFTI_SUFFIXES, check_same_space, read_slice, slice_count

_SLICE = re.compile(r"(.+)#(\d+)")
_TIFF_SUFFIXES = (".tif", ".tiff", ".svs")
LARGEST_WINDOW = 4096
"""Side of the windows in which `predict` reads TIFF that are too large to be read whole, in pixels."""


MOST_CHROMA = 40
"""Difference of the channels of a grey JPEG that was stored in colours, nearly everywhere."""


class Source(NamedTuple):
    """Where an image comes from.

    Attributes:
        path: The file.
        part: Which of its slices or windows; all of it if None.
    """

    path: Path
    part: int | RasterPart | None = None

    @property
    def mark(self) -> str:
        """What tells this part from others of its file, to end a name with: `#017`, `#512_0`, or nothing."""
        if self.part is None:
            return ""
        if isinstance(self.part, RasterPart):
            return f"#{self.part.row}_{self.part.column}"
        return f"#{self.part:03}"

    def __str__(self) -> str:
        return f"{self.path}{self.mark}"


def source(reference: str | Path) -> Source:
    """Read a reference to an image: a path, or `volume.nii.gz#17` for slice 17; a file of that name comes first."""
    slice_of = _SLICE.fullmatch(str(reference))
    if slice_of is None or Path(reference).is_file():
        return Source(Path(reference))
    return Source(Path(slice_of[1]), int(slice_of[2]))


def sources_in(path: Path, window_size: int | None = None) -> list[Source]:
    """List the images that a file holds: slices of a volume, frames of DICOM, windows of a TIFF, or the one image.

    Only the file's header is read. TIFF are divided only where a `window_size`, their largest side, is given.

    Raises:
        DataError: The file cannot be opened.
    """
    if has_ending(path, NIFTI_SUFFIXES):
        return [Source(path, index) for index in range(slice_count(path))]
    if has_ending(path, NRRD_SUFFIXES) and (count := nrrd_header(path).slices) > 1:
        return [Source(path, index) for index in range(count)]
    if is_dicom(path) and (count := frame_count(path)) > 1:
        return [Source(path, index) for index in range(count)]
    if window_size is not None and has_ending(path, _TIFF_SUFFIXES):
        return [Source(path, window) for window in windows_of(path, window_size)]
    return [Source(path)]


def parts_to_segment(path: Path) -> list[Source]:
    """List what a file is segmented by: as `sources_in` has it; a TIFF that is too large to be read whole in windows.

    Raises:
        ConfigError: Windows need the extra `geo`.
        DataError: The file cannot be opened.
    """
    parts = sources_in(path)
    if len(parts) == 1 and has_ending(path, _TIFF_SUFFIXES) and is_too_large(path):
        return sources_in(path, LARGEST_WINDOW)
    return parts


@of_kind("unreadable_image")
def read_source(reference: Source | str | Path, channels: int, pixel_range: float) -> np.ndarray:
    """Read an image as a model of so many channels and this pixel range takes it in.

    Three channels of 0..255 are RGB: such images are read by `read_image`, which makes RGB of grey, transparent and
    16-bit ones. All others keep their stored values.

    Args:
        reference: File, slice (`volume.nii.gz#17`) or `Source`.
        channels: How many are expected.
        pixel_range: The stored value that means 1.0.

    Returns:
        `(H, W, channels)`: uint8 if that is stored, float32 otherwise.

    Raises:
        ConfigError: A package for this kind of file is missing.
        DataError: The file cannot be read, or its image is of another kind (`as_declared`).
    """
    chosen = reference if isinstance(reference, Source) else source(reference)
    if channels == 3 and pixel_range == 255 and chosen.part is None and not _is_stored(chosen.path):
        try:
            return read_image(chosen.path)
        except DataError as error:
            if error.kind != "unreadable_image" or not has_ending(chosen.path, _TIFF_SUFFIXES):
                raise
        stored = read_stored(chosen.path)  # of other channels, or floating point
    else:
        stored = read_any(chosen)
    return as_declared(stored, channels, pixel_range, str(chosen))


def of_pillow(image: Image.Image, channels: int, pixel_range: float) -> np.ndarray:
    """Return a Pillow image as `read_source` reads its file."""
    if channels == 3 and pixel_range == 255:
        return rgb_of(image)
    return as_declared(stored_in(image), channels, pixel_range, "The image")


@of_kind("unfit_image")
def as_declared(stored: np.ndarray, channels: int, pixel_range: float, where: str) -> np.ndarray:
    """Return stored pixels as a network is fed with them, if they are of the kind that is declared.

    Args:
        stored: `(H, W, C)` in any real type.
        channels: How many are expected.
        pixel_range: The stored value that means 1.0.
        where: Where they come from, for messages.

    Returns:
        `(H, W, channels)`: uint8 if they are uint8, float32 otherwise.

    Raises:
        DataError: There are other channels, values of a plainly different range, or values that are no numbers.
    """
    if stored.shape[2] != channels:
        raise DataError(_other_channels(stored, channels, where))
    if not stored.size:
        raise DataError(f"{where} is empty: its shape is {stored.shape}.")
    smallest, largest = float(stored.min()), float(stored.max())
    if not math.isfinite(smallest + largest):
        unknown = np.count_nonzero(~np.isfinite(stored))
        raise DataError(
            f"{where} holds {unknown} values that are no numbers (NaN or infinite); training would come to nothing. "
            f"Fill them, with the mean for one, and set their mask to ignore_index."
        )
    meant = _meant_range(stored.dtype, smallest, largest, pixel_range)
    if meant is not None:
        raise DataError(
            f"{where} holds {stored.dtype} values from {smallest:g} to {largest:g}, but pixel_range is "
            f"{pixel_range:g}, as the data's settings say, or the checkpoint's. For images like this, set "
            f"pixel_range: {meant}, and mean and std in units of it."
        )
    return stored if stored.dtype == np.uint8 else stored.astype(np.float32)


def read_any(chosen: Source, of_mask: bool = False) -> np.ndarray:
    """Read `(H, W, C)` values in the type that the file stores, whatever its kind; of a mask, which holds labels."""
    path, part = chosen
    if has_ending(path, ARRAY_SUFFIXES):
        return read_array(path)
    if has_ending(path, NRRD_SUFFIXES):
        if part is None and (count := nrrd_header(path).slices) > 1:
            raise DataError(f"{path} is a volume of {count} slices: choose one, as in {path}#{count // 2}.")
        return read_nrrd(path, part if isinstance(part, int) else 0)
    if is_dicom(path):
        return read_dicom(path, part if isinstance(part, int) else None, of_mask)
    if has_ending(path, NIFTI_SUFFIXES):
        if not isinstance(part, int):
            count = slice_count(path)
            raise DataError(f"{path} is a volume of {count} slices: choose one, as in {path}#{count // 2}.")
        return read_slice(path, part)
    return read_raster(path, part) if isinstance(part, RasterPart) else read_stored(path)


@of_kind("unreadable_mask")
def read_labels(chosen: Source) -> np.ndarray:
    """Read a mask of any kind: `(H, W)` integers, or `(H, W, 3)` uint8 where it is an image in colours.

    Raises:
        DataError: The file cannot be read, or holds several channels or fractions.
    """
    if chosen.part is None and not _is_stored(chosen.path):
        return read_mask_as_stored(chosen.path)
    stored = read_any(chosen, of_mask=True)
    if stored.shape[2] == 3 and stored.dtype == np.uint8:
        return stored
    if stored.shape[2] != 1:
        raise DataError(f"Mask {chosen} has {stored.shape[2]} channels, expected one class id per pixel.")
    return whole_numbers(stored[..., 0], str(chosen))


@of_kind("unreadable_mask")
def read_labels_in_colours(chosen: Source) -> np.ndarray:
    """Read a mask as `read_labels` does, but one with a palette as the colours that it shows: `(H, W, 3)` uint8."""
    labels = read_labels(chosen)
    palette = palette_of(chosen.path) if labels.ndim == 2 and labels.dtype == np.uint8 else None
    if palette is None:
        return labels
    table = np.zeros((256, 3), np.uint8)
    table[: len(palette)] = palette
    return table[labels]


@of_kind("unreadable_mask")
def read_grey(chosen: Source) -> np.ndarray:
    """Read a mask whose grey values need not be exact: JPEG, or fractions; those of a grey palette, as it shows them.

    Returns:
        `(H, W)` integers or floating point, in which NaN may stand.

    Raises:
        DataError: The file cannot be read, or holds colours or several channels.
    """
    palette = None if chosen.part is not None else palette_of(chosen.path)
    if palette is not None and (palette != palette[:, :1]).any():
        return read_labels(chosen)
    stored = read_any(chosen, of_mask=True)
    if has_ending(chosen.path, (".gif", ".png", ".webp")):
        check_one_page(read_bytes(chosen.path), chosen.path)
    channels = stored.shape[2]
    if channels in (2, 4) and (stored[..., -1] == stored[..., -1].max()).all():
        stored = stored[..., :-1]
    darkest, brightest = stored.min(axis=2), stored.max(axis=2)
    if stored.shape[2] not in (1, 3) or (
        stored.dtype == np.uint8 and (brightest - darkest > MOST_CHROMA).mean() > 0.01
    ):
        raise DataError(
            f"Mask {chosen} holds {'colours' if channels in (3, 4) else f'{channels} channels'}, expected grey values "
            f"to divide by data.mask_threshold.",
            kind="colour_mask",
        )
    return stored[..., 0] if stored.shape[2] == 1 else stored[..., 1]  # green is nearest to what an eye sees


def check_same_place(image: Path, mask: Path) -> None:
    """Refuse a volume and its mask, or another channel, whose headers put them in different places of the body.

    Raises:
        DataError: Says in what they differ.
    """
    if has_ending(image, NIFTI_SUFFIXES) and has_ending(mask, NIFTI_SUFFIXES):
        check_same_space(image, mask)
    if has_ending(image, NRRD_SUFFIXES) and has_ending(mask, NRRD_SUFFIXES):
        check_same_nrrd(image, mask)


def has_ending(path: Path, suffixes: tuple[str, ...]) -> bool:
    """Tell whether a file's name ends in one of these, `.nii.gz` among them, in capitals or not."""
    return path.name.lower().endswith(suffixes)


def _is_stored(path: Path) -> bool:
    """Whether a file is none that the readers of images and masks know."""
    return has_ending(path, (*ARRAY_SUFFIXES, *NIFTI_SUFFIXES, *NRRD_SUFFIXES)) or is_dicom(path)


def _other_channels(stored: np.ndarray, channels: int, where: str) -> str:
    found = stored.shape[2]
    if channels in stored.shape[:2] and found > 16:
        remedy = "Its channels seem to come first: save it as (height, width, channels)."
    else:
        numbers = ", ".join(["..."] * min(found, 3)) + (", ..." if found > 3 else "")
        remedy = f"To train on all, set mean: [{numbers}] and std: [{numbers}], {found} numbers each."
    return f"{where} has {_channels(found)}, but mean and std declare {_channels(channels)}. {remedy}"


def _meant_range(dtype: np.dtype, smallest: float, largest: float, pixel_range: float) -> str | None:
    """Return the pixel range that such values most likely have, where the declared one cannot be meant."""
    if dtype == np.uint8:
        return "255" if pixel_range != 255 else None
    if dtype.kind == "f":
        return "1" if smallest >= 0 and 0 < largest <= 1 and pixel_range >= 255 else None
    if pixel_range == 255 and largest > 255:
        return "4095 (12 bits) or 65535 (16 bits)" if largest <= 4095 else "65535"
    return None


def _channels(count: int) -> str:
    return f"{count} channel{'s' * (count != 1)}"
