"""The schedules."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from deeplab_lightning.optim.schedules import FactorLR, cosine_factor, poly_factor, step_factor


@pytest.mark.parametrize(
    ("lr", "max_steps", "step", "expected"),
    [
        (0.007, 30_000, 0, 0.007),
        (0.007, 30_000, 1, 0.00699979),
        (0.007, 30_000, 7_500, 0.00540323),
        (0.007, 30_000, 15_000, 0.00375121),
        (0.007, 30_000, 22_500, 0.00201022),
        (0.007, 30_000, 29_999, 6.54167e-07),
        (2.5e-4, 20_000, 10_000, 1.33972e-4),
        (2.5e-4, 20_000, 15_000, 7.17936e-05),
    ],
)
def test_golden_values(lr: float, max_steps: int, step: int, expected: float) -> None:
    """Fact sheet, section 16."""
    assert lr * poly_factor(step, max_steps) == pytest.approx(expected, rel=3e-6)


def test_warm_up_rises_and_then_lets_go() -> None:
    factors = [poly_factor(step, 100, warmup_steps=4) for step in range(100)]
    plain = [poly_factor(step, 100) for step in range(100)]
    ratios = [factor / whole for factor, whole in zip(factors, plain, strict=True)]
    assert ratios[:6] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 1.0])
    assert factors[4:] == plain[4:]


def test_never_negative_or_zero_before_the_end() -> None:
    assert all(poly_factor(step, 50) > 0 for step in range(50))
    assert poly_factor(50, 50) == poly_factor(60, 50) == 0


def test_steps_of_v1() -> None:
    """1e-3, a tenth of it after every 2000 steps (fact sheet, section 2)."""
    rates = [1e-3 * step_factor(step, 2000) for step in (0, 1999, 2000, 3999, 4000, 5999)]
    assert rates == pytest.approx([1e-3, 1e-3, 1e-4, 1e-4, 1e-5, 1e-5])
    assert step_factor(0, 10, 0.5, warmup_steps=3) == 0.25


def test_cosine() -> None:
    factors = [cosine_factor(step, 100) for step in (0, 25, 50, 75, 100, 120)]
    assert factors == pytest.approx([1, 0.5 + 0.5**1.5, 0.5, 0.5 - 0.5**1.5, 0, 0])
    assert cosine_factor(1, 100, warmup_steps=3) == pytest.approx(cosine_factor(1, 100) / 2)


def schedule(lr: float, max_steps: int = 10) -> tuple[torch.optim.Optimizer, FactorLR]:
    slow, fast = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))
    groups = [{"params": [slow], "lr": lr}, {"params": [fast], "lr": 10 * lr}]
    optimizer = torch.optim.SGD(groups, lr=lr, momentum=0.9)
    return optimizer, FactorLR(optimizer, lambda step: poly_factor(step, max_steps))


def learning_rates(optimizer: torch.optim.Optimizer) -> list[float]:
    return [group["lr"] for group in optimizer.param_groups]


def test_steps_every_group() -> None:
    optimizer, poly = schedule(0.1)
    for step in range(10):
        factor = (1 - step / 10) ** 0.9
        assert learning_rates(optimizer) == pytest.approx([0.1 * factor, factor])
        assert poly.get_last_lr() == pytest.approx([0.1 * factor, factor])
        optimizer.step()
        poly.step()


def test_state_is_the_step_alone() -> None:
    optimizer, poly = schedule(0.1)
    optimizer.step()
    poly.step()
    assert poly.state_dict() == {"last_epoch": 1}


def test_going_on_uses_the_configured_learning_rate_and_length() -> None:
    """As after a resume: the optimiser's own state, restored first, brings the old learning rates."""
    old_optimizer, old = schedule(0.1)
    for _ in range(4):
        old_optimizer.step()
        old.step()
    optimizer, poly = schedule(0.5, max_steps=20)
    optimizer.load_state_dict(old_optimizer.state_dict())
    poly.load_state_dict(old.state_dict())
    poly.apply()
    factor = (1 - 4 / 20) ** 0.9
    assert learning_rates(optimizer) == pytest.approx([0.5 * factor, 5 * factor])
    assert poly.get_last_lr() == pytest.approx([0.5 * factor, 5 * factor])
    optimizer.step()
    poly.step()
    assert learning_rates(optimizer) == pytest.approx([0.5 * (15 / 20) ** 0.9, 5 * (15 / 20) ** 0.9])
