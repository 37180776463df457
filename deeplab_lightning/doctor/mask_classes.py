"""What the values or colours of masks mean: class names, and how they become ids.

What is not stated is asked, not guessed. Names are joined with values or colours where a file states both together, or
where a list has an order and the masks hold as many ids. What is proposed beyond that is said, with the other way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..data.classes.mask_samples import MaskValues
from ..data.classes.stated_classes import StatedClass, StatedClasses
from ..data.files.images import NO_NUMBER
from ..data.wording import first_few
from ..labels import RGB, VOID_COLOUR, voc_palette

VOID = 255
BLACK: RGB = (0, 0, 0)
BACKGROUNDS = ("background", "_background_", "bg", "backgr", "unlabeled", "unlabelled", "other", "others", "none")
"""Names of the class that lies where nothing else does, in small letters."""
MOST_CLASSES = 64
"""Masks with more values or colours than this were compressed or smoothed, or number objects."""
MOST_STATED = 255
"""Classes that a label set takes."""
BLENDED = 1e-3
"""Share of all pixels below which a colour may be the edge between two others."""
NEAR_A_LINE = 12.0
"""How far from the straight line between two colours, in units of 255, their mixtures lie at most."""
GAPS = 3
"""How many times more the largest value must be than there are values, for these to be a coding and not ids."""
DARK, BRIGHT = 16, 239
"""Nearly black, up to there, and nearly white, from there on."""
SOFT_ENDS, SOFT_SOLID = 0.8, 0.2
"""Masks have soft edges if nearly black and nearly white pixels have at least the one share of all, and of those
between at most the other share lies within flat areas."""
PEAK = 0.01
"""Share of the pixels that makes a value one of those that were meant."""
NODATA = (32767, 65535, 2**31 - 1, 2**32 - 1)
"""Largest values of the types of rasters, which stand where nothing is known."""
DOMINANT = 0.5
"""Share of the pixels from which 0 is likely what lies around everything."""
VOC_LEVELS = {0, 64, 128, 192}
"""Of red, green and blue in PASCAL VOC's palette, whose void colour is no class."""
MOST_SHARES = 12
"""Classes of which the share of the pixels is told."""


@dataclass
class Meaning:
    """What is proposed.

    Attributes:
        options: Of the data set.
        comments: On some of them.
        remarks: What the user should know.
    """

    options: dict[str, Any] = field(default_factory=dict)
    comments: dict[str, str] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)


def meaning_of(found: MaskValues, stated: Sequence[StatedClasses] = ()) -> Meaning:
    """Propose what masks mean, given what they hold and what files state; those that state most come first."""
    meaning = Meaning()
    if found.unread:
        meaning.remarks.append(f"{len(found.unread)} of the masks looked at cannot be read: {found.unread[0]}")
    if found.soft:
        _from_soft(meaning, found, stated)
    elif found.colours:
        _from_colours(meaning, found, stated)
    elif found.values:
        _from_values(meaning, found, stated)
    else:
        _number(meaning, 2)
        _say_unjoined(meaning, _list_of(stated), None)
    return meaning


# --- colours ----------------------------------------------------------------------------------------------------------


def _from_colours(meaning: Meaning, found: MaskValues, stated: Sequence[StatedClasses]) -> None:
    if found.differing:
        meaning.remarks.append(
            f"The masks are indexed, and their palettes differ: {found.differing}. So they are read by their colours. "
            f"If the numbers are the class ids, whatever the colours, take palette out, and void_colours."
        )
    if found.values:
        meaning.remarks.append(
            f"Some masks are grey (values {first_few(map(str, sorted(found.values)), 8)}), others in colours: what the "
            f"grey ones mean is not said, and those whose values are no colours below are refused."
        )
    if _join_by_colour(meaning, found, found.colours, stated):
        return
    colours = found.colours
    if _are_objects(found):
        meaning.remarks.append(
            f"Each mask has colours of its own ({len(colours)} in all): colours of objects rather than of classes? "
            f"Only masks in which a class has one colour everywhere can be learned from. Look for such a folder "
            "beside this one."
        )
        _number(meaning, 2)
        _say_unjoined(meaning, _list_of(stated), None)
        return
    listed = [colour for colour, _ in colours.most_common() if colour != BLACK]
    listed = [BLACK] * (BLACK in colours) + listed
    if len(listed) > MOST_CLASSES:
        main = [colour for colour in listed if found.solid[colour] > SOFT_SOLID * colours[colour]]
        meaning.remarks.append(
            f"The masks hold {len(listed)} colours, {len(main)} of them in flat areas: they were blended or stored as "
            f"JPEG, and are refused. Make them anew, without smoothing."
        )
        if not 2 <= len(main) <= MOST_CLASSES:
            _number(meaning, 2)
            return
        listed = main
    elif blended := _blended(found):
        listed = [colour for colour in listed if colour not in blended]
        meaning.options["void_colours"] = [list(colour) for colour in blended]
        meaning.comments["void_colours"] = "ignored: mixtures of two colours, see above"
        meaning.remarks.append(
            f"{len(blended)} colours are ignored (void_colours): {_some(blended)}. Each has fewer than {BLENDED:.1%} "
            f"of the pixels, is nowhere 3 pixels wide, and lies between two others, as blended edges do. If one is a "
            f"class, move it to palette, and name it."
        )
    if VOID_COLOUR in listed and all(set(colour) <= VOC_LEVELS for colour in listed if colour != VOID_COLOUR):
        listed.remove(VOID_COLOUR)
        meaning.options["void_colours"] = [list(VOID_COLOUR), *meaning.options.get("void_colours", [])]
        meaning.remarks.append(
            f"{list(VOID_COLOUR)} is ignored (void_colours): all other colours are of PASCAL VOC's palette, where it "
            f"is what borders have. If it is a class, move it to palette, and name it."
        )
    rare = [colour for colour in listed if colours[colour] < BLENDED * colours.total()]
    if rare:
        meaning.remarks.append(
            f"{len(rare)} of {len(listed)} colours have fewer than {BLENDED:.1%} of the pixels: {_some(rare)}. Move "
            f"those that are no class from palette to void_colours."
        )
    meaning.options["palette"] = [list(colour) for colour in listed]
    meaning.comments["palette"] = "the colours found in masks, black first, then the most frequent"
    _number(meaning, len(listed), [colours[colour] / colours.total() for colour in listed], "in the order of palette")
    if names := _list_of(stated):
        meaning.remarks.append(
            f"{names.file.name} names {len(names.names)} classes ({first_few(names.names, 8)}), but which colour each "
            f"has is not said: put them into class_names in the order of palette."
        )


def _join_by_colour(
    meaning: Meaning, found: MaskValues, colours: Counter[RGB], stated: Sequence[StatedClasses]
) -> bool:
    """Join colours with the names of a file that states both, and say which colours it does not name."""
    for one in stated:
        known = one.by_colour
        if not any(colour in known for colour in colours if colour != BLACK) and set(colours) != {BLACK}:
            continue
        classes = [entry for entry in known.values() if not entry.is_void][::-1]
        classes = sorted(classes, key=one.classes.index)
        void = [colour for colour, entry in known.items() if entry.is_void]
        unnamed = [colour for colour, _ in colours.most_common() if colour not in known]
        blended = [colour for colour in _blended(found) if colour in unnamed]
        unnamed = [colour for colour in unnamed if colour not in blended][:MOST_CLASSES]
        names = [entry.name for entry in classes]
        listed = [entry.colour for entry in classes if entry.colour is not None]
        for colour in unnamed:
            place = 0 if colour == BLACK else len(names)
            listed.insert(place, colour)
            names.insert(place, "class_0" if colour == BLACK else f"class_{place}")
        if not 2 <= len(names) <= MOST_STATED:
            continue
        if unnamed:
            shares = [f"{list(colour)} ({colours[colour] / colours.total():.1%} of the pixels)" for colour in unnamed]
            meaning.remarks.append(
                f"{one.file.name} does not name {first_few(shares, 4)}: named class_... below. Rename what is a "
                f"class, and move what is none from palette to void_colours."
            )
        if blended:
            meaning.remarks.append(
                f"{len(blended)} colours that {one.file.name} does not name are ignored (void_colours), as mixtures "
                f"of two others: {_some(blended)}."
            )
        _take_names(meaning, names, f"as {one.file.name} states")
        meaning.options["palette"] = [list(colour) for colour in listed]
        meaning.comments["palette"] = f"as {one.file.name} states"
        if void or blended:
            meaning.options["void_colours"] = [list(colour) for colour in [*void, *blended]]
        return True
    return False


def _blended(found: MaskValues) -> list[RGB]:
    """Return the rare colours that are nowhere solid and lie between two frequent ones."""
    colours, least = found.colours, BLENDED * found.colours.total()
    frequent = np.array([colour for colour in colours if colours[colour] >= least], np.float64).reshape(-1, 3)
    rare = [colour for colour in colours if colours[colour] < least and not found.solid[colour]]
    return [colour for colour in rare if _lies_between(np.array(colour, np.float64), frequent)]


def _lies_between(colour: np.ndarray, others: np.ndarray) -> bool:
    for index in range(len(others) - 1):
        start, ways = others[index], others[index + 1 :] - others[index]
        along = (ways @ (colour - start)) / (ways**2).sum(axis=1)
        off = np.linalg.norm(colour - start - along[:, None] * ways, axis=1)
        if ((along > 0) & (along < 1) & (off <= NEAR_A_LINE)).any():
            return True
    return False


# --- values -----------------------------------------------------------------------------------------------------------


def _from_values(meaning: Meaning, found: MaskValues, stated: Sequence[StatedClasses]) -> None:
    values, held = found.values, sorted(found.values)
    if found.shown and set(found.shown) >= set(held):
        shown = Counter({found.shown[value]: values[value] for value in held})
        named = [one for one in stated if set(shown) <= {*one.by_colour, BLACK}]
        if len(shown) == len(held) and _join_by_colour(meaning, found, shown, named):
            return
    if _join_by_value(meaning, found, stated):
        return
    names = _list_of(stated)
    nodata = [value for value in held if value < 0 or (value in NODATA and value >= 10 * max([1, *held[:-1]]))]
    ids = [value for value in held if value != VOID and value not in nodata]
    if not nodata and _is_soft(found):
        meaning.options["mask_threshold"] = 128
        meaning.comments["mask_threshold"] = (
            f"{len(held)} grey values, as soft edges have: from here on it is the object"
        )
        _name_two(meaning, names)
    elif len(held) == 1:
        meaning.remarks.append(
            f"All pixels of the masks looked at are {held[0]}: nothing can be learned from these alone."
        )
        _number(meaning, max(2, held[0] + 1) if 0 <= held[0] < MOST_CLASSES else 2)
        _say_unjoined(meaning, names, None)
    elif held == [0, VOID]:
        meaning.options["label_map"] = {0: 0, VOID: 1}
        meaning.comments["label_map"] = "black and white masks: 255 is the second class, not void"
        _name_two(meaning, names)
        _say_shares(meaning, [values[0] / values.total(), values[VOID] / values.total()])
    elif _are_objects(found) or _are_numbers_with_class(ids):
        _from_objects(meaning, found, ids, names)
    elif _is_coding(ids) and _was_smoothed(found):
        peaks = [value for value in held if values[value] >= PEAK * values.total()]
        meaning.remarks.append(
            f"The masks hold {len(held)} grey values, mostly near {first_few(map(str, peaks), 8)}: they were smoothed "
            f"or stored as JPEG, and which value is which class cannot be told at their edges. Make them anew."
        )
        _number(meaning, 2)
        _say_unjoined(meaning, names, None)
    elif nodata or _is_coding(ids):
        _from_coding(meaning, found, ids, nodata, names)
    else:
        _from_ids(meaning, found, ids, names)


def _is_coding(ids: Sequence[int]) -> bool:
    """Whether values are too large for so few, so that they are no ids of classes."""
    return bool(ids) and (ids[-1] > VOID or ids[-1] >= max(GAPS * len(ids), GAPS + 1))


def _join_by_value(meaning: Meaning, found: MaskValues, stated: Sequence[StatedClasses]) -> bool:
    """Join values with the names of a file that states both; 0 may be unnamed, for what lies around."""
    for one in stated:
        known = dict(sorted(one.by_value.items()))
        held = [value for value in found.values if value >= 0 and (value != VOID or value in known)]
        unnamed = sorted(value for value in held if value not in known)
        if not known or len(unnamed) > len(held) / 2 or (unnamed and len(held) > 2 and len(unnamed) > 1):
            continue
        entries = {**{value: StatedClass("class_0" if value == 0 else f"class_{value}") for value in unnamed}, **known}
        if len(entries) > MOST_STATED:
            entries = {value: entry for value, entry in entries.items() if value in held}
            meaning.remarks.append(f"{one.file.name} names {len(known)} classes: only those found in masks are taken.")
        entries = dict(sorted(entries.items()))
        classes = {value: entry for value, entry in entries.items() if not entry.is_void}
        if not 2 <= len(classes) <= MOST_STATED:
            continue
        if unnamed:
            meaning.remarks.append(
                f"{one.file.name} does not name {first_few(map(str, unnamed))}, which masks hold: named class_... "
                f"below. Rename what is a class; what is none, map to 255 by label_map."
            )
        void = {value: VOID for value in entries if value not in classes} | {
            value: VOID for value in found.values if value < 0 or (value == VOID and value not in known)
        }
        if list(classes) != list(range(len(classes))) or set(void) - {VOID} or VOID in classes:
            numbered = {value: index for index, value in enumerate(classes)}
            meaning.options["label_map"] = dict(sorted({VOID: VOID, **void, **numbered}.items()))
            meaning.comments["label_map"] = f"as {one.file.name} states; 255: ignored"
        _take_names(meaning, [entry.name for entry in classes.values()], f"as {one.file.name} states")
        return True
    for one in stated:
        if one.by_value:
            meaning.remarks.append(
                f"{one.file.name} says what {first_few(map(str, sorted(one.by_value)), 8)} mean, but the masks hold "
                f"{first_few(map(str, sorted(found.values)), 8)}: it was not used."
            )
    return False


def _from_objects(meaning: Meaning, found: MaskValues, ids: list[int], names: StatedClasses | None) -> None:
    """Propose background and object where values number the objects of each image, and ask."""
    most = max((len(held) for held in found.by_file), default=0)
    what = f"The values look like numbers of objects, not of classes: up to {most} in a mask, {_some(ids)} in all"
    if _are_numbers_with_class(ids):
        meaning.remarks.append(
            f"{what}, and those of 1000 and more seem to be class * 1000 + object, as in Cityscapes' instanceIds. Take "
            f"the masks that hold the classes (labelIds), or write value // 1000 into new ones."
        )
        _number(meaning, 2)
    elif VOID in found.values or 0 not in found.values:
        meaning.remarks.append(f"{what}. If so, say which value means what by label_map, background 0, objects 1.")
        _number(meaning, 2)
    else:
        meaning.options["mask_threshold"] = 1
        meaning.comments["mask_threshold"] = "a question: are they objects? See above"
        all_of_them = f"name all {ids[-1] + 1} of them" if ids[-1] < MOST_STATED else "say what each means by label_map"
        meaning.remarks.append(
            f"{what}. So background (0) and object (1 and more) are proposed. If they are classes, take mask_threshold "
            f"out, and {all_of_them}."
        )
        _name_two(meaning, names)


def _from_coding(
    meaning: Meaning, found: MaskValues, ids: list[int], nodata: list[int], names: StatedClasses | None
) -> None:
    """Map values that are no ids; those that stand where nothing is known are ignored."""
    if nodata:
        marks = first_few([f"{value} (NaN)" if value == NO_NUMBER else str(value) for value in nodata])
        meaning.remarks.append(
            f"{marks} is taken for the mark of pixels of which nothing is known, and ignored. If it is a class, change "
            f"label_map."
        )
    classes = ids
    if nodata and ids and not _is_coding(ids):
        classes = list(range(ids[-1] + 1))  # plain ids: the ones between occur in other masks
    elif VOID in found.values and not nodata:
        classes = [*ids, VOID] if ids[-1] < VOID else sorted([*ids, VOID])
    if len(classes) > MOST_CLASSES:
        meaning.remarks.append(
            f"The masks hold {len(classes)} values up to {classes[-1]}: numbers of objects rather than of classes? Say "
            f"what each means by label_map, or set mask_threshold: 1 for background and object."
        )
        _number(meaning, 2)
        return
    mapped = {value: index for index, value in enumerate(classes)} | dict.fromkeys(nodata, VOID)
    if nodata and VOID in found.values:
        mapped[VOID] = VOID
    meaning.options["label_map"] = dict(sorted(mapped.items()))
    meaning.comments["label_map"] = "the values found: a coding, not ids; what is no class, map to 255"
    total = found.values.total()
    _number(meaning, max(2, len(classes)), [found.values[value] / total for value in classes])
    thin = [value for value in classes[1:-1] if found.solid and not found.solid[value]]
    if thin:
        meaning.remarks.append(
            f"{first_few(map(str, thin))} is nowhere 3 pixels wide, as edges and borders are: if it is no class, map "
            f"it to 255."
        )
    _say_unjoined(meaning, names, len(classes))


def _from_ids(meaning: Meaning, found: MaskValues, ids: list[int], names: StatedClasses | None) -> None:
    """Number the classes, or take the names of a list that is in the order of the ids."""
    count = max(2, max(ids, default=-1) + 1)
    total = found.values.total()
    _number(meaning, count, [found.values[value] / total for value in range(count)])
    ignored = [held for held in found.by_file if VOID in held]
    if 1 in found.values and ignored and all(held == {VOID} for held in ignored):
        meaning.remarks.append(
            f"255 is ignored ({found.values[VOID] / total:.1%} of the pixels), but {len(ignored)} of "
            f"{len(found.by_file)} masks hold it and 0 alone, as black and white ones do: if it is class 1 there, say "
            f"so by label_map."
        )
    _show_palette(meaning, found, count)
    light = found.shown.get(0, BLACK) == (255, 255, 255) and BLACK in found.shown.values()
    if light:
        meaning.remarks.append(
            "The masks' palettes show 0 as white, and another value as black: 0 may be the object, and that the "
            "background. Name class_names accordingly, in the order of the numbers."
        )
    if names is None:
        return
    listed = names.names
    has_background = listed[0].casefold() in BACKGROUNDS
    around = found.values[0] >= DOMINANT * total
    if not light and ((has_background and len(listed) >= count) or (len(listed) == count and not around)):
        _take_names(meaning, listed, f"in the order of {names.file.name}: {first_few(_numbered(listed), 3)}, ...")
        if "palette" in meaning.options and len(listed) != count:
            del meaning.options["palette"], meaning.comments["palette"]
            meaning.options.pop("void_colours", None)
    else:
        _say_unjoined(meaning, names, count)


def _show_palette(meaning: Meaning, found: MaskValues, count: int) -> None:
    """Take the colours in which all masks show their values, if they are all there and are not those we show anyway."""
    shown = [found.shown.get(value) for value in range(count)]
    void = found.shown.get(VOID)
    colours = [colour for colour in [*shown, void] if colour is not None]
    if None in shown or len(set(colours)) < len(colours) or not found.shown:
        return
    if list(shown) == list(voc_palette(count)) or all(len(set(colour)) == 1 for colour in colours):
        return
    meaning.options["palette"] = [list(colour) for colour in shown if colour is not None]
    meaning.comments["palette"] = "as the masks' own palettes show the numbers"
    if void is not None:
        meaning.options["void_colours"] = [list(void)]


# --- values that are not exact ----------------------------------------------------------------------------------------


def _from_soft(meaning: Meaning, found: MaskValues, stated: Sequence[StatedClasses]) -> None:
    """Divide masks of fractions, or that were compressed with loss, into two classes, where that is what they show."""
    if found.fractions is not None:
        smallest, largest = found.fractions
        if smallest < 0 or largest > 1:
            meaning.remarks.append(
                f"The masks hold fractions from {smallest:g} to {largest:g}: no class ids. Save class ids, or set "
                f"mask_threshold to the value from which two classes are divided."
            )
            _number(meaning, 2)
            return
        threshold: float = 0.5
        why = "the masks hold fractions of 0 to 1, as probabilities are"
    elif found.values and not found.colours and _is_soft(found, exact=False):
        threshold, why = 128, f"{found.soft} masks looked at are compressed as JPEG or the like, which changes values"
    else:
        meaning.remarks.append(
            f"{found.soft} masks looked at were compressed as JPEG or the like, which changes values, and they are not "
            f"black and white: which class a pixel has cannot be told. Export the masks again, as PNG."
        )
        _number(meaning, 2)
        _say_unjoined(meaning, _list_of(stated), None)
        return
    meaning.options["mask_threshold"] = threshold
    meaning.comments["mask_threshold"] = "from here on it is the object"
    meaning.remarks.append(
        f"{why[0].upper()}{why[1:]}: they are divided into two classes at {threshold:g} (mask_threshold)."
    )
    _name_two(meaning, _list_of(stated))


def _is_soft(found: MaskValues, exact: bool = True) -> bool:
    """Whether masks are black and white with soft edges: few pixels between, and hardly any of them in flat areas."""
    values, total = found.values, found.values.total()
    if min(values) > DARK or not BRIGHT <= max(values) <= VOID:
        return False
    between = [value for value in values if DARK < value < BRIGHT]
    inner = sum(values[value] for value in between)
    if total - inner < SOFT_ENDS * total or sum(found.solid[value] for value in between) > SOFT_SOLID * inner:
        return False
    if not exact:
        return True
    black = max((value for value in values if value <= DARK), key=values.__getitem__)
    white = max((value for value in values if value >= BRIGHT), key=values.__getitem__)
    others = [value for value in values if value not in (black, white)]
    pixels = sum(values[value] for value in others)
    if sum(found.solid[value] for value in others) > SOFT_SOLID * pixels:
        return False
    return any(value >= BRIGHT for value in others) or (
        len(others) >= 3 and any(64 <= value <= 192 for value in others)
    )


def _was_smoothed(found: MaskValues) -> bool:
    """Whether values beside those that were meant lie at edges alone: many of them, or some close to the ones meant."""
    values, total = found.values, found.values.total()
    meant = [value for value in values if found.solid[value] > SOFT_SOLID * values[value]]
    rare = [value for value in values if values[value] < PEAK * total and value not in meant]
    close = [value for value in rare if any(abs(value - peak) <= 4 for peak in meant)]
    return bool(meant) and (len(rare) > MOST_CLASSES / 2 or len(close) >= 3)


def _are_numbers_with_class(ids: Sequence[int]) -> bool:
    """Whether values are class * 1000 + object, as in Cityscapes' instanceIds."""
    large = [value for value in ids if value >= 1000]
    return len(large) >= 2 and all(value % 1000 < 200 for value in large) and (
        len({value // 1000 for value in large}) < len(large)
    )  # fmt: skip


# --- objects in place of classes --------------------------------------------------------------------------------------


def _are_objects(found: MaskValues) -> bool:
    """Whether values or colours tell objects apart: numbered from 1 on in each mask, or other ones in each mask."""
    held = [keys - {VOID} for keys in found.by_file if keys - {VOID}]
    several = [keys for keys in held if len(keys) > 1]
    if not several:
        return False
    one_piece, looked_at = found.pieces
    numbered = [keys for keys in held if keys == set(range(1, len(keys) + 1))]
    counts = {len(keys) for keys in held}
    if len(numbered) >= 0.95 * len(held) and len(counts) >= 3 and looked_at and one_piece >= 0.9 * looked_at:
        return True
    occurs: Counter[Hashable] = Counter(key for keys in held for key in keys)
    return len(held) >= 3 and len(several) >= len(held) / 2 and len(occurs) >= 8 and occurs.total() <= 1.2 * len(occurs)


# --- names ------------------------------------------------------------------------------------------------------------


def _list_of(stated: Sequence[StatedClasses]) -> StatedClasses | None:
    """Return the file whose order of names may be that of the ids: one that states nothing else, if there is one."""
    lists = [one for one in stated if one.names and not one.by_value]
    plain = [one for one in lists if not one.by_colour]
    return next(iter([*plain, *lists]), None)


def _take_names(meaning: Meaning, names: Iterable[str], why: str) -> None:
    """Take names, and make those differ that stand twice: a class has one name."""
    taken: list[str] = []
    for name in names:
        number, unique = 2, name
        while unique in taken:
            unique, number = f"{name} ({number})", number + 1
        taken.append(unique)
    meaning.options["class_names"] = taken
    meaning.comments["class_names"] = why
    spelt: dict[str, list[str]] = {}
    for name in taken:
        spelt.setdefault("".join(filter(str.isalnum, name.partition(" (")[0].casefold())), []).append(name)
    alike = [" and ".join(map(repr, ways)) for ways in spelt.values() if len(ways) > 1]
    if alike:
        meaning.remarks.append(
            f"{first_few(alike)} may be one class in two spellings. If so, map both to one id by label_map (in "
            f"colours: make the masks anew), or they are learned as two."
        )


def _number(
    meaning: Meaning, count: int, shares: Sequence[float] = (), order: str = "in the order of their ids"
) -> None:
    names = [f"class_{index}" for index in range(count)]
    meaning.options["class_names"] = names + ["class_1"] * (count < 2)
    meaning.comments["class_names"] = f"name them, {order}"
    if shares and len(shares) <= MOST_SHARES:
        _say_shares(meaning, shares)


def _say_shares(meaning: Meaning, shares: Sequence[float]) -> None:
    told = ", ".join(f"{100 * share:.2g}" for share in shares)
    comment = meaning.comments.get("class_names")
    meaning.comments["class_names"] = f"{comment + '; ' if comment else ''}% of the pixels: {told}"


def _name_two(meaning: Meaning, names: StatedClasses | None) -> None:
    """Name background and object: by a file that names one class, or the background and one."""
    meaning.options["class_names"] = ["background", "foreground"]
    listed = [] if names is None else names.names
    if len(listed) == 1:
        meaning.options["class_names"] = ["background", listed[0]]
    elif len(listed) == 2 and listed[0].casefold() in BACKGROUNDS:
        meaning.options["class_names"] = list(listed)
    else:
        meaning.comments["class_names"] = "name them, in the order of their ids"
        _say_unjoined(meaning, names, 2)


def _say_unjoined(meaning: Meaning, names: StatedClasses | None, count: int | None) -> None:
    """Say that a list of names could not be joined with what the masks hold."""
    if names is None:
        return
    listed = names.names
    what = f"{names.file.name} names {len(listed)} classes ({first_few(listed, 8)})"
    if count is None:
        meaning.remarks.append(f"{what}, but what marks each in the masks is not known: see class_names.")
        return
    remedy = ""
    if len(listed) <= count and listed[0].casefold() not in BACKGROUNDS:
        remedy = f" Where 0 is what lies around them, they are [background, {', '.join(listed)}]."
    meaning.remarks.append(f"{what}, but its masks hold {count}: see class_names.{remedy}")


def _numbered(names: Sequence[str]) -> list[str]:
    return [f"{index} is {name}" for index, name in enumerate(names)]


def _some(marks: Sequence[Any]) -> str:
    return first_few([str(list(mark) if isinstance(mark, tuple) else mark) for mark in marks], 4)
