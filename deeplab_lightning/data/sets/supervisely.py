"""Projects of Supervisely: polygons, painted masks and rectangles, a JSON file for each image.

Read from the documentation (developer.supervisely.com, "Supervisely annotation format") and the drawing of its SDK:

    meta.json                  `classes`, each with `title`, `shape`, `color`
    DATASET/ann/NAME.jpg.json  `size` {height, width}, `objects` in drawing order, each with `classTitle`,
                               `geometryType` and
                                 polygon    `points` {exterior: [[x, y], ...], interior: [ring, ...]}
                                 rectangle  `points` {exterior: [[left, top], [right, bottom]]}
                                 bitmap     `bitmap` {origin: [x, y], data: a PNG, packed by zlib, in base64}
    DATASET/img/NAME.jpg

Datasets may hold others (`DATASET/datasets/OTHER/`). Points are pixels, and their outline belongs to the object:
polygons are filled by OpenCV as the SDK does, holes with their outline taken out, rectangles include both corners.
Fractions, which the tool's own screen has, are cut off. Later objects lie over earlier ones. Points, lines and other
shapes have no area.
"""

from __future__ import annotations

import base64
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import numpy as np
from PIL import Image

from ..files.annotations import parsing, read_json
from ..files.limits import expect_size, opened_image
from ..files.regions import Bitmap, Region, ring
from ..forms.outlines import AnnotatedImage, Annotations, Outlined, OutlinesDataModule
from ..pairing.finding import files_by_stem, images_below, on_disk
from ..pairing.layout import json_object
from ..pairing.named_images import split_of_path
from ..pairing.spellings import split_called
from ..wording import composed, first_few

_REMEDY = "Export the project again from Supervisely, as JSON annotations with images."
_PNG = b"\x89PNG\r\n\x1a\n"
_LARGEST_PNG = 1 << 26
"""Bytes of a packed PNG, which holds a mask of two colours; more is a bomb."""
_DEEPEST = 4
"""Datasets within datasets that are looked into."""


class SuperviselyDataModule(OutlinesDataModule):
    """The user's own images, annotated with Supervisely."""

    layout = "Supervisely (meta.json, DATASET/ann/NAME.jpg.json and DATASET/img/NAME.jpg)"

    @classmethod
    def is_form(cls, root: Path) -> bool:
        """Look for the project's classes, and for a dataset."""
        return _is_meta(json_object(root / "meta.json")) and next(_datasets(root), None) is not None

    @classmethod
    def read(cls, root: Path) -> Annotations:
        """Read a project."""
        found = Annotations()
        meta = read_json(root / "meta.json", _REMEDY)
        with parsing(root / "meta.json", _REMEDY):
            found.labels = [str(one["title"]) for one in meta["classes"]]
        unannotated: list[Path] = []
        tags: Counter[str] = Counter()
        for dataset in _datasets(root):
            images = files_by_stem(dataset / "img")
            taken = set()
            annotations = sorted(path for path in (dataset / "ann").iterdir() if path.suffix == ".json")
            for path in annotations:
                exact = on_disk(dataset / "img" / path.stem)
                image = exact if exact.is_file() else images.get(composed(path.stem))
                if image is None:
                    found.missing.append(f"{path} has no image: expected it in {dataset / 'img'}.")
                    continue
                taken.add(image)
                content = read_json(path, _REMEDY)
                with parsing(path, _REMEDY):
                    entry = _annotated(image, path, content, found.left_out)
                    tags.update(str(tag.get("name")) for tag in content.get("tags") or [])
                name = composed(f"{dataset.relative_to(root).as_posix()}/{image.name}")
                short = name.rpartition(".")[0]
                entry.split = split_of_path(PurePosixPath(name))
                found.add(name if short in found.images else short, entry)
            unannotated += [path for path in images_below(dataset / "img") if path not in taken]
        if unannotated:
            found.remarks.append(
                f"{len(unannotated)} images have no annotation, and are left out: "
                f"{first_few((path.name for path in unannotated), 3)}"
            )
        splits = sorted(tag for tag in tags if split_called(tag))
        if splits:
            found.remarks.append(
                f"Images are tagged {', '.join(splits)}, which is not read: write lists train.txt and val.txt."
            )
        return found


def _is_meta(content: dict[str, Any]) -> bool:
    classes = content.get("classes")
    return isinstance(classes, list) and all(isinstance(one, dict) and "title" in one for one in classes)


def _datasets(root: Path, depth: int = 0) -> Iterator[Path]:
    """Give the folders below a project that hold `ann` and `img`, in any depth of datasets within datasets."""
    if depth > _DEEPEST:
        return
    for folder in sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")):
        if (folder / "ann").is_dir() and (folder / "img").is_dir():
            yield folder
        if folder.name not in ("ann", "img"):
            yield from _datasets(folder, depth + 1)


def _annotated(image: Path, path: Path, content: dict[str, Any], left_out: list[str]) -> AnnotatedImage:
    """Return an image's objects; those that cannot be drawn are noted."""
    size = content["size"]
    found = AnnotatedImage(image, path, int(size["height"]), int(size["width"]))
    for number, one in enumerate(content["objects"], start=1):
        where = f"{path}, object {number}"
        region = _region(one, where)
        if region is None:
            left_out.append(f"{where} has no area: it is of kind {one.get('geometryType')}")
        else:
            is_box = one.get("geometryType") == "rectangle"
            found.objects.append(Outlined(str(one["classTitle"]), region, where, is_box=is_box))
    return found


def _region(one: dict[str, Any], where: str) -> Region | None:
    """Return where an object is; None if it has no area."""
    kind = one.get("geometryType") or ("bitmap" if one.get("bitmap") else None)
    if kind == "bitmap":
        column, row = (int(value) for value in one["bitmap"]["origin"])
        return PackedBitmap(str(one["bitmap"]["data"]), column, row, where)
    if kind not in ("polygon", "rectangle"):
        return None
    exterior = one["points"]["exterior"]
    if kind == "rectangle":
        (left, right), (top, bottom) = (sorted(map(float, pair)) for pair in zip(*exterior, strict=True))
        exterior = [[left, top], [right, top], [right, bottom], [left, bottom]]
    elif len(exterior) < 3:
        return None
    holes = [hole for hole in one["points"].get("interior") or [] if len(hole) >= 3]
    return FilledPolygon(_pixels(exterior, where), tuple(_pixels(hole, where) for hole in holes))


def _pixels(points: Any, where: str) -> np.ndarray:
    """Return points as `(N, 2)` int32."""
    return np.floor(ring(points, where, _REMEDY)).astype(np.int32)


@dataclass(frozen=True)
class FilledPolygon(Region):
    """A polygon as the SDK draws it.

    Attributes:
        outline: `(N, 2)` int32 of x and y.
        holes: Likewise.
    """

    outline: np.ndarray
    holes: tuple[np.ndarray, ...] = ()

    def area(self, height: int, width: int) -> np.ndarray:
        """Fill it, and take the holes out."""
        canvas = np.zeros((height, width), np.uint8)
        cv2.fillPoly(canvas, [self.outline], 1)
        if self.holes:
            cv2.fillPoly(canvas, self.holes, 0)
        return canvas.astype(bool)


@dataclass(frozen=True)
class PackedBitmap(Region):
    """A block of pixels as the file holds it.

    Attributes:
        data: PNG, packed by zlib or as it is, in base64.
        left: Column of its first pixel.
        top: Row of it.
        where: File and object, for messages.
    """

    data: str
    left: int
    top: int
    where: str

    def area(self, height: int, width: int) -> np.ndarray:
        """Unpack and paste it."""
        with parsing(self.where, _REMEDY):
            pixels = bitmap_pixels(self.data, height, width)
        return Bitmap(pixels, self.left, self.top).area(height, width)


def bitmap_pixels(data: str, height: int, width: int) -> np.ndarray:
    """Unpack a bitmap, which is no larger than its image.

    Where the PNG has transparency, what is not wholly transparent belongs to it; else, in grey ones, what is not 0.

    Args:
        data: See `PackedBitmap`.
        height: Of the image.
        width: Of it.

    Returns:
        `(h, w)` bool.

    Raises:
        ValueError: It is damaged, larger than the image, or of another kind.
    """
    try:
        packed = base64.b64decode(data, validate=True)
        if not packed.startswith(_PNG):
            unpacking = zlib.decompressobj()
            packed = unpacking.decompress(packed, _LARGEST_PNG)
            if not unpacking.eof:
                raise ValueError(f"its PNG is cut, or has more than {_LARGEST_PNG} bytes")
        with opened_image(packed) as image:
            if image.width > width or image.height > height:
                raise ValueError(f"its mask is {image.width}x{image.height}, larger than its image")
            expect_size("its mask", image.height, image.width)
            if image.mode in ("RGBA", "LA") or "transparency" in image.info:
                return np.asarray(image.convert("RGBA"))[..., 3] > 0
            if image.mode not in ("1", "L", "I", "I;16"):
                raise ValueError(f"its PNG is of kind {image.mode} without transparency")
            return np.asarray(image) > 0
    except (OSError, SyntaxError, zlib.error, Image.DecompressionBombError) as error:
        raise ValueError(f"its mask is no PNG packed by zlib: {error}") from error
