"""The embedded data set: reproducible, disjoint, consistent, and not solvable by colour."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Iterator

import cv2
import numpy as np
import pytest

from deeplab_lightning.data.drawing import DrawnScene, draw_scene
from deeplab_lightning.data.sets.drawn_scenes import DRAWN_SCENES, DrawnScenes
from deeplab_lightning.errors import ConfigError

NUM_CLASSES = DRAWN_SCENES.num_classes
VOID = DRAWN_SCENES.ignore_index


@pytest.fixture(scope="module")
def scenes() -> list[DrawnScene]:
    return [draw_scene((0, 0, index), 160, 160) for index in range(240)]


@pytest.fixture
def opencv_threads() -> Iterator[None]:
    before = cv2.getNumThreads()
    yield
    cv2.setNumThreads(before)


def fingerprint(scene: DrawnScene) -> str:
    digest = hashlib.sha256()
    for array in (scene.image, scene.mask, scene.instances, scene.depth):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


# --- the data set ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("height", "width"), [(64, 64), (128, 128), (160, 160), (192, 256), (240, 320), (320, 97)])
def test_images_have_the_size_asked_for(height: int, width: int) -> None:
    image, mask = DrawnScenes("train", 3, height, width).load(2)
    assert image.shape == (height, width, 3)
    assert mask.shape == (height, width)
    assert image.dtype == mask.dtype == np.uint8
    assert set(np.unique(mask)) <= {*range(NUM_CLASSES), VOID}


def test_sample_ids_are_unique_and_stable() -> None:
    dataset = DrawnScenes("train", 20, 64, 64)
    ids = [dataset.sample_id(index) for index in range(len(dataset))]
    assert ids[12] == "train-000012"
    assert len(set(ids)) == 20


def test_splits_seeds_and_indices_share_no_image() -> None:
    images = [
        DrawnScenes(split, 6, 64, 64, seed=seed).load(index)[0].tobytes()
        for split in ("train", "val", "test")
        for seed in (0, 1)
        for index in range(6)
    ]
    assert len(set(images)) == len(images)


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ConfigError, match="'trian'"):
        DrawnScenes("trian", 1, 64, 64)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="64x64"):
        DrawnScenes("train", 1, 32, 160)
    with pytest.raises(ConfigError, match="size is 0"):
        DrawnScenes("train", 0, 64, 64)
    with pytest.raises(IndexError, match=r"outside 0\.\.4"):
        DrawnScenes("train", 5, 64, 64).load(5)


# --- determinism ----------------------------------------------------------------------------------------------------


def test_a_scene_is_a_pure_function_of_its_arguments(opencv_threads: None) -> None:
    cv2.setNumThreads(1)
    forwards = [fingerprint(draw_scene((3, 1, index), 192, 256)) for index in range(6)]
    cv2.setNumThreads(4)
    backwards = [fingerprint(draw_scene((3, 1, index), 192, 256)) for index in reversed(range(6))]
    assert forwards == backwards[::-1]


def test_another_process_draws_the_same_bytes() -> None:
    program = (
        "import hashlib; from deeplab_lightning.data.drawing import draw_scene;"
        "scene = draw_scene((0, 2, 7), 160, 160);"
        "print(hashlib.sha256(scene.image.tobytes() + scene.mask.tobytes()).hexdigest())"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip()
    scene = draw_scene((0, 2, 7), 160, 160)
    assert answer == hashlib.sha256(scene.image.tobytes() + scene.mask.tobytes()).hexdigest()


# --- the layers of a scene agree ------------------------------------------------------------------------------------


def test_mask_is_the_class_of_each_instance_with_void_between(scenes: list[DrawnScene]) -> None:
    for scene in scenes[:60]:
        classes = np.array([0, *(thing.class_id for thing in scene.objects)])
        expected = classes[scene.instances]
        labelled = scene.mask != VOID
        np.testing.assert_array_equal(scene.mask[labelled], expected[labelled])
        # No two labelled neighbours belong to different instances: a border lies between any two regions.
        for along, other in (((slice(1, None), slice(None)), (slice(-1), slice(None))),
                             ((slice(None), slice(1, None)), (slice(None), slice(-1)))):  # fmt: skip
            both = labelled[along] & labelled[other]
            assert (scene.instances[along] == scene.instances[other])[both].all()


def test_nearer_things_are_painted_later(scenes: list[DrawnScene]) -> None:
    for scene in scenes[:60]:
        depths = [thing.depth for thing in scene.objects]
        assert depths == sorted(depths, reverse=True)
        assert [thing.instance_id for thing in scene.objects] == list(range(1, len(depths) + 1))
        for thing in scene.objects:
            seen = scene.instances == thing.instance_id
            assert thing.visible_pixels == seen.sum()
            np.testing.assert_allclose(scene.depth[seen], thing.depth, rtol=1e-6)


def test_void_border_grows_with_the_image() -> None:
    def share(side: int) -> float:
        return float(np.mean([(draw_scene((0, 0, index), side, side).mask == VOID).mean() for index in range(8)]))

    small, large = share(160), share(480)
    assert 0.02 < small < 0.08
    assert 0.6 * small < large < 1.4 * small


def test_the_same_key_is_the_same_scene_at_every_size() -> None:
    small, large = draw_scene((0, 0, 5), 128, 128), draw_scene((0, 0, 5), 256, 256)
    assert [thing.class_id for thing in small.objects] == [thing.class_id for thing in large.objects]
    agreement = (small.instances == large.instances[::2, ::2]).mean()
    assert agreement > 0.97


# --- what must be learnt --------------------------------------------------------------------------------------------


def test_every_class_is_common_enough(scenes: list[DrawnScene]) -> None:
    pixels = sum(np.bincount(scene.mask.ravel(), minlength=256)[:NUM_CLASSES] for scene in scenes)
    images = sum(np.bincount(scene.mask.ravel(), minlength=256)[:NUM_CLASSES] >= 20 for scene in scenes)
    assert (pixels / pixels.sum() >= 0.02).all()
    assert (images / len(scenes) >= 0.35).all()


def mean_iou(confusion: np.ndarray) -> float:
    """Mean IoU of a `(classes, classes)` matrix of truth (rows) against prediction (columns)."""
    hits = np.diag(confusion)
    return float((hits / (confusion.sum(axis=0) + confusion.sum(axis=1) - hits)).mean())


def colours_and_classes(scenes: list[DrawnScene]) -> tuple[np.ndarray, np.ndarray]:
    """Return each labelled pixel's cell of a 16 x 16 x 16 colour cube, and its class."""
    cells, classes = [], []
    for scene in scenes:
        labelled = scene.mask != VOID
        red, green, blue = (scene.image[labelled] >> 4).astype(np.int64).T
        cells.append(red << 8 | green << 4 | blue)
        classes.append(scene.mask[labelled].astype(np.int64))
    return np.concatenate(cells), np.concatenate(classes)


def test_background_everywhere_is_no_answer(scenes: list[DrawnScene]) -> None:
    _, classes = colours_and_classes(scenes)
    confusion = np.zeros((NUM_CLASSES, NUM_CLASSES))
    confusion[:, 0] = np.bincount(classes, minlength=NUM_CLASSES)
    assert mean_iou(confusion) < 0.1


@pytest.mark.parametrize("balanced", [False, True])
def test_colour_alone_does_not_tell_the_class(scenes: list[DrawnScene], balanced: bool) -> None:
    cells, classes = colours_and_classes(scenes[:160])
    histogram = np.bincount(classes * 4096 + cells, minlength=NUM_CLASSES * 4096).reshape(NUM_CLASSES, 4096)
    prior = histogram.sum(axis=1, keepdims=True) / histogram.sum()
    posterior = (histogram + prior) / (prior if balanced else 1)  # smoothed by one pixel of the prior
    answer = posterior.argmax(axis=0)
    cells, classes = colours_and_classes(scenes[160:])
    confusion = np.bincount(classes * NUM_CLASSES + answer[cells], minlength=NUM_CLASSES**2)
    assert mean_iou(confusion.reshape(NUM_CLASSES, NUM_CLASSES)) < 0.5
