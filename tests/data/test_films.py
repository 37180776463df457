"""Films: things keep their numbers and looks while they move, grow and hide one another."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deeplab_lightning.data.drawing import DrawnScene, draw_frame, draw_scene, film
from deeplab_lightning.data.drawing.canvas import Canvas
from deeplab_lightning.data.drawing.placement import Placement
from deeplab_lightning.data.forms.folder_reading import frames_before
from deeplab_lightning.data.sets.drawn_films import DrawnFilms, DrawnFilmsDataModule
from deeplab_lightning.data.sets.drawn_scenes import DrawnScenes
from deeplab_lightning.data.sets.folder import FolderDataModule
from deeplab_lightning.data.subset import Subset
from deeplab_lightning.errors import ConfigError

from ..fakes.folder import write_folder

FRAMES = (0, 1, 6, 15)


@pytest.fixture(scope="module")
def films() -> list[list[DrawnScene]]:
    return [[draw_frame((0, 0, number), frame, 96, 128) for frame in FRAMES] for number in range(12)]


def boxes(scene: DrawnScene) -> dict[int, np.ndarray]:
    """Return left, top, right and bottom of what is seen of each thing."""
    found = {}
    for thing in scene.objects:
        rows, columns = np.nonzero(scene.instances == thing.instance_id)
        if len(rows):
            found[thing.instance_id] = np.array([columns.min(), rows.min(), columns.max(), rows.max()])
    return found


def test_a_frame_is_a_pure_function_of_its_arguments(films: list[list[DrawnScene]]) -> None:
    again = draw_frame((0, 0, 3), 6, 96, 128)
    for one, other in zip(vars(films[3][2]).values(), vars(again).values(), strict=True):
        assert np.array_equal(one, other) if isinstance(one, np.ndarray) else one == other
    images = {scene.image.tobytes() for frames in films for scene in frames}
    assert len(images) == len(films) * len(FRAMES)


def test_things_keep_number_and_class_and_the_layers_agree(films: list[list[DrawnScene]]) -> None:
    for frames in films:
        classes = [[(thing.instance_id, thing.class_id) for thing in scene.objects] for scene in frames]
        assert all(one == classes[0] for one in classes)
        for scene in frames:
            table = np.array([0, *(thing.class_id for thing in scene.objects)])
            labelled = scene.mask != 255
            assert np.array_equal(scene.mask[labelled], table[scene.instances][labelled])
            for thing in scene.objects:
                seen = scene.instances == thing.instance_id
                assert seen.sum() == thing.visible_pixels
                assert np.allclose(scene.depth[seen], thing.depth)


def test_things_move_grow_and_hide_one_another(films: list[list[DrawnScene]]) -> None:
    moved, grown, hidden, order = 0, 0, 0, 0
    for first, second, *_, last in films:
        before, after, soon = boxes(first), boxes(last), boxes(second)
        for number in before.keys() & after.keys():
            moved += bool(np.abs(before[number] - after[number]).max() > 8)
            height = [box[3] - box[1] + 1 for box in (before[number], after[number])]
            grown += max(height) > 1.1 * min(height)
        hidden += len(before.keys() ^ after.keys())
        order += not np.array_equal(
            np.argsort([thing.depth for thing in first.objects]), np.argsort([thing.depth for thing in last.objects])
        )
        for number in before.keys() & soon.keys():  # from one frame to the next things stay where they can be found
            assert np.abs(before[number] - soon[number])[[1, 3]].max() < 30
    assert moved > 12
    assert grown > 10
    assert hidden > 0
    assert order > 2


def test_looks_stay(films: list[list[DrawnScene]]) -> None:
    """The landscape is painted alike in all frames, but for the sensor's noise."""
    for frames in films:
        scenes = frames[0], frames[1]
        bare = (scenes[0].instances == 0) & (scenes[1].instances == 0)
        difference = np.abs(scenes[0].image.astype(int) - scenes[1].image)[bare]
        assert 0.5 < difference.mean() < 12
        assert 1 <= np.median(difference) < 8
        for thing in scenes[0].objects:
            seen = [scene.instances == thing.instance_id for scene in scenes]
            if min(map(np.sum, seen)) > 300:
                colours = [scene.image[pixels].mean(axis=0) for scene, pixels in zip(scenes, seen, strict=True)]
                assert np.abs(colours[0] - colours[1]).max() < 10


def test_nearer_things_are_larger_and_painted_later(monkeypatch: pytest.MonkeyPatch) -> None:
    painted: list[list[tuple[int, Placement]]] = []

    def paint(rng: object, canvas: Canvas, scape: object, placement: Placement, number: int) -> None:
        painted[-1].append((number, placement))

    monkeypatch.setattr(film, "paint_object", paint)
    for frame in (0, 12):
        for number in range(12):
            painted.append([])
            draw_frame((0, 0, number), frame, 64, 64)
            nearness = [placement.nearness for _, placement in painted[-1]]
            assert nearness == sorted(nearness)
    changed = 0
    for first, last in zip(painted[:12], painted[12:], strict=True):
        for number, before in first:
            after = dict(last)[number]
            assert (before.name, before.look, before.turn) == (after.name, after.look, after.turn)
            if abs(after.nearness - before.nearness) > 0.02:
                changed += 1
                assert (after.size > before.size) == (after.nearness > before.nearness)
    assert changed > 30


def test_films_share_no_image_with_scenes(films: list[list[DrawnScene]]) -> None:
    assert not np.array_equal(films[0][0].image, draw_scene((0, 0, 0), 96, 128).image)


def test_the_data_set() -> None:
    dataset = DrawnFilms("val", 3, 4, 64, 80, seed=5)
    assert len(dataset) == 12
    assert [dataset.sample_id(index) for index in (0, 5, 11)] == [
        "val-000000/0000",
        "val-000001/0001",
        "val-000002/0003",
    ]
    assert [dataset.previous(index) for index in range(6)] == [None, 0, 1, 2, None, 4]
    image, mask = dataset.load(6)
    scene = draw_frame((5, 1, 1), 2, 64, 80)
    assert np.array_equal(image, scene.image)
    assert np.array_equal(dataset.instances(6), np.where(mask == 255, 0, scene.instances))
    assert np.array_equal(dataset.depth(6), scene.depth)
    some = Subset(dataset, [5, 6, 0, 2])
    assert [some.previous(index) for index in range(4)] == [None, 0, None, None]
    assert DrawnScenes("val", 4, 64, 64).previous(2) is None
    with pytest.raises(IndexError, match=r"outside 0\.\.11"):
        dataset.load(12)
    with pytest.raises(ConfigError, match="3 films of 0 frames"):
        DrawnFilms("val", 3, 0, 64, 64)


def test_the_datamodule() -> None:
    data = DrawnFilmsDataModule(
        height=64, width=64, train_films=2, val_films=1, frames=3, crop_size=33, batch_size=2, num_workers=0
    )
    assert data.description["things"] == list(range(1, 10))
    data.deliver("instances")
    assert next(iter(data.train_dataloader()))["instances"].shape == (2, 33, 33)
    assert len(data.dataset("val")) == 3


def test_frames_of_a_folder_follow_their_numbers() -> None:
    names = ["train/b/10", "train/b/9", "train/a/0002", "single", "train/a/0001", "train/b/11", "other"]
    assert frames_before(names) == [1, None, 4, None, None, 0, None]


def test_a_folder_of_films_with_numbers(tmp_path: Path) -> None:
    for split, films in (("train", ("a", "b")), ("val", ("c",))):
        for name in films:
            place = tmp_path / split
            write_folder(place, names=[f"{name}/{frame}" for frame in (8, 9, 10)], classes=2)
            for path in sorted((place / "masks" / name).iterdir()):
                ids = np.array(Image.open(path)).astype(np.uint16) * 300
                (place / "instances" / name).mkdir(parents=True, exist_ok=True)
                Image.fromarray(ids).save(place / "instances" / name / path.name)
    data = FolderDataModule(root=str(tmp_path), class_names=["a", "b"], instances="instances", things=("b",))
    dataset = data.dataset("train")
    names = [dataset.sample_id(index) for index in range(len(dataset))]
    assert len(names) == 6
    for index, name in enumerate(names):
        before = dataset.previous(index)
        folder, frame = name.rsplit("/", 1)
        expected = None if frame == "8" else names.index(f"{folder}/{int(frame) - 1}")
        assert before == expected
        assert set(np.unique(dataset.instances(index)).tolist()) == {0, 300}
