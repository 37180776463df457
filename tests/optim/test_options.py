"""Options of the optimiser: what they make, and what they refuse."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from deeplab_lightning.errors import ConfigError
from deeplab_lightning.optim.options import OptimizerOptions, make_optimizer, make_schedule
from deeplab_lightning.optim.schedules import cosine_factor, poly_factor, step_factor


def groups() -> list[dict[str, Any]]:
    return [{"name": "head/kernel", "params": [torch.nn.Parameter(torch.zeros(2))], "lr": 0.2, "weight_decay": 1e-4}]


def test_optimisers() -> None:
    sgd = make_optimizer(groups(), OptimizerOptions(lr=0.1, momentum=0.5))
    assert isinstance(sgd, torch.optim.SGD)
    adamw = make_optimizer(groups(), OptimizerOptions(name="adamw", lr=0.1))
    assert isinstance(adamw, torch.optim.AdamW)
    assert sgd.param_groups[0]["momentum"] == 0.5
    for optimizer in (sgd, adamw):
        (made,) = optimizer.param_groups
        assert (made["name"], made["lr"], made["weight_decay"]) == ("head/kernel", 0.2, 1e-4)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"poly_power": 2.0}, lambda step: poly_factor(step, 40, 2.0)),
        ({"warmup_steps": 5}, lambda step: poly_factor(step, 40, warmup_steps=5)),
        ({"schedule": "cosine", "warmup_steps": 3}, lambda step: cosine_factor(step, 40, 3)),
        ({"schedule": "step", "step_every": 7, "step_gamma": 0.5}, lambda step: step_factor(step, 7, 0.5)),
    ],
)
def test_schedules_get_their_constants(options: dict[str, Any], expected: Any) -> None:
    made = OptimizerOptions(**options)
    schedule = make_schedule(make_optimizer(groups(), made), made, lambda: 40.0)
    assert [schedule.factor(step) for step in range(40)] == [expected(step) for step in range(40)]


@pytest.mark.parametrize("name", ["poly", "cosine"])
def test_a_run_without_end_is_for_steps_alone(name: Any) -> None:
    options = OptimizerOptions(schedule=name)
    with pytest.raises(ConfigError, match=f"The {name} schedule needs to know where the run ends"):
        make_schedule(make_optimizer(groups(), options), options, lambda: math.inf)
    steps = OptimizerOptions(schedule="step")
    make_schedule(make_optimizer(groups(), steps), steps, lambda: pytest.fail("it need not be asked"))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"lr": -0.1}, r"--optimizer\.lr is -0\.1; expected 0 or more, such as 0\."),
        ({"momentum": 1.0}, r"--optimizer\.momentum is 1\.0; expected 0 to below 1, such as 0\.9\."),
        ({"weight_decay": -1}, r"--optimizer\.weight_decay is -1; expected 0 or more"),
        ({"head_lr_multiplier": -1}, r"--optimizer\.head_lr_multiplier is -1; expected 0 or more"),
        ({"bias_lr_multiplier": -1}, r"--optimizer\.bias_lr_multiplier is -1; expected 0 or more"),
        ({"poly_power": -1}, r"--optimizer\.poly_power is -1; expected 0 or more"),
        ({"step_every": 0}, r"--optimizer\.step_every is 0; expected 1 or more, such as 1\."),
        ({"step_gamma": -1}, r"--optimizer\.step_gamma is -1; expected 0 or more"),
        ({"warmup_steps": -1}, r"--optimizer\.warmup_steps is -1; expected 0 or more"),
        ({"name": "adam"}, r"--optimizer\.name is 'adam'; expected one of sgd, adamw\. Did you mean 'adamw'"),
        ({"schedule": "ploy"}, r"expected one of poly, step, cosine\. Did you mean 'poly'"),
        ({"learning_rate": 1}, r"Unknown option --optimizer\.learning_rate"),
    ],
)
def test_mistakes(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        OptimizerOptions.of(given)
