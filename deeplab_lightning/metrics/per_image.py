"""Confusion counts kept image by image, so that sets can be merged, resampled and searched later. Numpy only."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from ..errors import DataError
from ..files import atomic_open
from ..npz import read_npz
from .scores import check_confusion

MOST_CLASSES = 1024
"""A table of more by more would not be looked at, and fill the memory."""


class ImageCounts:
    """The confusion counts of each image, keyed by sample id; an id counts once, however often it is added.

    `metrics.segmentation.SegmentationScores` counts and brings processes together; this is what stays of it.

    Args:
        class_names: `C` names.
        cells: For each sample id the matrix's non-zero cells: `(k,)` integer places in the flat matrix, all different,
            and `(k,)` int64 counts.
    """

    def __init__(self, class_names: Sequence[str], cells: Mapping[str, tuple[np.ndarray, np.ndarray]] = {}) -> None:
        self.class_names = tuple(class_names)
        self._shape = (len(self.class_names), len(self.class_names))
        self._cells = dict(cells)

    def __len__(self) -> int:
        return len(self._cells)

    @property
    def sample_ids(self) -> list[str]:
        """The ids, sorted: the same list whatever the order in which images came."""
        return sorted(self._cells)

    def add(self, sample_id: str, matrix: np.ndarray) -> None:
        """Keep one image's counts; an id that is already there stays as it is.

        Args:
            sample_id: The image's name, unique within its split.
            matrix: `(C, C)` integer counts of this image alone; rows are the truth.
        """
        matrix = check_confusion(matrix, self.class_names).ravel()
        cells = np.flatnonzero(matrix)
        self._cells.setdefault(sample_id, (cells, matrix[cells]))

    def matrix(self, sample_id: str) -> np.ndarray:
        """Return one image's `(C, C)` int64 confusion matrix."""
        return dense([self._cells[sample_id]], self._shape)

    def total(self) -> np.ndarray:
        """Return the `(C, C)` int64 confusion matrix of all images together."""
        return dense(self._cells.values(), self._shape)

    def save(self, path: Path) -> None:
        """Write the counts as an `.npz` of plain arrays, cell `k` being `count[k]` pixels of `truth[k]` as `pred[k]`.

        Args:
            path: The file, `per_image.npz` in a run folder. It holds `sample_ids` `(N,)` str, sorted; for
                the `K` non-zero cells `image` (index into `sample_ids`), `truth` and `pred` (class ids), all `(K,)`
                int32, and `count` `(K,)` int64; and `class_names` `(C,)` str.
        """
        images = [self._cells[sample_id] for sample_id in self.sample_ids]
        cells, size = _join([cells for cells, _ in images]), len(self.class_names)
        arrays = {
            "sample_ids": np.array(self.sample_ids, dtype=np.str_),
            "image": np.repeat(np.arange(len(images), dtype=np.int32), [len(pixels) for _, pixels in images]),
            "truth": (cells // size).astype(np.int32),
            "pred": (cells % size).astype(np.int32),
            "count": _join([pixels for _, pixels in images]),
            "class_names": np.array(self.class_names, dtype=np.str_),
        }
        with atomic_open(path) as file:
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type,unused-ignore]

    @classmethod
    def load(cls, path: Path) -> ImageCounts:
        """Read what `save` wrote.

        Raises:
            DataError: The file is missing, torn, or not of this kind.
        """
        remedy = "Evaluate the checkpoint again to write it anew."
        arrays = read_npz(path, remedy)
        try:
            class_names, sample_ids = (arrays[key].tolist() for key in ("class_names", "sample_ids"))
            image, truth, pred, count = (arrays[key] for key in ("image", "truth", "pred", "count"))
            _check(class_names, sample_ids, image, truth, pred, count)
        except (KeyError, ValueError, TypeError) as error:
            raise DataError(f"{path} cannot be read as confusion counts per image ({error}). {remedy}") from error
        cells = truth.astype(np.int64) * len(class_names) + pred
        starts = np.searchsorted(image, np.arange(len(sample_ids) + 1))  # `image` is sorted
        of_images = zip(sample_ids, itertools.pairwise(starts), strict=True)
        return cls(class_names, {name: (cells[a:b], count[a:b]) for name, (a, b) in of_images})


def _check(
    class_names: Sequence[str],
    sample_ids: Sequence[str],
    image: np.ndarray,
    truth: np.ndarray,
    pred: np.ndarray,
    count: np.ndarray,
) -> None:
    """Refuse counts of no class or no image: a file may hold any numbers."""
    if not 1 <= len(class_names) <= MOST_CLASSES or not all(isinstance(name, str) for name in class_names):
        raise ValueError(f"it names {len(class_names)} classes; 1 to {MOST_CLASSES} are allowed")
    if len(set(sample_ids)) != len(sample_ids):
        raise ValueError("it names an image twice")
    if not (image.ndim == 1 and image.shape == truth.shape == pred.shape == count.shape):
        raise ValueError(f"its columns have shapes {image.shape}, {truth.shape}, {pred.shape} and {count.shape}")
    for name, column, end in (("image", image, len(sample_ids)), ("truth", truth, len(class_names)),
                              ("pred", pred, len(class_names)), ("count", count, 1 << 62)):  # fmt: skip
        if column.dtype.kind not in "iu" or (column.size and not 0 <= int(column.min()) <= int(column.max()) < end):
            raise ValueError(f"its column {name} holds numbers that are not of 0..{end - 1}")
    if (np.diff(image) < 0).any():
        raise ValueError("its images are not in order")


def dense(images: Iterable[tuple[np.ndarray, np.ndarray]], shape: tuple[int, ...]) -> np.ndarray:
    """Return the int64 table of `shape` that images add up to.

    Args:
        images: The non-zero cells of each: their places in the flat table, all different, and their counts.
        shape: Of the table.
    """
    table = np.zeros(math.prod(shape), dtype=np.int64)
    for cells, counts in images:
        table[cells] += counts
    return table.reshape(shape)


def _join(arrays: list[np.ndarray]) -> np.ndarray:
    """Concatenate int64 arrays, of which there may be none."""
    return np.concatenate([np.zeros(0, dtype=np.int64), *arrays])
