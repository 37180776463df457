"""Which images an evaluation keeps, and that they come back as they went."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deeplab_lightning.errors import DataError
from deeplab_lightning.reporting.gallery import MAX_SIDE, VOID, GalleryCollector, read_gallery, write_gallery

NAMES, PALETTE = ("road", "car"), ((0, 0, 0), (200, 0, 100))


def made_image(seed: int, height: int = 20, width: int = 30) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    truth = rng.integers(0, 2, (height, width), dtype=np.uint8)
    truth[0] = 77  # void of some data set
    return image, truth, rng.integers(0, 2, (height, width), dtype=np.uint8)


def test_the_worst_and_the_spread_are_kept() -> None:
    collector = GalleryCollector(2, worst=3, spread=2)
    scores = [0.9, 0.2, 0.8, float("nan"), 0.1, 0.7, 0.3, 0.95, 0.15, 0.6]
    for number, score in enumerate(scores):
        collector.add(str(number), *made_image(number), score, is_spread=number in (0, 9))
    kept = {found.sample_id: found.why for found in collector.images()}
    assert kept == {"0": "spread", "9": "spread", "4": "worst", "8": "worst", "1": "worst"}


def test_equal_scores_do_not_compare_images() -> None:
    collector = GalleryCollector(2, worst=2, spread=0)
    for number in range(5):
        collector.add(str(number), *made_image(number), 0.5, is_spread=False)
    assert len(collector.images()) == 2


def test_masks_come_back_exactly_and_void_is_void(tmp_path: Path) -> None:
    collector = GalleryCollector(2)
    image, truth, pred = made_image(1)
    collector.add("a/b", image, truth, pred, 0.4, is_spread=True)
    write_gallery(tmp_path / "images.zip", collector.images(), NAMES, PALETTE)
    found = read_gallery(tmp_path / "images.zip")
    assert (found.class_names, found.palette) == (NAMES, PALETTE)
    stored = found.images["a/b"]
    assert np.array_equal(stored.truth(), np.where(truth == 77, VOID, truth))
    assert np.array_equal(stored.pred(), pred)
    with Image.open(io.BytesIO(stored.pred_png)) as shown:
        assert np.array_equal(np.asarray(shown.convert("RGB")), np.array(PALETTE)[pred])


def test_large_images_are_shrunk_together(tmp_path: Path) -> None:
    collector = GalleryCollector(2)
    image, truth, pred = made_image(2, 2 * MAX_SIDE, 4 * MAX_SIDE)
    collector.add("big", image, truth, pred, 0.4, is_spread=True)
    (kept,) = collector.images()
    assert kept.size == (2 * MAX_SIDE, 4 * MAX_SIDE)
    assert kept.image.shape == (MAX_SIDE // 2, MAX_SIDE, 3)
    assert kept.truth.shape == kept.pred.shape == (MAX_SIDE // 2, MAX_SIDE)


def test_a_damaged_archive_is_named(tmp_path: Path) -> None:
    (tmp_path / "images.zip").write_bytes(b"PK no zip")
    with pytest.raises(DataError, match=r"images\.zip cannot be read"):
        read_gallery(tmp_path / "images.zip")
