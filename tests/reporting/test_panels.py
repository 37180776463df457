"""Panels: the right pixels in the right columns, sizes, legends; overlays."""

from __future__ import annotations

import numpy as np
import pytest

from deeplab_lightning.data.display import displayable
from deeplab_lightning.data.sets.camvid import CAMVID
from deeplab_lightning.errors import DataError
from deeplab_lightning.reporting.panels import (
    ERROR_COLOUR,
    ERROR_VOID_COLOUR,
    GAP,
    MARGIN,
    MAX_SIDE,
    VOID_COLOUR,
    PanelImage,
    _legend,
    _share_wrong,
    fit,
    overlay,
    panel_overview,
)

NAMES = ("ground", "box", "disc")
PALETTE = [[0, 0, 0], [128, 64, 0], [0, 128, 200]]


def example(height: int = 300, width: int = 400, ignore_index: int = 255) -> PanelImage:
    """Left quarter void, then ground, then box; the prediction takes the last quarter for disc."""
    truth = np.zeros((height, width), dtype=np.int64)
    quarter = width // 4
    truth[:, :quarter] = ignore_index
    truth[:, 2 * quarter :] = 1
    pred = np.where(truth == 1, 1, 0)
    pred[:, 3 * quarter :] = 2
    image = np.full((height, width, 3), (10, 200, 30), dtype=np.uint8)
    return PanelImage("val/7", image, truth, pred)


def views_of(overview: np.ndarray, image: PanelImage) -> list[np.ndarray]:
    """Cut the four views out of an overview of one image."""
    height, width = image.truth.shape
    top = next(
        row for row in range(overview.shape[0]) if (overview[row, MARGIN : MARGIN + width] == image.image[0, 0]).all()
    )
    lefts = [MARGIN + column * (width + GAP) for column in range(4)]
    return [overview[top : top + height, left : left + width] for left in lefts]


@pytest.mark.parametrize("ignore_index", [255, 3, -100])
def test_views_show_image_truth_prediction_and_errors(ignore_index: int) -> None:
    panel = example(ignore_index=ignore_index)
    overview = panel_overview([panel], NAMES, PALETTE)
    assert overview.dtype == np.uint8
    image, truth, pred, error = views_of(overview, panel)
    np.testing.assert_array_equal(image, panel.image)
    columns = [50, 150, 250, 350]  # the middle of each quarter
    assert truth[9, columns].tolist() == [list(VOID_COLOUR), PALETTE[0], PALETTE[1], PALETTE[1]]
    assert pred[9, columns].tolist() == [PALETTE[0], PALETTE[0], PALETTE[1], PALETTE[2]]
    assert error[9, 50].tolist() == list(ERROR_VOID_COLOUR)
    assert error[9, 350].tolist() == list(ERROR_COLOUR)
    red = (error == ERROR_COLOUR).all(axis=2)
    np.testing.assert_array_equal(red, (panel.pred != panel.truth) & (panel.truth != ignore_index))
    assert np.ptp(error[9, 150].astype(int)) == 0, "right pixels are grey"


def test_share_of_errors_leaves_void_out() -> None:
    assert _share_wrong(example(), 3) == "33.3% wrong"
    void = example()._replace(truth=np.full((300, 400), 255))
    assert _share_wrong(void, 3) == "nothing labelled"


def test_large_images_are_shrunk_and_ids_survive() -> None:
    fitted = fit(example(1024, 2048))
    assert fitted.image.shape == (240, MAX_SIDE, 3)
    assert set(np.unique(fitted.truth)) == {0, 1, 255}
    assert fitted.truth[0, [119, 120, 239, 240]].tolist() == [255, 0, 0, 1]
    assert fit(example(2000, 400)).image.shape == (MAX_SIDE, 96, 3)


def test_masks_are_shrunk_about_the_pixels_centres() -> None:
    """As OpenCV shrinks the image: otherwise masks shift against it."""
    image = example(300, 3 * MAX_SIDE)
    image.truth[:] = np.arange(3 * MAX_SIDE)
    np.testing.assert_array_equal(fit(image).truth[0], 3 * np.arange(MAX_SIDE) + 1)


def test_tiny_images_are_enlarged_by_a_whole_factor() -> None:
    image = example(60, 80)
    fitted = fit(image)
    assert fitted.image.shape == (180, 240, 3)
    np.testing.assert_array_equal(fitted.pred, np.kron(image.pred, np.ones((3, 3), dtype=int)))


def test_overview_of_several_images_of_several_sizes() -> None:
    one = panel_overview([example()], NAMES, PALETTE)
    three = panel_overview([example(), example(400, 300), example(1000, 400)], NAMES, PALETTE)
    assert three.shape[1] == one.shape[1]
    assert three.shape[0] > one.shape[0] + 400 + MAX_SIDE


def test_grey_images() -> None:
    image = example()._replace(image=np.full((300, 400), 77, dtype=np.uint8))
    assert (fit(image).image == 77).all()
    assert fit(image).image.shape == (300, 400, 3)


def test_images_of_many_channels_have_overlays_and_panels() -> None:
    deep = np.random.default_rng(0).uniform(0, 5000, (300, 400, 7)).astype(np.float32)
    table = np.zeros((256, 3), np.uint8)
    np.testing.assert_array_equal(overlay(deep, example().pred, table, 0.0), displayable(deep))
    image = example()._replace(image=deep)
    np.testing.assert_array_equal(fit(image).image, displayable(deep))


def test_legend_holds_the_classes_that_occur() -> None:
    image = example()
    assert [name for name, _ in _legend([image], NAMES, PALETTE)] == ["ground", "box", "disc", "void"]
    plain = image._replace(truth=np.zeros((300, 400), dtype=np.uint8), pred=np.full((300, 400), 2))
    assert _legend([plain], NAMES, PALETTE) == [("ground", (0, 0, 0)), ("disc", (0, 128, 200))]


def test_legend_of_150_classes_breaks_into_lines() -> None:
    ids = np.arange(300 * 400).reshape(300, 400) % 150
    image = example()._replace(truth=ids, pred=ids)
    names, palette = [f"a rather long class name {c}" for c in range(150)], [[c, 0, 0] for c in range(150)]
    few = panel_overview([example()], NAMES, PALETTE)
    overview = panel_overview([image], names, palette)
    assert overview.shape[1] == few.shape[1]
    # the last class's patch is inside the overview
    assert (overview[few.shape[0] :] == palette[149]).all(axis=2).any()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"image": np.zeros((1, 3, 300, 400), dtype=np.uint8)}, r"\(1, 3, 300, 400\).*\(H, W, C\)"),
        ({"image": np.zeros((3, 300, 400), dtype=np.uint8)}, r"\(3, 300, 400\).*\(H, W, C\)"),
        ({"pred": np.zeros((299, 400), dtype=np.uint8)}, r"'val/7'.*\(299, 400\).*one size"),
        ({"truth": np.zeros((300, 401), dtype=np.uint8)}, r"\(300, 401\)"),
    ],
)
def test_images_that_do_not_fit(changes: dict[str, np.ndarray], words: str) -> None:
    with pytest.raises(DataError, match=words):
        panel_overview([example()._replace(**changes)], NAMES, PALETTE)


def test_no_images() -> None:
    with pytest.raises(DataError, match="at least one"):
        panel_overview([], NAMES, PALETTE)


def test_overlay() -> None:
    image = np.full((4, 5, 3), 100, dtype=np.uint8)
    pred = np.full((4, 5), 1, dtype=np.uint8)
    pred[0] = 4
    table = CAMVID.colour_table()
    np.testing.assert_array_equal(overlay(image, pred, table, 0.0), image)
    np.testing.assert_array_equal(overlay(image, pred, table, 1.0), table[pred])
    blend = overlay(image, pred.astype(np.int64), table, 0.25)
    assert blend.dtype == np.uint8
    assert blend[1, 0].tolist() == [107, 75, 75]  # 100 + (128 - 100) / 4, 100 + (0 - 100) / 4
