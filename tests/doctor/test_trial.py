"""Trial steps: real memory is measured, and a step that fails says why."""

from __future__ import annotations

import os
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from deeplab_lightning.doctor.cost import GIB, Cost, batch, cost_of
from deeplab_lightning.doctor.throughput import speed
from deeplab_lightning.doctor.trial import TrialError, measure
from deeplab_lightning.errors import ConfigError

FLOATS_PER_IMAGE = 12_000_000
"""48 MB, which nothing else in the step comes near."""


def build_hungry() -> tuple[Any, dict[str, Any]]:
    """A task whose step needs a known amount of memory for each image."""
    import torch
    from lightning.pytorch import LightningModule

    class Hungry(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(1))
            self.description = {"channels": 3}
            self.num_classes = 2
            self.losses = SimpleNamespace(rule=None)

        def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
            assert batch["image"].shape[1:] == (3, 33, 33)
            assert batch["mask"].shape[1:] == (33, 33)
            return (torch.ones(len(batch["image"]), FLOATS_PER_IMAGE).sum() * self.weight).squeeze()

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    return Hungry(), {"accelerator": "cpu"}


def build_broken() -> tuple[Any, dict[str, Any]]:
    task, options = build_hungry()
    step = task.training_step
    task.training_step = lambda batch, batch_idx: step(batch, batch_idx) * float("nan")
    return task, options


def refuse() -> tuple[Any, dict[str, Any]]:
    raise ConfigError("--model.output_stride is 5.")


def leave(code: int) -> tuple[Any, dict[str, Any]]:
    os._exit(code)


def test_memory_is_measured() -> None:
    cost = measure(build_hungry, 33)
    assert cost.device == "cpu"
    assert cost.per_image == pytest.approx(4 * FLOATS_PER_IMAGE, rel=0.2)
    assert cost.fixed > 50e6
    assert cost.seconds_per_image > 0
    assert cost.available is None or cost.available > cost.fixed


def test_a_step_that_fails_says_why() -> None:
    with pytest.raises(TrialError, match=r"--model.output_stride is 5\."):
        measure(refuse, 33)
    with pytest.raises(TrialError, match="ended with code 9: not enough memory"):
        measure(partial(leave, 9), 33)


def test_a_loss_that_is_no_number_is_no_time() -> None:
    with pytest.raises(TrialError, match="the loss of step 1 is nan"):
        measure(build_broken, 33)


def test_what_is_too_slow_is_given_up() -> None:
    with pytest.raises(TrialError, match="an image takes"):
        measure(build_hungry, 33, at_most=1e-9)


def test_the_line_through_two_points() -> None:
    cost = cost_of("cpu", 10_000, {1: (500, 1.0), 2: (800, 1.0)}, 257)
    assert (cost.fixed, cost.per_image, cost.seconds_per_image) == (200, 300, 0.5)
    assert cost.need(4) == 1400
    assert cost.largest_batch() == 26  # (0.8 * 10000 - 200) / 300


def test_batches_are_compared_with_the_memory() -> None:
    cost = Cost("cuda", GIB, GIB, 0.1, 10 * GIB, 257)
    (fits,) = batch(cost, 4, images=100)
    assert (fits.severity, fits.remedy) == ("note", "4 fits; the largest: data: {batch_size: 7}")
    (small,) = batch(cost, 4, images=5)
    assert "batch_size: 5" in small.remedy
    (too_large,) = batch(cost, 8, images=100)
    assert (too_large.kind, too_large.severity) == ("batch_too_large", "warning")
    assert "takes 9.0 GiB; 10.0 GiB are available" in too_large.what
    (unknown,) = batch(Cost("cpu", GIB, GIB, 0.1, None, 257), 8, images=100)
    assert unknown.severity == "note"


def test_who_waits_for_whom() -> None:
    cost = Cost("cpu", 0, 1, 0.1, None, 257)
    assert "the step never waits" in speed(50.0, cost, 2)[0].what
    (slow,) = speed(5.0, cost, 2)
    assert "it waits 50% of the time" in slow.what
    assert "num_workers: 4" in slow.remedy
    assert speed(None, cost, 2) == []
    assert "5 images/s with 2 workers." in speed(5.0, None, 2)[0].what
