"""Slices of NIfTI volumes (package nibabel, extra `medical`)."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import DataError
from ...extras import need
from ...files import open_file
from .limits import expect_memory, expect_parts, expect_size

NIFTI_SUFFIXES = (".nii", ".nii.gz")

_FETCH_AGAIN = "Copy it again, or take it out of the data."


def slice_count(path: str | Path) -> int:
    """Return how many axial slices a NIfTI volume has. Only its header is read.

    Raises:
        ConfigError: nibabel is missing.
        DataError: The file cannot be opened, or is no volume.
    """
    volume, axes = _open_nifti(path)
    return int(volume.shape[axes[2][0]])


def check_same_space(image: str | Path, mask: str | Path) -> None:
    """Refuse a volume and its mask, or another channel, that lie elsewhere in the body; headers are read alone.

    Their axes may be stored in any order: they are compared once both are turned alike, as `read_slice` turns them.

    Raises:
        ConfigError: nibabel is missing.
        DataError: Their sizes differ, or a corner lies more than half a voxel elsewhere.
    """
    (shape, corners, voxel), (other_shape, other_corners, _) = (_in_the_body(path) for path in (image, mask))
    if shape != other_shape:
        raise DataError(f"{image} has {shape} voxels (right, front, up) and {mask} {other_shape}.")
    apart = float(np.abs(corners - other_corners).max())
    if apart > voxel / 2:
        raise DataError(
            f"By their headers {image} and {mask} lie {apart:.4g} mm apart, with voxels of {voxel:.4g} mm: the second "
            f"would be turned or moved against the first. Save it with the first's affine (as with "
            f"nibabel.Nifti1Image(mask, image.affine)), or resample it."
        )


def _in_the_body(path: str | Path) -> tuple[tuple[int, ...], np.ndarray, float]:
    """Return the voxels along right, front and up; where first and last lie, and a voxel's least side, in mm."""
    volume, axes = _open_nifti(path)
    shape = tuple(int(volume.shape[axis]) for axis, _ in axes)
    first, last = np.zeros(3), np.zeros(3)
    for axis, sign in axes:
        end = volume.shape[axis] - 1
        first[axis], last[axis] = (0, end) if sign > 0 else (end, 0)
    matrix, offset = volume.affine[:3, :3], volume.affine[:3, 3]
    return (
        shape,
        np.stack([matrix @ first + offset, matrix @ last + offset]),
        float(np.linalg.norm(matrix, axis=0).min()),
    )


def read_slice(path: str | Path, index: int) -> np.ndarray:
    """Read an axial slice of a NIfTI volume, from the feet upwards.

    Slices come out the same however the file orders its axes: rows run from the front of the body to the back, columns
    from its left to its right, so image and mask fit together as long as both headers are right. Of an unpacked
    `.nii` only the slice is read; of `.nii.gz` all that stands before it is unpacked.

    Args:
        path: `.nii` or `.nii.gz` of 3 dimensions, or of 4, of which the last are channels.
        index: From 0.

    Returns:
        `(H, W, C)` in the volume's own units: floating point where the header scales the numbers.

    Raises:
        ConfigError: nibabel is missing.
        DataError: There is no such slice, or the file cannot be read.
    """
    volume, axes = _open_nifti(path)
    (right, right_sign), (front, front_sign), (up, up_sign) = axes
    count = volume.shape[up]
    if not 0 <= index < count:
        raise DataError(f"{path} has {count} slices, 0 to {count - 1}; there is no slice {index}.")
    where: list[Any] = [slice(None)] * len(volume.shape)
    where[up] = index if up_sign > 0 else count - 1 - index
    try:
        pixels = np.asarray(volume.dataobj[tuple(where)])
    except Exception as error:  # of a damaged file nibabel and zlib raise half a dozen kinds
        raise DataError(f"Cannot read {path}: {error}. {_FETCH_AGAIN}") from error
    if right < front:
        pixels = pixels.swapaxes(0, 1)
    pixels = pixels[:: -1 if front_sign > 0 else 1, :: 1 if right_sign > 0 else -1]
    return np.ascontiguousarray(pixels[..., None] if pixels.ndim == 2 else pixels)


def volume_values(path: str | Path) -> list[int]:
    """Return the whole numbers that a volume of labels holds, sorted; all of it is read at once.

    Raises:
        ConfigError: nibabel is missing.
        DataError: The file cannot be read, or holds fractions.
    """
    volume, _ = _open_nifti(path)
    expect_memory(path, 2 * math.prod(volume.shape) * max(8, volume.dataobj.dtype.itemsize))
    try:
        found = np.unique(np.asanyarray(volume.dataobj))
    except Exception as error:
        raise DataError(f"Cannot read {path}: {error}. {_FETCH_AGAIN}") from error
    if found.dtype.kind == "f" and (found != np.trunc(found)).any():
        raise DataError(f"{path} holds fractions, expected labels.")
    return [int(value) for value in found]


def _open_nifti(path: str | Path) -> tuple[Any, list[tuple[int, int]]]:
    """Open a volume; also return, for right, front and up, the axis that runs that way (1) or against it (-1)."""
    nibabel = need("nibabel", "medical", f"Reading {path}")
    try:
        with open_file(path):  # a pipe would be waited for
            pass
        volume = nibabel.load(path)
        ways = nibabel.io_orientation(volume.affine)[:3]
    except Exception as error:
        raise DataError(f"Cannot read {path}: {error}. {_FETCH_AGAIN}") from error
    if len(volume.shape) not in (3, 4):
        raise DataError(f"{path} has shape {volume.shape}, expected a volume of 3 dimensions, or 4 with channels last.")
    if np.isnan(ways).any():
        raise DataError(f"{path} does not say how its axes lie in the body: its affine is {volume.affine.tolist()}.")
    if min(volume.shape) < 1:
        raise DataError(f"{path} is empty: its shape is {volume.shape}. {_FETCH_AGAIN}")
    by_way = {int(way): (axis, int(sign)) for axis, (way, sign) in enumerate(ways)}
    axes = [by_way[way] for way in range(3)]
    width, height, slices = (int(volume.shape[axis]) for axis, _ in axes)
    channels = math.prod(map(int, volume.shape[3:]))
    expect_size(path, height, width, 8 * channels, "Cut it into smaller volumes.")
    expect_parts(path, slices, "slices")
    return volume, axes
