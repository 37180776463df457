"""Advice: statistics are exact, and each remark comes where it is true and nowhere else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from deeplab_lightning.doctor.advice import balance, normalisation, shift, sizes
from deeplab_lightning.doctor.findings import Finding, as_text, exit_code, finding
from deeplab_lightning.doctor.images import Look, channel_statistics, look_at
from deeplab_lightning.labels import LabelSet

LABELS = LabelSet(("ground", "box", "disc"), ((0, 0, 0), (9, 9, 9), (5, 5, 5)))


class Given:
    """A data set of arrays."""

    def __init__(self, images: list[np.ndarray], masks: list[np.ndarray]) -> None:
        self.images, self.masks = images, masks

    def sample_id(self, index: int) -> str:
        return str(index)

    def load(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        return self.images[index], self.masks[index]


def looks(*images: np.ndarray, masks: list[np.ndarray] | None = None) -> list[Look]:
    made = masks or [np.zeros(image.shape[:2], np.uint8) for image in images]
    given: Any = Given(list(images), made)
    return [look_at(given, index) for index in range(len(images))]


def noise(height: int, width: int, seed: int = 0, low: int = 0, high: int = 256) -> np.ndarray:
    return np.random.default_rng(seed).integers(low, high, (height, width, 3), dtype=np.uint8)


def kinds(found: list[Finding]) -> list[tuple[str, str]]:
    return [(one.kind, one.severity) for one in found]


@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_statistics_are_those_of_all_pixels(kind: type) -> None:
    images = [noise(20, 30).astype(kind), noise(7, 9, 1).astype(kind)]
    pixels = np.concatenate([image.reshape(-1, 3) for image in images]).astype(np.float64) / 255
    mean, std = channel_statistics(looks(*images), 255)
    np.testing.assert_allclose(mean, pixels.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(std, pixels.std(axis=0), rtol=1e-9)


def test_equal_images_have_equal_hashes_and_others_not() -> None:
    one, same, turned, wider = looks(noise(4, 6), noise(4, 6), noise(4, 6)[::-1].copy(), noise(6, 4))
    assert one.image_hash == same.image_hash
    assert len({one.image_hash, turned.image_hash, wider.image_hash}) == 3


def test_normalisation_far_off_is_a_warning_with_the_numbers() -> None:
    dark = looks(noise(50, 60, high=40))
    (found,) = normalisation(dark, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 255)
    assert found.severity == "warning"
    mean, std = channel_statistics(dark, 255)
    assert f"mean: [{mean[0]:.3f}, " in found.remedy
    assert f"std: [{std[0]:.3f}, " in found.remedy
    (near,) = normalisation(dark, mean, std, 255)
    assert near.severity == "note"
    (channels,) = normalisation(dark, (0.5,), (0.5,), 255)
    assert (channels.kind, channels.severity) == ("channels", "error")


def test_sizes_and_crops() -> None:
    seen = looks(noise(90, 120), noise(90, 120), noise(100, 130))
    (found,) = sizes(seen, 81, (0.5, 2.0))
    assert "120x90 (2), 130x100 (1)" in found.what
    assert found.remedy == "keep it"
    assert kinds(sizes(seen, 80, (0.5, 2.0))) == [("crop", "note"), ("crop_uneven", "note")]
    too_large = sizes(seen, 513, (0.5, 2.0))
    assert kinds(too_large) == [("crop", "note"), ("crop_too_large", "warning")]
    assert "80% of it or more is padding" in too_large[1].what  # 260 of 513 wide and 200 of 513 high are covered


def test_shift_between_splits() -> None:
    bright, dark = looks(noise(30, 30, low=100)), looks(noise(30, 30, high=156))
    assert kinds(shift({"train": bright, "val": dark}, 255)) == [("shift", "note")]
    assert shift({"train": bright, "val": bright}, 255) == []
    assert shift({"train": bright}, 255) == []


def test_balance() -> None:
    mask = np.zeros((100, 100), np.uint8)
    mask[:10, :2] = 1
    even = np.arange(9999, dtype=np.int64).reshape(99, 101) % 3
    found = balance(looks(noise(100, 100), masks=[mask]), LABELS)
    assert kinds(found) == [("rare_class", "note"), ("imbalance", "note")]
    assert "ground has 499 times as many train pixels as box" in found[1].what
    assert balance(looks(noise(99, 101), masks=[even.astype(np.uint8)]), LABELS) == []
    assert balance(looks(noise(9, 9), masks=[np.full((9, 9), 255, np.uint8)]), LABELS) == []


def test_text_and_exit_code() -> None:
    found = [
        finding("note", "true", "So it is.", "nothing"),
        finding("warning", "odd", "It is odd.", "look"),
        finding("error", "bad", "It is bad.", "fix it", [f"file{number}" for number in range(200)]),
    ]
    text = as_text(found)
    assert text.index("error (bad)") < text.index("warning (odd)") < text.index("note (true)")
    assert "file2\n      and 197 more\n    -> fix it" in text
    assert len(found[2].files) == 100
    assert [exit_code(found[:count], strict=False) for count in (1, 2, 3)] == [0, 0, 1]
    assert [exit_code(found[:count], strict=True) for count in (1, 2)] == [0, 1]
