"""What a batch costs in memory and time, from trial steps; how many images fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from .findings import Finding, finding

SAFETY = 0.8
"""Share of the available memory that is planned with: loaders, evaluation and fragmentation need some too."""
GIB = 2**30


@dataclass(frozen=True)
class Cost:
    """What training steps need, from measurements at one and two images.

    Attributes:
        device: Where the steps ran, such as `cpu` or `cuda`.
        fixed: Bytes whatever the batch.
        per_image: Bytes for each image.
        seconds_per_image: In the largest batch that was tried.
        available: Bytes that were free before the steps; None if the system does not tell.
        side: Of the images, in pixels; time and memory grow with its square.
    """

    device: str
    fixed: int
    per_image: int
    seconds_per_image: float
    available: int | None
    side: int

    def need(self, images: int) -> int:
        """Return the bytes that a batch takes."""
        return self.fixed + images * self.per_image

    def at(self, side: int) -> Cost:
        """Return what images of another side would need."""
        share = side**2 / self.side**2
        seconds, per_image = self.seconds_per_image * share, int(self.per_image * share)
        return replace(self, per_image=per_image, seconds_per_image=seconds, side=side)

    def largest_batch(self) -> int | None:
        """Return how many images fit into `SAFETY` of the available memory; None if that is unknown."""
        if self.available is None or self.per_image <= 0:
            return None
        return max(0, int((SAFETY * self.available - self.fixed) // self.per_image))


def cost_of(device: str, available: int | None, steps: Mapping[int, tuple[int, float]], side: int) -> Cost:
    """Draw the line through the peaks (bytes) of steps of one and of two images; the time is the largest batch's."""
    (peak, _), (peak_of_two, _) = steps[1], steps[2]
    per_image, largest = max(0, peak_of_two - peak), max(steps)
    return Cost(device, peak - per_image, per_image, steps[largest][1] / largest, available, side)


def batch(cost: Cost, batch_size: int, images: int) -> list[Finding]:
    """Compare the configured batch with the memory that the trial steps took; the train split has so many `images`."""
    largest = cost.largest_batch()
    what = (
        f"Measured on the {cost.device} in real training steps of 1 and 2 images: {cost.fixed / GIB:.2f} GiB and "
        f"{cost.per_image / GIB:.2f} GiB for each image, so a batch of {batch_size} takes "
        f"{cost.need(batch_size) / GIB:.1f} GiB"
    )
    if largest is None or cost.available is None:
        return [finding("note", "batch", f"{what}.", "compare it with the memory you have")]
    what += f"; {cost.available / GIB:.1f} GiB are available, of which {SAFETY:.0%} hold {largest} images."
    remedy = f"data: {{batch_size: {max(1, min(largest, images))}}}"
    if largest >= batch_size:
        return [finding("note", "batch", what, f"{batch_size} fits; the largest: {remedy}")]
    return [finding("warning", "batch_too_large", what, remedy)]
