"""STQ against a plain program after its definition."""

from __future__ import annotations

import math
from collections import defaultdict

import numpy as np
import pytest
import torch

from deeplab_lightning.errors import DataError
from deeplab_lightning.metrics.tracking import TrackingScores

from .maps import NAMES, THINGS, VOID, Pair, drawn, perturbed


def films(count: int, seed: int, void: bool = True) -> dict[str, list[tuple[Pair, Pair]]]:
    """Return films of some frames, predictions and truths; objects keep their numbers while they are moved."""
    rng = np.random.default_rng(seed)
    found = {}
    for film in range(count):
        frames = []
        first = drawn(rng, (24, 30), crowds=True)
        for frame in range(int(rng.integers(1, 7))):
            truth = tuple(entry.roll((frame, 2 * frame), (0, 1)) for entry in first)
            classes, numbers = perturbed(rng, truth)
            frames.append(((classes if void else classes.where(classes != VOID, 0), numbers), truth))
        found[f"film-{film}"] = frames
    return found


def counted(found: dict[str, list[tuple[Pair, Pair]]], order: int = 1) -> TrackingScores:
    metric = TrackingScores(NAMES, THINGS, VOID)
    frames = [(pred, truth, f"{film}/{n:06}") for film, all_ in found.items() for n, (pred, truth) in enumerate(all_)]
    for pred, truth, name in frames[::order]:
        metric.update([pred], [truth], [name])
    return metric


def plain(found: dict[str, list[tuple[Pair, Pair]]]) -> tuple[float, float, float]:
    """Return STQ, AQ and SQ: tubes as sets of places, one after the other."""
    shares, hit, union = [], np.zeros(len(NAMES)), np.zeros(len(NAMES))
    for frames in found.values():
        true_tubes: dict[tuple[int, int], set[tuple[int, int]]] = defaultdict(set)
        pred_tubes: dict[tuple[int, int], set[tuple[int, int]]] = defaultdict(set)
        for frame, (pred, truth) in enumerate(frames):
            flat = [entry.flatten().tolist() for entry in (*pred, *truth)]
            for place, (pc, pn, tc, tn) in enumerate(zip(*flat, strict=True)):
                is_crowd = tc in THINGS and tn == 0
                if tc in THINGS and tn:
                    true_tubes[tc, tn].add((frame, place))
                if pc in THINGS and not is_crowd:
                    pred_tubes[pc, pn].add((frame, place))
                if tc != VOID:
                    hit[tc] += tc == pc
                    union[tc] += 1
                    union[pc if pc not in (tc, VOID) else tc] += pc not in (tc, VOID)
        for tube in true_tubes.values():
            parts = [len(tube & other) ** 2 / len(tube | other) for other in pred_tubes.values()]
            shares.append(math.fsum(parts) / len(tube))
    sq = math.fsum(hit[union > 0] / union[union > 0]) / (union > 0).sum()
    aq = math.fsum(shares) / len(shares)
    return math.sqrt(aq * sq), aq, sq


def test_equals_the_definition_on_random_films() -> None:
    found = films(90, seed=0)
    metric = counted(found)
    values = metric.values()
    assert (values["STQ"], values["AQ"], values["SQ"]) == pytest.approx(plain(found), abs=1e-14)
    assert 0.1 < values["AQ"] < 0.9
    for name, quality in metric.films().items():
        if quality.tubes:
            assert quality[:3] == pytest.approx(plain({name: found[name]}), abs=1e-14)


def test_the_order_of_frames_does_not_matter_and_each_counts_once() -> None:
    found = films(9, seed=1)
    expected, backwards = counted(found).values(), counted(found, order=-1)
    assert backwards.values() == expected
    backwards.merge_state(counted(found))
    assert backwards.values() == expected


def frame(text: str, numbers: str) -> Pair:
    """Return a map of one row: `.` void, digits classes."""
    classes = [VOID if letter == "." else int(letter) for letter in text]
    return torch.tensor([classes], dtype=torch.uint8), torch.tensor([list(map(int, numbers))], dtype=torch.int32)


def scored(*frames: tuple[Pair, Pair]) -> TrackingScores:
    return counted({"a": list(frames)})


def test_a_change_of_number_costs_association_alone() -> None:
    truth = frame("22000", "11000")
    same = scored((truth, truth), (truth, truth)).values()
    assert same == {"STQ": 1, "AQ": 1, "SQ": 1}
    changed = scored((truth, truth), (frame("22000", "22000"), truth)).values()
    assert changed["SQ"] == 1
    assert changed["AQ"] == (2 * 2 / 4 + 2 * 2 / 4) / 4  # two tubes that share half of it each


def test_association_does_not_look_at_classes() -> None:
    truth = frame("22000", "11000")
    assert scored((frame("33000", "11000"), truth)).values()["AQ"] == 1


def test_crowds_and_void() -> None:
    crowd = frame("22220", "11000")
    assert scored((frame("22220", "55550"), crowd)).values() == {"STQ": 1, "AQ": 1, "SQ": 1}  # the crowd is taken out
    void = frame("22..0", "11000")
    values = scored((frame("22220", "55550"), void)).values()
    assert (values["AQ"], values["SQ"]) == (2 * 2 / 4 / 2, 1)  # void is not, as in deeplab2
    missed = scored((frame("22.00", "11000"), frame("22200", "11100"))).values()
    assert missed["SQ"] == (2 / 3 + 1) / 2  # what is predicted as void is missed, and no class of its own


def test_films_are_told_apart_by_what_stands_before_the_frame() -> None:
    truth = frame("22000", "11000")
    metric = TrackingScores(NAMES, THINGS, VOID)
    metric.update(truth, truth, "a/0")
    metric.update(frame("22000", "77000"), truth, "b/0")
    metric.update(frame("00000", "00000"), frame("00000", "00000"), "c/0")
    assert metric.values()["AQ"] == 1
    found = metric.films()
    assert {name: quality.tubes for name, quality in found.items()} == {"a": 1, "b": 1, "c": 0}
    assert math.isnan(found["c"].stq)
    assert math.isnan(TrackingScores(NAMES, THINGS, VOID).values()["STQ"])


def test_what_cannot_be_counted_is_refused() -> None:
    truth = frame("22000", "11000")
    metric = TrackingScores(NAMES, THINGS, VOID)
    with pytest.raises(DataError, match="film/frame"):
        metric.update(truth, truth)
    with pytest.raises(DataError, match="number 8388608: films hold 0 to 8388607"):
        metric.update((truth[0], truth[1] << 23), truth, "a/0")
    with pytest.raises(DataError, match="at most 255"):
        TrackingScores([str(index) for index in range(256)], THINGS, VOID)


def test_memory_is_that_of_the_pairs_that_meet() -> None:
    metric = TrackingScores(NAMES, THINGS, VOID)
    classes = torch.zeros(512, 512, dtype=torch.uint8)
    classes[:, :100] = 2
    numbers = (classes == 2).int()
    for place in range(3):
        metric.update((classes, numbers), (classes, numbers), f"a/{place}")
    assert sum(record.numel() for record in metric.records) * 8 < 3 * 100
