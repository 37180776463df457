"""Learning from teachers: equal scores cost nothing, and every figure is the one written out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from deeplab_lightning.losses.distillation import attention_transfer, distillation


def logits(seed: int, channels: int = 3) -> torch.Tensor:
    return torch.randn(2, channels, 4, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_a_figure_by_hand() -> None:
    """Teacher 3 : 1 at temperature 1, student even: KL = ln 2 - H(0.75)."""
    teacher = torch.tensor([math.log(3.0), 0.0]).view(1, 2, 1, 1)
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert float(distillation(torch.zeros(1, 2, 1, 1), [teacher], 1.0)) == pytest.approx(math.log(2) - entropy)
    # At temperature 2 the teacher says sqrt(3) : 1.
    share = math.sqrt(3) / (math.sqrt(3) + 1)
    entropy = -(share * math.log(share) + (1 - share) * math.log(1 - share))
    expected = 4 * (math.log(2) - entropy)
    assert float(distillation(torch.zeros(1, 2, 1, 1), [teacher], 2.0)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_equal_scores_cost_nothing_and_others_do(temperature: float) -> None:
    student = logits(0)
    assert float(distillation(student, [student + 7], temperature)) == pytest.approx(0, abs=1e-12)
    assert float(distillation(student, [logits(1)], temperature)) > 0.01


def test_several_teachers_speak_with_their_mean_probability() -> None:
    student, one, two = logits(0), logits(1), logits(2)
    mean = ((one / 3).softmax(1) + (two / 3).softmax(1)) / 2
    together = distillation(student, [one, two], 3.0)
    assert float(together) == pytest.approx(float(distillation(student, [3 * mean.log()], 3.0)), rel=1e-12)


def test_gradients_are_right_and_do_not_reach_the_teacher() -> None:
    student, teacher = logits(0).requires_grad_(), logits(1).requires_grad_()
    assert torch.autograd.gradcheck(lambda own: distillation(own, [teacher.detach()], 2.0), (student,))
    distillation(student, [teacher], 2.0).backward()
    assert teacher.grad is None
    features = logits(3, 6).requires_grad_()
    assert torch.autograd.gradcheck(lambda own: attention_transfer(own, teacher), (features,))
    attention_transfer(features, teacher).backward()
    assert teacher.grad is None


def test_certainty_is_no_nan() -> None:
    student = (logits(0) * 1e4).requires_grad_()
    loss = distillation(student, [logits(1) * 1e4], 1.0)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(student.grad).all()  # type: ignore[arg-type]


def test_attention_is_about_places_alone() -> None:
    features = logits(0, 6)
    assert float(attention_transfer(3 * features, features[:, torch.randperm(6)])) == pytest.approx(0, abs=1e-12)
    here, there = torch.zeros(1, 2, 2, 2), torch.zeros(1, 5, 2, 2)
    here[0, :, 0, 0] = 1
    there[0, 3, 1, 1] = 9
    assert float(attention_transfer(here, there)) == pytest.approx(2)


def test_half_precision_is_computed_in_full() -> None:
    student, teacher = logits(0).half(), logits(1).half()
    exact = distillation(student.double(), [teacher.double()], 2.0)
    assert float(distillation(student, [teacher], 2.0)) == pytest.approx(float(exact), rel=1e-5)
