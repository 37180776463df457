"""What the numbers in a mask mean: classes, their colours, and the value that is ignored. No data set stands here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .config_words import not_a_word
from .errors import ConfigError, did_you_mean

RGB = tuple[int, int, int]

VOID_COLOUR: RGB = (224, 224, 192)
"""How ignored pixels are drawn: colour 255 of the PASCAL VOC palette."""


@dataclass(frozen=True)
class LabelSet:
    """Class names and colours in the order of their train ids, and the value that is ignored.

    Attributes:
        class_names: One name per train id, background included, ignore excluded.
        palette: One RGB colour (0..255) per train id.
        ignore_index: Value in masks that neither loss nor metric counts. Not a class.
        void_colour: Colour for `ignore_index` in images.
        things: Names of the classes whose objects are told apart; all others are stuff. Empty where nobody says.

    Raises:
        ConfigError: Names and colours are not as many, a name or a thing stands twice, a thing is no class, or
            `ignore_index` is one.
    """

    class_names: tuple[str, ...]
    palette: tuple[RGB, ...]
    ignore_index: int = 255
    void_colour: RGB = VOID_COLOUR
    things: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.class_names) != len(self.palette):
            raise ConfigError(
                f"{len(self.class_names)} class names but {len(self.palette)} colours: give one colour per class."
            )
        if len(set(self.class_names)) != len(self.class_names):
            raise ConfigError(f"Class names repeat: {', '.join(self.class_names)}. Each class needs its own name.")
        if 0 <= self.ignore_index < len(self.class_names):
            name = self.class_names[self.ignore_index]
            raise ConfigError(
                f"ignore_index {self.ignore_index} is also the id of class {name!r}; "
                f"use a value outside 0..{len(self.class_names) - 1}."
            )
        if len(set(self.ids_of(self.things))) != len(self.things):
            raise ConfigError(f"Things repeat: {', '.join(self.things)}. Name each class once.")

    @property
    def thing_ids(self) -> tuple[int, ...]:
        """Train ids of the things."""
        return self.ids_of(self.things)

    @property
    def num_classes(self) -> int:
        """Number of classes, background included, ignore excluded."""
        return len(self.class_names)

    def ids_of(self, names: Sequence[str]) -> tuple[int, ...]:
        """Return the train ids of classes that a user names.

        Raises:
            ConfigError: There is no such class.
        """
        for name in names:
            if name not in self.class_names:
                advice = did_you_mean(name, self.class_names) or f" The classes: {', '.join(self.class_names)}."
                raise ConfigError(f"There is no class {name!r}.{advice}")
        return tuple(self.class_names.index(name) for name in names)

    def colour_table(self) -> np.ndarray:
        """Return the `(256, 3)` uint8 table that paints a uint8 mask: `table[mask]`."""
        table = np.zeros((256, 3), dtype=np.uint8)
        table[: self.num_classes] = self.palette
        if 0 <= self.ignore_index < 256:
            table[self.ignore_index] = self.void_colour
        return table


def voc_palette(count: int = 256) -> tuple[RGB, ...]:
    """Return the first `count` colours of the PASCAL VOC palette.

    The three lowest bits of the index go to the highest bits of red, green and blue, the next three to the next
    highest, and so on.
    """
    colours = []
    for index in range(count):
        red = green = blue = 0
        bits = index
        for position in range(7, -1, -1):
            red |= (bits & 1) << position
            green |= (bits >> 1 & 1) << position
            blue |= (bits >> 2 & 1) << position
            bits >>= 3
        colours.append((red, green, blue))
    return tuple(colours)


def own_labels(class_names: Sequence[str]) -> LabelSet:
    """Make a label set of the user's class names; 255 is ignored.

    Args:
        class_names: In the order of their ids; the first is the background.

    Raises:
        ConfigError: There are fewer than 2 classes or more than 255, or a name repeats.
    """
    if isinstance(class_names, str):
        raise ConfigError(f"data.class_names is {class_names!r}; expected a list, such as [background, person].")
    for name in class_names:
        if not isinstance(name, str):
            raise ConfigError(not_a_word("data.class_names", name))
        if not name or name != name.strip():
            raise ConfigError(f"data.class_names holds {name!r}: a name has letters, and no space before or behind.")
    if not 2 <= len(class_names) <= 255:
        raise ConfigError(
            f"data.class_names holds {len(class_names)} names, expected 2 to 255: first the background's, then the "
            f"annotated classes', as in class_names: [background, person, bottle]."
        )
    return LabelSet(tuple(class_names), voc_palette(len(class_names)))
