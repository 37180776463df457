"""Annotations in CVAT's own form for images (1.1): one XML file for many images.

    annotations.xml     `<meta>` with the labels; `<image name width height subset>` with its shapes
    images/             NAME, or SUBSET/NAME as CVAT writes them

| shape | drawn as |
|---|---|
| `polygon` | filled |
| `mask` | its pixels: run lengths along the rows of the box `left`, `top`, `width`, `height`, beginning outside |
| `ellipse` | filled, turned by `rotation` degrees, clockwise |
| `box` | filled, likewise, as CVAT's own export of masks has it; where there are boxes alone, they are refused |
| `polyline`, `points`, `cuboid`, `skeleton` | not: they are left out and counted |

Shapes of a higher `z_order` lie on top, of equal ones the later. A pixel is a shape's if its centre lies inside.
Subsets called after splits are these. XML that declares a document type is refused: entities in it can grow without
bound or read other files, and CVAT writes none. Of CVAT's form for video (`<track>`) the frames between key frames are
not in the file: export it for images.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

import numpy as np

from ...errors import DataError
from ...files import open_file, read_bytes
from ..files.annotations import parsing
from ..files.regions import Polygon, Region, ellipse, ring, runs_of
from ..forms.outlines import AnnotatedImage, Annotations, Outlined, OutlinesDataModule
from ..pairing.named_images import NamedImages, name_of, split_in, split_of_path

_REMEDY = "Export it from CVAT again, as 'CVAT for images 1.1'."
_START = 4096
"""Bytes of a file by which the form is recognised."""
_LABELS_WITHOUT_AREA = ("polyline", "points", "cuboid", "skeleton", "tag")


class CVATDataModule(OutlinesDataModule):
    """The user's own images, annotated with CVAT and exported as `CVAT for images 1.1`."""

    layout = "CVAT for images 1.1 (annotations.xml, images/)"
    generality = 0

    @classmethod
    def is_form(cls, root: Path) -> bool:
        """Look for CVAT's elements at the beginning of XML files."""
        return bool(_files(root))

    @classmethod
    def read(cls, root: Path) -> Annotations:
        """Read all files of this form in the root."""
        found, images = Annotations(), NamedImages(root)
        kinds: Counter[str] = Counter()
        for path in _files(root):
            with parsing(path, _REMEDY):
                tree = _tree(path)
            if tree.find("track") is not None:
                raise DataError(f"{path} is in CVAT's form for video, with tracks in place of images. {_REMEDY}")
            found.labels += _labels(tree)
            for number, element in enumerate(tree.iterfind("image"), start=1):
                with parsing(f"{path}, image {number}", _REMEDY):
                    _add_image(found, path, element, number, root, images, kinds)
        if set(kinds) == {"box"}:
            raise DataError(
                f"{root} has {kinds['box']} boxes and no outlines: boxes do not tell the classes of pixels. "
                f"Draw polygons or masks in CVAT."
            )
        if kinds["box"]:
            found.remarks.append(f"{kinds['box']} boxes are drawn filled, as CVAT's own masks have them.")
        found.labels = list(dict.fromkeys(found.labels or sorted(_used(found))))
        found.remarks += images.left_out(one.image for one in found.images.values())
        return found


def _files(root: Path) -> list[Path]:
    """Return the XML files in the root that begin as CVAT's do."""
    found = []
    for path in sorted(root.glob("*.xml")):
        try:
            with open_file(path) as file:
                start = file.read(_START)
        except OSError:
            continue
        if b"<annotations" in start and (b"<meta" in start or b"<image " in start or b"<version>1." in start):
            found.append(path)
    return found


def _tree(path: Path) -> Element:
    """Parse an XML file without a document type."""
    builder, parser = TreeBuilder(), expat.ParserCreate()

    def refuse(*_: object) -> None:
        raise DataError(f"{path} declares a document type, which CVAT's files do not and which may do harm. {_REMEDY}")

    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    try:
        parser.Parse(read_bytes(path), True)
    except OSError as error:
        raise DataError(f"Cannot read {path}: {error.strerror}. {_REMEDY}") from error
    except expat.ExpatError as error:
        raise DataError(f"{path} is no XML: {error}. {_REMEDY}") from error
    return builder.close()


def _labels(tree: Element) -> list[str]:
    """Return the labels that have an area, in the order of the file; parts of skeletons have a parent."""
    return [
        name
        for label in tree.iterfind("meta//label")
        if (name := label.findtext("name"))
        and not label.findtext("parent")
        and label.findtext("type") not in _LABELS_WITHOUT_AREA
    ]


def _used(found: Annotations) -> set[str]:
    return {one.label for image in found.images.values() for one in image.objects}


def _add_image(
    found: Annotations,
    path: Path,
    element: Element,
    number: int,
    root: Path,
    images: NamedImages,
    kinds: Counter[str],
) -> None:
    """Add an image with its shapes."""
    name, subset = element.get("name"), element.get("subset") or ""
    if not name:
        raise DataError(f"{path}: image {number} has no name. {_REMEDY}")
    split = split_in(subset)
    file = images.find(f"{subset}/{name}" if subset else name, split, path.parent)
    if file is None:
        found.missing.append(f"{name} of {path}, below {root}.")
        return
    image = AnnotatedImage(
        file,
        path,
        _pixels(element.get("height")),
        _pixels(element.get("width")),
        split=split or split_of_path(file, root),
    )
    ordered: list[tuple[int, Outlined]] = []
    for count, shape in enumerate(element, start=1):
        if shape.tag == "tag":
            continue
        where = f"{path}, image {name!r}, shape {count}"
        label = shape.get("label")
        if label is None:
            raise DataError(f"{where} has no label. {_REMEDY}")
        try:
            region = _region(shape, where)
            order = int(shape.get("z_order") or 0)
        except DataError as error:
            found.left_out.append(str(error))
            continue
        except ValueError as error:
            found.left_out.append(f"{where}: {error}. {_REMEDY}")
            continue
        kinds[shape.tag] += 1
        group = shape.get("group_id", "0")
        ordered.append((order, Outlined(label, region, where, group=None if group == "0" else group)))
    image.objects = [one for _, one in sorted(ordered, key=lambda entry: entry[0])]
    found.add(name_of(file, root), image)


def _pixels(value: str | None) -> int | None:
    return int(value) or None if value and value.isdecimal() else None


def _region(shape: Element, where: str) -> Region:
    """Return what a shape covers.

    Raises:
        DataError: It has no area, or its numbers are none.
        ValueError: A number is none.
    """
    read = _READERS.get(shape.tag)
    if read is None:
        known = ", ".join(_READERS)
        raise DataError(f"{where} is a {shape.tag}, which has no area; drawn are {known}. Draw it as one of these.")
    return read(shape, where)


def _numbers(shape: Element, where: str, *names: str) -> list[float]:
    """Return attributes as numbers."""
    values = [shape.get(name) for name in names]
    if None in values:
        raise DataError(f"{where} is a {shape.tag} without {names[values.index(None)]}. {_REMEDY}")
    return [float(value) for value in values if value is not None]


def _polygon(shape: Element, where: str) -> Region:
    points = [pair.split(",") for pair in (shape.get("points") or "").split(";")]
    return Polygon((ring([[float(value) for value in pair] for pair in points], where, _REMEDY),))


def _box(shape: Element, where: str) -> Region:
    left, top, right, bottom = _numbers(shape, where, "xtl", "ytl", "xbr", "ybr")
    angle = math.radians(float(shape.get("rotation") or 0))
    corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
    centre = np.array([left + right, top + bottom]) / 2
    cos, sin = math.cos(angle), math.sin(angle)
    turned = (corners - centre) @ np.array([[cos, sin], [-sin, cos]]) + centre  # clockwise, as y points down
    return Polygon((ring(turned, where, _REMEDY),))


def _ellipse(shape: Element, where: str) -> Region:
    x, y, radius_x, radius_y = _numbers(shape, where, "cx", "cy", "rx", "ry")
    return ellipse(x, y, radius_x, radius_y, math.radians(float(shape.get("rotation") or 0)), where, _REMEDY)


def _mask(shape: Element, where: str) -> Region:
    left, top, width, height = (int(value) for value in _numbers(shape, where, "left", "top", "width", "height"))
    if min(width, height) <= 0:
        raise DataError(f"{where} is a mask of {width}x{height} pixels. {_REMEDY}")
    counts = [int(count) for count in (shape.get("rle") or "").split(",")]
    return runs_of(counts, height, width, where, _REMEDY, by_columns=False, left=left, top=top)


_READERS: dict[str, Callable[[Element, str], Region]] = {
    "polygon": _polygon,
    "mask": _mask,
    "ellipse": _ellipse,
    "box": _box,
}
