"""Mean and standard deviation of pixels: exact, in one pass, and those published for CamVid."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from deeplab_lightning.data.dataset import SegmentationDataset
from deeplab_lightning.data.sets.camvid import CamVid
from deeplab_lightning.data.statistics import channel_statistics
from deeplab_lightning.errors import DataError


class Arrays(SegmentationDataset):
    """Images at hand."""

    def __init__(self, images: list[np.ndarray]) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def sample_id(self, index: int) -> str:
        return f"pic{index}"

    def load(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        image = self.images[index]
        return image, np.zeros(image.shape[:2], np.uint8)


def made_images(dtype: type, channels: int, offset: float = 0.0) -> list[np.ndarray]:
    """Of different sizes and brightness, so that averages of averages would be wrong."""
    rng = np.random.default_rng(channels)
    sizes = [(10, 12), (30, 7), (1, 1), (25, 40)]
    return [
        (rng.uniform(0, 60 * (index + 1), (*size, channels)) + offset).astype(dtype) for index, size in enumerate(sizes)
    ]


@pytest.mark.parametrize(("dtype", "channels"), [(np.uint8, 3), (np.uint8, 1), (np.float32, 5)])
@pytest.mark.parametrize("pixel_range", [255.0, 4095.0])
def test_equal_to_numpy_over_all_pixels(dtype: type, channels: int, pixel_range: float) -> None:
    images = made_images(dtype, channels)
    mean, std = channel_statistics(Arrays(images), pixel_range=pixel_range)
    pixels = np.concatenate([image.reshape(-1, channels) for image in images]).astype(np.float64) / pixel_range
    np.testing.assert_allclose(mean, pixels.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(std, pixels.std(axis=0), rtol=1e-12)
    assert all(isinstance(value, float) for value in mean + std)  # as YAML wants them


def test_a_small_spread_about_a_large_mean_is_not_lost() -> None:
    """The mean of squares less the square of the mean would have two digits left."""
    images = made_images(np.float64, 2, offset=1e7)
    pixels = np.concatenate([image.reshape(-1, 2) for image in images])
    np.testing.assert_allclose(channel_statistics(Arrays(images), pixel_range=1.0)[1], pixels.std(axis=0), rtol=1e-9)


def test_a_limit_is_spread_over_the_split() -> None:
    images = made_images(np.uint8, 3)
    limited, chosen = channel_statistics(Arrays(images), limit=2), channel_statistics(Arrays([images[0], images[3]]))
    assert limited == chosen
    assert channel_statistics(Arrays(images), limit=99) == channel_statistics(Arrays(images))


def test_images_of_different_channels_and_none_at_all() -> None:
    with pytest.raises(DataError, match="pic1 has 1 channels, the images before it 3"):
        channel_statistics(Arrays([np.zeros((4, 4, 3)), np.zeros((4, 4, 1))]))
    with pytest.raises(DataError, match="at least one image"):
        channel_statistics(Arrays([]))


def test_camvid() -> None:
    """The published figures are of PNG images; the copy at hand was stored as JPEG in between."""
    shared = os.environ.get("DEEPLAB_SHARED_DATA")
    if not shared or not Path(shared, "CamVid").is_dir():
        pytest.skip("set DEEPLAB_SHARED_DATA to the folder that holds CamVid/")
    mean, std = channel_statistics(CamVid(Path(shared, "CamVid"), "train"))
    np.testing.assert_allclose(mean, (0.41189, 0.42513, 0.43267), atol=1e-3)
    np.testing.assert_allclose(std, (0.30707, 0.31161, 0.30722), atol=1e-3)
