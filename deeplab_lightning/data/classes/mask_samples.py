"""What masks hold, before anything says what it means: their values or colours, and how these lie.

All that the doctor and the data sets ask to recognise a coding follows from one look at a sample of the files.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ...errors import DataError, DeepLabError
from ...labels import RGB
from ..files.images import packed, palette_of, unpacked
from ..files.rasters import Source, read_grey, read_labels, sources_in
from ..spacing import spread

LOOKED_AT = 200
"""Masks that are opened, spread evenly over the folder."""
MOST_OF_A_MASK = 512
"""Values or colours of one mask that are kept, the most frequent: more are no classes."""
FEW = 12
"""Masks that tell whether a folder is a known data set's."""
PIECES_LOOKED_AT = 20
"""Masks in which the pieces of each value are counted."""


@dataclass
class MaskValues:
    """What a sample of masks holds.

    Attributes:
        values: Pixels of each value, where masks are grey or have palettes that agree.
        colours: Pixels of each colour, where they are images in colours, or have palettes that differ, or of which
            some show other greys than lie in grey files. Where both kinds lie side by side, neither is empty.
        solid: Of these, the pixels whose eight neighbours hold the same: edges that were smoothed have none.
        by_file: For each mask, the values or colours in it, but 0 and black.
        pieces: Values that make one connected piece in their mask, and all that were looked at, of masks with several.
        shown: The colour in which each value is shown, if all masks have palettes, and these agree.
        differing: Two files whose palettes show one value in different colours, and how, in words.
        soft: Masks whose values are not exact: compressed with loss, or with fractions.
        fractions: The smallest and the largest value of masks with fractions, which are not among the values.
        unread: What was said of the masks that could not be read.
    """

    values: Counter[int] = field(default_factory=Counter)
    colours: Counter[RGB] = field(default_factory=Counter)
    solid: Counter[Hashable] = field(default_factory=Counter)
    by_file: list[frozenset[Hashable]] = field(default_factory=list)
    pieces: tuple[int, int] = (0, 0)
    shown: dict[int, RGB] = field(default_factory=dict)
    differing: str = ""
    soft: int = 0
    fractions: tuple[float, float] | None = None
    unread: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _One:
    """What one mask holds: pixels of each number (of 3 channels, packed), and those of them that are solid."""

    path: Path
    channels: int
    counts: dict[int, tuple[int, int]]
    palette: np.ndarray | None


def look_at_masks(paths: Sequence[Path], most: int = LOOKED_AT) -> MaskValues:
    """Open masks, whatever they are; of a volume, its middle slice."""
    found = MaskValues()
    masks: list[_One] = []
    pieces: list[bool] = []
    for path in (paths[index] for index in spread(len(paths), most)):
        try:
            parts = sources_in(path)
            pixels = _read(parts[len(parts) // 2], found)
        except DeepLabError as error:
            found.unread.append(str(error))
            continue
        if pixels is None:
            continue
        channels = 1 if pixels.ndim == 2 else pixels.shape[2]
        palette = palette_of(path) if channels == 1 and pixels.dtype == np.uint8 else None
        one = _One(path, channels, _counted(pixels if channels == 1 else packed(pixels)), palette)
        masks.append(one)
        if channels == 1 and len(masks) <= PIECES_LOOKED_AT and 2 <= len(set(one.counts) - {0}) <= MOST_OF_A_MASK:
            pieces += [_is_one_piece(pixels == value) for value in one.counts if value != 0]
    found.pieces = (sum(pieces), len(pieces))
    found.shown, found.differing = _shown(masks)
    # Images in colours whose channels agree everywhere hold grey values, unless others of them hold colours.
    in_colours = any(one.channels == 3 and any(len(set(rgb)) > 1 for rgb in _colours_in(one)) for one in masks)
    mixed = _show_other_greys(masks)
    for one in masks:
        numbers: list[Hashable] = list(one.counts)
        if one.channels == 3:
            numbers = list(_colours_in(one)) if in_colours else [rgb[0] for rgb in _colours_in(one)]
        elif one.palette is not None and (in_colours or found.differing or mixed):
            numbers = [_colour_of(value, one.palette) for value in one.counts]
        elif mixed:
            numbers = [(value,) * 3 for value in one.counts]
        held: Counter[Any] = found.colours if isinstance(numbers[0], tuple) else found.values
        for number, (count, solid) in zip(numbers, one.counts.values(), strict=True):
            held[number] += count
            found.solid[number] += solid
        found.by_file.append(frozenset(numbers) - {0, (0, 0, 0)})
    if found.colours and all((value,) * 3 in found.colours or value == 0 for value in found.values):
        for value, count in found.values.items():  # black masks, stored as grey among colours
            found.colours[value, value, value] += count
        found.values = Counter()
    return found


def hold_only(masks: Sequence[Path], values: Collection[int], shown: Mapping[int, RGB] | None = None) -> bool:
    """Tell whether a few masks of a folder may be a known data set's.

    Args:
        masks: Their files; none speak against nothing.
        values: That the data set's masks may hold.
        shown: The colours in which its palette shows them, if it has one.
    """
    found = look_at_masks(masks, FEW)
    return (
        not found.colours
        and not found.soft
        and set(found.values) <= set(values)
        and (shown is None or all(shown.get(value) == colour for value, colour in found.shown.items()))
    )


def _read(source: Source, found: MaskValues) -> np.ndarray | None:
    """Read a mask exactly, or, where its values are not exact, as soft; None for fractions, which are not counted."""
    try:
        return read_labels(source)
    except DataError as error:
        try:
            grey = read_grey(source)
        except DeepLabError:
            raise error from None
    found.soft += 1
    if grey.dtype.kind != "f":
        return grey
    known = grey[np.isfinite(grey)]
    smallest, largest = found.fractions or (np.inf, -np.inf)
    found.fractions = (min(smallest, float(known.min())), max(largest, float(known.max()))) if known.size else None
    return None


def _counted(numbers: np.ndarray) -> dict[int, tuple[int, int]]:
    """Return for each number of `(H, W)` its pixels, and those whose eight neighbours are the same; the most frequent.

    Masks are runs of equal pixels, of which there are far fewer than pixels.
    """
    flat, solid = numbers.ravel(), _solid(numbers).ravel()
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    lengths = np.diff(np.append(starts, flat.size))
    found, which = np.unique(flat[starts], return_inverse=True)
    counts = np.bincount(which, lengths).astype(np.int64)
    inside = np.bincount(which, np.add.reduceat(solid, starts, dtype=np.int64)).astype(np.int64)
    order = np.argsort(-counts, kind="stable")[:MOST_OF_A_MASK]
    return {int(found[at]): (int(counts[at]), int(inside[at])) for at in order}


def _solid(numbers: np.ndarray) -> np.ndarray:
    """Return `(H, W)` bool: whether a pixel and its eight neighbours are the same; false at the image's border."""
    solid = np.zeros(numbers.shape, bool)
    if min(numbers.shape) >= 3:
        columns = (numbers[1:-1] == numbers[:-2]) & (numbers[1:-1] == numbers[2:])
        beside = (numbers[1:-1, 1:-1] == numbers[1:-1, :-2]) & (numbers[1:-1, 1:-1] == numbers[1:-1, 2:])
        solid[1:-1, 1:-1] = beside & columns[:, :-2] & columns[:, 1:-1] & columns[:, 2:]
    return solid


def _is_one_piece(inside: np.ndarray) -> bool:
    """Whether nearly all pixels of an object hang together."""
    _, _, statistics, _ = cv2.connectedComponentsWithStats(inside.astype(np.uint8), connectivity=8)
    areas = statistics[1:, cv2.CC_STAT_AREA]
    return bool(areas.max() >= 0.9 * areas.sum())


def _shown(masks: Sequence[_One]) -> tuple[dict[int, RGB], str]:
    """Return the colour of each value that occurs, and where two files show one in different ones, which they are."""
    shown: dict[int, RGB] = {}
    first: dict[int, Path] = {}
    for one in masks:
        if one.palette is None:
            continue
        for value in one.counts:
            colour = _colour_of(value, one.palette)
            if shown.setdefault(value, colour) != colour:
                return {}, (
                    f"{first[value].name} shows {value} as {list(shown[value])}, {one.path.name} as {list(colour)}"
                )
            first.setdefault(value, one.path)
    return (shown if all(one.palette is not None for one in masks) else {}), ""


def _show_other_greys(masks: Sequence[_One]) -> bool:
    """Tell whether grey files lie beside indexed ones that show their numbers as other greys, as GIFs of one folder."""
    plain = [one for one in masks if one.channels == 1 and one.palette is None]
    shown = {
        (value, _colour_of(value, one.palette)) for one in masks if one.palette is not None for value in one.counts
    }
    return (
        bool(plain)
        and all(len(set(colour)) == 1 for _, colour in shown)
        and any(colour[0] != value for value, colour in shown)
        and all(0 <= value <= 255 for one in plain for value in one.counts)
    )


def _colour_of(value: int, palette: np.ndarray) -> RGB:
    """Return the colour in which a palette `(N, 3)` shows a value; black beyond its end."""
    red, green, blue = palette[value].tolist() if value < len(palette) else (0, 0, 0)
    return red, green, blue


def _colours_in(one: _One) -> list[RGB]:
    """Return the colours of a mask whose numbers are packed ones."""
    return unpacked(np.array(list(one.counts), np.int64))
