"""Annotations made with LabelMe: one JSON file for each image, with outlines that are drawn into a mask.

The format is read from the files that LabelMe 4 and 5 write; LabelMe itself (GPL) is neither imported nor copied.
Layout, in any folders below the root:

    NAME.json    `shapes` in drawing order, each with `label`, `shape_type` and `points` [[x, y], ...] in pixels;
                 `imagePath` beside the file; `imageHeight`, `imageWidth`; `imageData`, the image in base64, or null
    NAME.jpg     or another ending

Shapes are drawn in the order of the file, later over earlier, as LabelMe's own export to VOC does, with the widths it
uses for lines and points. Outlines belong to shapes. What no shape covers is background: unlike PASCAL VOC's, such
masks have no void border, and are void only where a shape says so (`__ignore__`).
"""

from __future__ import annotations

import base64
import binascii
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from ...errors import ConfigError, DataError, did_you_mean
from ...labels import LabelSet
from ..annotations import check_declared_size, read_json
from ..datamodule import Split
from ..dataset import SegmentationDataset
from ..finding import IMAGE_SUFFIXES
from ..images import decode_image, read_image
from ..layout import Recognised, json_object, names_in_file
from ..own_images import OwnImagesDataModule, OwnImagesOptions
from ..splitting import names_of
from ..wording import first_few, found_instead

BACKGROUND_LABEL = "_background_"
"""LabelMe's name for what is nothing: class 0, whatever that is called here."""

LINE_WIDTH = 10
POINT_RADIUS = 5
"""In pixels, as LabelMe draws them: neither has a size in the file."""

FARTHEST = 100_000
"""Pixels from the image's corner beyond which a point is a mistake. Nearer ones are cut off at the border."""

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
        both = [name for name in ignored_labels if name in labels.class_names]
        if both:
            raise ConfigError(
                f"{first_few(both)}: a class in data.class_names and ignored by data.ignored_labels. Take it out of "
                f"one of them; pixels that are to be ignored are no class."
            )
        self.root, self.labels = Path(root).expanduser(), labels
        self._names = list(names)
        self._ids = {BACKGROUND_LABEL: 0, **{name: index for index, name in enumerate(labels.class_names)}}
        self._ids.update(dict.fromkeys(ignored_labels, labels.ignore_index))

    def __len__(self) -> int:
        return len(self._names)

    def sample_id(self, index: int) -> str:
        """Return the annotation's path below the root, without ending."""
        return self._names[index]

    def files(self, index: int) -> tuple[Path, ...]:
        """Return the image's file, if it has one of its own, and the annotation's."""
        path = self._annotation(index)
        image = _image_file(path, _read(path))
        return (image, path) if image else (path,)

    def load(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Read image `index`, `(H, W, 3)` uint8 RGB, and draw its mask, `(H, W)` uint8 of class ids and 255.

        Raises:
            DataError: The image is missing or of another size, the JSON is damaged, a label was not declared, or a
                shape cannot be drawn.
        """
        path = self._annotation(index)
        annotation = _read(path)
        file = _image_file(path, annotation)
        image = read_image(file) if file else decode_image(_embedded_image(path, annotation), path)
        height, width = annotation.get("imageHeight"), annotation.get("imageWidth")
        check_declared_size(image, height, width, file or "The image inside it", path)

        mask = Image.new("L", image.shape[1::-1])
        for number, shape in enumerate(annotation["shapes"], start=1):
            where = f"{path}, shape {number}"
            if not isinstance(shape, dict):
                raise DataError(f"{where}: expected an object with label and points. {_ANNOTATE_AGAIN}")
            draw_shape(mask, shape, self._id_of(shape.get("label"), where), where)
        return image, np.array(mask)

    def _annotation(self, index: int) -> Path:
        return self.root / f"{self._names[index]}.json"

    def _id_of(self, label: object, where: str) -> int:
        if not isinstance(label, str) or label not in self._ids:
            raise DataError(
                f"{where} has the label {label!r}, which was not declared.{did_you_mean(str(label), self._ids)} "
                f"Add it to data.class_names, or to data.ignored_labels where its pixels should not count."
            )
        return self._ids[label]


@dataclass(frozen=True, kw_only=True)
class LabelMeOptions(OwnImagesOptions):
    """What is to be read of LabelMe's annotations."""

    ignored_labels: tuple[str, ...] = ("__ignore__",)
    """Labels of shapes whose pixels are ignored."""


class LabelMeDataModule(OwnImagesDataModule):
    """The user's own images, annotated with LabelMe: polygons and other shapes in JSON files, in any subfolders."""

    Options = LabelMeOptions
    options: LabelMeOptions
    layout = "LabelMe (NAME.json beside NAME.jpg)"
    reads_subfolders = True

    @classmethod
    def recognise(cls, root: Path) -> Recognised | None:
        """Recognise a folder with annotations in any depth."""
        annotations = sorted(path for path in root.rglob("*.json") if not path.name.startswith("."))
        contents = [content for content in map(json_object, annotations) if isinstance(content.get("shapes"), list)]
        if not contents:
            return None
        shapes = [shape for content in contents for shape in content["shapes"] if isinstance(shape, dict)]
        found = {str(shape["label"]) for shape in shapes if shape.get("label")}
        special = ("__ignore__", "_background_", "background")
        named = dict.fromkeys([*names_in_file(root), *sorted(found)])
        names = ["background", *[name for name in named if name not in special]]
        images = [path for path in sorted(root.rglob("*")) if path.suffix.lower() in IMAGE_SUFFIXES]
        options = {"root": str(root.resolve()), "class_names": names}
        return Recognised("LabelMe", options, images, max(1, int(0.8 * len(annotations))))

    @cached_property
    def splits(self) -> dict[str, list[str]]:
        """Split -> names of its images."""
        return self.divided(find_annotations(self.root))

    def build_dataset(self, split: Split) -> LabelMe:
        """Open a split."""
        return LabelMe(self.root, names_of(self.splits, split), self.labels, self.options.ignored_labels)


def find_annotations(root: Path) -> list[str]:
    """Return the paths of all JSON files below `root`, without ending and sorted; hidden ones are left out.

    Raises:
        DataError: There are none.
    """
    paths = [path.relative_to(root) for path in root.rglob("*") if path.suffix.lower() == ".json"]
    names = [path.with_suffix("").as_posix() for path in paths if not any(part.startswith(".") for part in path.parts)]
    if not names:
        raise DataError(
            f"No LabelMe annotations were found: {found_instead(root, '*.json')} Expected NAME.json beside NAME.jpg. "
            f"Set data.root to the folder in which LabelMe saved them."
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


def draw_shape(mask: Image.Image, shape: dict[str, Any], value: int, where: str) -> None:
    """Draw a shape of a LabelMe file.

    Args:
        mask: Of kind `L`, a pixel's id being its value; drawn into.
        shape: With `shape_type`, `points` and, for a mask, `mask`.
        value: The id to draw with.
        where: File and number of the shape, for the message.

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
        expected = f"{fewest}" if most else f"{fewest} or more"
        raise DataError(f"{where} is a {kind} of {len(points)} points, expected {expected}. {_ANNOTATE_AGAIN}")

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
        with Image.open(io.BytesIO(base64.b64decode(str(encoded), validate=True))) as image:
            stencil = Image.fromarray(np.array(image.convert("L")) > 0)
    except (binascii.Error, OSError, SyntaxError, ValueError) as error:
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


def _image_file(path: Path, annotation: dict[str, Any]) -> Path | None:
    """Return the file that `imagePath` says, or else the one of the annotation's own name; None for neither."""
    said = annotation.get("imagePath")
    if isinstance(said, str) and said:
        named = path.parent / PurePosixPath(said.replace("\\", "/"))
        if named.is_file():
            return named
    beside = [path.with_suffix(suffix) for ending in IMAGE_SUFFIXES for suffix in (ending, ending.upper())]
    return next((candidate for candidate in beside if candidate.is_file()), None)


def _embedded_image(path: Path, annotation: dict[str, Any]) -> bytes:
    """Return the bytes of the image that the annotation holds."""
    encoded = annotation.get("imageData")
    if not encoded:
        said = annotation.get("imagePath")
        raise DataError(
            f"{path} has no image: neither {said!r} (its imagePath) nor {path.stem} with any ending "
            f"({', '.join(IMAGE_SUFFIXES)}) lies in {path.parent}, and it holds none itself. Put the image beside it."
        )
    try:
        return base64.b64decode(str(encoded), validate=True)
    except binascii.Error as error:
        raise DataError(f"{path}: the image inside it (imageData) is damaged: {error}. {_ANNOTATE_AGAIN}") from error
