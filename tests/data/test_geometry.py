"""The window against the plain composition of albumentations, which scales the whole image and throws most away."""

from __future__ import annotations

from typing import Any

import albumentations as A
import cv2
import numpy as np
import pytest

from deeplab_lightning.data.transforms.geometry import RandomWindow, Span, Window
from deeplab_lightning.errors import ConfigError

FILL = (124, 116, 104)
VOID = 255


def natural(height: int, width: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A smooth image with edges and some noise, and a mask of blocks."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(40, 210, (height // 12 + 2, width // 12 + 2, 3)).astype(np.float32)
    image = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    mask = np.kron(rng.integers(0, 21, (height // 7 + 1, width // 7 + 1)), np.ones((7, 7)))[:height, :width]
    image += 3 * mask[..., None] + rng.normal(0, 4, image.shape)
    return image.clip(0, 255).astype(np.uint8), mask.astype(np.uint8)


def composed(image: np.ndarray, mask: np.ndarray, window: Window, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Do what the window says with transforms of albumentations alone."""
    rows, columns = window.rows, window.columns
    compose = A.Compose(
        [
            A.RandomScale((scale - 1, scale - 1), cv2.INTER_LINEAR, cv2.INTER_NEAREST, p=1),
            A.PadIfNeeded(
                rows.size,
                columns.size,
                position="top_left",
                border_mode=cv2.BORDER_CONSTANT,
                fill=FILL,
                fill_mask=VOID,
            ),
            A.Crop(columns.start, rows.start, columns.start + columns.size, rows.start + rows.size),
            A.HorizontalFlip(p=float(window.flip)),
        ]
    )
    result = compose(image=image, mask=mask)
    return result["image"], result["mask"]


@pytest.mark.parametrize("size", [(375, 500), (101, 67), (40, 300), (128, 256)])
@pytest.mark.parametrize("crop_size", [33, 129, 257])
def test_windows_equal_the_plain_composition(size: tuple[int, int], crop_size: int) -> None:
    image, mask = natural(*size)
    generator = np.random.default_rng(0)
    for scale in (0.5, 0.75, 0.999, 1.0, 1.25, 1.3, 1.75, 2.0, *generator.uniform(0.5, 2.0, 6)):
        transform = RandomWindow(crop_size, (scale, scale), fill=FILL, fill_mask=VOID)
        window = transform.draw(image.shape, None, generator)
        got, got_mask = window.frame(window.cut(image), FILL), window.cut_mask(mask, VOID)
        expected, expected_mask = composed(image, mask, window, scale)
        exact, _ = composed(image.astype(np.float32), mask, window, scale)
        assert np.array_equal(got_mask, expected_mask)
        difference = np.abs(got.astype(int) - expected)
        assert difference.max() <= 3
        assert difference.mean() < 0.2
        assert np.abs(got - exact).mean() < np.abs(expected - exact).mean() + 0.02, "as near to floating point"
        assert got.flags.c_contiguous
        assert got_mask.flags.c_contiguous


def test_opencv_is_left_as_it_was() -> None:
    image, _ = natural(90, 110)
    before = cv2.resize(image, (70, 60))
    RandomWindow(33, (1.3, 1.3))(image=image)
    assert not cv2.ipp.useIPP_NotExact()
    assert np.array_equal(cv2.resize(image, (70, 60)), before)


def test_scale_one_is_a_copy() -> None:
    image, mask = natural(90, 110)
    window = Window(Span(90, 90, 20, 33), Span(110, 110, 40, 33))
    assert np.array_equal(window.frame(window.cut(image), FILL), image[20:53, 40:73])
    assert np.array_equal(window.cut_mask(mask, VOID), mask[20:53, 40:73])
    assert np.shares_memory(window.cut(image), image)


def test_only_the_window_is_read() -> None:
    class Reads:
        shape = (1024, 2048, 3)

        def __getitem__(self, part: tuple[slice, slice]) -> np.ndarray:
            height, width = (piece.stop - piece.start for piece in part)
            assert height <= 200
            assert width <= 200
            return np.zeros((height, width, 3), np.uint8)

    for start in (0, 400, 777, 1500):
        for scaled in (2048, 2600, 2700):
            window = Window(Span(1024, scaled // 2, 300, 129), Span(2048, scaled, start, 129))
            assert window.cut(Reads()).shape == (129, 129, 3)


def test_edges_are_repeated_not_blended_with_the_border() -> None:
    image = np.full((20, 20, 3), 200, np.uint8)
    window = Window(Span(20, 31, 0, 40), Span(20, 31, 0, 40))
    crop = window.frame(window.cut(image), FILL)
    assert np.all(crop[:31, :31] == 200)
    assert np.all(crop[31:] == FILL)
    assert np.all(crop[:, 31:] == FILL)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 13])
@pytest.mark.parametrize("angle", [0.0, 20.0])
def test_any_channels_and_floating_point(dtype: type, channels: int, angle: float) -> None:
    """Each channel comes out as it does alone; cv2 turns two channels less exactly than one, and rounds them anew."""
    image = np.concatenate([natural(50, 60, seed)[0] for seed in range(5)], axis=2)[..., :channels].astype(dtype)
    window = Window(Span(50, 71, 9, 41), Span(60, 85, 30, 41), flip=True, angle=angle)
    fill = [float(10 * channel) for channel in range(channels)]
    crop = window.frame(window.cut(image), fill)
    assert crop.dtype == dtype
    assert crop.shape == (41, 41, channels)
    for channel in range(channels):
        alone = window.frame(window.cut(image[..., channel : channel + 1]), fill[channel : channel + 1])
        difference = np.abs(crop[..., channel].astype(float) - alone[..., 0])
        assert difference.max() <= ((4 if angle else 1) if channels == 2 else 0.01)


@pytest.mark.parametrize("angle", [-30.0, 7.5, 90.0])
def test_turning_equals_albumentations(angle: float) -> None:
    image, mask = natural(65, 65)
    window = Window(Span(65, 65, 0, 65), Span(65, 65, 0, 65), angle=angle)
    rotate = A.Rotate((angle, angle), border_mode=cv2.BORDER_CONSTANT, fill=FILL, fill_mask=VOID, p=1)
    expected = rotate(image=image, mask=mask)
    got, got_mask = window.frame(window.cut(image), FILL), window.cut_mask(mask, VOID)
    assert (got_mask != expected["mask"]).mean() < 0.002
    inside = cv2.erode((expected["mask"] != VOID).astype(np.uint8), np.ones((3, 3)), borderValue=0) > 0
    assert np.abs(got.astype(int) - expected["image"])[inside].max() <= 2
    assert np.all(got[got_mask == VOID] == FILL)


@pytest.mark.parametrize("scaled", [40, 60, 110])
def test_recolouring_and_the_mirror_work_where_pixels_are_fewest(scaled: int) -> None:
    image, seen = natural(60, 60)[0], []

    def darker(pixels: np.ndarray) -> np.ndarray:
        seen.append(pixels.shape[0] * pixels.shape[1])
        return pixels // 2

    for flip in (False, True):
        window = Window(Span(60, scaled, 0, 45), Span(60, scaled, max(scaled - 45, 0), 45), flip)
        got = window.cut(image, darker).astype(int)
        plain = Window(window.rows, window.columns).cut(image).astype(int) // 2
        assert np.abs(got - (plain[:, ::-1] if flip else plain)).max() <= 1
        fewest = min(45, scaled) ** 2
        assert seen.pop() <= (fewest if scaled <= 60 else 0.5 * fewest)


def test_turned_windows_show_image_and_mask_alike() -> None:
    mask = np.kron(np.random.default_rng(0).integers(0, 21, (4, 5)), np.ones((30, 30))).astype(np.uint8)
    image = np.repeat(10 * mask[..., None], 3, axis=2)
    generator = np.random.default_rng(0)
    transform = RandomWindow(65, (0.8, 1.6), rotation=45, fill=0, fill_mask=VOID)
    for _ in range(10):
        window = transform.draw(image.shape, None, generator)
        crop, labels = window.frame(window.cut(image), [0, 0, 0]), window.cut_mask(mask, VOID)
        inner = cv2.morphologyEx(labels, cv2.MORPH_GRADIENT, np.ones((5, 5))) == 0
        inner &= labels != VOID
        inner[:2] = inner[-2:] = inner[:, :2] = inner[:, -2:] = False  # an edge may lie just outside of the crop
        assert inner.sum() > 50
        assert np.array_equal(crop[inner][:, 0], 10 * labels[inner])


def test_rare_classes_are_shown() -> None:
    mask = np.zeros((200, 300), np.uint8)
    mask[150:153, 250:253] = 7
    mask[:20] = VOID
    generator = np.random.default_rng(0)
    shown = {0.0: 0, 1.0: 0}
    for probability in shown:
        transform = RandomWindow(33, (1.0, 2.0), rare_classes=probability, fill_mask=VOID)
        for _ in range(60):
            shown[probability] += 7 in transform.draw(mask.shape, mask, generator).cut_mask(mask, VOID)
    assert shown[0.0] < 10
    assert shown[1.0] > 50  # class 0 has a share of the draws that is next to nothing
    void = np.full((50, 50), VOID, np.uint8)
    RandomWindow(33, rare_classes=1.0).draw(void.shape, void, generator)


@pytest.mark.parametrize("rotation", [0.0, 45.0, 180.0])
@pytest.mark.parametrize("scales", [(0.5, 1.0), (1.0, 1.0), (1.0, 2.0), (0.5, 2.0)])
def test_a_rare_class_is_shown_in_every_window(rotation: float, scales: tuple[float, float]) -> None:
    """It was missed in 30 of 400 windows: a turn brought it out of the crop, enlarging put it one pixel off."""
    generator = np.random.default_rng(0)
    transform = RandomWindow(33, scales, rotation=rotation, rare_classes=1.0, fill_mask=VOID)
    for _ in range(200):
        mask = np.full((70, 90), VOID, np.uint8)
        row, column = generator.integers(0, (68, 88))
        mask[row : row + 3, column : column + 3] = 7
        window = transform.draw(mask.shape, mask, generator)
        assert 7 in window.cut_mask(mask, VOID), (row, column, window.angle)


@pytest.mark.parametrize("size", [1, 2, 33])
def test_a_single_pixel_is_shown_wherever_its_scale_shows_it(size: int) -> None:
    generator = np.random.default_rng(0)
    transform = RandomWindow(size, (1.0, 2.5), rare_classes=1.0, fill_mask=VOID)
    for _ in range(100):
        mask = np.full((20, 24), VOID, np.uint8)
        mask[tuple(generator.integers(0, (20, 24)))] = 3
        assert 3 in transform.draw(mask.shape, mask, generator).cut_mask(mask, VOID)


def test_every_legal_place_is_drawn() -> None:
    transform, generator = RandomWindow(33, (1.0, 1.0)), np.random.default_rng(0)
    starts = [transform.draw((36, 33), None, generator).rows.start for _ in range(100)]
    assert sorted(set(starts)) == [0, 1, 2, 3]


def test_it_works_in_a_compose_and_repeats_with_its_seed() -> None:
    image, mask = natural(80, 90)
    options: dict[str, Any] = {"rotation": 10, "rare_classes": 0.5, "fill": FILL, "fill_mask": VOID}
    one, other = (A.Compose([RandomWindow(49, **options), A.GaussianBlur(p=0.5)], seed=3) for _ in range(2))
    crops = set()
    for _ in range(5):
        first, second = one(image=image, mask=mask), other(image=image, mask=mask)
        assert np.array_equal(first["image"], second["image"])
        assert np.array_equal(first["mask"], second["mask"])
        assert first["image"].shape == (49, 49, 3)
        crops.add(first["image"].tobytes())
    assert len(crops) == 5
    assert A.Compose([RandomWindow(49)])(image=image[..., 0], mask=mask)["image"].shape == (49, 49)
    assert "rare_classes=0.5" in repr(one.transforms[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 0}, "size of 1 or more"),
        ({"scale_range": (2.0, 0.5)}, "smallest <= largest"),
        ({"scale_range": (0.0, 0.5)}, "0 < smallest"),
        ({"rotation": -5.0}, "degrees from 0 to 180"),
        ({"flip": 1.5}, "flip is 1.5"),
        ({"rare_classes": -0.1}, "rare_classes is -0.1"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        RandomWindow(**{"size": 33, **options})
