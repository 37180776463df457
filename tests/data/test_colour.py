"""Colour jitter as one matrix, against what it stands for."""

from __future__ import annotations

import albumentations as A
import numpy as np
import pytest

from deeplab_lightning.data.transforms.colour import MID_GREY, ColourMatrix, colour_matrix
from deeplab_lightning.errors import ConfigError

LUMA = np.array([0.299, 0.587, 0.114])


def changed(pixels: np.ndarray, **factors: float) -> np.ndarray:
    matrix = colour_matrix(**factors)
    return pixels @ matrix[:, :3].T + matrix[:, 3]


def pixels() -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 255, (500, 3))


def test_nothing_asked_for_is_nothing_changed() -> None:
    assert np.allclose(changed(pixels()), pixels(), atol=1e-3)


def test_each_factor_alone() -> None:
    colours = pixels()
    grey = (colours @ LUMA)[:, None]
    assert np.allclose(changed(colours, brightness=1.3), 1.3 * colours, atol=1e-2)
    assert np.allclose(changed(colours, contrast=0.6), MID_GREY + 0.6 * (colours - MID_GREY), atol=1e-2)
    assert np.allclose(changed(colours, saturation=0.4), grey + 0.4 * (colours - grey), atol=1e-2)
    assert np.allclose(changed(colours, saturation=0.0), np.repeat(grey, 3, axis=1), atol=1e-2)


def test_turning_the_hue_keeps_luma_and_grey_and_comes_round() -> None:
    colours = pixels()
    turned = changed(colours, hue=0.2)
    assert np.abs(turned - colours).max() > 50
    assert np.allclose(turned @ LUMA, colours @ LUMA, atol=0.1)
    assert np.allclose(changed(np.full((1, 3), 90.0), hue=0.3), 90, atol=1e-2)
    assert np.allclose(changed(colours, hue=1.0), colours, atol=1e-2)
    assert changed(np.array([[255.0, 0, 0]]), hue=1 / 3).argmax() == 1  # red to green


def test_the_transform_rounds_and_clips_once() -> None:
    image = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    transform = ColourMatrix(1.0, 1.0, 1.0, 0.5, p=1)
    generator = np.random.default_rng(0)
    for _ in range(20):
        matrix = transform.draw(generator)
        expected = np.rint(image @ matrix[:, :3].T + matrix[:, 3]).clip(0, 255)
        assert np.abs(transform.apply(image, matrix) - expected).max() <= 1


def test_strengths_are_bounds() -> None:
    generator = np.random.default_rng(0)
    grey = np.array([MID_GREY, MID_GREY, MID_GREY, 1])
    values = [(ColourMatrix(0.3, 0.4, 0, 0).draw(generator) @ grey)[0] / MID_GREY for _ in range(300)]
    assert min(values) == pytest.approx(0.7, abs=0.02)
    assert max(values) == pytest.approx(1.3, abs=0.02)


def test_it_works_in_a_compose_and_leaves_the_mask() -> None:
    image = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    mask = image[..., 0]
    one, other = (A.Compose([ColourMatrix(0.3, 0.3, 0.3, 0.1, p=1)], seed=1) for _ in range(2))
    result = one(image=image, mask=mask)
    assert np.array_equal(result["image"], other(image=image)["image"])
    assert not np.array_equal(result["image"], image)
    assert np.array_equal(result["mask"], mask)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"saturation is 1\.5"):
        ColourMatrix(saturation=1.5)
    with pytest.raises(ConfigError, match=r"hue is 0\.7"):
        ColourMatrix(hue=0.7)
    with pytest.raises(ConfigError, match="RGB images of 8 bits, not for float32"):
        ColourMatrix(p=1)(image=np.zeros((4, 4, 3), np.float32))
