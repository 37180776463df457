"""Whether files with the numbers of objects lie beside the masks of a folder, and which classes have some."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ..data.files.object_numbers import NUMBER_SUFFIXES
from ..data.forms.folder_reading import pattern_below
from ..data.sets.folder import FolderDataModule
from ..data.spacing import spread
from ..data.wording import first_few
from ..errors import DeepLabError
from .mask_classes import Meaning

CALLED = ("instances", "instance", "instanceids", "instance_ids", "inst", "objects", "object_ids")
"""What folders of numbers are called, or the ends of their files' names."""
LOOKED_AT = 20
"""Images in which objects are looked for."""
_WORD = re.compile(r"\{\w+\}|[^\W\d_]+")


def numbered_objects(options: Mapping[str, Any]) -> Meaning:
    """Propose where numbers of objects are read from, and for which classes; nothing where none lie beside all masks.

    Args:
        options: Of `FolderDataModule`, as far as they are known.
    """
    found = Meaning()
    try:
        names = set(FolderDataModule(**options).files)
    except DeepLabError:  # whoever opens it says what is wrong
        return found
    where = next((text for text in _places(options) if _fits(options, text, names)), None)
    if where is None:
        return found
    try:
        things = _with_numbers({**options, "instances": where, "things": options["class_names"]})
    except DeepLabError as error:
        found.remarks.append(f"{where} seems to number objects, and cannot be used: {error}")
        return found
    if things:
        found.options = {"instances": where, "things": things}
        found.comments["things"] = "classes with numbers there: take out those whose objects are not told apart"
        found.remarks.append(f"{where} numbers the objects of {first_few(things)}: for models that tell them apart.")
    else:
        found.remarks.append(f"{where} seems to number objects, but has no number where a mask shows a class.")
    return found


def _places(options: Mapping[str, Any]) -> Iterator[str]:
    """Give folders and patterns like those of masks and images, with a word of theirs replaced."""
    for text in (options["masks"], options["images"]):
        for word in dict.fromkeys(word for word in _WORD.findall(text) if word[0] != "{"):
            for called in CALLED:
                pieces = [called if piece == word else piece for piece in re.split(f"({_WORD.pattern})", text)]
                yield "".join(pieces)


def _fits(options: Mapping[str, Any], text: str, names: set[str]) -> bool:
    """Whether a place holds a file for each image."""
    root = FolderDataModule(**options).root
    return names <= {one.full_name for one in pattern_below(root, text, NUMBER_SUFFIXES).files(root)}


def _with_numbers(options: Mapping[str, Any]) -> list[str]:
    """Return the classes whose pixels have numbers, in the order of their ids."""
    dataset = FolderDataModule(**options).dataset("train")
    counts = np.zeros(256, np.int64)
    for index in spread(len(dataset), LOOKED_AT):
        counts += np.bincount(dataset.load(index)[1][dataset.instances(index) > 0], minlength=256)
    return [name for name, count in zip(options["class_names"], counts.tolist(), strict=False) if count]
