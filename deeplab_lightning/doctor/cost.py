"""What a batch costs in memory and time, from trial steps; how many pictures fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .findings import Finding, finding

SAFETY = 0.8
"""Share of the available memory that is planned with: loaders, evaluation and fragmentation need some too."""
GIB = 2**30


@dataclass(frozen=True)
class Step:
    """A training step that was made.

    Attributes:
        pictures: In its batch.
        peak: Bytes in use at most.
        seconds: How long it took.
    """

    pictures: int
    peak: int
    seconds: float


@dataclass(frozen=True)
class Cost:
    """What training steps need, from measurements at one and two pictures.

    Attributes:
        device: Where the steps ran, such as `cpu` or `cuda`.
        fixed: Bytes whatever the batch.
        per_picture: Bytes for each picture.
        seconds_per_picture: In a batch of two.
        available: Bytes that were free before the steps; None if the system does not tell.
    """

    device: str
    fixed: int
    per_picture: int
    seconds_per_picture: float
    available: int | None

    def need(self, pictures: int) -> int:
        """Return the bytes that a batch takes."""
        return self.fixed + pictures * self.per_picture

    def largest_batch(self) -> int | None:
        """Return how many pictures fit into `SAFETY` of the available memory; None if that is unknown."""
        if self.available is None or self.per_picture <= 0:
            return None
        return max(0, int((SAFETY * self.available - self.fixed) // self.per_picture))


def cost_of(device: str, available: int | None, steps: Sequence[Step]) -> Cost:
    """Draw the line through the last steps of one and of two pictures."""
    last = {step.pictures: step for step in steps}
    per_picture = max(0, last[2].peak - last[1].peak)
    return Cost(device, last[1].peak - per_picture, per_picture, last[2].seconds / 2, available)


def batch(cost: Cost, batch_size: int, pictures: int) -> list[Finding]:
    """Compare the batch with the memory that the trial steps took.

    Args:
        cost: As measured.
        batch_size: As configured.
        pictures: In the training split.
    """
    largest = cost.largest_batch()
    what = (
        f"Measured on the {cost.device} in real training steps of 1 and 2 pictures: {cost.fixed / GIB:.2f} GiB and "
        f"{cost.per_picture / GIB:.2f} GiB for each picture, so a batch of {batch_size} takes "
        f"{cost.need(batch_size) / GIB:.1f} GiB"
    )
    if largest is None or cost.available is None:
        return [finding("note", "batch", f"{what}.", "compare it with the memory you have")]
    what += f"; {cost.available / GIB:.1f} GiB are available, of which {SAFETY:.0%} hold {largest} pictures."
    suggested = max(1, min(largest, pictures))
    remedy = f"data: {{init_args: {{batch_size: {suggested}}}}}"
    if largest >= batch_size:
        return [finding("note", "batch", what, f"{batch_size} fits; the largest: {remedy}")]
    return [finding("warning", "batch_too_large", what, remedy)]
