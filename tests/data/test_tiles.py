"""The cache: the same pixels, whatever happens to its files or to the images."""

from __future__ import annotations

import multiprocessing
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from deeplab_lightning.data.dataset import SegmentationDataset
from deeplab_lightning.data.fingerprint import reading_of
from deeplab_lightning.data.loading import LoaderView
from deeplab_lightning.data.sampling import Draw
from deeplab_lightning.data.sets.drawn_scenes import DrawnScenes
from deeplab_lightning.data.sets.voc import VOC
from deeplab_lightning.data.tiles import TiledDataset
from deeplab_lightning.data.transforms.pipelines import AugmentationOptions, TrainingTransform
from deeplab_lightning.errors import ConfigError, DataError


class Arrays(SegmentationDataset):
    """Images in .npz files; counts how often they are decoded."""

    labels = VOC

    def __init__(self, folder: Path, sizes: list[tuple[int, ...]], dtype: type = np.uint8, shift: int = 0) -> None:
        self._paths = [folder / f"{number}.npz" for number in range(len(sizes))]
        self.shift = shift
        self._decoded: list[int] = []
        for number, (path, size) in enumerate(zip(self._paths, sizes, strict=True)):
            if not path.exists():
                write_arrays(path, size, dtype, number)

    def __len__(self) -> int:
        return len(self._paths)

    def sample_id(self, index: int) -> str:
        return self._paths[index].stem

    def files(self, index: int) -> tuple[Path, ...]:
        return (self._paths[index],)

    def load(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        self._decoded.append(index)
        with np.load(self._paths[index]) as stored:
            return stored["image"], stored["mask"] + np.uint8(self.shift)


def write_arrays(path: Path, size: tuple[int, ...], dtype: type, seed: int) -> None:
    rng = np.random.default_rng(seed)
    image = (rng.integers(0, 256, size) * (1 if dtype == np.uint8 else 1.37)).astype(dtype)
    np.savez(path, image=image, mask=rng.integers(0, 21, size[:2], dtype=np.uint8))


SIZES: list[tuple[int, ...]] = [(300, 520, 3), (128, 256, 3), (40, 30, 3), (257, 129, 3)]


def same(one: SegmentationDataset, other: SegmentationDataset, index: int) -> bool:
    return all(
        np.array_equal(a, b) and a.dtype == b.dtype for a, b in zip(one.load(index), other.load(index), strict=True)
    )


def stored_files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.tiles"))


def test_pixels_are_the_same_and_decoded_once(tmp_path: Path) -> None:
    source = Arrays(tmp_path, SIZES)
    cached = TiledDataset(source, tmp_path / "cache")
    for _ in range(2):
        for index in range(len(source)):
            assert same(cached, Arrays(tmp_path, SIZES), index)
    assert source._decoded == [0, 1, 2, 3]
    again = Arrays(tmp_path, SIZES)
    TiledDataset(again, tmp_path / "cache").load(0)
    assert again._decoded == []
    assert cached.sample_id(2) == "2"
    assert len(cached) == 4


@pytest.mark.parametrize(("channels", "dtype"), [(1, np.uint8), (5, np.uint8), (1, np.float32), (4, np.float32)])
def test_any_channels_and_floating_point(tmp_path: Path, channels: int, dtype: type) -> None:
    sizes: list[tuple[int, ...]] = [(150, 270, channels)]
    source = Arrays(tmp_path, sizes, dtype)
    cached = TiledDataset(source, tmp_path / "cache")
    cached.load(0)
    assert same(cached, source, 0)


def test_parts_are_parts(tmp_path: Path) -> None:
    source = Arrays(tmp_path, SIZES)
    cached, (image, mask) = TiledDataset(source, tmp_path / "cache"), source.load(0)
    rng = np.random.default_rng(0)
    for _ in range(30):
        rows, columns = (slice(*sorted(rng.choice(length + 1, 2, replace=False))) for length in mask.shape)
        tiled_image, tiled_mask = cached.open(0)
        assert tiled_image.shape == image.shape
        assert np.array_equal(tiled_image[rows, columns], image[rows, columns])
        assert np.array_equal(tiled_mask[rows, columns], mask[rows, columns])


def test_samples_do_not_depend_on_the_cache(tmp_path: Path) -> None:
    source = Arrays(tmp_path, SIZES)
    transform = TrainingTransform(
        AugmentationOptions(crop_size=65, colour_jitter=0.3, rotation=10.0, rare_class_crops=0.3, hue_jitter=0.1),
        [120, 110, 100],
        255,
    )
    plain = LoaderView(source, transform)
    cached = LoaderView(TiledDataset(source, tmp_path / "cache"), transform)
    for epoch in range(3):
        for index in range(len(source)):
            expected, sample = plain[Draw(epoch, index)], cached[Draw(epoch, index)]
            assert torch.equal(sample["image"], expected["image"])
            assert torch.equal(sample["mask"], expected["mask"])


def test_only_the_tiles_of_the_window_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cached = TiledDataset(Arrays(tmp_path, [(1024, 2048, 3)]), tmp_path / "cache")
    image, _ = cached.open(0)
    sizes: list[int] = []

    class Counting:
        def __init__(self, file: Any) -> None:
            self.file = file
            self.seek = file.seek

        def read(self, size: int) -> bytes:
            sizes.append(size)
            return self.file.read(size)

    monkeypatch.setattr(image.tiles, "file", Counting(image.tiles.file))  # type: ignore[attr-defined]
    image[300:400, 900:1000]
    assert sum(sizes) < 0.06 * stored_files(tmp_path)[0].stat().st_size


def test_a_changed_image_is_decoded_anew(tmp_path: Path) -> None:
    source = Arrays(tmp_path, SIZES)
    cached = TiledDataset(source, tmp_path / "cache")
    cached.load(1)
    write_arrays(tmp_path / "1.npz", (128, 256, 3), np.uint8, seed=99)
    assert same(cached, source, 1)
    write_arrays(tmp_path / "1.npz", (50, 60, 3), np.uint8, seed=100)
    assert same(cached, source, 1)
    assert len(stored_files(tmp_path)) == 1


def test_equal_content_is_adopted(tmp_path: Path) -> None:
    source = Arrays(tmp_path, SIZES)
    cached = TiledDataset(source, tmp_path / "cache")
    cached.load(1)
    os.utime(tmp_path / "1.npz", (1, 1))
    cached.load(1)
    cached.load(1)
    assert source._decoded == [1]
    written = stored_files(tmp_path)[0].stat().st_mtime_ns
    cached.load(1)
    assert stored_files(tmp_path)[0].stat().st_mtime_ns == written


@pytest.mark.parametrize("place", [0, 3, 17, 30, 0.3, 0.6, 0.999])
@pytest.mark.parametrize("cut", [False, True])
def test_a_damaged_file_is_made_anew(tmp_path: Path, place: float, cut: bool) -> None:
    source = Arrays(tmp_path, SIZES)
    cached = TiledDataset(source, tmp_path / "cache")
    cached.load(0)
    path = stored_files(tmp_path)[0]
    data = bytearray(path.read_bytes())
    where = int(place * len(data)) if 0 < place < 1 else int(place)
    if cut:
        del data[where:]
    else:
        data[where] ^= 0x10
    path.write_bytes(data)
    assert same(cached, source, 0)
    source._decoded.clear()
    cached.load(0)
    assert source._decoded == []


def test_other_settings_are_another_cache(tmp_path: Path) -> None:
    plain, shifted = Arrays(tmp_path, SIZES), Arrays(tmp_path, SIZES, shift=1)
    folder = tmp_path / "cache"
    TiledDataset(plain, folder).load(0)
    assert same(TiledDataset(shifted, folder), shifted, 0)
    assert same(TiledDataset(plain, folder), plain, 0)
    assert len(stored_files(folder)) == 2


class Decoder:
    def __init__(self, table: np.ndarray) -> None:
        self.table = table


def test_settings_within_settings_count_and_lists_do_not(tmp_path: Path) -> None:
    def identity(table: list[int]) -> str:
        source: Any = Arrays(tmp_path, SIZES)
        source._decoder = Decoder(np.array(table))
        source._decoded = table
        return reading_of(source)

    assert identity([1, 2]) == identity([1, 2])
    assert identity([1, 2]) != identity([1, 3])
    longer = Arrays(tmp_path, [*SIZES, (9, 9, 3)])
    assert reading_of(longer) == reading_of(Arrays(tmp_path, SIZES))


def _read_all(folder: Path, results: Any) -> None:
    source = Arrays(folder, SIZES)
    cached = TiledDataset(source, folder / "cache")
    results.put([same(cached, source, index) for _ in range(5) for index in range(len(SIZES))])


def test_several_processes_share_it(tmp_path: Path) -> None:
    Arrays(tmp_path, SIZES)
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    processes = [context.Process(target=_read_all, args=(tmp_path, results)) for _ in range(3)]
    for process in processes:
        process.start()
    assert all(all(results.get(timeout=30)) for _ in processes)
    for process in processes:
        process.join()
    assert len(stored_files(tmp_path)) == len(SIZES)
    assert not list(tmp_path.rglob("*.part"))


def test_it_says_how_much_is_stored(tmp_path: Path) -> None:
    cached = TiledDataset(Arrays(tmp_path, SIZES), tmp_path / "cache")
    assert "0 of 4 images, 0.00 GB" in cached.summary()
    cached.load(0)
    assert "1 of 4 images" in cached.summary()


def test_what_cannot_be_cached_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="DrawnScenes reads no files"):
        TiledDataset(DrawnScenes("train", 3, 64, 64), tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"Cannot write .*Choose a folder"):
        TiledDataset(Arrays(tmp_path, SIZES), tmp_path / "file").load(0)
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(ConfigError, match=r"--data.cache needs the package zstandard.*\[cache\]"):
        TiledDataset(Arrays(tmp_path, SIZES), tmp_path / "cache")
