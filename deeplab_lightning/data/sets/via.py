"""Annotations of the VGG Image Annotator (VIA 1 and 2), in JSON or CSV; makesense.ai writes the same JSON.

Read from the tool's source and from files that it writes:

    {"name.jpg12345": {"filename": "name.jpg", "size": 12345, "file_attributes": {},
                       "regions": [{"shape_attributes": {"name": "polygon", "all_points_x": [...], ...},
                                    "region_attributes": {"class": "car"}}]}}

VIA 1 has `regions` as an object of numbers, a project of VIA 2 has all of it in `_via_img_metadata`, and CSV has a line
for each region. Shapes are polygon, rect (`x`, `y`, `width`, `height`), circle (`cx`, `cy`, `r`), ellipse (`cx`, `cy`,
`rx`, `ry`, `theta` in radians); polylines and points have no area. Coordinates are of the image's plane. Later regions
lie over earlier ones.

Regions may have several attributes, and which of them is the class stands nowhere: it is asked (`class_attribute`).
Where they have none, all are of one class. An image of the project without regions may not have been annotated yet:
that it is read as background is said.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from ...errors import ConfigError, DataError, did_you_mean
from ...files import read_text
from ..files.annotations import parsing, read_json
from ..files.regions import Polygon, Region, box, ellipse, ring
from ..forms.outlines import AnnotatedImage, Annotations, Outlined, OutlinesDataModule, OutlinesOptions
from ..pairing.layout import ANNOTATION_FOLDERS, annotation_files, head_of
from ..pairing.named_images import NamedImages, short_names, split_in, split_of_path
from ..pairing.spellings import SPELLINGS
from ..wording import first_few

_REMEDY = "Export the annotations again from VIA."
NAMELESS = "object"
"""The class of regions without attributes."""
_COLUMNS = ("filename", "region_shape_attributes", "region_attributes")


@dataclass(frozen=True, kw_only=True)
class VIAOptions(OutlinesOptions):
    """What is to be read of VIA's annotations."""

    class_attribute: str | None = None
    """Attribute of regions that holds their class; null where they have one at most."""


class VIADataModule(OutlinesDataModule):
    """The user's own images, annotated with the VGG Image Annotator or with makesense.ai (VGG's JSON)."""

    Options = VIAOptions
    options: VIAOptions
    layout = "VGG Image Annotator (its JSON or CSV, and the images)"

    @classmethod
    def is_form(cls, root: Path) -> bool:
        """Look for a file of VIA's."""
        return next(_files(root), None) is not None

    @classmethod
    def read(cls, root: Path) -> Annotations:
        """Read all of VIA's files below a folder; the question which attribute is the class goes into its comments."""
        return read_via(root, None)

    def read_as_configured(self) -> Annotations:
        """Read with the attribute that the options say.

        Raises:
            ConfigError: There are several, and none is said; or the one that is said is not there.
        """
        return read_via(self.root, self.options.class_attribute, ask=True)


def read_via(root: Path, attribute: str | None, *, ask: bool = False) -> Annotations:
    """Read all of VIA's files below a folder.

    Args:
        root: The folder.
        attribute: That holds the class; None if there is one at most.
        ask: Whether it is an error if it must be said and is not.

    Raises:
        ConfigError: See `ask`; or there is no such attribute.
        DataError: A file is damaged.
    """
    found = Annotations()
    images = NamedImages(root)
    files = list(_files(root))
    values = _attributes([entry for _, entries, _ in files for entry in entries])
    if attribute is not None and attribute not in values:
        raise ConfigError(
            f"data.class_attribute is {attribute!r}, but regions have {', '.join(values) or 'no attributes'}."
            f"{did_you_mean(attribute, values)}"
        )
    if attribute is None and len(values) == 1:
        attribute = next(iter(values))
    if attribute is None and values:
        held = "; ".join(f"{name} ({first_few(sorted(labels), 8)})" for name, labels in values.items())
        question = f"regions have several attributes, of which one is the class: {held}"
        if ask:
            raise ConfigError(
                f"{files[0][0]}: {question}. Set data.class_attribute to it, and data.class_names to background "
                f"and its values."
            )
        found.options["class_attribute"] = None
        found.comments["class_attribute"] = f"say which holds the class: {', '.join(values)}"
        found.remarks.append(f"To be said before training: {question}. Set class_attribute and class_names.")
    elif attribute is not None:
        found.options["class_attribute"] = attribute
    else:
        found.remarks.append(f"Regions have no attributes, so no classes: all are of one, '{NAMELESS}'. Name it.")
    found.nameless = not values
    empty: list[str] = []
    paths: dict[Path, tuple[AnnotatedImage, str | None]] = {}
    for path, entries, _ in files:
        split = split_in(path.stem)
        for number, entry in enumerate(entries, start=1):
            with parsing(f"{path}, image {number}", _REMEDY):
                said = str(entry["filename"])
                image = images.find(said.partition("?")[0], split, path.parent)
                if image is None:
                    found.missing.append(f"{path} is of {said}, which is nowhere below {root}.")
                    continue
                if image in paths:
                    raise DataError(
                        f"{image} is annotated twice, in {paths[image][0].annotation} and {path}. Keep one."
                    )
                paths[image] = (_annotated(image, path, entry, attribute, found.left_out), split)
                empty += [] if paths[image][0].objects else [said]
    names = short_names(paths)
    for image, (one, split) in paths.items():
        one.split = split or split_of_path(PurePosixPath(names[image]))
        found.add(names[image], one)
    used = {one.label for image, _ in paths.values() for one in image.objects}
    stated = [label for _, _, project in files for label in _options(project, attribute)]
    found.labels = list(dict.fromkeys([*stated, *sorted(used)])) or [NAMELESS]
    if empty:
        found.remarks.append(
            f"{len(empty)} images have no regions, and are read as background: {first_few(empty, 3)}. Take out those "
            f"that were not annotated."
        )
    return found


def _files(root: Path) -> Iterator[tuple[Path, list[dict[str, Any]], dict[str, Any]]]:
    """Give VIA's files in a folder, in folders of annotations and of splits: entries of images, and the whole file."""
    folders = (*ANNOTATION_FOLDERS, *SPELLINGS)
    for path in annotation_files(root, ".json", folders):
        head = head_of(path)
        if not head.startswith(b"{") or not (b"regions" in head or b"_via_" in head or b"fileref" in head):
            continue
        try:
            content = read_json(path, _REMEDY)
        except DataError:
            continue
        metadata = content.get("_via_img_metadata", content)
        entries = list(metadata.values()) if isinstance(metadata, dict) else []
        if entries and all(isinstance(one, dict) and {"filename", "regions"} <= set(one) for one in entries):
            yield path, entries, content
    for path in annotation_files(root, ".csv", folders):
        if all(column.encode() in head_of(path).partition(b"\n")[0] for column in _COLUMNS):
            yield path, _from_csv(path), {}


def _from_csv(path: Path) -> list[dict[str, Any]]:
    """Read CSV into what JSON holds: an entry an image."""
    entries: dict[str, dict[str, Any]] = {}
    with parsing(path, _REMEDY):
        text = read_text(path)
        for line in csv.DictReader(text.lstrip("#").splitlines()):
            entry = entries.setdefault(line["filename"], {"filename": line["filename"], "regions": []})
            shape = json.loads(line["region_shape_attributes"] or "{}")
            if shape:
                attributes = json.loads(line["region_attributes"] or "{}")
                entry["regions"].append({"shape_attributes": shape, "region_attributes": attributes})
    return list(entries.values())


def _regions(entry: dict[str, Any]) -> list[dict[str, Any]]:
    regions = entry["regions"]
    return list(regions.values()) if isinstance(regions, dict) else list(regions)


def _attributes(entries: list[dict[str, Any]]) -> dict[str, set[str]]:
    """Return each attribute of regions with its values, those alone that are not empty everywhere."""
    found: dict[str, set[str]] = {}
    with parsing("An annotation of VIA's", _REMEDY):
        for region in (region for entry in entries for region in _regions(entry)):
            for name, value in (region.get("region_attributes") or {}).items():
                found.setdefault(name, set()).update(_labels(value))
    return {name: labels for name, labels in found.items() if labels}


def _labels(value: object) -> list[str]:
    """Return the labels that an attribute's value holds: a text is one, boxes may be ticked for several."""
    if isinstance(value, dict):
        return [str(name) for name, ticked in value.items() if ticked]
    return [str(value)] if value not in (None, "") else []


def _options(project: dict[str, Any], attribute: str | None) -> list[str]:
    """Return the labels that a project offers for an attribute, in its order."""
    attributes = project.get("_via_attributes")
    region = attributes.get("region") if isinstance(attributes, dict) else None
    one = region.get(attribute) if isinstance(region, dict) else None
    options = one.get("options") if isinstance(one, dict) else None
    return [str(name) for name in options] if isinstance(options, dict) else []


def _annotated(
    image: Path, path: Path, entry: dict[str, Any], attribute: str | None, left_out: list[str]
) -> AnnotatedImage:
    """Return an image's objects; those that cannot be drawn are noted."""
    found = AnnotatedImage(image, path)
    for number, one in enumerate(_regions(entry), start=1):
        where = f"{path}, {entry['filename']}, region {number}"
        region = _region(one["shape_attributes"], where)
        labels = [NAMELESS] if attribute is None else _labels((one.get("region_attributes") or {}).get(attribute))
        if region is None:
            left_out.append(f"{where} has no area: it is a {one['shape_attributes'].get('name')}")
        elif len(labels) != 1:
            left_out.append(f"{where} has {len(labels)} values of {attribute}, expected one")
        else:
            is_box = one["shape_attributes"].get("name") == "rect"
            found.objects.append(Outlined(labels[0], region, where, is_box=is_box))
    return found


def _region(shape: dict[str, Any], where: str) -> Region | None:
    """Return where a region is; None if it has no area."""
    kind = shape.get("name")
    if kind == "polygon":
        points = np.stack([np.asarray(shape[f"all_points_{axis}"], np.float64) for axis in "xy"], axis=1)
        return Polygon((ring(points, where, _REMEDY),)) if len(np.unique(points, axis=0)) >= 3 else None
    if kind == "rect":
        left, top, width, height = (float(shape[key]) for key in ("x", "y", "width", "height"))
        if width <= 0 or height <= 0:
            return None
        return box(left, top, left + width, top + height, where, _REMEDY)
    if kind in ("circle", "ellipse"):
        keys = ("r", "r") if kind == "circle" else ("rx", "ry")
        radius_x, radius_y = (float(shape[key]) for key in keys)
        if min(radius_x, radius_y) <= 0:
            return None
        theta = float(shape.get("theta") or 0)
        return ellipse(float(shape["cx"]), float(shape["cy"]), radius_x, radius_y, theta, where, _REMEDY)
    return None
