"""Annotations made with LabelMe: one JSON file for each image, with outlines that are drawn into a mask.

The format is read from the files that LabelMe 4 and 5 write; LabelMe itself (GPL) is neither imported nor copied.
Layout, in any folders below the root:

    NAME.json    `shapes` in drawing order, each with `label`, `shape_type` and `points` [[x, y], ...] in pixels;
                 `imagePath` beside the file; `imageHeight`, `imageWidth`; `imageData`, the image in base64, or null
    NAME.jpg     or another ending

Shapes are drawn in the order of the file, later over earlier, as LabelMe's own export to VOC does, with the widths it
uses for lines and points. Outlines belong to shapes. What no shape covers is background: unlike PASCAL VOC's, such
masks have no void border, and are void only where a shape says so (`__ignore__`).

Shapes of one label and `group_id` are one object, all others are objects by themselves, if their class is a thing.

Labels are typed by hand: spaces around them do not count, nor do capitals where no class is spelled just so. Shapes of
too few points are left out and counted, images without a JSON file are left out and said, and JSON files of other tools
are passed over. Images are read from below the root alone, whatever `imagePath` says.
"""

from __future__ import annotations

import base64
import binascii
import math
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from PIL import Image, ImageDraw

from ...errors import DataError, did_you_mean
from ...labels import LabelSet
from ...types import MapName
from ..datamodule import Split
from ..dataset import SegmentationDataset
from ..files.annotations import check_declared_size, parsing, read_any_json, read_json
from ..files.images import decode_image, read_image
from ..files.limits import expect_size, opened_image
from ..forms.outlines import BOXES_ALONE, LabelIds, OutlinesOptions, check_left_out, class_names_of
from ..forms.own_images import OwnImagesDataModule
from ..pairing.finding import IMAGE_SUFFIXES, files_below, files_by_stem, images_below, on_disk
from ..pairing.layout import Recognised, head_of, names_in_file
from ..pairing.splitting import names_of
from ..wording import composed, first_few, found_instead

LINE_WIDTH = 10
POINT_RADIUS = 5
"""In pixels, as LabelMe draws them: neither has a size in the file."""

FARTHEST = 100_000
"""Pixels from the image's corner beyond which a point is a mistake. Nearer ones are cut off at the border."""

_SHAPES = re.compile(rb'"shapes"\s*:\s*\[')
_ANNOTATE_AGAIN = "Open it in LabelMe and save it again, or take it out of the data."


class LabelMe(SegmentationDataset):
    """Images annotated with LabelMe.

    Args:
        root: Folder below which the annotations lie.
        names: Of the annotations to read, as `find_annotations` gives them.
        labels: The first class is the background.
        ignored_labels: Labels of shapes whose pixels are ignored.

    Raises:
        ConfigError: A label is a class and ignored.
    """

    def __init__(
        self, root: str | Path, names: Sequence[str], labels: LabelSet, ignored_labels: Sequence[str] = ("__ignore__",)
    ) -> None:
        self.root, self.labels = Path(root).expanduser(), labels
        self._names = list(names)
        self._id_of = LabelIds(labels, ignored_labels)

    def __len__(self) -> int:
        return len(self._names)

    def sample_id(self, index: int) -> str:
        """Return the annotation's path below the root, without ending."""
        return self._names[index]

    def files(self, index: int) -> tuple[Path, ...]:
        """Return the image's file, if it has one of its own, and the annotation's."""
        path = self._annotation(index)
        image = _image_file(path, _read(path), self.root)
        return (image, path) if image else (path,)

    def load(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Read image `index`, and draw its mask of class ids and 255.

        Raises:
            DataError: The image is missing or of another size, the JSON is damaged, a label was not declared, or a
                shape is damaged.
        """
        path = self._annotation(index)
        annotation = _read(path)
        file = _image_file(path, annotation, self.root)
        image = read_image(file) if file else decode_image(_embedded_image(path, annotation, self.root), path)
        height, width = annotation.get("imageHeight"), annotation.get("imageWidth")
        check_declared_size(image, height, width, file or "The image inside it", path)

        mask = Image.new("L", image.shape[1::-1])
        for shape, value, where in self._shapes(path, annotation):
            draw_shape(mask, shape, value, where)
        return image, np.array(mask)

    @property
    def maps(self) -> tuple[MapName, ...]:
        """The numbers of objects, if some classes are things."""
        return ("instances",) if self.labels.things else ()

    def read_map(self, name: MapName, index: int) -> np.ndarray:
        """Draw the numbers of the objects, as their mask is drawn; they follow the order of the file, from 1."""
        path = self._annotation(index)
        annotation = _read(path)
        file = _image_file(path, annotation, self.root)
        image = read_image(file) if file else decode_image(_embedded_image(path, annotation, self.root), path)
        numbers = Image.new("I", image.shape[1::-1])
        of_groups: dict[tuple[int, str], int] = {}
        for number, (shape, value, where) in enumerate(self._shapes(path, annotation), start=1):
            group = shape.get("group_id")
            number = number if group is None else of_groups.setdefault((value, str(group)), number)
            draw_shape(numbers, shape, number if value in self.labels.thing_ids else 0, where)
        return np.array(numbers)

    def _shapes(self, path: Path, annotation: dict[str, Any]) -> Iterator[tuple[dict[str, Any], int, str]]:
        """Give the shapes that have an area, each with its value in the mask, and where it stands."""
        for number, shape in enumerate(annotation["shapes"], start=1):
            where = f"{path}, shape {number}"
            if not isinstance(shape, dict):
                raise DataError(f"{where}: expected an object with label and points. {_ANNOTATE_AGAIN}")
            value = self._id_of(shape.get("label"), where)
            if why_no_area(shape) is None:
                yield shape, value, where

    def _annotation(self, index: int) -> Path:
        return on_disk(self.root / f"{self._names[index]}.json")


class LabelMeDataModule(OwnImagesDataModule):
    """The user's own images, annotated with LabelMe: polygons and other shapes in JSON files, in any subfolders."""

    Options = OutlinesOptions
    options: OutlinesOptions
    layout = "LabelMe (NAME.json beside NAME.jpg)"
    reads_subfolders = True

    @classmethod
    def label_set(cls, options: OutlinesOptions) -> LabelSet:
        """Say what the numbers in masks mean."""
        return options.labels

    @classmethod
    def recognise(cls, root: Path) -> Recognised | None:
        """Recognise a folder with annotations in any depth."""
        if not any(_is_annotation(path) for path in _json_files(root)):
            return None
        with parsing(root, _ANNOTATE_AGAIN):
            survey = look_through(root, find_annotations(root))
        named = dict.fromkeys([*names_in_file(root), *sorted(survey.labels)])
        names, said = class_names_of(named)
        options = {"root": str(root.resolve()), "class_names": names}
        images = [path for path in images_below(root) if path not in survey.unannotated]
        recognised = Recognised("LabelMe", options, images, max(1, int(0.8 * survey.annotations)))
        recognised.remarks += said
        recognised.remarks += survey.remarks(root)
        if survey.left_out:
            recognised.remarks.append(f"{len(survey.left_out)} shapes have no area. The first: {survey.left_out[0]}")
        return recognised

    @cached_property
    def splits(self) -> dict[str, list[str]]:
        """Split -> names of its images. What is left out is said when they are first asked for."""
        names = find_annotations(self.root)
        with parsing(self.root, _ANNOTATE_AGAIN):
            survey = look_through(self.root, names)
        check_left_out(survey.left_out, survey.drawn, self.root)
        if survey.left_out:
            first = survey.left_out[0]
            rank_zero_warn(
                f"{self.root}: {len(survey.left_out)} shapes are left out, which have no area. The first: {first}"
            )
        for remark in survey.remarks(self.root):
            rank_zero_info(f"{self.root}: {remark}")
        return self.divided(names)

    def build_dataset(self, split: Split) -> LabelMe:
        """Open a split."""
        return LabelMe(self.root, names_of(self.splits, split), self.labels, self.options.ignored_labels)


@dataclass
class Survey:
    """What the annotations of a root hold.

    Attributes:
        annotations: How many there are.
        labels: All labels of shapes, as they are spelled.
        drawn: Shapes that can be drawn.
        rectangles: Those of them that are rectangles.
        left_out: What is said of each that has no area.
        unannotated: Images that no annotation means.
        others: JSON files that are none of LabelMe's.
    """

    annotations: int
    labels: set[str] = field(default_factory=set)
    drawn: int = 0
    rectangles: int = 0
    left_out: list[str] = field(default_factory=list)
    unannotated: set[Path] = field(default_factory=set)
    others: list[Path] = field(default_factory=list)

    def remarks(self, root: Path) -> list[str]:
        """Say what is passed over, a line each."""
        named = sorted(path.relative_to(root).as_posix() for path in self.unannotated)
        remarks = [f"{len(named)} images have no annotation, and are left out: {first_few(named, 3)}"] if named else []
        if self.rectangles and self.rectangles == self.drawn:
            remarks.append(BOXES_ALONE.format(self.drawn))
        if self.others:
            named = [path.relative_to(root).as_posix() for path in self.others]
            remarks.append(f"{len(named)} JSON files are not LabelMe's, and are passed over: {first_few(named, 3)}")
        return remarks


def look_through(root: Path, names: Sequence[str]) -> Survey:
    """Read all annotations for what must be said of them; damaged ones are left to the error that names them."""
    found = Survey(len(names))
    root = Path(root)
    own = {root / f"{name}.json" for name in names}
    meant: dict[Path | None, Path] = {}
    for path in map(on_disk, sorted(own)):
        try:
            annotation = _read(path)
        except DataError:
            continue
        image = _image_file(path, annotation, root)
        if image in meant:
            raise DataError(
                f"{image} is annotated twice: {meant[image]} and {path} mean it (imagePath). Take one of them away."
            )
        meant |= {image: path} if image else {}
        for number, shape in enumerate(annotation["shapes"], start=1):
            if not isinstance(shape, dict):
                continue
            why = why_no_area(shape)
            found.drawn += why is None
            found.rectangles += why is None and shape.get("shape_type") == "rectangle"
            found.left_out += [f"{path}, shape {number} {why}"] if why else []
            if isinstance(shape.get("label"), str):
                found.labels.add(shape["label"])
    exported = {path.parent for path in files_below(root) if path.name == "label.png"}
    found.unannotated = {path for path in images_below(root) if path not in meant and path.parent not in exported}
    found.others = [path for path in _json_files(root) if composed(path.as_posix()) not in map(Path.as_posix, own)]
    return found


def _json_files(root: Path) -> list[Path]:
    return [path for path in files_below(root) if path.suffix.lower() == ".json"]


def _is_annotation(path: Path) -> bool | None:
    """Tell whether a JSON file is LabelMe's; None if it is damaged, so that nobody knows."""
    head = head_of(path)
    if head.startswith(b"{") and _SHAPES.search(head):
        return True
    try:
        content = read_any_json(path, "")
    except DataError:
        return None
    return isinstance(content, dict) and isinstance(content.get("shapes"), list)


def find_annotations(root: Path) -> list[str]:
    """Return the paths of all annotations below `root`, without ending and sorted; hidden ones are left out.

    JSON files that hold something else are no annotations; those that cannot be read may be some.

    Raises:
        DataError: There are none.
    """
    files = _json_files(root)
    annotations = [path for path in files if _is_annotation(path) is not False]
    names = [composed(path.relative_to(root).with_suffix("").as_posix()) for path in annotations]
    if not names:
        others = f" Its {len(files)} JSON files hold no shapes." if files else ""
        raise DataError(
            f"No LabelMe annotations were found: {found_instead(root, '*.json')}{others} Expected NAME.json beside "
            f"NAME.jpg. Set data.root to the folder in which LabelMe saved them."
        )
    return sorted(names)


_POINTS: dict[str, tuple[int, int | None]] = {
    "polygon": (3, None),
    "rectangle": (2, 2),
    "circle": (2, 2),
    "line": (2, 2),
    "linestrip": (2, None),
    "point": (1, 1),
    "mask": (2, 2),
}
"""Kind of shape -> its fewest and most points."""


def why_no_area(shape: dict[str, Any]) -> str | None:
    """Say why a shape of a known kind covers no pixels: it has too few points, as after a stray click; None if not."""
    kind, points = shape.get("shape_type") or "polygon", shape.get("points")
    if kind not in _POINTS or not isinstance(points, list) or len(points) >= _POINTS[kind][0]:
        return None
    return f"is a {kind} of {len(points)} points, expected {_expected(kind)}"


def _expected(kind: str) -> str:
    fewest, most = _POINTS[kind]
    return f"{fewest}" if most else f"{fewest} or more"


def draw_shape(mask: Image.Image, shape: dict[str, Any], value: int, where: str) -> None:
    """Draw a shape of a LabelMe file into a mask of kind `L` or `I`; `where`, its file and number, is for the message.

    Raises:
        DataError: The kind is unknown, or its points are too few, too many, or no numbers.
    """
    kind = shape.get("shape_type") or "polygon"  # LabelMe 3 wrote no kind
    if kind not in _POINTS:
        raise DataError(
            f"{where} is of kind {kind!r}; known are {', '.join(_POINTS)}.{did_you_mean(str(kind), _POINTS)} "
            f"Draw it in LabelMe as one of these."
        )
    fewest, most = _POINTS[kind]
    points = _points(shape.get("points"), where)
    if not fewest <= len(points) <= (most or len(points)):
        raise DataError(f"{where} is a {kind} of {len(points)} points, expected {_expected(kind)}. {_ANNOTATE_AGAIN}")

    canvas = ImageDraw.Draw(mask)
    if kind == "polygon":
        # Coordinates with their fractions: Pillow cuts them off. Rounded ones, or OpenCV's filling, move the outline.
        canvas.polygon(points, fill=value, outline=value)
    elif kind == "rectangle":
        (left, right), (top, bottom) = map(sorted, zip(*points, strict=True))
        canvas.rectangle((left, top, right, bottom), fill=value, outline=value)
    elif kind == "circle":  # its centre, and a point on its rim
        _draw_disc(canvas, points[0], math.dist(*points), value)
    elif kind == "point":
        _draw_disc(canvas, points[0], POINT_RADIUS, value)
    elif kind == "mask":
        _paste(mask, points, shape.get("mask"), value, where)
    else:
        canvas.line(points, fill=value, width=LINE_WIDTH)


def _points(found: object, where: str) -> list[tuple[float, float]]:
    try:
        points = [(float(x), float(y)) for x, y in found]  # type: ignore[attr-defined]
    except (TypeError, ValueError) as error:
        raise DataError(f"{where}: its points are no list of [x, y]: {error}. {_ANNOTATE_AGAIN}") from error
    for x, y in points:
        if not (abs(x) < FARTHEST and abs(y) < FARTHEST):  # NaN is not either
            raise DataError(f"{where}: its point [{x:g}, {y:g}] lies nowhere near an image. {_ANNOTATE_AGAIN}")
    return points


def _draw_disc(canvas: ImageDraw.ImageDraw, centre: tuple[float, float], radius: float, value: int) -> None:
    x, y = centre
    canvas.ellipse((x - radius, y - radius, x + radius, y + radius), fill=value, outline=value)


def _paste(mask: Image.Image, box: list[tuple[float, float]], encoded: object, value: int, where: str) -> None:
    """Draw where an image, PNG in base64, is not 0; its corners lie in the middle of the box's corner pixels."""
    try:
        with opened_image(base64.b64decode(str(encoded), validate=True)) as image:
            expect_size(where, image.height, image.width)
            stencil = Image.fromarray(np.array(image.convert("L")) > 0)
    except (binascii.Error, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{where}: its mask is no PNG in base64: {error}. {_ANNOTATE_AGAIN}") from error
    (left, top), (right, bottom) = ((int(x), int(y)) for x, y in box)
    expected = (right - left + 1, bottom - top + 1)
    if stencil.size != expected:
        raise DataError(
            f"{where}: its mask is {stencil.width}x{stencil.height}, but its points span {expected[0]}x{expected[1]} "
            f"(width x height). {_ANNOTATE_AGAIN}"
        )
    mask.paste(value, (left, top), stencil)


def _read(path: Path) -> dict[str, Any]:
    annotation = read_json(path, _ANNOTATE_AGAIN)
    if not isinstance(annotation.get("shapes"), list):
        raise DataError(
            f"{path} is no LabelMe annotation: it holds {first_few(annotation) or 'nothing'}, but no list of shapes. "
            f"Move files of other kinds out of data.root."
        )
    return annotation


def _image_file(path: Path, annotation: dict[str, Any], root: Path) -> Path | None:
    """Return the file that `imagePath` says, or else the one of the annotation's own name; None for neither.

    Files above or beside the root are not looked at.

    Raises:
        DataError: There are both, called differently, as where files were copied: which was annotated is unclear.
    """
    beside = [path.with_suffix(suffix) for ending in IMAGE_SUFFIXES for suffix in (ending, ending.upper())]
    found = next((candidate for candidate in beside if candidate.is_file()), None)
    own = found or files_by_stem(path.parent).get(composed(path.stem))
    said = annotation.get("imagePath")
    if isinstance(said, str) and said and "\0" not in said:
        named = on_disk(_joined(path, said))
        if named.is_relative_to(os.path.abspath(root)) and named.is_file():
            if own is not None and composed(named.stem) != composed(path.stem):
                raise DataError(
                    f"{path} says that its image is {said} (imagePath), but {own.name} lies beside it: which was "
                    f"annotated is unclear. Correct imagePath, or take the file away that is not meant."
                )
            return root / named.relative_to(os.path.abspath(root))
    return own


def _joined(path: Path, said: str) -> Path:
    """Return where a path leads that an annotation says, without asking the disk."""
    return Path(os.path.abspath(path.parent / PurePosixPath(said.replace("\\", "/"))))


def _embedded_image(path: Path, annotation: dict[str, Any], root: Path) -> bytes:
    """Return the bytes of the image that the annotation holds."""
    encoded = annotation.get("imageData")
    if not encoded:
        said = annotation.get("imagePath")
        outside = ""
        if isinstance(said, str) and not (leads := _joined(path, said)).is_relative_to(os.path.abspath(root)):
            above = os.path.commonpath([leads, os.path.abspath(root)])
            outside = f" Images outside data.root ({root}) are not read: set it to {above} if {said!r} is right, or"
        raise DataError(
            f"{path} has no image: neither {said!r} (its imagePath) nor {path.stem} with any ending "
            f"({', '.join(IMAGE_SUFFIXES)}) lies in {path.parent}, and it holds none itself."
            f"{outside} {'put' if outside else 'Put'} the image beside it."
        )
    try:
        return base64.b64decode(str(encoded), validate=True)
    except binascii.Error as error:
        raise DataError(f"{path}: the image inside it (imageData) is damaged: {error}. {_ANNOTATE_AGAIN}") from error
