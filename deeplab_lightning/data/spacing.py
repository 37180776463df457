"""A few of many images, spread evenly."""

from __future__ import annotations


def spread(available: int, wanted: int) -> list[int]:
    """Return at most `wanted` places, spread evenly over `0..available - 1`, both ends among them if two are wanted."""
    count = min(available, wanted)
    if count < 2:
        return list(range(count))
    return [round(index * (available - 1) / (count - 1)) for index in range(count)]
