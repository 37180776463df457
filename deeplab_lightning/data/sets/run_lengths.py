"""Run lengths in CSV, as Kaggle's competitions have them: a line an object or a class of an image.

    ImageId,ClassId,EncodedPixels        0002cc93b.jpg,1,29102 12 29346 24        (Severstal)
    Image_Label,EncodedPixels            0011165.jpg_Fish,264918 937 266318 937   (Understanding Clouds)
    ImageId,EncodedPixels                000155de5.jpg,                           (Airbus: nothing is there)
    id,rle_mask                          575d24d81d,                              (TGS)

"Start length start length ..." count pixels from 1, down the columns in most competitions, along the rows in some
(Carvana, UW-Madison). Nothing in the file says which. It is told by the objects: read the wrong way they fall into
stripes. Where both ways give equally plain objects, as in square images always, it is asked (`order`).

An image with an empty line has nothing on it. One without a line was not annotated, and is left out, which is said.
Classes that are numbers, or none at all, are named by the user in their order.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
from PIL import Image

from ...errors import ConfigError, DataError
from ...files import open_file
from ..files.annotations import parsing
from ..files.limits import opened_image
from ..files.regions import Region
from ..forms.outlines import AnnotatedImage, Annotations, Outlined, OutlinesDataModule, OutlinesOptions
from ..pairing.finding import images_below
from ..pairing.layout import annotation_files, head_of
from ..pairing.named_images import NamedImages, short_names, split_in, split_of_path
from ..wording import first_few

IMAGE_COLUMNS = (
    "imageid",
    "image",
    "img",
    "id",
    "filename",
    "file",
    "name",
    "imagename",
    "imagelabel",
    "imageidclassid",
)
RUN_COLUMNS = ("encodedpixels", "rlemask", "rle", "encoding", "segmentation", "annotation", "mask", "maskrle", "pixels")
CLASS_COLUMNS = ("classid", "class", "label", "classname", "category", "categoryid", "categoryname", "celltype")
"""Names of columns, in small letters, without spaces and underscores."""
JOINED = ("imagelabel", "imageidclassid")
"""Columns that hold the image's name and its class, with an underscore between them."""
NAMELESS = "object"
"""The class of lines without one."""
EMPTY = ("", "nan", "-1", "none")
PLAINER = 1.5
"""How many times fewer borders between pixels one way must give to be taken for the right one."""
SAMPLE = 40
"""Objects that are looked at for it."""
_RUNS = re.compile(r"\d+ \d+( \d+ \d+)*")
_LONGEST_FIELD = 1 << 27
_REMEDY = "Download the file again, or export it as 'start length start length ...' with pixels counted from 1."

Order = Literal["columns", "rows"]


@dataclass(frozen=True, kw_only=True)
class RunLengthsOptions(OutlinesOptions):
    """What is to be read of run lengths."""

    order: Order | None = None
    """Whether pixels are counted down the columns or along the rows; null where the objects tell."""


class RunLengthsDataModule(OutlinesDataModule):
    """The user's own images, with a CSV file of run lengths."""

    Options = RunLengthsOptions
    options: RunLengthsOptions
    layout = "run lengths (a CSV file with columns such as ImageId and EncodedPixels, and the images)"
    lists_divide = True

    @classmethod
    def is_form(cls, root: Path) -> bool:
        """Look for a table of run lengths that names an image which is there."""
        images: NamedImages | None = None
        for path in _tables(root)[0]:
            images = images or NamedImages(root)
            if any(images.find(name) or images.find(name.rpartition("_")[0] or name) for name, _, _ in _first(path)):
                return True
        return False

    @classmethod
    def read(cls, root: Path) -> Annotations:
        """Read all tables of a folder; in which order pixels are counted is told by the objects, or asked."""
        found = read_tables(root)
        order = order_of(found)
        found.options["order"] = order
        if order is None:
            found.comments["order"] = "say it: columns (most of Kaggle's competitions) or rows"
            found.remarks.append(
                "To be said before training: whether pixels are counted down the columns or along the rows. The images "
                "are square, or the objects too small to tell. Set order, and look at doctor's overview."
            )
        else:
            found.comments["order"] = "told by the objects: the other way they fall into stripes"
        return found

    def read_as_configured(self) -> Annotations:
        """Read in the order that the options say.

        Raises:
            ConfigError: They say none, and nothing tells.
        """
        found = read_tables(self.root)
        order = self.options.order or order_of(found)
        if order is None:
            raise ConfigError(
                f"{self.root}: run lengths may count pixels down the columns or along the rows, and its objects do not "
                f"tell. Set data.order to columns (most of Kaggle's competitions) or to rows, and look at the masks."
            )
        for image in found.images.values():
            for one in image.objects:
                if isinstance(one.region, StartsAndLengths):
                    one.region = replace(one.region, by_columns=order == "columns")
        return found


@dataclass(frozen=True)
class StartsAndLengths(Region):
    """Runs of an object's pixels.

    Attributes:
        starts: `(N,)` int64, from 0, rising.
        lengths: `(N,)` int64, above 0; no run reaches into the next.
        by_columns: Whether pixels are counted down the columns, or along the rows.
        where: File and line, for messages.
    """

    starts: np.ndarray
    lengths: np.ndarray
    by_columns: bool
    where: str

    def area(self, height: int, width: int) -> np.ndarray:
        """Mark the runs."""
        end = int(self.starts[-1] + self.lengths[-1])
        if end > height * width:
            raise DataError(
                f"{self.where}: its runs end at pixel {end}, but its image has {width}x{height}, which is "
                f"{height * width} pixels. Put back the image that was annotated."
            )
        borders = np.zeros(height * width + 1, np.int8)
        borders[self.starts] += 1
        np.subtract.at(borders, self.starts + self.lengths, 1)
        inside = np.cumsum(borders[:-1], dtype=np.int8).astype(bool)
        return inside.reshape(width, height).T if self.by_columns else inside.reshape(height, width)


def starts_and_lengths(text: str, where: str) -> StartsAndLengths | None:
    """Read a line's runs; None if it has none.

    Raises:
        DataError: They are no pairs of whole numbers above 0, or do not rise.
    """
    words = text.split()
    if not words or text.strip().casefold() in EMPTY:
        return None
    try:
        numbers = np.array([int(word) for word in words], np.int64)
    except (ValueError, OverflowError) as error:
        raise DataError(f"{where}: its run lengths are no whole numbers: {error}. {_REMEDY}") from error
    if len(numbers) % 2 or numbers.min() < 1 or numbers.max() > 1 << 40:
        raise DataError(
            f"{where}: {len(numbers)} numbers, the least {numbers.min()}; expected pairs above 0. {_REMEDY}"
        )
    starts, lengths = numbers[::2] - 1, numbers[1::2]
    if (starts[1:] < (starts + lengths)[:-1]).any():
        raise DataError(
            f"{where}: its runs overlap or do not rise. Starts that count from the run before, as those of SIIM-ACR "
            f"Pneumothorax, are not read. {_REMEDY}"
        )
    return StartsAndLengths(starts, lengths, True, where)


def read_tables(root: Path) -> Annotations:
    """Read all tables of a folder."""
    found = Annotations()
    images = NamedImages(root)
    tables, others = _tables(root)
    entries: dict[Path, AnnotatedImage] = {}
    missing: dict[str, str] = {}
    for path in tables:
        split = split_in(path.stem)
        for number, (name, label, text) in enumerate(_rows(path), start=2):
            where = f"{path}, line {number}"
            image = images.find(name, split, path.parent)
            if image is None:
                missing.setdefault(name, f"{where} is of {name}, which is nowhere below {root}.")
                continue
            entry = entries.setdefault(image, AnnotatedImage(image, path, split=split, larger_first=True))
            if entry.annotation != path:
                raise DataError(f"{image} stands in {entry.annotation} and in {path}. Keep one of them in {root}.")
            region = starts_and_lengths(text, where)
            if region is not None:
                entry.objects.append(Outlined(label, region, where))
    names = short_names(entries)
    for image, entry in entries.items():
        entry.split = entry.split or split_of_path(PurePosixPath(names[image]))
        found.add(names[image], entry)
    found.missing = list(missing.values())
    found.whole_classes = all(
        len({one.label for one in entry.objects}) == len(entry.objects) for entry in entries.values()
    )
    labels = {one.label for entry in entries.values() for one in entry.objects}
    found.nameless = all(label.isdigit() for label in labels) or labels == {NAMELESS}
    found.labels = sorted(labels, key=lambda label: (int(label) if label.isdigit() else 0, label))
    unlisted = [path for folder in {path.parent for path in entries} for path in images_below(folder)]
    unlisted = sorted(set(unlisted) - set(entries))
    if unlisted:
        found.remarks.append(
            f"{len(unlisted)} images have no line, and are left out: {first_few((path.name for path in unlisted), 3)}. "
            f"If nothing is on them, add a line without runs for each."
        )
    if others:
        found.remarks.append(f"Submissions are passed over: {first_few(path.name for path in others)}.")
    return found


def order_of(found: Annotations) -> Order | None:
    """Tell in which order pixels are counted, by how many borders between pixels it makes; None if nothing tells."""
    borders = {"columns": 0, "rows": 0}
    objects = [(image, one.region) for image in found.images.values() for one in image.objects]
    for image, region in objects[:: max(1, len(objects) // SAMPLE)]:
        size = _size(image.image)
        if not isinstance(region, StartsAndLengths) or size is None or size[0] == size[1]:
            continue
        try:
            borders["columns"] += _borders(replace(region, by_columns=True).area(*size))
            borders["rows"] += _borders(replace(region, by_columns=False).area(*size))
        except DataError:
            continue
    if borders["rows"] > PLAINER * borders["columns"]:
        return "columns"
    return "rows" if borders["columns"] > PLAINER * borders["rows"] else None


def _size(path: Path) -> tuple[int, int] | None:
    """Return an image's height and width as it is read, by its header; None if it has none."""
    try:
        with opened_image(path) as image:
            width, height = image.size
            turned = image.getexif().get(0x0112, 1) >= 5
    except (OSError, SyntaxError, ValueError, TypeError, Image.DecompressionBombError):
        return None
    return (width, height) if turned else (height, width)


def _borders(area: np.ndarray) -> int:
    return int((area[1:] != area[:-1]).sum() + (area[:, 1:] != area[:, :-1]).sum())


def _tables(root: Path) -> tuple[list[Path], list[Path]]:
    """Return the tables of run lengths in a folder, and those that are examples of a submission."""
    found = [
        path for path in annotation_files(root, ".csv", ()) if any(_RUNS.fullmatch(one[2]) for one in _first(path))
    ]
    return (
        [path for path in found if "submission" not in path.stem.casefold()],
        [path for path in found if "submission" in path.stem.casefold()],
    )


def _first(path: Path) -> list[tuple[str, str, str]]:
    """Return a table's first lines: image, class, runs; none where it is another table or damaged."""
    if not head_of(path):
        return []
    try:
        return [row for row, _ in zip(_rows(path), range(200), strict=False)]
    except DataError:
        return []


def _rows(path: Path) -> Iterator[tuple[str, str, str]]:
    """Give a table's lines: the image's name, its class, and the runs.

    Raises:
        DataError: It is no table of run lengths, or damaged.
    """
    csv.field_size_limit(_LONGEST_FIELD)
    with parsing(path, _REMEDY), io.TextIOWrapper(open_file(path), encoding="utf-8-sig", newline="") as file:
        try:
            table = csv.reader(file)
            columns = [re.sub(r"[\s_]", "", column).casefold() for column in next(table, [])]
            image, runs, kind = (
                next((columns.index(name) for name in names if name in columns), None)
                for names in (IMAGE_COLUMNS, RUN_COLUMNS, CLASS_COLUMNS)
            )
            if image is None or runs is None:
                raise DataError(f"{path} is no table of run lengths: its columns are {first_few(columns)}.")
            for row in table:
                if row:
                    name, label = row[image].strip(), NAMELESS if kind is None else row[kind].strip()
                    if columns[image] in JOINED and kind is None:
                        name, _, label = name.rpartition("_")
                    yield name, label, row[runs].strip()
        except (csv.Error, OSError) as error:
            raise DataError(f"{path} is damaged: {error}. {_REMEDY}") from error
