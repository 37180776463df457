"""Annotations made with ISAT: one JSON file for each image.

    NAME.json    {"info": {"description": "ISAT", "folder": ..., "name": "NAME.jpg", "width", "height", ...},
                  "objects": [{"category", "group", "segmentation": [[x, y], ...], "layer", "iscrowd", ...}, ...]}

Objects of a higher layer lie on top, of equal ones the later in the file, as in ISAT's own export of masks; those of
the category `__background__` cut holes. A pixel is an object's if its centre lies inside.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path, PurePosixPath

from ...errors import DataError
from ..files.annotations import parsing, read_json
from ..files.regions import Polygon, ring
from ..forms.outlines import AnnotatedImage, Annotations, Outlined, OutlinesDataModule
from ..pairing.finding import files_below
from ..pairing.layout import head_of
from ..pairing.named_images import NamedImages, short_names, split_of_path

LOOKED_AT = 200
_REMEDY = "Open it in ISAT and save it again, or take it away."


class ISATDataModule(OutlinesDataModule):
    """The user's own images, annotated with ISAT (semi-automatic, by Segment Anything)."""

    layout = "ISAT (NAME.json with info and objects)"

    @classmethod
    def is_form(cls, root: Path) -> bool:
        """Look for one of its files."""
        return next(_files(root, LOOKED_AT), None) is not None

    @classmethod
    def read(cls, root: Path) -> Annotations:
        """Read all files below a folder."""
        found, images = Annotations(), NamedImages(root)
        entries: dict[Path, AnnotatedImage] = {}
        for path in _files(root):
            content = read_json(path, _REMEDY)
            with parsing(path, _REMEDY):
                info = content["info"]
                image = images.find(str(info["name"]), split_of_path(path, root), path.parent)
                if image is None:
                    found.missing.append(f"{path} is of {info['name']}, which is nowhere below {root}.")
                    continue
                if image in entries:
                    raise DataError(f"{image} is annotated in {entries[image].annotation} and in {path}. Keep one.")
                entry = AnnotatedImage(image, path, info.get("height"), info.get("width"))
                objects = sorted(enumerate(content["objects"], start=1), key=lambda one: float(one[1].get("layer", 1)))
                for number, one in objects:
                    where = f"{path}, object {number}"
                    try:
                        outline = ring(one["segmentation"], where, _REMEDY)
                    except DataError as error:
                        found.left_out.append(str(error))
                        continue
                    entry.objects.append(Outlined(str(one["category"]), Polygon((outline,)), where))
                entries[image] = entry
        names = short_names(entries)
        for image, entry in entries.items():
            entry.split = split_of_path(PurePosixPath(names[image]))
            found.add(names[image], entry)
        found.labels = sorted({one.label for entry in entries.values() for one in entry.objects})
        found.remarks += images.left_out(entries)
        return found


def _files(root: Path, most: int | None = None) -> Iterator[Path]:
    """Give ISAT's files; of the first few JSON files, if so many are enough."""
    for path in islice((path for path in files_below(root) if path.suffix.lower() == ".json"), most):
        head = head_of(path)
        if head.startswith(b"{") and all(word in head for word in (b'"info"', b'"ISAT"', b'"objects"')):
            yield path
