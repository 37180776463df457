"""LabelMe's exported folders (`labelme_export_json`, once `labelme_json_to_dataset`): one for each image.

    NAME_json/img.png            the image
    NAME_json/label.png          palette PNG, whose values mean
    NAME_json/label_names.txt    the lines of this file, counted from 0

The values of each folder have names of their own: 1 may be a car here and a road there. They are brought together by
name.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from ...errors import DataError
from ...files import read_text
from ..files.images import read_mask
from ..files.regions import Region
from ..forms.outlines import AnnotatedImage, Annotations, Outlined, OutlinesDataModule
from ..pairing.named_images import split_of_path
from ..wording import composed, first_few

_FILES = ("img.png", "label.png", "label_names.txt")
_REMEDY = "Export the annotation again from LabelMe, or train on its JSON files themselves."


class LabelMeExportsDataModule(OutlinesDataModule):
    """The user's own images, annotated with LabelMe and exported into a folder each."""

    layout = "LabelMe's exported folders (NAME_json/img.png, label.png, label_names.txt)"

    @classmethod
    def is_form(cls, root: Path) -> bool:
        """Look for an exported folder without LabelMe's own files beside it, of which some may not be exported."""
        return not any(root.glob("*.json")) and next(_folders(root), None) is not None

    @classmethod
    def read(cls, root: Path) -> Annotations:
        """Read all exported folders."""
        found = Annotations(whole_classes=True)
        labels: dict[str, None] = {}
        for folder in _folders(root):
            try:
                text = read_text(folder / "label_names.txt")
            except OSError as error:
                raise DataError(f"Cannot read {folder / 'label_names.txt'}: {error.strerror}. {_REMEDY}") from error
            names = [line.strip() for line in text.splitlines()]
            mask = folder / "label.png"
            name = composed(folder.relative_to(root).as_posix()).removesuffix("_json")
            entry = AnnotatedImage(folder / "img.png", mask, split=split_of_path(PurePosixPath(name)))
            for value, label in enumerate(names):
                entry.objects.append(Outlined(label, ValueOf(mask, value, len(names)), f"{mask}, value {value}"))
                labels[label] = None
            found.add(name, entry)
        found.labels = sorted(labels)
        return found


@dataclass(frozen=True)
class ValueOf(Region):
    """The pixels of one value in a mask.

    Attributes:
        path: Of the mask.
        value: 0 and more.
        names: How many values have a name.
    """

    path: Path
    value: int
    names: int

    def area(self, height: int, width: int) -> np.ndarray:
        """Read it."""
        mask = read_mask(self.path)
        if mask.shape != (height, width):
            raise DataError(f"{self.path} is of another size than the image beside it. {_REMEDY}", kind="size")
        unnamed = [str(value) for value in np.unique(mask).tolist() if value >= self.names]
        if unnamed:
            raise DataError(f"{self.path} holds {first_few(unnamed)}, for which label_names.txt has no line. {_REMEDY}")
        return mask == self.value


def _folders(root: Path) -> Iterator[Path]:
    """Give the exported folders in a folder, and in its folders of splits."""
    for folder in sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")):
        if all((folder / name).is_file() for name in _FILES):
            yield folder
        elif split_of_path(PurePosixPath(folder.name) / "x"):
            yield from (one for one in sorted(folder.iterdir()) if all((one / name).is_file() for name in _FILES))
