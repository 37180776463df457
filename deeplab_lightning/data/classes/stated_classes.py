"""Files that state which number or colour in masks is which class, as tools and data sets lay them beside the masks.

    labelmap.txt                      name:r,g,b:parts:actions                  CVAT and Datumaro, VOC's form
    label_colors.txt                  r g b name                                CamVid, Synthia, KITTI of Datumaro
    class_dict.csv                    name,r,g,b                                CamVid of Kaggle, DeepGlobe, drones
    _classes.csv                      Pixel Value, Class                        Roboflow
    objectInfo150.csv, .txt           Idx, Ratio, ..., Name                     ADE20K's benchmark
    dataset_meta.json                 label_map and segmentation_colors         Datumaro
    meta.json                         classes of title and color, as #RRGGBB    Supervisely
    obj_class_to_machine_color.json   {name: [v, v, v]}                         Supervisely's machine masks
    config_v1.2.json                  labels of readable and color; in order    Mapillary Vistas
    id2label.json, labels.json        {"0": name}, or {name: 0}                 Hugging Face
    classes.txt, labels.txt, ...      a name a line, or "0: name"               LabelMe, and many others

Files are known by what they hold, and looked for by the words in their names. A list of names has an order alone:
whether it is the order of the ids is not stated, and whoever joins the two says so.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...files import read_bytes
from ...labels import RGB
from ..pairing.finding import IMAGE_SUFFIXES
from ..pairing.layout import lines_of

LARGEST = 1 << 18
"""Bytes of a file that is looked into."""
MOST_CLASSES = 4096
NO_CLASS = ("__ignore__", "_ignore_", "ignore", "ignored", "void", "nodata", "no data", "no_data")
"""Names, in small letters, that stand for no class: pixels that are not to count."""

_WORDS = re.compile(
    r"class|label|colou?r|palette|categor|legend|object_?info|ontology|names|^meta$|dataset_meta|^config|^notes$", re.I
)
_COLOUR = re.compile(r"\(?\[?\s*(\d{1,3})\s*[,; ]\s*(\d{1,3})\s*[,; ]\s*(\d{1,3})\s*\]?\)?")
_HEX = re.compile(r"#([0-9a-fA-F]{2})([0-9a-fA-F]{2})([0-9a-fA-F]{2})")
_LABEL_MAP_LINE = re.compile(r"([^:]+):\s*(?:(\d{1,3})\s*,\s*(\d{1,3})\s*,\s*(\d{1,3}))?\s*:[^:]*:[^:]*")
_COLOUR_FIRST = re.compile(r"(\d{1,3})[\s,]+(\d{1,3})[\s,]+(\d{1,3})[\s,:]+(\D.*)")
_COLOUR_LAST = re.compile(r"(.*[^\d\s,:].*?)[\s,:]+(\d{1,3})[\s,]+(\d{1,3})[\s,]+(\d{1,3})")
_NUMBERED = re.compile(r"(\d{1,5})\s*[:;,=\t ]\s*(\S.*)")


@dataclass(frozen=True)
class StatedClass:
    """A class, and what marks it in masks, as far as that is said.

    Attributes:
        name: As it stands in the file, without spaces before and behind.
        value: Number of its pixels.
        colour: Colour of its pixels.
    """

    name: str
    value: int | None = None
    colour: RGB | None = None

    @property
    def is_void(self) -> bool:
        """Whether the name says that its pixels are not to count."""
        return self.name.casefold() in NO_CLASS


@dataclass(frozen=True)
class StatedClasses:
    """What a file states.

    Attributes:
        file: Where it stands.
        classes: In the file's order.
    """

    file: Path
    classes: tuple[StatedClass, ...]

    @property
    def by_value(self) -> dict[int, StatedClass]:
        """The classes whose number is stated; of two of one number, the first."""
        return {one.value: one for one in reversed(self.classes) if one.value is not None}

    @property
    def by_colour(self) -> dict[RGB, StatedClass]:
        """The classes whose colour is stated; of two of one colour, the first."""
        return {one.colour: one for one in reversed(self.classes) if one.colour is not None}

    @property
    def names(self) -> list[str]:
        """The names in the file's order, without those that stand for no class."""
        return [one.name for one in self.classes if not one.is_void]


def stated_classes(root: Path, masks: Sequence[Path]) -> list[StatedClasses]:
    """Find the files that state classes in a data set's folder, and in the masks' folders up to there.

    Args:
        root: The data set's folder.
        masks: Files of masks.

    Returns:
        What each file states, without repetitions; those that state most come first.
    """
    folders = dict.fromkeys([root, *(place for mask in masks for place in _up_to(root.resolve(), mask.resolve()))])
    found: dict[tuple[StatedClass, ...], StatedClasses] = {}
    for folder in folders:
        for path in sorted(folder.iterdir()) if folder.is_dir() else []:
            classes = read_stated(path)
            if classes:
                found.setdefault(classes, StatedClasses(path, classes))
    return sorted(found.values(), key=lambda one: -(2 * bool(one.by_value) + 2 * bool(one.by_colour)))


def states_others(root: Path, names: Iterable[str]) -> bool:
    """Tell whether a file in `root` names classes that are not among a known data set's."""
    known = {_plain(name) for name in names}
    return any(not {_plain(name) for name in one.names} <= known for one in stated_classes(root, []))


def _plain(name: str) -> str:
    return "".join(filter(str.isalnum, name.casefold()))


def read_stated(path: Path) -> tuple[StatedClass, ...]:
    """Read the classes that a file states; none where it is another kind of file, or damaged."""
    reader = _READERS.get(path.suffix.lower())
    if reader is None or not _WORDS.search(path.stem) or not path.is_file() or path.stat().st_size > LARGEST:
        return ()
    try:
        classes = tuple(reader(path))
    except (OSError, ValueError, TypeError, LookupError, AttributeError, StopIteration, RecursionError, csv.Error):
        return ()
    sound = all(one.name and (one.colour is None or max(one.colour) <= 255) for one in classes)
    return classes if sound and 0 < len(classes) <= MOST_CLASSES else ()


def _up_to(root: Path, file: Path) -> list[Path]:
    """Return the folders that hold a file, from its own up to `root`; none if it lies elsewhere."""
    return [place for place in file.parents if place.is_relative_to(root)]


def _of_text(path: Path) -> list[StatedClass]:
    """Read lines that hold names, or names with numbers or colours; all must be of one kind."""
    lines = [line for line in lines_of(path) if not line.startswith("#")]
    if path.stem.casefold().startswith("objectinfo"):  # columns, and several names for one class
        return _of_rows([line.split("\t") for line in lines])
    kinds: list[tuple[re.Pattern[str], Callable[[re.Match[str]], StatedClass]]] = [
        (_LABEL_MAP_LINE, lambda found: StatedClass(found[1].strip(), colour=_rgb(found.groups()[1:]))),
        (_COLOUR_FIRST, lambda found: StatedClass(found[4].strip(), colour=_rgb(found.groups()[:3]))),
        (_COLOUR_LAST, lambda found: StatedClass(found[1].strip(), colour=_rgb(found.groups()[1:]))),
        (_NUMBERED, lambda found: StatedClass(found[2].strip(), int(found[1]))),
    ]
    for pattern, made in kinds:
        matches = [pattern.fullmatch(line) for line in lines]
        if all(matches):
            classes = [made(found) for found in matches if found]
            marks = [(one.value, one.colour) for one in classes]
            if len(set(marks)) == len(marks) or pattern is _LABEL_MAP_LINE:
                return classes
    if any(line.lower().endswith(IMAGE_SUFFIXES) or "/" in line for line in lines):  # a list of images
        return []
    return [StatedClass(line) for line in lines]


def _of_csv(path: Path) -> list[StatedClass]:
    lines = lines_of(path)
    if not lines:
        return []
    delimiter = max(",;\t", key=lines[0].count)
    return _of_rows(list(csv.reader(lines, delimiter=delimiter, skipinitialspace=True)))


def _of_rows(rows: list[list[str]]) -> list[StatedClass]:
    """Read a table by its header, or, without one, rows of name, red, green, blue."""
    head = [re.sub(r"[^a-z]", "", cell.casefold()) for cell in rows[0]]
    name = _column(head, "name", "classname", "labelname", "readable", "class", "label", "category", "classes", "title")
    if name is None:
        if all(len(row) == 4 and all(cell.strip().isdigit() for cell in row[1:]) for row in rows):
            return [StatedClass(row[0].strip(), colour=_rgb(row[1:])) for row in rows]
        return []
    value = _column(head, "pixelvalue", "value", "idx", "index", "id", "classid", "labelid", "classindex", "pixel")
    class_column = _column(head, "class", "label")
    if value is None and class_column not in (None, name):
        value = class_column
    channels = [_column(head, first, whole) for first, whole in (("r", "red"), ("g", "green"), ("b", "blue"))]
    colour = _column(head, "rgb", "color", "colour", "colorrgb", "rgbcolor", "hex", "hexcode", "segmentationcolor")
    if value is None and colour is None and None in channels:
        return []
    classes = []
    for row in rows[1:]:
        cells = [cell.strip() for cell in row]
        found = None
        if None not in channels:
            found = _rgb([cells[place] for place in channels if place is not None])
        elif colour is not None:
            found = _parsed_colour(cells[colour])
        number = int(cells[value]) if value is not None and re.fullmatch(r"\d+(\.0)?", cells[value]) else None
        if found is None and number is None:
            return []
        classes.append(StatedClass(re.split("[;,]", cells[name])[0].strip(), number, found))
    marks = [(one.value, one.colour) for one in classes]
    return classes if len(set(marks)) == len(marks) else []  # a table of something else


def _column(head: Sequence[str], *names: str) -> int | None:
    return next((head.index(name) for name in names if name in head), None)


def _of_json(path: Path) -> list[StatedClass]:
    found = json.loads(read_bytes(path).decode("utf-8-sig"))
    if isinstance(found, list):
        return _of_entries(found)
    if not isinstance(found, dict) or "annotations" in found or "shapes" in found:
        return []
    fields = {key.casefold(): value for key, value in found.items()}
    if isinstance(fields.get("label_map"), dict):
        names, colours = fields["label_map"], fields.get("segmentation_colors") or []
        listed = [StatedClass(str(name).strip(), int(key)) for key, name in names.items()]
        return [StatedClass(one.name, one.value, _rgb(colours[place])) for place, one in enumerate(listed)
                if place < len(colours)] or listed  # fmt: skip
    for key in ("labels", "classes", "categories", "names", "id2label"):
        if isinstance(fields.get(key), list):
            colours = fields.get("palette") or fields.get("colors") or fields.get("colours") or []
            return _of_entries(fields[key], colours if isinstance(colours, list) else [])
        if isinstance(fields.get(key), dict):
            return _of_pairs(fields[key])
    return _of_pairs(found)


def _of_entries(entries: Iterable[Any], colours: Sequence[Any] = ()) -> list[StatedClass]:
    """Read a list of names, with colours in the same order if there are any, or of objects with fields."""
    entries = list(entries)
    if all(isinstance(entry, str) for entry in entries):
        if len(colours) == len(entries):
            return [StatedClass(name.strip(), place, _rgb(colours[place])) for place, name in enumerate(entries)]
        return [StatedClass(name.strip()) for name in entries]
    classes = []
    for place, entry in enumerate(entries):
        # Supervisely's ids are those of its data base, and Mapillary's the places in the list.
        name = next(str(entry[key]) for key in ("readable", "title", "name", "label", "label_name") if key in entry)
        number = None
        if "readable" in entry:
            number = place
        elif "title" not in entry and isinstance(entry.get("id", entry.get("value")), int):
            number = entry.get("id", entry.get("value"))
        colour = entry.get("color", entry.get("colour", entry.get("rgb")))
        classes.append(StatedClass(name.strip(), number, None if colour is None else _parsed_colour(colour)))
    return classes


def _of_pairs(pairs: dict[str, Any]) -> list[StatedClass]:
    """Read {"0": name}, {name: 0}, {name: colour} or {colour: name}."""
    classes = []
    for key, value in pairs.items():
        if isinstance(value, str) and key.strip().isdigit() and not _HEX.fullmatch(value):
            classes.append(StatedClass(value.strip(), int(key)))
        elif isinstance(value, int) and not isinstance(value, bool):
            classes.append(StatedClass(key.strip(), value))
        elif isinstance(value, str) and (colour := _parsed_colour(key)):
            classes.append(StatedClass(value.strip(), colour=colour))
        elif colour := _parsed_colour(value):
            classes.append(StatedClass(key.strip(), colour=colour))
        else:
            return []
    if len(classes) < 2 or all(one.name.isdigit() for one in classes):
        return []
    if pairs and all(isinstance(value, list) and len(set(value)) == 1 for value in pairs.values()):
        # Machine masks: grey values stored as colours, 0 where nothing is.
        classes = [StatedClass(one.name, one.colour[0], one.colour) for one in classes if one.colour]
        if all(one.value for one in classes):
            classes.insert(0, StatedClass("background", 0, (0, 0, 0)))
    return classes


def _parsed_colour(stored: Any) -> RGB | None:
    """Read a colour that is written as "#ff0000", "255,0,0" or [255, 0, 0]."""
    if isinstance(stored, (list, tuple)):
        return _rgb(stored)
    if not isinstance(stored, str):
        return None
    if found := _HEX.fullmatch(stored.strip()):
        return _rgb([int(part, 16) for part in found.groups()])
    found = _COLOUR.fullmatch(stored.strip())
    return _rgb(found.groups()) if found else None


def _rgb(parts: Sequence[Any]) -> RGB | None:
    if len(parts) not in (3, 4) or any(part is None for part in parts):
        return None
    red, green, blue = (int(part) for part in parts[:3])
    return red, green, blue


_READERS: dict[str, Callable[[Path], list[StatedClass]]] = {".txt": _of_text, ".csv": _of_csv, ".json": _of_json}
