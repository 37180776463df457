"""What every loss promises: void does not count, nothing is NaN, gradients are right; and the fact sheet's figures."""

from __future__ import annotations

import ast
import gc
import inspect
import itertools
import math
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import pytest
import torch
from torch import Tensor

from deeplab_lightning.errors import ConfigError
from deeplab_lightning.layers import resize
from deeplab_lightning.losses import CombinedLoss, Loss, LossContext, cross_entropy, loss_options
from deeplab_lightning.losses.boundary import Boundary, near_boundary
from deeplab_lightning.losses.class_weights import ClassCounts, class_weights
from deeplab_lightning.losses.configured import _options_of
from deeplab_lightning.losses.dice import Dice
from deeplab_lightning.losses.focal import Focal
from deeplab_lightning.losses.hard_pixels import HardPixels
from deeplab_lightning.losses.lovasz import Lovasz
from deeplab_lightning.losses.ohem import OHEM
from deeplab_lightning.losses.tversky import Tversky, tversky
from deeplab_lightning.options import at_least, group_of, hints_of

VOID = 255
CONTEXT = LossContext(VOID)
OTHERS = ("depth", "distillation", "instances")
LOSSES = [name for name in hints_of(loss_options()) if name not in OTHERS]
SMALL: dict[str, dict[str, Any]] = {
    "cross_entropy": {"label_smoothing": 0.1},
    "hard_pixels": {"share": 0.5},
    "ohem": {"min_kept": 3, "threshold": 0.3},
}
"""Constants that do something on a small batch."""


def combined(losses: dict[str, Any], num_classes: int = 4) -> CombinedLoss:
    """The losses of these names alone."""
    return CombinedLoss(loss_options().of({"cross_entropy": None} | losses), VOID, num_classes)


def loss_of(name: str) -> CombinedLoss:
    return combined({name: SMALL.get(name, {})})


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
    large = torch.full(logits.shape, 30_000.0, dtype=torch.float16)  # whose sum is more than half precision holds
    assert loss_of(name)(large, torch.full_like(mask, VOID)) == 0


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
    assert Lovasz()(logits, mask, CONTEXT).item() == pytest.approx((0.475 + other) / 2)
    one, zero = 1 - (2 * 1.3 + 1) / (2.2 + 2 + 1), 1 - (2 * 1.1 + 1) / (1.8 + 2 + 1)
    assert one == pytest.approx(0.307692, abs=1e-6)
    assert Dice()(logits, mask, CONTEXT).item() == pytest.approx((one + zero) / 2)
    hit, truth = binary([0.3], [1])
    assert Focal(gamma=0)(hit, truth, CONTEXT).item() == pytest.approx(1.203973, abs=1e-6)
    assert Focal(gamma=2)(hit, truth, CONTEXT).item() == pytest.approx(0.589947, abs=1e-6)


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
    assert Lovasz()(logits, mask, CONTEXT).item() == pytest.approx(1 - (2 / 4 + 2 / 4) / 2)


def test_lovasz_of_every_second_pixel_is_that_of_the_image_that_these_make() -> None:
    logits, mask = batch()
    larger = [each.repeat_interleave(2, -1).repeat_interleave(2, -2) for each in (logits, mask)]
    larger[0][..., 1::2, :] = larger[0][..., 1::2] = torch.nan  # nobody looks at them
    assert torch.equal(Lovasz(every=2)(larger[0], larger[1], CONTEXT), Lovasz()(logits, mask, CONTEXT))


@pytest.mark.parametrize("side", [5, 6])
@pytest.mark.parametrize("align_corners", [True, False])
def test_lovasz_of_coarse_logits_is_that_of_full_ones(side: int, align_corners: bool) -> None:
    logits, mask = torch.randn(2, 4, 3, 3, dtype=torch.float64), torch.randint(0, 4, (2, side, side))
    full = resize(logits, (side, side), align_corners)
    for loss in (Lovasz(), Lovasz(every=2)):
        assert loss.of_coarse(logits, mask, align_corners, CONTEXT).item() == pytest.approx(
            loss(full, mask, CONTEXT).item()
        )


def test_tversky_weighs_what_is_missed() -> None:
    mask = torch.tensor([[[1, 1, 1, 0]]])
    missed = torch.tensor([[[1, 0, 1, 0]]])
    logits = torch.nn.functional.one_hot(missed, 2).movedim(-1, 1).double() * 1000
    of_one = 1 - (2 + 1) / (2 + 0.9 * 1 + 1)  # class 1: two hits, one missed
    of_zero = 1 - (1 + 1) / (1 + 0.1 * 1 + 1)  # class 0: one hit, one too much
    loss = Tversky(beta=0.9)(logits, mask, CONTEXT)
    assert loss.item() == pytest.approx((of_one + of_zero) / 2)
    assert tversky(logits, mask, VOID, alpha=0.1, beta=0.9).item() == pytest.approx(loss.item())


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
    of_all = HardPixels(share=1.0)(logits, mask, CONTEXT).item()
    assert of_all == pytest.approx((-math.log(0.9) - math.log(0.4)) / 2)  # the mean of what is not 0
    assert HardPixels(share=0.5)(logits, mask, CONTEXT).item() == pytest.approx(of_all)
    assert HardPixels(share=0.25)(logits, mask, CONTEXT).item() == pytest.approx(-math.log(0.4))


def test_the_share_of_hard_pixels_falls() -> None:
    falling = HardPixels(share=0.25, steps=100)
    assert [falling.share_at(step) for step in (0, 50, 100, 200)] == pytest.approx([1, 0.625, 0.25, 0.25])
    assert HardPixels(share=0.25, steps=0).share_at(0) == 0.25
    logits, mask = batch()
    for step, share in ((0, 1.0), (50, 0.625), (100, 0.25)):
        found = falling(logits, mask, LossContext(VOID, step))
        assert found.item() == HardPixels(share=share)(logits, mask, CONTEXT).item()


def test_ohem_keeps_what_is_uncertain_and_enough_of_it() -> None:
    logits, mask = binary([0.9, 0.4, 0.6, 0.8], [1, 1, 1, 1])
    losses = [-math.log(p) for p in (0.9, 0.4, 0.6, 0.8)]
    assert OHEM(threshold=0.7, min_kept=1)(logits, mask, CONTEXT).item() == pytest.approx((losses[1] + losses[2]) / 2)
    assert OHEM(threshold=0.7, min_kept=3)(logits, mask, CONTEXT).item() == pytest.approx(sum(losses[1:]) / 3)
    assert OHEM(threshold=0.7, min_kept=99)(logits, mask, CONTEXT).item() == pytest.approx(sum(losses) / 4)


def test_boundaries_are_found_across_void() -> None:
    mask = torch.tensor([[[0, 0, 0, VOID, 1, 1, 1]]])
    assert near_boundary(mask, VOID, 1).sum() == 0
    assert near_boundary(mask, VOID, 2)[0, 0].tolist() == [False, False, True, False, True, False, False]
    assert near_boundary(torch.zeros_like(mask), VOID, 3).sum() == 0
    logits = torch.randn(1, 2, 1, 7, dtype=torch.float64)
    losses = torch.nn.functional.cross_entropy(logits, mask, ignore_index=VOID, reduction="none")[0, 0]
    assert Boundary(width=2)(logits, mask, CONTEXT).item() == pytest.approx(((losses[2] + losses[4]) / 2).item())


def test_a_sum_of_losses() -> None:
    logits, mask = batch()
    both = combined({"cross_entropy": {}, "dice": {"weight": 0.5}})(logits, mask)
    expected = cross_entropy(logits, mask, VOID) + 0.5 * Dice()(logits, mask, CONTEXT)
    assert both.item() == pytest.approx(expected.item())
    assert loss_options()().terms() == loss_options().of({"dice": {"weight": 0}}).terms()  # on as in the papers


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ({"dise": {}}, r"Unknown option --loss\.dise\. Did you mean 'dice'\?"),
        ({"focal": {"gama": 1}}, r"Unknown option --loss\.focal\.gama\. Did you mean 'gamma'\?"),
        ({}, r"No loss is on.*a weight above 0, such as --loss\.cross_entropy\.weight 1"),
        ({"dice": {"weight": 0.0}}, r"No loss is on"),
        ({"dice": {}, "focal": {"weight": -1.0}}, r"--loss\.focal\.weight is -1\.0; expected 0 or more, such as 0\."),
        ({"focal": {"gamma": -1}}, r"--loss\.focal\.gamma is -1; expected 0 or more, such as 0\."),
        ({"cross_entropy": {"label_smoothing": 1.5}}, r"label_smoothing is 1\.5; expected 0 to 1, such as 1\."),
        ({"cross_entropy": {"class_weights": [1, -1]}}, r"class_weights is \(1, -1\); expected 0 or more, such as 0\."),
        ({"cross_entropy": {"class_weights": "enett"}}, r"class_weights is 'enett'.*Did you mean 'enet'"),
        ({"cross_entropy": {"class_weights": [1, 2]}}, r"class_weights has 2 values; the data has 4 classes"),
        ({"hard_pixels": {"share": 0}}, r"--loss\.hard_pixels\.share is 0; expected more than 0 to 1, such as 0\.25\."),
        ({"hard_pixels": {"steps": -1}}, r"--loss\.hard_pixels\.steps is -1; expected 0 or more"),
        ({"ohem": {"threshold": 2}}, r"--loss\.ohem\.threshold is 2; expected 0 to 1, such as 1\."),
        ({"ohem": {"min_kept": 0}}, r"--loss\.ohem\.min_kept is 0; expected 1 or more, such as 1\."),
        ({"tversky": {"beta": -0.1}}, r"--loss\.tversky\.beta is -0\.1; expected 0 to 1, such as 0\."),
        ({"boundary": {"width": 0}}, r"--loss\.boundary\.width is 0; expected 1 or more, such as 1\."),
        ({"focal": 3}, r"--loss\.focal is 3; expected options by name \(weight, gamma\), or null\."),
        ({"depth": {"weight": 0}}, r"--loss\.depth\.weight is 0; expected more than 0, such as 0\.1\."),
        ({"distillation": {}}, r"--loss\.distillation has no teachers"),
        ({"distillation": {"teachers": ["a"], "weight": 0}}, r"both 0, so nothing is learned"),
        (
            {"distillation": {"teachers": ["a"], "temperature": 0}},
            r"temperature is 0; expected more than 0, such as 2\.",
        ),
    ],
)
def test_mistakes(losses: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        combined(losses)


# --- options --------------------------------------------------------------------------------------------------------


def test_all_losses_are_found_and_added_up_in_their_order() -> None:
    ours = ["cross_entropy", "hard_pixels", "ohem", "focal", "dice", "tversky", "lovasz", "boundary"]
    assert set(ours) <= set(LOSSES)
    everything = loss_options().of({name: {} for name in reversed(LOSSES)})
    assert [loss.name for loss in everything.terms() if loss.name in ours] == ours


def test_names_and_values_round_trip() -> None:
    given = {
        "cross_entropy": {"class_weights": [1.0, 2.0], "label_smoothing": 0.1},
        "focal": {"weight": 0.5, "gamma": 1.0},
        "depth": {"form": "l1"},
        "distillation": {"teachers": ["a.ckpt"], "features": 0.5},
    }
    options = loss_options().of(given)
    assert options.plain()["focal"] == given["focal"]
    assert options.plain()["dice"] is None
    assert loss_options().of(options.plain()) == options


@pytest.mark.parametrize("name", [*LOSSES, *OTHERS])
def test_each_constant_has_a_sentence_of_its_own(name: str) -> None:
    group = group_of(hints_of(loss_options())[name])
    assert group is not None
    sentences = documented_fields(group)
    assert sentences.keys() == hints_of(group).keys()
    assert all(len(sentence.split()) > 5 and sentence.endswith(".") for sentence in sentences.values()), sentences


def documented_fields(group: type) -> dict[str, str]:
    """The string behind each field of a class, those of its bases included."""
    found: dict[str, str] = {}
    for each in reversed(group.__mro__[:-1]):
        body = ast.parse(inspect.getsource(each)).body[0].body  # type: ignore[attr-defined]
        for field, text in itertools.pairwise(body):
            if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr) and "ClassVar" not in ast.dump(field):
                found[field.target.id] = text.value.value  # type: ignore[union-attr, attr-defined]
    return found


def test_a_loss_of_ones_own_is_found_configured_and_added() -> None:
    try:
        use_own_loss()
    finally:
        _options_of.cache_clear()
        gc.collect()  # or other tests would find it, too
    assert "certain" not in hints_of(loss_options())


def use_own_loss() -> None:
    @dataclass(frozen=True)
    class Certain(Loss):
        """Mean of the largest probability to a power."""

        name: ClassVar[str] = "certain"

        power: Annotated[float, at_least(1)] = 1.0
        """Exponent of the probability."""

        def __call__(self, logits: Tensor, mask: Tensor, context: LossContext) -> Tensor:
            return (logits.softmax(1).amax(1)[mask != context.ignore_index] ** self.power).mean()

    logits, mask = batch()
    alone = Certain(power=2)(logits, mask, CONTEXT)
    found = combined({"certain": {"power": 2, "weight": 0.5}, "dice": {}})
    assert [loss.name for loss in found.terms] == ["dice", "certain"]
    assert found(logits, mask).item() == pytest.approx((Dice()(logits, mask, CONTEXT) + 0.5 * alone).item())
    coarse = logits[:, :, ::2, ::2]
    at_full_size = resize(coarse, (5, 6), True)
    assert found.of_coarse(coarse, mask, True).item() == pytest.approx(found(at_full_size, mask).item())
    assert "certain: Mean of the largest probability" in str(loss_options().__doc__)
    with pytest.raises(ConfigError, match=r"--loss\.certain\.power is 0\.5; expected 1 or more"):
        combined({"certain": {"power": 0.5}})


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
