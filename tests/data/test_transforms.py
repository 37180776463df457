"""Training augmentation: sizes, borders and ids are exact, and a seed decides everything."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from deeplab_lightning.data.transforms.geometry import scale_choices
from deeplab_lightning.data.transforms.pipelines import AugmentationOptions, TrainingTransform
from deeplab_lightning.errors import ConfigError

MEAN_PIXEL = (123.675, 116.28, 103.53)
VOID = 255


def pipeline(crop_size: int = 33, **options: Any) -> TrainingTransform:
    settings: dict[str, Any] = {"scale_range": (1.0, 1.0), "flip": 0.0}
    return TrainingTransform(AugmentationOptions(crop_size=crop_size, **{**settings, **options}), MEAN_PIXEL, VOID)


def example(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """An image whose red channel is ten times its mask, ids 0, 9 and 20 in patches."""
    rng = np.random.default_rng(0)
    patches = rng.choice(np.array([0, 9, 20], np.uint8), (height // 5 + 1, width // 5 + 1))
    mask = np.kron(patches, np.ones((5, 5), np.uint8))[:height, :width]
    image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    image[..., 0] = 10 * mask
    return image, mask


@pytest.mark.parametrize("size", [(33, 33), (20, 70), (70, 20), (8, 8), (101, 64)])
@pytest.mark.parametrize("scale_range", [(1.0, 1.0), (0.5, 2.0), (0.25, 0.25), (1.5, 1.5)])
def test_crops_have_the_size_asked_for(size: tuple[int, int], scale_range: tuple[float, float]) -> None:
    transform = pipeline(scale_range=scale_range, flip=0.5, colour_jitter=0.2)
    for seed in range(8):
        image, mask = transform(*example(*size), seed)
        assert image.shape == (33, 33, 3)
        assert mask.shape == (33, 33)
        assert image.dtype == mask.dtype == np.uint8
        assert set(np.unique(mask)) <= {0, 9, 20, VOID}


def test_beyond_the_image_is_the_mean_pixel_and_void() -> None:
    source, labels = example(20, 25)
    image, mask = pipeline()(source, labels, 0)
    assert np.array_equal(image[:20, :25], source)
    assert np.array_equal(mask[:20, :25], labels)
    beyond = np.ones((33, 33), bool)
    beyond[:20, :25] = False
    assert np.all(mask[beyond] == VOID)
    assert np.abs(image[beyond] - np.array(MEAN_PIXEL)).max() <= 0.5


def test_void_only_where_there_is_no_image() -> None:
    for seed in range(10):
        _, mask = pipeline(scale_range=(1.0, 2.0), flip=0.5)(*example(40, 40), seed)
        assert VOID not in mask


def test_a_seed_decides_everything() -> None:
    options: dict[str, Any] = {"scale_range": (0.5, 2.0), "flip": 0.5, "colour_jitter": 0.3}
    transform, other = pipeline(**options), pipeline(**options)
    results = []
    for seed in range(6):
        image, mask = transform(*example(60, 60), seed)
        np.random.seed(seed + 1)
        for again in (transform, other):
            image_again, mask_again = again(*example(60, 60), seed)
            assert np.array_equal(image, image_again)
            assert np.array_equal(mask, mask_again)
        results.append(image.tobytes())
    assert len(set(results)) == 6


def test_image_and_mask_move_together() -> None:
    for seed in range(10):
        image, mask = pipeline(flip=0.5)(*example(50, 60), seed)
        assert np.array_equal(image[..., 0], 10 * mask)


def test_flip_is_left_and_right() -> None:
    source, labels = example(33, 33)
    image, mask = pipeline(flip=1.0)(source, labels, 0)
    assert np.array_equal(image, source[:, ::-1])
    assert np.array_equal(mask, labels[:, ::-1])
    flipped = [not np.array_equal(pipeline(flip=0.5)(source, labels, seed)[0], source) for seed in range(60)]
    assert 15 < sum(flipped) < 45


def test_scales_are_uniform_between_the_ends() -> None:
    """Read off an image smaller than the crop: the labelled rows are its new height."""
    transform = pipeline(129, scale_range=(0.5, 2.0))
    heights = [(transform(*example(60, 60), seed)[1] != VOID).any(axis=1).sum() / 60 for seed in range(200)]
    assert min(heights) >= 0.49
    assert max(heights) <= 2.01
    assert np.quantile(heights, [0.25, 0.5, 0.75]) == pytest.approx([0.875, 1.25, 1.625], abs=0.15)


def test_scales_in_steps_are_drawn_equally_often() -> None:
    transform, again = (pipeline(129, scale_range=(0.5, 2.0), scale_step=0.25) for _ in range(2))
    heights = [int((transform(*example(60, 60), seed)[1] != VOID).any(axis=1).sum()) for seed in range(210)]
    found, counts = np.unique(heights, return_counts=True)
    assert found.tolist() == [30, 45, 60, 75, 90, 105, 120]
    assert counts.min() >= 15
    for seed in range(5):
        assert (again(*example(60, 60), seed)[1] != VOID).any(axis=1).sum() == heights[seed]


def test_scale_steps_lead_from_end_to_end() -> None:
    assert scale_choices((0.5, 1.5), 0.25) == [0.5, 0.75, 1.0, 1.25, 1.5]  # v2's
    assert scale_choices((1.0, 1.0), 0.25) == [1.0]
    assert scale_choices((0.7, 1.3), 0.1) == pytest.approx([0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3])
    for scale_range, step in (((0.5, 2.0), 0.4), ((0.5, 2.0), 0.0), ((0.5, 2.0), -0.25), ((2.0, 0.5), 0.25)):
        with pytest.raises(ConfigError, match=r"does not lead from .*scale_range"):
            pipeline(scale_range=scale_range, scale_step=step)


def test_jitter_leaves_the_mask_alone() -> None:
    source, labels = example(33, 33)
    changed = 0
    for seed in range(10):
        image, mask = pipeline(colour_jitter=0.4)(source, labels, seed)
        assert np.array_equal(mask, labels)
        changed += not np.array_equal(image, source)
    assert changed >= 5


def test_the_border_keeps_its_colour_under_jitter() -> None:
    transform = pipeline(colour_jitter=0.5, hue_jitter=0.1, rotation=20.0)
    for seed in range(10):
        image, mask = transform(*example(20, 25), seed)
        assert np.all(image[mask == VOID] == np.rint(MEAN_PIXEL))


def test_jitter_needs_three_channels_and_says_so_at_once() -> None:
    for option in ("colour_jitter", "hue_jitter"):
        with pytest.raises(ConfigError, match=r"1 channel.*Set colour_jitter and hue_jitter to 0"):
            TrainingTransform(AugmentationOptions(crop_size=33, **{option: 0.2}), pad_value=[9], ignore_index=VOID)


@pytest.mark.parametrize("channels", [1, 5])
def test_images_of_other_kinds(channels: int) -> None:
    image = np.random.default_rng(0).uniform(0, 3000, (40, 50, channels)).astype(np.float32)
    transform = TrainingTransform(AugmentationOptions(crop_size=33, rotation=10), [7.5] * channels, VOID)
    for seed in range(5):
        crop, mask = transform(image, example(40, 50)[1], seed)
        assert crop.dtype == np.float32
        assert crop.shape == (33, 33, channels)
        assert np.all(crop[mask == VOID] == 7.5)


ALL_OPTIONS: dict[str, Any] = {
    "scale_range": (0.5, 2.0),
    "flip": 0.5,
    "colour_jitter": 0.3,
    "hue_jitter": 0.1,
    "rotation": 10.0,
    "rare_class_crops": 0.5,
    "blur": 0.5,
    "elastic": 0.5,
    "transforms": [{"GaussNoise": {"p": 0.5}}, {"CoarseDropout": None}],
}


def test_all_options_together_repeat_with_the_seed() -> None:
    transform, other = pipeline(**ALL_OPTIONS), pipeline(**ALL_OPTIONS)
    results = set()
    for seed in range(6):
        image, mask = transform(*example(60, 60), seed)
        again, mask_again = other(*example(60, 60), seed)
        assert np.array_equal(image, again)
        assert np.array_equal(mask, mask_again)
        assert set(np.unique(mask)) <= {0, 9, 20, VOID}
        results.add(image.tobytes())
    assert len(results) == 6


@pytest.mark.parametrize("option", ["elastic", "blur"])
def test_further_options_do_something(option: str) -> None:
    source, labels = example(60, 60)
    plain = pipeline(49)(source, labels, 3)
    image, mask = pipeline(49, **{option: 1.0})(source, labels, 3)
    assert not np.array_equal(image, plain[0])
    assert np.array_equal(mask, plain[1]) == (option == "blur")


def test_what_transforms_fill_is_void() -> None:
    source, labels = example(60, 60)
    transform = pipeline(49, transforms=[{"Rotate": {"limit": [30, 30], "p": 1.0}}])
    image, mask = transform(source, labels, 0)
    assert mask[0, 0] == mask[-1, -1] == VOID
    assert np.abs(image[0, 0] - np.array(MEAN_PIXEL)).max() <= 1


@pytest.mark.parametrize(
    ("transforms", "message"),
    [
        ([{"GausNoise": {}}], r"no transform 'GausNoise'. Did you mean 'GaussNoise'"),
        ([{"GaussNoise": {"std_rang": [0, 1]}}], r"GaussNoise has no argument 'std_rang'. Did you mean 'std_range'"),
        ([{"GaussNoise": {"p": 3}}], "GaussNoise cannot be made with"),
        ([{"Normalize": {}}], "on the device, by --data.mean and --data.std: leave Normalize out"),
        ([{"ToTensorV2": None}], "in the loader: leave ToTensorV2 out"),
    ],
)
def test_transforms_that_cannot_be_are_refused(transforms: list[Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        pipeline(transforms=transforms)


def test_transforms_may_not_change_the_size() -> None:
    transform = pipeline(transforms=[{"CenterCrop": {"height": 8, "width": 8}}])
    with pytest.raises(ConfigError, match=r"shape \(8, 8, 3\).*data.crop_size"):
        transform(*example(60, 60), 0)


def test_it_says_what_it_does() -> None:
    text = str(pipeline(**{**ALL_OPTIONS, "scale_step": 0.25}))
    for words in (
        "scale 0.5 to 2 in steps of 0.25",
        "33x33",
        "10 degrees",
        "hue +-0.1",
        "GaussNoise {'p': 0.5}",
        "CoarseDropout",
        "deform with",
        "rare",
    ):
        assert words in text
    plain = str(pipeline())
    assert "scale 1" in plain
    assert "label 255" in plain
    assert "mirror" not in plain
