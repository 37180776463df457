"""What the values or colours of masks mean: class names, and how they become ids.

What is not stated is asked, not guessed. Colours and names are joined only by the user: files of names have an order,
and colours have none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ..data.wording import first_few
from ..labels import RGB, VOID_COLOUR
from .contents import MaskValues

VOID = 255
BACKGROUNDS = ("background", "_background_", "bg", "backgr", "unlabeled", "unlabelled", "other", "others", "none")
"""Names of the class that lies where nothing else does, in small letters."""
NO_CLASS = ("__ignore__", "ignore", "void")
"""Names in lists that stand for no class."""
MOST_COLOURS = 64
"""Masks with more colours than this were compressed or smoothed: no palette is proposed."""
BLENDED = 1e-3
"""Share of all pixels below which a colour may be the edge between two others."""
GAPS = 3
"""How many times more the largest value must be than there are values, for these to be a coding and not ids."""
SOFT_VALUES, SOFT_ENDS = 64, 0.8
"""Grey values from which masks have soft edges, if nearly black and nearly white pixels have this share."""
VOC_LEVELS = {0, 64, 128, 192}
"""Of red, green and blue in PASCAL VOC's palette, whose void colour is no class."""


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


def meaning_of(found: MaskValues, file_names: Sequence[str]) -> Meaning:
    """Propose what masks mean, given what they hold and the names that a file lists."""
    names = [name for name in file_names if name.casefold() not in NO_CLASS]
    meaning = Meaning()
    if found.colours:
        _from_colours(meaning, found.colours, names)
    else:
        _from_values(meaning, found.values, names)
    return meaning


def _from_colours(meaning: Meaning, colours: Counter[RGB], names: Sequence[str]) -> None:
    listed = [colour for colour, _ in colours.most_common() if colour != (0, 0, 0)]
    listed = [(0, 0, 0)] * ((0, 0, 0) in colours) + listed
    if VOID_COLOUR in listed and all(set(colour) <= VOC_LEVELS for colour in listed if colour != VOID_COLOUR):
        listed.remove(VOID_COLOUR)
        meaning.options["void_colour"] = list(VOID_COLOUR)
    rare = [colour for colour in listed if colours[colour] < BLENDED * colours.total()]
    if len(listed) > MOST_COLOURS:
        meaning.remarks.append(
            f"The masks hold {len(listed)} colours: they were blended or stored as JPEG. Make them anew, or list the "
            f"colours of the classes as palette yourself."
        )
        _number(meaning, 2)
        return
    if rare:
        meaning.remarks.append(
            f"{len(rare)} of {len(listed)} colours have fewer than {BLENDED:.1%} of the pixels, as blended edges have: "
            f"{first_few([str(list(colour)) for colour in rare], 4)}. Take those out of palette that are no class."
        )
    meaning.options["palette"] = [list(colour) for colour in listed]
    meaning.comments["palette"] = "the colours found in masks, black first, then the most frequent"
    _number(meaning, max(2, len(listed)))
    if names:
        meaning.remarks.append(
            f"A file names {len(names)} classes ({first_few(names, 8)}), but which colour each has is not said: put "
            f"them into class_names in the order of palette."
        )


def _from_values(meaning: Meaning, values: Counter[int], names: Sequence[str]) -> None:
    held = sorted(values)
    ids = [value for value in held if value != VOID]
    ends = sum(count for value, count in values.items() if value <= 16 or 239 <= value <= VOID)
    if len(held) >= SOFT_VALUES and held[-1] == VOID and ends >= SOFT_ENDS * values.total() and _reach_up(ids):
        meaning.options["mask_threshold"] = 128
        meaning.comments["mask_threshold"] = (
            f"{len(held)} grey values, as soft edges have: from here on it is the object"
        )
        _name_two(meaning, names)
    elif held == [0, VOID] or held == [VOID]:
        meaning.options["label_map"] = {0: 0, VOID: 1}
        meaning.comments["label_map"] = "black and white masks: 255 is the second class, not void"
        _name_two(meaning, names)
    elif held and (held[0] < 0 or held[-1] > VOID or max(ids, default=0) >= max(GAPS * len(ids), GAPS + 1)):
        classes = [value for value in held if value >= 0]
        if len(classes) > MOST_COLOURS:
            meaning.remarks.append(
                f"The masks hold {len(classes)} values up to {classes[-1]}: numbers of objects rather than of classes? "
                f"Say what each means by label_map."
            )
            _number(meaning, 2)
            return
        meaning.options["label_map"] = {value: VOID for value in held if value < 0} | {
            value: index for index, value in enumerate(classes)
        }
        meaning.comments["label_map"] = "the values found: a coding, not ids; what is no class, map to 255"
        _number(meaning, len(classes))
        _say_unjoined(meaning, names, len(classes))
    else:
        count = max(2, max(ids, default=-1) + 1)
        has_background = bool(names) and names[0].casefold() in BACKGROUNDS
        if len(names) == count or (len(names) > count and has_background):
            meaning.options["class_names"] = list(names)
            return
        _number(meaning, count)
        _say_unjoined(meaning, names, count)


def _reach_up(ids: Sequence[int]) -> bool:
    """Whether many values lie in the upper half, where ids of classes seldom are."""
    return sum(value > 128 for value in ids) >= 16


def _number(meaning: Meaning, count: int) -> None:
    meaning.options["class_names"] = [f"class_{index}" for index in range(count)]
    meaning.comments["class_names"] = "name them, in the order of their ids"


def _name_two(meaning: Meaning, names: Sequence[str]) -> None:
    """Name background and object: by a file that names one class, or the background and one."""
    meaning.options["class_names"] = ["background", "foreground"]
    if len(names) == 1:
        meaning.options["class_names"] = ["background", names[0]]
    elif len(names) == 2 and names[0].casefold() in BACKGROUNDS:
        meaning.options["class_names"] = list(names)
    else:
        meaning.comments["class_names"] = "name them, in the order of their ids"
        _say_unjoined(meaning, names, 2)


def _say_unjoined(meaning: Meaning, names: Sequence[str], count: int) -> None:
    if not names:
        return
    meaning.remarks.append(
        f"The folder names {len(names)} classes ({first_few(names, 8)}), but its masks hold {count}: see class_names."
        + (
            f" Where 0 is what lies around them, they are [background, {', '.join(names)}]."
            if len(names) < count
            else ""
        )
    )
