"""Objects followed from frame to frame."""

from __future__ import annotations

import numpy as np

from deeplab_lightning.video.objects import ObjectTracker


def mask(*boxes: tuple[int, int, int, int, int]) -> np.ndarray:
    """Return `(40, 60)` with boxes of `class, left, top, width, height`."""
    ids = np.zeros((40, 60), np.uint8)
    for class_id, left, top, width, height in boxes:
        ids[top : top + height, left : left + width] = class_id
    return ids


def test_an_object_that_moves_keeps_its_number_and_its_box_is_right() -> None:
    tracker = ObjectTracker([1], 0)
    for step in range(6):
        found = tracker.update(mask((1, 3 * step, 10, 8, 5)))
        assert found == [(1, 1, 3 * step, 10, 8, 5, 40)]


def test_two_objects_keep_their_numbers_and_a_new_one_gets_a_new_one() -> None:
    tracker = ObjectTracker([1, 2], 0)
    first = tracker.update(mask((1, 0, 0, 10, 10), (1, 30, 0, 10, 10)))
    assert [found.id for found in first] == [1, 2]
    second = tracker.update(mask((1, 32, 0, 10, 10), (1, 2, 0, 10, 10), (2, 0, 20, 5, 5)))
    assert {found.id: found.left for found in second} == {1: 2, 2: 32, 3: 0}
    third = tracker.update(mask((1, 4, 0, 10, 10)))
    assert [found.id for found in third] == [1]
    fourth = tracker.update(mask((1, 4, 0, 10, 10), (1, 32, 0, 10, 10)))  # gone for a frame is gone for good
    assert [(found.id, found.left) for found in fourth] == [(1, 4), (4, 32)]


def test_another_class_in_the_same_place_is_another_object() -> None:
    tracker = ObjectTracker([1, 2], 0)
    assert tracker.update(mask((1, 5, 5, 10, 10)))[0].id == 1
    assert tracker.update(mask((2, 5, 5, 10, 10)))[0].id == 2


def test_of_two_halves_the_larger_keeps_the_number() -> None:
    tracker = ObjectTracker([1], 0)
    tracker.update(mask((1, 0, 0, 30, 10)))
    parts = tracker.update(mask((1, 0, 0, 8, 10), (1, 10, 0, 20, 10)))
    assert {found.id: found.width for found in parts} == {1: 20, 2: 8}


def test_small_regions_and_other_classes_are_left_out() -> None:
    tracker = ObjectTracker([1], 20)
    assert [found.area for found in tracker.update(mask((1, 0, 0, 4, 5), (1, 30, 0, 19, 1), (2, 0, 20, 20, 20)))] == [
        20
    ]


def test_it_goes_on_from_its_state() -> None:
    frames = [mask((1, 2 * step, 0, 10, 10), (2, 40 - 3 * step, 20, 9, 9)) for step in range(5)]
    whole, first = ObjectTracker([1, 2], 0), ObjectTracker([1, 2], 0)
    expected = [whole.update(frame) for frame in frames]
    for frame in frames[:3]:
        first.update(frame)
    second = ObjectTracker([1, 2], 0)
    second.restore(first.state())
    assert [second.update(frame) for frame in frames[3:]] == expected[3:]
