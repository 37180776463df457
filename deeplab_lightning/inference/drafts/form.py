"""What a form of drafts is: a class that writes images with outlined regions into a folder of its own."""

from __future__ import annotations

import importlib
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from ...plugins import subclasses

if TYPE_CHECKING:
    from ...labels import RGB
    from .outlines import OutlinedRegion

IGNORED = "__ignore__"
"""Label of what is not to count: pixels that the network is unsure of."""


@dataclass(frozen=True)
class DraftClass:
    """A class whose regions are drafted.

    Attributes:
        name: What people see.
        colour: Likewise.
    """

    name: str
    colour: RGB

    @property
    def hex_colour(self) -> str:
        """Such as `#ff0080`."""
        return "#{:02x}{:02x}{:02x}".format(*self.colour)


@dataclass(frozen=True)
class DraftImage:
    """An image with its draft.

    Attributes:
        file: The image's own file, below `Form.images`, in POSIX form.
        height: In pixels.
        width: Likewise.
        regions: Of all classes, the background's too.
    """

    file: str
    height: int
    width: int
    regions: Sequence[OutlinedRegion]


class Form(ABC):
    """A form of annotations; each is a class in a module of its own in `drafts.forms`, whose name is the form's.

    Images are handed over one by one, and their files are there by then; nothing of them is kept in memory.

    Args:
        folder: An empty one, which exists.
        classes: Id in class maps -> class; all others are background.
    """

    images: ClassVar[str] = "images"
    """Where the files of images lie, below the folder."""

    def __init__(self, folder: Path, classes: Mapping[int, DraftClass]) -> None:
        self.folder, self.classes = folder, classes

    def drafted(self, image: DraftImage) -> list[OutlinedRegion]:
        """Return an image's regions without those of the background."""
        return [region for region in image.regions if region.class_id in self.classes]

    @abstractmethod
    def add(self, image: DraftImage) -> None:
        """Write the draft of an image."""

    @abstractmethod
    def finish(self) -> None:
        """Write what belongs to all images."""


def form_names() -> list[str]:
    """Return the names of all forms; none is imported for it."""
    return [module.name.replace("_", "-") for module in pkgutil.iter_modules([str(Path(__file__).parent / "forms")])]


def form_named(name: str) -> type[Form]:
    """Return a form of `form_names`; its module alone is imported."""
    module = importlib.import_module(f".forms.{name.replace('-', '_')}", __package__)
    found = subclasses(Form)  # type: ignore[type-abstract]
    return next(one for one in found if one.__module__ == module.__name__)
