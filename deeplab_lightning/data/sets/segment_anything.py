"""Segment Anything's data (SA-1B): for each image a JSON file of the masks on it, which have no classes.

    sa_1.jpg, sa_1.json    `image` {file_name, height, width}, and `annotations`, each with `segmentation`
                           {size, counts}: COCO's compressed run lengths

All masks are of one class, which the user names.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path, PurePosixPath

from ..files.annotations import parsing, read_json
from ..files.regions import runs_of
from ..forms.outlines import AnnotatedImage, Annotations, Outlined, OutlinesDataModule
from ..pairing.finding import files_below
from ..pairing.layout import head_of, json_object
from ..pairing.named_images import NamedImages, short_names, split_of_path

_REMEDY = "Download the file again."
NAMELESS = "object"


class SegmentAnythingDataModule(OutlinesDataModule):
    """Images with masks without classes, as SA-1B has them."""

    layout = "Segment Anything (sa_1.jpg, sa_1.json)"

    @classmethod
    def is_form(cls, root: Path) -> bool:
        """Look for a file with an image and masks."""
        return next(_files(root, 200), None) is not None

    @classmethod
    def read(cls, root: Path) -> Annotations:
        """Read all files below a folder."""
        found = Annotations(labels=[NAMELESS], nameless=True)
        images = NamedImages(root)
        entries: dict[Path, AnnotatedImage] = {}
        for path in _files(root):
            content = read_json(path, _REMEDY)
            with parsing(path, _REMEDY):
                said = content["image"]
                image = images.find(str(said["file_name"]), near=path.parent)
                if image is None:
                    found.missing.append(f"{path} is of {said['file_name']}, which is nowhere below {root}.")
                    continue
                height, width = int(said["height"]), int(said["width"])
                entries[image] = entry = AnnotatedImage(image, path, height, width)
                for number, one in enumerate(content["annotations"], start=1):
                    where = f"{path}, annotation {number}"
                    high, wide = (int(side) for side in one["segmentation"]["size"])
                    runs = runs_of(one["segmentation"]["counts"], high, wide, where, _REMEDY, by_columns=True)
                    entry.objects.append(Outlined(NAMELESS, runs, where))
        names = short_names(entries)
        for image, entry in entries.items():
            entry.split = split_of_path(PurePosixPath(names[image]))
            found.add(names[image], entry)
        found.remarks.append("Segment Anything's masks have no classes: all are of one. Name it.")
        return found


def _files(root: Path, most: int | None = None) -> Iterator[Path]:
    """Give the files that hold an image and its masks; of the first few of a folder, if so many are enough."""
    for path in islice((path for path in files_below(root) if path.suffix == ".json"), most):
        head = head_of(path)
        if head.startswith(b"{") and b'"image"' in head and b'"annotations"' in head and b'"counts"' in head:
            content = json_object(path)
            if isinstance(content.get("image"), dict) and isinstance(content.get("annotations"), list):
                yield path
