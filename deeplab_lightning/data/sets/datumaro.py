"""Annotations in Datumaro's own form: a JSON file for each subset.

    annotations/SUBSET.json    `categories.label.labels`, and `items`, each with `id`, `image` (`path`, and `size` of
                               height and width) and `annotations` (`type`, `label_id`, `z_order`)
    images/SUBSET/PATH

`polygon` (points x, y, x, y, ...), `mask` (COCO's run lengths) and `ellipse` (the corners of the rectangle around it)
are drawn, those of a higher `z_order` on top and of equal ones the later. Of a `bbox` the box is ignored, as the object
lies somewhere in it; it is counted with what has no area (`polyline`, `points`). Classes and captions of whole images
are passed over. A pixel is an object's if its centre lies inside. Subsets called after splits are these.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ...errors import DataError
from ...files import read_bytes
from ..files.annotations import read_json
from ..files.regions import Polygon, Region, box, ellipse, ring, runs_of
from ..forms.outlines import AnnotatedImage, Annotations, Outlined, OutlinesDataModule
from ..pairing.named_images import NamedImages, name_of, split_in, split_of_path

_REMEDY = "Export it from Datumaro again."
_OF_WHOLE_IMAGES = ("label", "caption", "hash_key", "feature_vector")


class DatumaroDataModule(OutlinesDataModule):
    """The user's own images, with annotations in Datumaro's form."""

    layout = "Datumaro (annotations/SUBSET.json, images/SUBSET/)"
    generality = 0

    @classmethod
    def is_form(cls, root: Path) -> bool:
        """Look for the form's words in the files of annotations/."""
        return bool(_files(root))

    @classmethod
    def read(cls, root: Path) -> Annotations:
        """Read the files of all subsets."""
        found, images = Annotations(), NamedImages(root)
        for path in _files(root):
            content = read_json(path, _REMEDY)
            try:
                labels = [str(label["name"]) for label in content["categories"]["label"]["labels"]]
                found.labels += [label for label in labels if label not in found.labels]
                for item in content["items"]:
                    _add_item(found, path, item, labels, root, images)
            except DataError:
                raise
            except (AttributeError, KeyError, TypeError, ValueError) as error:
                raise DataError(
                    f"{path} is not in Datumaro's form: {type(error).__name__}: {error}. {_REMEDY}"
                ) from error
        found.remarks += images.left_out(one.image for one in found.images.values())
        return found


def _files(root: Path) -> list[Path]:
    paths = [path for path in sorted(root.glob("annotations/*.json")) if path.is_file()]
    return [path for path in paths if _has_its_words(path)]


def _has_its_words(path: Path) -> bool:
    try:
        text = read_bytes(path)
    except OSError:
        return False
    return all(word in text for word in (b'"items"', b'"categories"', b'"labels"')) and b'"images"' not in text


def _add_item(
    found: Annotations, path: Path, item: dict[str, Any], labels: list[str], root: Path, images: NamedImages
) -> None:
    """Add an image with its objects."""
    described = item.get("image") or {}
    name, split = str(described.get("path") or item["id"]), split_in(path.stem)
    file = images.find(f"{path.stem}/{name}", split, path.parent)
    if file is None:
        found.missing.append(f"{name} of {path}, below {root}.")
        return
    height, width = described.get("size") or (None, None)
    image = AnnotatedImage(file, path, height, width, split=split or split_of_path(file, root))
    ordered: list[tuple[int, Outlined]] = []
    for number, entry in enumerate(item["annotations"], start=1):
        if entry["type"] in _OF_WHOLE_IMAGES:
            continue
        where = f"{path}, item {item['id']!r}, annotation {number}"
        label = entry.get("label_id")
        if type(label) is not int or not 0 <= label < len(labels):
            raise DataError(
                f"{where} has label_id {label!r}; {path.name} has the labels 0 to {len(labels) - 1}. {_REMEDY}"
            )
        try:
            region, is_box = _region(entry, where)
        except DataError as error:
            found.left_out.append(str(error))
            continue
        if is_box:
            found.left_out.append(f"{where} is a box, no outline: boxes do not tell the classes of pixels. {_REMEDY}")
        one = Outlined(labels[label], region, where, ignored=is_box, group=entry.get("group") or None)
        ordered.append((int(entry.get("z_order") or 0), one))
    image.objects = [one for _, one in sorted(ordered, key=lambda one: one[0])]
    found.add(name_of(file, root), image)


def _region(entry: dict[str, Any], where: str) -> tuple[Region, bool]:
    """Return what an annotation covers, and whether that is but a box around it.

    Raises:
        DataError: It has no area, or cannot be drawn.
    """
    kind = entry["type"]
    if kind == "polygon":
        return Polygon((ring(_numbers(entry["points"], where, 2).reshape(-1, 2), where, _REMEDY),)), False
    if kind == "ellipse":
        left, top, right, bottom = _numbers(entry["points"], where, 4)[:4].tolist()
        radii = ((right - left) / 2, (bottom - top) / 2)
        return ellipse((left + right) / 2, (top + bottom) / 2, *radii, 0.0, where, _REMEDY), False
    if kind == "bbox":
        left, top, width, height = _numbers(entry["bbox"], where, 4)[:4].tolist()
        return box(left, top, left + width, top + height, where, _REMEDY), True
    if kind == "mask":
        runs = entry["rle"]
        size = runs["size"]
        if not isinstance(size, list) or len(size) != 2 or not all(type(side) is int and side > 0 for side in size):
            raise DataError(f"{where}: its mask has the size {str(size)[:40]}, expected [height, width]. {_REMEDY}")
        return runs_of(runs["counts"], size[0], size[1], where, _REMEDY, by_columns=True), False
    raise DataError(f"{where} is a {str(kind)[:40]}, which has no area. Draw it as polygon or mask.")


def _numbers(values: object, where: str, multiple: int) -> np.ndarray:
    """Return a list of finite numbers, of which there are some multiple of a count."""
    try:
        found = np.asarray(values, np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{where}: its points are no list of numbers ({error}). {_REMEDY}") from error
    if found.ndim != 1 or not found.size or found.size % multiple:
        raise DataError(f"{where} holds {found.size} numbers, expected x and y of each point. {_REMEDY}")
    return found
