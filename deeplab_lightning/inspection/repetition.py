"""Long lists of layers made short: blocks that repeat one another are told once."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from .tracing import Layer

LONGEST_BLOCK = 40
"""Layers in the longest block that is looked for."""


class LayerRow(NamedTuple):
    """A layer, or several that differ in their place alone.

    Attributes:
        name: With a range such as `layer3.1-5.conv2` where there are several.
        layers: In the order of execution; at least one.
    """

    name: str
    layers: tuple[Layer, ...]


def unfolded(layers: Sequence[Layer]) -> list[LayerRow]:
    """Return a row for every layer."""
    return [LayerRow(layer.name, (layer,)) for layer in layers]


def folded(layers: Sequence[Layer]) -> list[LayerRow]:
    """Return a row for every layer, or for all repetitions of one in a chain of equal blocks.

    Blocks are equal if all their layers do the same on maps of one size, and if their names differ in a single,
    increasing number. What they see may differ: it grows from block to block.
    """
    rows: list[LayerRow] = []
    start = 0
    while start < len(layers):
        length, count = _best_block(layers, start)
        for offset in range(length):
            same = tuple(layers[start + offset + turn * length] for turn in range(count))
            rows.append(LayerRow(_range_of_names(same[0].name, same[-1].name), same))
        start += length * count
    return rows


def _best_block(layers: Sequence[Layer], start: int) -> tuple[int, int]:
    """Return length and count of the repetition at `start` that folds the most; the shortest of equal ones."""
    best = (1, 1)
    for length in range(1, min(LONGEST_BLOCK, (len(layers) - start) // 2) + 1):
        count, place = 1, None
        while True:
            first = start + count * length
            blocks = list(zip(layers[first - length : first], layers[first : first + length], strict=False))
            places = {_place_of_difference(one, other) for one, other in blocks}
            if len(blocks) < length or len(places) != 1 or None in places or place not in (None, *places):
                break
            place = places.pop()
            count += 1
        if count > 1 and (count - 1) * length > (best[1] - 1) * best[0]:
            best = (length, count)
    return best


def _place_of_difference(one: Layer, other: Layer) -> int | None:
    """Return the word of their names in which two equal layers differ; None if they differ otherwise."""
    if _what(one) != _what(other):
        return None
    words, others = _words(one.name), _words(other.name)
    if len(words) != len(others):
        return None
    different = [place for place, (a, b) in enumerate(zip(words, others, strict=True)) if a != b]
    if len(different) != 1:
        return None
    a, b = words[different[0]], others[different[0]]
    return different[0] if a.isdigit() and b.isdigit() and int(a) < int(b) else None


def _what(layer: Layer) -> tuple[object, ...]:
    return (
        *(layer.kind, layer.kernel, layer.stride, layer.dilation, layer.groups, layer.in_channels, layer.out_channels),
        *(layer.size_in, layer.size, layer.parameters, layer.sees_all),
    )


def _words(name: str) -> list[str]:
    return re.findall(r"\d+|\D+", name)


def _range_of_names(first: str, last: str) -> str:
    pairs = zip(_words(first), _words(last), strict=True)
    return "".join(a if a == b else f"{a}-{b}" for a, b in pairs)
