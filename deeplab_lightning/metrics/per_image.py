"""Confusion counts kept image by image, so that sets can be merged, resampled and searched later. Numpy only."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..errors import DataError
from ..files import atomic_open
from .scores import check_confusion


class _Cells(NamedTuple):
    """The non-zero cells of one image's matrix: three `(k,)` int64 arrays."""

    truth: np.ndarray
    pred: np.ndarray
    pixels: np.ndarray


class ImageCounts:
    """The confusion counts of each image, keyed by sample id.

    An id counts once, however often it is added: samplers that pad a set for several processes repeat images, and
    merging the processes' counts then still gives the exact matrix.

    Args:
        class_names: `C` names.
    """

    def __init__(self, class_names: Sequence[str]) -> None:
        self.class_names = tuple(class_names)
        self._cells: dict[str, _Cells] = {}

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
        matrix = check_confusion(matrix, self.class_names)
        if sample_id not in self._cells:
            truth, pred = np.nonzero(matrix)
            self._cells[sample_id] = _Cells(truth, pred, matrix[truth, pred])

    def merge(self, other: ImageCounts) -> None:
        """Take over the images of `other` that are not here yet, for example those of another process."""
        if other.class_names != self.class_names:
            raise DataError(
                f"Counts over the classes {', '.join(other.class_names)} cannot be merged with counts over "
                f"{', '.join(self.class_names)}: evaluate both with the same label set."
            )
        for sample_id, cells in other._cells.items():
            self._cells.setdefault(sample_id, cells)

    def matrix(self, sample_id: str) -> np.ndarray:
        """Return one image's `(C, C)` int64 confusion matrix."""
        return self._dense([self._cells[sample_id]])

    def total(self) -> np.ndarray:
        """Return the `(C, C)` int64 confusion matrix of all images together."""
        return self._dense(self._cells.values())

    def _dense(self, images: Iterable[_Cells]) -> np.ndarray:
        matrix = np.zeros((len(self.class_names), len(self.class_names)), dtype=np.int64)
        for cells in images:
            matrix[cells.truth, cells.pred] += cells.pixels  # the cells of one image are all different
        return matrix

    def save(self, path: Path) -> None:
        """Write the counts as an `.npz` of plain arrays, cell `k` being `count[k]` pixels of `truth[k]` as `pred[k]`.

        Args:
            path: The file, `per_image.npz` in a run folder. It holds `sample_ids` `(N,)` str, sorted; for
                the `K` non-zero cells `image` (index into `sample_ids`), `truth` and `pred` (class ids), all `(K,)`
                int32, and `count` `(K,)` int64; and `class_names` `(C,)` str.
        """
        with atomic_open(path) as file:
            np.savez_compressed(file, **self.as_arrays())  # type: ignore[arg-type,unused-ignore]

    def as_arrays(self) -> dict[str, np.ndarray]:
        """Return the counts as the arrays that `save` describes."""
        cells = [self._cells[sample_id] for sample_id in self.sample_ids]
        return {
            "sample_ids": np.array(self.sample_ids, dtype=np.str_),
            "image": np.repeat(np.arange(len(cells), dtype=np.int32), [len(cell.pixels) for cell in cells]),
            "truth": _join([cell.truth for cell in cells]).astype(np.int32),
            "pred": _join([cell.pred for cell in cells]).astype(np.int32),
            "count": _join([cell.pixels for cell in cells]),
            "class_names": np.array(self.class_names, dtype=np.str_),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> ImageCounts:
        """Make the counts of what `as_arrays` returned."""
        counts = cls(arrays["class_names"].tolist())
        image, truth, pred, count = (arrays[key] for key in ("image", "truth", "pred", "count"))
        sample_ids = arrays["sample_ids"].tolist()
        starts = np.searchsorted(image, np.arange(len(sample_ids) + 1))  # `image` is sorted
        for sample_id, start, end in zip(sample_ids, starts[:-1], starts[1:], strict=True):
            counts._cells[sample_id] = _Cells(truth[start:end], pred[start:end], count[start:end])
        return counts

    @classmethod
    def load(cls, path: Path) -> ImageCounts:
        """Read what `save` wrote.

        Raises:
            DataError: The file is missing, torn, or not of this kind.
        """
        try:
            with np.load(path, allow_pickle=False) as arrays:
                return cls.from_arrays(arrays)
        except (OSError, EOFError, KeyError, ValueError, TypeError, zipfile.BadZipFile) as error:
            raise DataError(
                f"{path} cannot be read as confusion counts per image ({error}). "
                "Evaluate the checkpoint again to write it anew."
            ) from error


def _join(arrays: list[np.ndarray]) -> np.ndarray:
    """Concatenate int64 arrays, of which there may be none."""
    return np.concatenate([np.zeros(0, dtype=np.int64), *arrays])
