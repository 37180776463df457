"""Annotations exported from Label Studio as JSON: outlines in percent of the image, and brushes in packed run lengths.

Read from the documentation (labelstud.io/guide/export, the tags' pages) and from files that it writes:

    [{"id": 1, "data": {"image": "/data/upload/1/1a2b3c4d-name.jpg"},
      "annotations": [{"was_cancelled": false, "updated_at": "...", "result": [
        {"type": "polygonlabels", "original_width": 640, "original_height": 480, "image_rotation": 0,
         "value": {"points": [[x, y], ...], "polygonlabels": ["car"]}}, ...]}]}, ...]

JSON_MIN, the short form, has the values in the task itself: {"image": ..., "label": [{"points": ..., ...}]}. CSV and
TSV have the same fields as columns, lists as JSON in them.

Coordinates and radii are percent of the image's width or height. A rectangle's x and y are its top left corner, about
which it is turned; an ellipse's are its centre. Turning is clockwise, in degrees, of pixels. Brushes hold four channels
of 8 bits a pixel in run lengths of their own (`brush_pixels`), of which the last one says where the brush was.

Of several annotations of one task the newest that was not cancelled counts. Objects are drawn in the order of the file.
What was predicted by a model and not submitted is no annotation.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np

from ...errors import DataError
from ...files import open_file
from ..files.annotations import parsing, read_any_json
from ..files.regions import Bitmap, Ellipse, Polygon, Region, ring
from ..forms.outlines import AnnotatedImage, Annotations, Outlined, OutlinesDataModule
from ..pairing.finding import IMAGE_SUFFIXES
from ..pairing.layout import Recognised, annotation_files, head_of
from ..pairing.named_images import NamedImages, short_names, split_of_path
from ..wording import first_few

_REMEDY = "Export the project again from Label Studio, as JSON."
_UPLOADED = re.compile(r"[0-9a-f]{8}-(?=.)")
"""What Label Studio puts before the names of uploaded files."""
_BRUSH_PNG = re.compile(r"task-\d+-annotation-\d+-by-.*-\d+\.(png|npy)", re.IGNORECASE)
_NO_GEOMETRY = ("choices", "textarea", "taxonomy", "rating", "number", "datetime", "relation", "pairwise", "ranker")
CHANNELS = 4
_LONGEST_FIELD = 1 << 27


class LabelStudioDataModule(OutlinesDataModule):
    """The user's own images, annotated with Label Studio and exported as JSON or JSON_MIN."""

    layout = "Label Studio (exported JSON and the images)"

    @classmethod
    def is_form(cls, root: Path) -> bool:
        """Look for a JSON file with tasks."""
        return any(True for _ in _task_files(root))

    @classmethod
    def recognise(cls, root: Path) -> Recognised | None:
        """Recognise exported JSON; brushes exported as PNG alone do not say of which image they are.

        Raises:
            DataError: There are such PNG files alone.
        """
        found = super().recognise(root)
        if found is None and root.is_dir():
            brushes = sorted(path.name for path in root.iterdir() if _BRUSH_PNG.fullmatch(path.name))
            if brushes:
                raise DataError(
                    f"{root} holds {len(brushes)} brushes exported from Label Studio as PNG, such as {brushes[0]}. "
                    f"They name a task, not its image. Export the project as JSON too, which has the brushes in it, "
                    f"and put it here with the images."
                )
        return found

    @classmethod
    def read(cls, root: Path) -> Annotations:
        """Read all exported tasks below a folder."""
        images = NamedImages(root)
        found = Annotations()
        by_path: dict[Path, AnnotatedImage] = {}
        unannotated: list[str] = []
        for path, tasks in _task_files(root):
            for number, task in enumerate(tasks, start=1):
                where = f"{path}, task {task.get('id', number) if isinstance(task, dict) else number}"
                with parsing(where, _REMEDY):
                    results = _newest_results(task)
                    said = _image_of(task, where)
                    if results is None:
                        unannotated.append(said)
                        continue
                    places = (images.find(one, near=path.parent) for one in _spellings(said))
                    image = next((place for place in places if place), None)
                    if image is None:
                        found.missing.append(f"{where} is of {said}, which is nowhere below {root}.")
                        continue
                    if image in by_path:
                        raise DataError(
                            f"{where} is of {image}, which {by_path[image].annotation} has another task of. Keep one: "
                            f"delete the other in Label Studio, or take the older export away."
                        )
                    by_path[image] = _annotated(image, path, results, where, found.left_out)
        names = short_names(by_path)
        for path, one in by_path.items():
            one.split = split_of_path(PurePosixPath(names[path]))
            found.add(names[path], one)
        found.labels = sorted({one.label for image in by_path.values() for one in image.objects})
        if unannotated:
            found.remarks.append(
                f"{len(unannotated)} tasks have no annotation that was submitted, and are left out: "
                f"{first_few(unannotated, 3)}"
            )
        return found


def _task_files(root: Path) -> Iterator[tuple[Path, list[Any]]]:
    """Give the files that hold tasks with images, and these: JSON and, where none does, CSV and TSV."""
    tables = True
    for path in annotation_files(root, ".json"):
        if head_of(path)[:1] != b"[":
            continue
        try:
            tasks = read_any_json(path, _REMEDY)
        except DataError:
            continue
        if tasks and any(_is_task(task) for task in tasks[:100]):
            tables = False
            yield path, tasks
    for path in [*annotation_files(root, ".csv"), *annotation_files(root, ".tsv")] if tables else ():
        if b"original_width" in head_of(path):
            tasks = _rows(path)
            if any(_is_task(task) for task in tasks[:100]):
                yield path, tasks


def _rows(path: Path) -> list[dict[str, Any]]:
    """Return the tasks of a table in the short form.

    Raises:
        DataError: It is damaged.
    """
    csv.field_size_limit(_LONGEST_FIELD)
    with parsing(path, _REMEDY), io.TextIOWrapper(open_file(path), encoding="utf-8-sig", newline="") as file:
        try:
            table = list(csv.DictReader(file, delimiter="\t" if path.suffix.lower() == ".tsv" else ","))
        except csv.Error as error:
            raise DataError(f"{path} is damaged: {error}. {_REMEDY}") from error
        return [
            {
                key: json.loads(value) if isinstance(value, str) and value.startswith(("[{", "[]")) else value
                for key, value in row.items()
            }
            for row in table
        ]


def _is_task(task: object) -> bool:
    """Tell whether an object is a task with objects in an image, in the long or the short form."""
    if not isinstance(task, dict):
        return False
    if isinstance(task.get("data"), dict):
        lists = [value for key in ("annotations", "completions") if isinstance(value := task.get(key), list)]
        results = [one.get("result") for each in lists for one in each if isinstance(one, dict)]
        return any(_is_result(one) for result in results if isinstance(result, list) for one in result)
    return any(_is_short_value(one) for value in task.values() if isinstance(value, list) for one in value)


def _is_result(one: object) -> bool:
    return isinstance(one, dict) and isinstance(one.get("value"), dict) and "original_width" in one


def _is_short_value(one: object) -> bool:
    return isinstance(one, dict) and "original_width" in one and any(str(key).endswith("labels") for key in one)


def _newest_results(task: dict[str, Any]) -> list[dict[str, Any]] | None:
    """Return what the annotation of a task that counts holds; None if nobody has annotated it."""
    if not isinstance(task.get("data"), dict):
        values = [value for value in task.values() if isinstance(value, list)]
        short = [one for value in values for one in value if isinstance(one, dict) and "original_width" in one]
        is_annotated = bool(short) or "annotation_id" in task
        return [{"value": one, "type": "", **one} for one in short] if is_annotated else None
    given = task.get("annotations", task.get("completions")) or []
    counting = [one for one in given if not one.get("was_cancelled") and not one.get("skipped")]
    if not counting:
        return None
    # Times are written as ISO 8601 of one zone, so that letters compare as they do; without times the later counts.
    newest = max(
        enumerate(counting), key=lambda one: (str(one[1].get("updated_at") or one[1].get("created_at")), one[0])
    )
    results: list[dict[str, Any]] = newest[1]["result"]
    return results


def _image_of(task: dict[str, Any], where: str) -> str:
    """Return what a task says of its image: a path or an address.

    Raises:
        DataError: It says nothing of an image, or speaks of several.
    """
    data = task["data"] if isinstance(task.get("data"), dict) else task
    texts = {key: value for key, value in data.items() if isinstance(value, str)}
    if "image" in texts:
        return texts["image"]
    likely = {key: value for key, value in texts.items() if _spellings(value)[0].lower().endswith(IMAGE_SUFFIXES)}
    if len(set(likely.values())) != 1:
        raise DataError(
            f"{where} speaks of {len(likely)} images ({first_few(likely) or 'none of its fields ends as an image does'}"
            f"), expected one. Call the field of the image that was annotated 'image'."
        )
    return next(iter(likely.values()))


def _spellings(said: str) -> list[str]:
    """Return under which paths an image may lie that a task speaks of, the likeliest first."""
    address = urlsplit(said)
    local = parse_qs(address.query).get("d")
    path = local[0] if local and "local-files" in address.path else unquote(address.path) or unquote(said)
    folder, _, name = path.replace("\\", "/").rpartition("/")
    plain = _UPLOADED.sub("", name, count=1)
    names = list(dict.fromkeys([name, plain, plain.replace("_", " ")]))
    return [f"{folder}/{one}" if folder else one for one in names]


def _annotated(
    image: Path, path: Path, results: list[dict[str, Any]], where: str, left_out: list[str]
) -> AnnotatedImage:
    """Return an image's objects; those that cannot be drawn are noted."""
    sizes = {(one.get("original_height"), one.get("original_width")) for one in results if "original_width" in one}
    if len(sizes) > 1:
        raise DataError(
            f"{where} has objects drawn on images of several sizes, {sorted(sizes)} (height, width). {_REMEDY}"
        )
    height, width = next(iter(sizes), (None, None))
    found = AnnotatedImage(image, path, height, width)
    labelled = {one.get("id") for one in results if _labels_of(one["value"])}
    for number, one in enumerate(results, start=1):
        value, kind = one["value"], str(one.get("type"))
        labels = _labels_of(value)
        if kind in _NO_GEOMETRY or (not labels and one.get("id") is not None and one.get("id") in labelled):
            continue  # says something of an object or of the image; or an object's outline, which its label repeats
        what = f"{where}, object {number}"
        if one.get("image_rotation"):
            raise DataError(
                f"{what} was drawn while the image was turned by {one['image_rotation']} degrees; in which way its "
                f"coordinates were turned is unclear. Turn the image back in Label Studio, and draw it again."
            )
        region = _region(value, float(width), float(height), what) if width and height else None
        if region is None or len(labels) != 1:
            kind = kind or "an object"
            said = "has no area: it is of kind " + kind if region is None else f"has {len(labels)} labels, expected one"
            left_out.append(f"{what} {said}")
        else:
            is_box = {"x", "y", "width", "height"} <= set(value) and "rle" not in value
            found.objects.append(Outlined(labels[0], region, what, is_box=is_box))
    return found


def _labels_of(value: dict[str, Any]) -> list[str]:
    """Return an object's labels, whichever tag gave them."""
    return [str(one) for key, labels in value.items() if key.endswith("labels") for one in labels]


def _region(value: dict[str, Any], width: float, height: float, where: str) -> Region | None:
    """Return where an object is in an image of this size; None if it has no area."""
    turned = math.radians(float(value.get("rotation") or 0))
    if "rle" in value:
        return Brush(bytes(value["rle"]), int(width), int(height), where)
    if "points" in value and "polygonlabels" not in value and "labels" not in value:
        return None
    if "points" in value:
        if value.get("closed") is False or len(value["points"]) < 3:
            return None
        points = ring(value["points"], where, _REMEDY)
        return Polygon((points * (width / 100, height / 100),))
    if "radiusX" in value:
        x, y, radius_x, radius_y = (float(value[key]) / 100 for key in ("x", "y", "radiusX", "radiusY"))
        if radius_x <= 0 or radius_y <= 0:
            return None
        ellipse = Ellipse(x * width, y * height, radius_x * width, radius_y * height, turned)
        ring([[ellipse.x, ellipse.y], [ellipse.radius_x, ellipse.radius_y], [0, 0]], where, _REMEDY)  # its bounds
        return ellipse
    if {"x", "y", "width", "height"} <= set(value) and "keypointlabels" not in value:
        left, top = float(value["x"]) / 100 * width, float(value["y"]) / 100 * height
        across, down = float(value["width"]) / 100 * width, float(value["height"]) / 100 * height
        if across <= 0 or down <= 0:
            return None
        corners = np.array([[0, 0], [across, 0], [across, down], [0, down]])
        cos, sin = math.cos(turned), math.sin(turned)
        return Polygon((ring(corners @ np.array([[cos, sin], [-sin, cos]]) + (left, top), where, _REMEDY),))
    return None


@dataclass(frozen=True)
class Brush(Region):
    """What was painted, as Label Studio packs it.

    Attributes:
        packed: The run lengths.
        width: Of the image, in pixels.
        height: Of it.
        where: File and object, for messages.
    """

    packed: bytes
    width: int
    height: int
    where: str

    def area(self, height: int, width: int) -> np.ndarray:
        """Unpack it."""
        if (self.height, self.width) != (height, width):
            raise DataError(
                f"{self.where} was painted on an image of {self.width}x{self.height}, this one is {width}x{height} "
                f"(width x height). Put back the image that was annotated."
            )
        try:
            values = brush_pixels(self.packed, height * width * CHANNELS)
        except ValueError as error:
            raise DataError(f"{self.where}: its run lengths are damaged: {error}. {_REMEDY}") from error
        return Bitmap(values.reshape(height, width, CHANNELS)[..., -1] > 0).area(height, width)


def brush_pixels(packed: bytes, count: int) -> np.ndarray:
    """Unpack a brush of Label Studio's: the form of the package `rle-pack` of thi.ng/umbrella.

    Bits are read from each byte's highest on. First stand the number of values (32 bits), the bits of a value less one
    (5), and four sizes less one (4 each). Then come blocks: a bit for whether one value is repeated, two bits for which
    of the sizes the next number has, that number (of values, less one), and the value, or all values.

    Args:
        packed: The bytes.
        count: How many values there must be. No more memory is taken than for these.

    Returns:
        `(count,)` uint8.

    Raises:
        ValueError: They end early, or hold another number of values, or ones of more than 8 bits.
    """
    bits = len(packed) * 8
    position = 0

    def number(size: int) -> int:
        nonlocal position
        if position + size > bits:
            raise ValueError("they end early")
        first, last = position // 8, (position + size + 7) // 8
        block = int.from_bytes(packed[first:last], "big") >> (last * 8 - position - size)
        position += size
        return block & ((1 << size) - 1)

    held, size = number(32), number(5) + 1
    sizes = [number(4) + 1 for _ in range(4)]
    if held != count:
        raise ValueError(f"they hold {held} values, expected {count}, which is {CHANNELS} a pixel")
    if size > 8:
        raise ValueError(f"their values have {size} bits, expected 8 at most")
    values = np.zeros(count, np.uint8)
    done = 0
    while done < count:
        repeated = number(1)
        end = done + 1 + number(sizes[number(2)])
        if end > count:
            raise ValueError(f"they go on behind their {count} values")
        if repeated:
            values[done:end] = number(size)
        else:
            for index in range(done, end):
                values[index] = number(size)
        done = end
    return values
