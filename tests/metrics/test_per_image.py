"""Counts per image: exact sums whatever the repetition and the order, and a file without pickles."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deeplab_lightning.errors import DataError
from deeplab_lightning.files import atomic_open
from deeplab_lightning.metrics.per_image import ImageCounts

NAMES = ("a", "b", "c")


def random_matrix(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 50, (3, 3)) * (rng.random((3, 3)) < 0.5)


def counts_of(*seeds: int) -> ImageCounts:
    counts = ImageCounts(NAMES)
    for seed in seeds:
        counts.add(f"image/{seed:02d}", random_matrix(seed))
    return counts


def test_total_is_the_sum_and_an_id_counts_once() -> None:
    counts = counts_of(3, 1, 2, 1)
    assert len(counts) == 3
    assert counts.sample_ids == ["image/01", "image/02", "image/03"]
    assert counts.total().dtype == np.int64
    assert np.array_equal(counts.total(), random_matrix(1) + random_matrix(2) + random_matrix(3))
    assert np.array_equal(counts.matrix("image/02"), random_matrix(2))


def test_later_changes_of_the_matrix_do_not_reach_in() -> None:
    matrix = np.eye(3, dtype=np.int64)
    counts = ImageCounts(NAMES)
    counts.add("x", matrix)
    matrix[:] = 9
    assert np.array_equal(counts.total(), np.eye(3))


def test_big_counts_do_not_overflow() -> None:
    counts = ImageCounts(NAMES)
    for index in range(3):
        counts.add(str(index), np.full((3, 3), 2**31 - 1, dtype=np.int32))
    assert (counts.total() == 3 * (2**31 - 1)).all()


def test_file_holds_plain_arrays_of_the_cells_that_are_not_zero(tmp_path: Path) -> None:
    counts = ImageCounts(NAMES)
    counts.add("z", np.array([[5, 0, 0], [0, 0, 7], [0, 0, 0]]))
    counts.add("all void", np.zeros((3, 3), dtype=np.int64))
    counts.add("\u00fc", np.array([[0, 2**40, 0], [0, 0, 0], [0, 0, 0]]))
    counts.save(tmp_path / "per_image.npz")
    with np.load(tmp_path / "per_image.npz", allow_pickle=False) as file:
        arrays = {key: file[key].tolist() for key in file}
    assert arrays == {
        "sample_ids": ["all void", "z", "\u00fc"],
        "image": [1, 1, 2],
        "truth": [0, 1, 0],
        "pred": [0, 2, 1],
        "count": [5, 7, 2**40],
        "class_names": ["a", "b", "c"],
    }


@pytest.mark.parametrize("seeds", [(), (4,), (5, 3, 9, 0)])
def test_load_gives_back_what_save_wrote(tmp_path: Path, seeds: tuple[int, ...]) -> None:
    counts = counts_of(*seeds)
    counts.save(tmp_path / "p.npz")
    loaded = ImageCounts.load(tmp_path / "p.npz")
    assert (loaded.class_names, loaded.sample_ids) == (counts.class_names, counts.sample_ids)
    for sample_id in counts.sample_ids:
        assert np.array_equal(loaded.matrix(sample_id), counts.matrix(sample_id))
    loaded.add("new", np.eye(3, dtype=np.int64))
    assert np.array_equal(loaded.total(), counts.total() + np.eye(3, dtype=np.int64))


def test_files_do_not_depend_on_the_order_of_the_images(tmp_path: Path) -> None:
    counts_of(1, 2, 3).save(tmp_path / "1.npz")
    counts_of(3, 1, 2).save(tmp_path / "2.npz")
    with np.load(tmp_path / "1.npz") as one, np.load(tmp_path / "2.npz") as two:
        assert all(np.array_equal(one[key], two[key]) for key in one)


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    path.write_bytes(b"old")

    def fail() -> None:
        with atomic_open(path) as file:
            file.write(b"half")
            file.flush()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("content", [None, b"", b"not a zip", b"PK\x03\x04 torn"])
def test_unreadable_files_name_the_remedy(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "per_image.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=r"per_image\.npz.*Evaluate"):
        ImageCounts.load(path)


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", matrix=np.eye(3))
    with pytest.raises(DataError, match="class_names"):
        ImageCounts.load(tmp_path / "x.npz")
