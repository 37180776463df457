"""The data's fingerprint: the same wherever the data lies, another where names, sizes or read masks differ."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from deeplab_lightning.data.dataset import SegmentationDataset
from deeplab_lightning.data.fingerprint import MASKS, exact_fingerprint, fingerprint
from deeplab_lightning.data.sets import datamodule_named
from deeplab_lightning.data.sets.drawn_scenes import DrawnScenes
from deeplab_lightning.data.spacing import spread

from ..fakes.folder import draw, write_image


class Files(SegmentationDataset):
    def __init__(self, folder: Path, count: int) -> None:
        self.folder, self.count = folder, count

    def __len__(self) -> int:
        return self.count

    def sample_id(self, index: int) -> str:
        return f"{index:03}"

    def files(self, index: int) -> tuple[Path, ...]:
        return self.folder / f"{index:03}.jpg", self.folder / f"{index:03}.png"

    def load(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        raise AssertionError("files are there: nothing needs to be decoded")


@pytest.fixture
def data(tmp_path: Path) -> Files:
    dataset = Files(tmp_path / "here", 3 * MASKS)
    dataset.folder.mkdir()
    for index in range(len(dataset)):
        for number, path in enumerate(dataset.files(index)):
            path.write_bytes(bytes([index, number, 7]))
    return dataset


def test_a_copy_elsewhere_is_the_same_data(data: Files, tmp_path: Path) -> None:
    shutil.copytree(data.folder, tmp_path / "there", copy_function=shutil.copy)  # with other times
    first = fingerprint(data)
    assert first["images"] == 3 * MASKS
    assert fingerprint(Files(tmp_path / "there", len(data))) == first


@pytest.mark.parametrize(
    ("change", "key"),
    [("image's size", "files"), ("mask's content", "masks"), ("count", "files"), ("name", "files")],
)
def test_changes_show(data: Files, change: str, key: str) -> None:
    before = fingerprint(data)
    image, mask = data.files(spread(len(data), MASKS)[5])
    if change == "image's size":
        image.write_bytes(b"longer than it was")
    elif change == "mask's content":
        mask.write_bytes(b"abc")
    elif change == "count":
        data.count -= 1
    else:
        data.sample_id = lambda index: f"x{index}"  # type: ignore[method-assign]
    after = fingerprint(data)
    assert after[key] != before[key]
    if change == "mask's content":
        assert after["files"] == before["files"]


def test_a_missing_file_stops_nothing(data: Files) -> None:
    before = fingerprint(data)
    for path in data.files(0):
        path.unlink()
    after = fingerprint(data)
    assert after["files"] != before["files"]
    assert after["masks"] != before["masks"]


def test_drawn_scenes_are_told_apart_by_what_they_show() -> None:
    def scenes(seed: int) -> dict[str, int | str]:
        return fingerprint(DrawnScenes("val", 6, height=64, width=64, seed=seed))

    assert scenes(0) == scenes(0)
    assert scenes(0)["masks"] != scenes(1)["masks"]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"label_map": {0: 0, 1: 1, 9: 1}}, {"label_map": {0: 0, 1: 1, 9: 0}}),
        ({"label_map": {0: 0, 1: 1, 9: 1}}, {"label_map": {0: 0, 1: 1, 9: 255}}),
        (
            {"palette": [[0, 0, 0], [255, 0, 0]], "label_map": {0: 0, 1: 1, 9: 0}},
            {"palette": [[0, 0, 0], [0, 255, 0]], "label_map": {0: 0, 1: 1, 9: 0}},
        ),
        ({"ignore_index": 255}, {"ignore_index": 9}),
    ],
    ids=["label_map", "label_map to void", "palette", "ignore_index"],
)
def test_how_masks_are_read_is_part_of_what_is_kept(
    first: dict[str, object], second: dict[str, object], tmp_path: Path
) -> None:
    """Also where the value concerned is in no mask that is decoded: the ninth value is in one of twenty."""
    for number in range(20):
        mask, image = draw(number)
        mask[0, 0] = 9 if number == 1 and "label_map" in first else 1
        for split in ("train", "val"):
            write_image(tmp_path / split / "images" / f"{number:02}.png", image)
            write_image(tmp_path / split / "masks" / f"{number:02}.png", mask)

    def found(options: dict[str, object]) -> str:
        data = datamodule_named("Folder")(root=str(tmp_path), class_names=["a", "b"], **options)
        return exact_fingerprint(data.dataset("val"), range(20))

    assert found(first) == found(first)
    assert found(first) != found(second)


def test_the_files_of_maps_are_part_of_what_is_kept(tmp_path: Path) -> None:
    for folder in ("images", "masks", "instances"):
        for number in range(20):
            mask, image = draw(number)
            write_image(tmp_path / folder / f"{number:02}.png", image if folder == "images" else mask)
    data = datamodule_named("Folder")(root=str(tmp_path), class_names=["a", "b"], instances="instances", things=("b",))
    dataset = data.dataset("train")
    before = exact_fingerprint(dataset, range(len(dataset)))
    assert exact_fingerprint(dataset, range(len(dataset))) == before
    path = tmp_path / "instances" / f"{dataset.sample_id(7)}.png"
    write_image(path, draw(99)[0])
    assert exact_fingerprint(dataset, range(len(dataset))) != before


class InMemory(SegmentationDataset):
    """Images that a program has made: nothing lies on disk, and no setting says what they are."""

    def __init__(self) -> None:
        self.images = [np.full((4, 5, 3), number, np.uint8) for number in range(30)]

    def __len__(self) -> int:
        return len(self.images)

    def sample_id(self, index: int) -> str:
        return str(index)

    def load(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        return self.images[index], self.images[index][..., 0]


def test_any_image_without_a_file_is_part_of_what_is_kept() -> None:
    data = InMemory()
    first = exact_fingerprint(data, range(30))
    assert first == exact_fingerprint(InMemory(), range(30))
    for index in range(30):
        data.images[index][0, 0] ^= 1
        assert exact_fingerprint(data, range(30)) != first
        data.images[index][0, 0] ^= 1
