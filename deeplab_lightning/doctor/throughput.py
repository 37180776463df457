"""How many images the training loader delivers in a second, with its workers and its augmentation."""

from __future__ import annotations

import time
from itertools import chain, islice, repeat
from typing import TYPE_CHECKING

from ..errors import DeepLabError
from .cost import Cost
from .findings import Finding, finding

if TYPE_CHECKING:
    from ..data.datamodule import SegmentationDataModule

SECONDS = 4.0
LARGEST = 64
"""Batches that are drawn at most."""


def images_per_second(datamodule: SegmentationDataModule) -> float | None:
    """Draw batches from the training loader for a few seconds, the workers' start left out.

    Returns:
        Images a second; None if there are too few batches to tell.
    """
    loader = datamodule.train_dataloader()
    batches = islice(chain.from_iterable(repeat(loader, LARGEST)), LARGEST)
    drawn, first = 0, 0.0
    started = time.perf_counter()
    try:
        for number, batch in enumerate(batches):
            if number == 0:  # workers have started, and have a batch or two in hand
                first = time.perf_counter()
            else:
                drawn += len(batch["sample_id"])
            if time.perf_counter() - started > SECONDS:
                break
        seconds = time.perf_counter() - first
    except DeepLabError:
        return None  # an unreadable image: that is reported already
    finally:
        datamodule.teardown("fit")
    return drawn / seconds if drawn else None


def speed(rate: float | None, cost: Cost | None, workers: int) -> list[Finding]:
    """Say who waits for whom: the loader or the training step."""
    if rate is None:
        return []
    delivers = f"The training loader gives {rate:.3g} images/s with {workers} workers"
    if cost is None:
        return [finding("note", "loader", f"{delivers}.", "compare it with the training's own speed")]
    need = 1 / cost.seconds_per_image
    what = f"{delivers}, the step on the {cost.device} takes {need:.3g}: "
    if rate >= need:
        return [finding("note", "loader", what + "the step never waits.", "nothing to do")]
    remedy = f"data: {{num_workers: {workers + 2}}}, as far as there are cores; smaller files on disk"
    return [finding("note", "loader", what + f"it waits {1 - rate / need:.0%} of the time.", remedy)]
