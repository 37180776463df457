"""Every task fits its network: same arguments, same defaults, and a loss to learn from."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from deeplab_lightning import models, tasks

TASKS = [getattr(tasks, name) for name in tasks.__all__ if name != "SegmentationTask"]


def network_of(task: Any) -> Any:
    return getattr(models, task.__name__.removesuffix("Task"))


@pytest.mark.parametrize("task", TASKS)
def test_every_argument_of_the_network_is_one_of_the_task(task: Any) -> None:
    """`build` passes by name: what the task's list lacks would never arrive."""
    ours = inspect.signature(task).parameters
    for name, theirs in inspect.signature(network_of(task)).parameters.items():
        if name in ("num_classes", "in_channels"):  # from the data
            continue
        assert name in ours
        assert ours[name].default == theirs.default, name


def test_every_network_has_a_task() -> None:
    assert {network_of(task).__name__ for task in TASKS} == set(models.__all__)
