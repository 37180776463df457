"""What every loss promises: void does not count, nothing is NaN, gradients are right; and the fact sheet's figures."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from deeplab_lightning.errors import ConfigError
from deeplab_lightning.losses import (
    LOSSES,
    CombinedLoss,
    LossOptions,
    boundary_cross_entropy,
    cross_entropy,
    dice,
    focal,
    hard_pixel_cross_entropy,
    lovasz_softmax,
    ohem_cross_entropy,
    tversky,
)
from deeplab_lightning.losses.boundary import near_boundary
from deeplab_lightning.losses.class_weights import ClassCounts, class_weights
from deeplab_lightning.losses.cross_entropy import hard_pixel_share

VOID = 255
SMALL = LossOptions(hard_pixel_share=0.5, ohem_min_kept=3, ohem_threshold=0.3, label_smoothing=0.1)


def loss_of(name: str) -> CombinedLoss:
    return CombinedLoss({name: 1.0}, VOID, SMALL)


def batch(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 4, 5, 6, generator=generator, dtype=dtype).mul(2).requires_grad_()
    mask = torch.randint(0, 4, (2, 5, 6), generator=generator)
    mask[0, :2] = VOID
    return logits, mask


@pytest.mark.parametrize("name", LOSSES)
def test_void_gets_no_gradient_and_does_not_count(name: str) -> None:
    logits, mask = batch()
    loss = loss_of(name)(logits, mask)
    loss.backward()
    assert logits.grad is not None
    void = (mask == VOID)[:, None].expand_as(logits)
    assert (logits.grad[void] == 0).all()
    assert (logits.grad[~void] != 0).any()
    changed = torch.where(void, torch.randn_like(logits) * 9, logits).detach()
    assert loss_of(name)(changed, mask).item() == pytest.approx(loss.item(), rel=1e-12)


@pytest.mark.parametrize("name", LOSSES)
def test_nothing_but_void_is_zero(name: str) -> None:
    logits, mask = batch()
    loss = loss_of(name)(logits, torch.full_like(mask, VOID))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert (logits.grad == 0).all()


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_are_those_of_the_loss(name: str) -> None:
    logits, mask = batch()
    assert torch.autograd.gradcheck(lambda x: loss_of(name)(x, mask), (logits,))


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("scale", [1e-3, 1.0, 200.0])
def test_finite_at_any_confidence_and_in_half_precision(name: str, scale: float) -> None:
    logits, mask = batch()
    for dtype in (torch.float32, torch.bfloat16):
        extreme = (logits.detach() * scale).to(dtype).requires_grad_()
        loss = loss_of(name)(extreme, mask)
        loss.backward()
        assert extreme.grad is not None
        assert torch.isfinite(loss)
        assert torch.isfinite(extreme.grad).all()
        assert loss >= 0


@pytest.mark.parametrize("name", LOSSES)
def test_being_right_costs_less(name: str) -> None:
    logits, mask = batch()
    right = torch.nn.functional.one_hot(mask.where(mask != VOID, 0), 4).movedim(-1, 1).double() * 8
    assert loss_of(name)(right, mask) < loss_of(name)(logits, mask) < loss_of(name)(-right, mask)


# --- figures --------------------------------------------------------------------------------------------------------


def binary(probs: list[float], truth: list[int]) -> tuple[Tensor, Tensor]:
    """Two-class logits `(1, 2, 1, N)` whose probabilities of class 1 are `probs`."""
    p = torch.tensor(probs, dtype=torch.float64)
    return torch.stack([(1 - p).log(), p.log()])[None, :, None], torch.tensor(truth)[None, None]


def test_golden_values() -> None:
    """Fact sheet, section 16: of class 1; class 0 has probabilities 1 - p and truths 1 - y."""
    probs, truth = [0.9, 0.4, 0.7, 0.2], [1, 1, 0, 0]
    logits, mask = binary(probs, truth)
    assert naive_lovasz(probs, truth) == pytest.approx(0.475)
    other = naive_lovasz([1 - p for p in probs], [1 - y for y in truth])
    assert lovasz_softmax(logits, mask, VOID).item() == pytest.approx((0.475 + other) / 2)
    one, zero = 1 - (2 * 1.3 + 1) / (2.2 + 2 + 1), 1 - (2 * 1.1 + 1) / (1.8 + 2 + 1)
    assert one == pytest.approx(0.307692, abs=1e-6)
    assert dice(logits, mask, VOID).item() == pytest.approx((one + zero) / 2)
    hit, truth = binary([0.3], [1])
    assert focal(hit, truth, VOID, gamma=0).item() == pytest.approx(1.203973, abs=1e-6)
    assert focal(hit, truth, VOID, gamma=2).item() == pytest.approx(0.589947, abs=1e-6)


def naive_lovasz(probs: list[float], truth: list[int]) -> float:
    """The fact sheet's formula, one pixel at a time."""
    errors = sorted(((abs(y - p), y) for p, y in zip(probs, truth, strict=True)), reverse=True)
    total, seen, others, before, loss = sum(truth), 0, 0, 0.0, 0.0
    for error, y in errors:
        seen, others = seen + y, others + 1 - y
        jaccard = 1 - (total - seen) / (total + others)
        loss += error * (jaccard - before)
        before = jaccard
    return loss


def test_lovasz_of_hard_decisions_is_one_minus_the_iou() -> None:
    """Berman et al.: on 0-1 predictions it is the loss that it stands in for."""
    mask = torch.tensor([[[0, 0, 1, 1, 1, 0]]])
    pred = torch.tensor([[[0, 1, 1, 1, 0, 0]]])
    logits = torch.nn.functional.one_hot(pred, 2).movedim(-1, 1).double() * 1000
    assert lovasz_softmax(logits, mask, VOID).item() == pytest.approx(1 - (2 / 4 + 2 / 4) / 2)


def test_tversky_weighs_what_is_missed() -> None:
    mask = torch.tensor([[[1, 1, 1, 0]]])
    missed = torch.tensor([[[1, 0, 1, 0]]])
    logits = torch.nn.functional.one_hot(missed, 2).movedim(-1, 1).double() * 1000
    of_one = 1 - (2 + 1) / (2 + 0.9 * 1 + 1)  # class 1: two hits, one missed
    of_zero = 1 - (1 + 1) / (1 + 0.1 * 1 + 1)  # class 0: one hit, one too much
    loss = tversky(logits, mask, VOID, alpha=0.1, beta=0.9)
    assert loss.item() == pytest.approx((of_one + of_zero) / 2)


def test_class_weights_make_a_weighted_mean() -> None:
    logits, mask = binary([0.9, 0.4, 0.7], [1, 1, 0])
    weights = torch.tensor([3.0, 0.5])
    expected = (0.5 * -math.log(0.9) + 0.5 * -math.log(0.4) + 3 * -math.log(0.3)) / (0.5 + 0.5 + 3)
    assert cross_entropy(logits, mask, VOID, weights).item() == pytest.approx(expected)
    assert cross_entropy(logits, torch.ones_like(mask), VOID, torch.tensor([1.0, 0.0])).item() == 0


def test_label_smoothing_spreads_the_truth() -> None:
    logits, mask = binary([0.9], [1])
    expected = 0.95 * -math.log(0.9) + 0.05 * -math.log(0.1)
    assert cross_entropy(logits, mask, VOID, label_smoothing=0.1).item() == pytest.approx(expected)


def test_hard_pixels_count_void_among_all_as_tensorflow_does() -> None:
    logits, mask = binary([0.9, 0.4, 0.7, 0.2], [1, 1, VOID, VOID])
    of_all = hard_pixel_cross_entropy(logits, mask, VOID, 1.0).item()
    assert of_all == pytest.approx((-math.log(0.9) - math.log(0.4)) / 2)  # the mean of what is not 0
    assert hard_pixel_cross_entropy(logits, mask, VOID, 0.5).item() == pytest.approx(of_all)
    assert hard_pixel_cross_entropy(logits, mask, VOID, 0.25).item() == pytest.approx(-math.log(0.4))


def test_the_share_of_hard_pixels_falls() -> None:
    assert [hard_pixel_share(step, 0.25, 100) for step in (0, 50, 100, 200)] == pytest.approx([1, 0.625, 0.25, 0.25])
    assert hard_pixel_share(0, 0.25, 0) == 0.25


def test_ohem_keeps_what_is_uncertain_and_enough_of_it() -> None:
    logits, mask = binary([0.9, 0.4, 0.6, 0.8], [1, 1, 1, 1])
    losses = [-math.log(p) for p in (0.9, 0.4, 0.6, 0.8)]
    assert ohem_cross_entropy(logits, mask, VOID, 0.7, 1).item() == pytest.approx((losses[1] + losses[2]) / 2)
    assert ohem_cross_entropy(logits, mask, VOID, 0.7, 3).item() == pytest.approx(sum(losses[1:]) / 3)
    assert ohem_cross_entropy(logits, mask, VOID, 0.7, 99).item() == pytest.approx(sum(losses) / 4)


def test_boundaries_are_found_across_void() -> None:
    mask = torch.tensor([[[0, 0, 0, VOID, 1, 1, 1]]])
    assert near_boundary(mask, VOID, 1).sum() == 0
    assert near_boundary(mask, VOID, 2)[0, 0].tolist() == [False, False, True, False, True, False, False]
    assert near_boundary(torch.zeros_like(mask), VOID, 3).sum() == 0
    logits = torch.randn(1, 2, 1, 7, dtype=torch.float64)
    losses = torch.nn.functional.cross_entropy(logits, mask, ignore_index=VOID, reduction="none")[0, 0]
    assert boundary_cross_entropy(logits, mask, VOID, 2).item() == pytest.approx(((losses[2] + losses[4]) / 2).item())


def test_a_sum_of_losses() -> None:
    logits, mask = batch()
    both = CombinedLoss({"cross_entropy": 1.0, "dice": 0.5}, VOID)(logits, mask)
    expected = cross_entropy(logits, mask, VOID) + 0.5 * dice(logits, mask, VOID)
    assert both.item() == pytest.approx(expected.item())


@pytest.mark.parametrize(
    ("terms", "expected"),
    [
        ({"dise": 1.0}, r"Unknown loss 'dise'\. Did you mean 'dice'\?"),
        ({}, r"one above 0"),
        ({"dice": 0.0}, r"one above 0"),
        ({"dice": 1.0, "focal": -1.0}, r"0 or more"),
    ],
)
def test_mistakes(terms: dict[str, float], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        CombinedLoss(terms, VOID)


# --- class weights --------------------------------------------------------------------------------------------------

CAMVID = [
    10_682_767, 14_750_079, 623_349, 20_076_880, 2_845_085, 6_166_762, 743_859, 714_595, 3_719_877, 405_385, 184_967,
]  # fmt: skip
"""Labelled pixels of the training split (fact sheet, section 13)."""


def test_enet_weights_of_camvid() -> None:
    pixels = torch.tensor(CAMVID)
    weights = class_weights("enet", ClassCounts(pixels, pixels))
    expected = [5.60, 4.30, 33.57, 3.34, 15.49, 8.74, 31.54, 32.01, 12.83, 38.01, 43.91]
    assert weights.tolist() == pytest.approx(expected, abs=0.006)


def test_median_frequency_and_absent_classes() -> None:
    counts = ClassCounts(torch.tensor([60, 30, 0, 10]), torch.tensor([100, 100, 0, 50]))
    assert class_weights("median_frequency", counts).tolist() == pytest.approx([0.5, 1.0, 0.0, 1.5])
    even = ClassCounts(torch.tensor([60, 30]), torch.tensor([100, 100]))
    assert class_weights("median_frequency", even).tolist() == pytest.approx([0.45 / 0.6, 0.45 / 0.3])


def test_effective_numbers() -> None:
    counts: Any = torch.tensor([90, 10, 0])
    weights = class_weights("effective_number", ClassCounts(counts, counts))
    b = 1 - 1 / 100
    raw = [(1 - b) / (1 - b**n) for n in (90, 10)]
    assert weights.tolist() == pytest.approx([2 * raw[0] / sum(raw), 2 * raw[1] / sum(raw), 0])
