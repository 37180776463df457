"""Objects drawn as outlines with numbers."""

from __future__ import annotations

import numpy as np

from deeplab_lightning.reporting.outlines import CLEAR, GROUND, GROUND_COLOUR, INK, INK_COLOUR, outline_layer, outlines

TABLE = np.zeros((256, 3), np.uint8)
TABLE[3], TABLE[5] = (200, 0, 0), (0, 90, 0)


def two_objects() -> tuple[np.ndarray, np.ndarray]:
    """Return two that touch, 60 pixels wide, of one class, and a tiny one of another."""
    classes, numbers = np.full((100, 200), 1, np.uint8), np.zeros((100, 200), np.int32)
    classes[20:80, 20:140], numbers[20:80, 20:80], numbers[20:80, 80:140] = 3, 1, 27
    classes[90:94, 10:14], numbers[90:94, 10:14] = 5, 40
    return classes, numbers


def test_outlines_are_the_objects_rims() -> None:
    layer = outline_layer(*two_objects())
    for left, right in ((20, 79), (80, 139)):
        assert (layer[20, left : right + 1] == 3).all()
        assert (layer[79, left : right + 1] == 3).all()
        assert (layer[20:80, [left, right]] == 3).all()
        assert (layer[21:79, [left + 1, right - 1]] == INK).all()
    assert (layer[90:94, 10:14] == [[5, 5, 5, 5], [5, INK, INK, 5], [5, INK, INK, 5], [5, 5, 5, 5]]).all()
    outside = two_objects()[1] == 0
    assert (layer[outside] == CLEAR).all()
    assert (layer[24:40, 24:76] == CLEAR).all()


def test_numbers_stand_in_the_middle_of_what_is_large_enough() -> None:
    layer = outline_layer(*two_objects())
    for left, right in ((23, 77), (83, 137)):
        rows, columns = (layer[23:77, left:right] == INK).nonzero()
        assert len(rows)
        assert abs(rows.mean() - 27) < 3
        assert abs(columns.mean() - 27) < 3
        assert (layer[23:77, left:right] == GROUND).any()
    one, other = (np.count_nonzero(layer[23:77, left : left + 54] == INK) for left in (23, 83))
    assert other > one  # two digits
    thin = outline_layer(np.full((100, 200), 3, np.uint8), np.eye(100, 200, dtype=np.int32))
    assert not (thin == GROUND).any()


def test_over_an_image_all_else_stays() -> None:
    classes, numbers = two_objects()
    image = np.random.default_rng(0).integers(0, 256, (100, 200, 3), dtype=np.uint8)
    drawn, layer = outlines(image, classes, numbers, TABLE), outline_layer(classes, numbers)
    assert drawn.dtype == np.uint8
    assert np.array_equal(drawn[layer == CLEAR], image[layer == CLEAR])
    assert (drawn[20, 20] == TABLE[3]).all()
    assert (drawn[layer == INK] == INK_COLOUR).all()
    assert (drawn[layer == GROUND] == GROUND_COLOUR).all()
    assert np.array_equal(outlines(image, classes, np.zeros_like(numbers), TABLE), image)
    assert outlines(image[:, :, 0], classes, numbers, TABLE).shape == (100, 200, 3)
