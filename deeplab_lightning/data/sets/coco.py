"""Annotations in the form of COCO: one JSON file for many images, with outlines of objects that are drawn into masks.

Lin et al.: "Microsoft COCO: Common Objects in Context", ECCV 2014. The file holds

    images        `id`, `file_name`, `height`, `width`
    categories    `id`, `name`
    annotations   `image_id`, `category_id`, `iscrowd`, and `segmentation`: polygons [[x, y, x, y, ...], ...], or run
                  lengths {size: [height, width], counts: a list, or a string when compressed}

Masks of classes are made from objects that overlap. Larger objects are drawn first, so that what is smaller lies on
top: the order of the file says nothing, and a cup drawn before its table would vanish. Of equal ones the later in the
file lies on top. Groups that were outlined as one (`iscrowd`) are ignored, and lie below all objects, since those
within them that have an outline of their own are certain. What no outline covers is background.

Brushes of annotation tools (CVAT, Datumaro) write every object as run lengths with `iscrowd` 1. So a class of which a
file has such groups alone has objects, not groups. Objects without an outline that can be drawn (boxes, polygons of two
points) are left out and counted, and are an error where they are more than `MOST_WITHOUT_OUTLINE` of all.

Polygons are drawn by `pycocotools`, COCO's own code, so that masks have the areas that COCO counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn

from ...errors import DataError, did_you_mean
from ...extras import need
from ...labels import LabelSet
from ..annotations import check_declared_size, read_json
from ..checks import check_unique
from ..datamodule import Split
from ..dataset import SegmentationDataset
from ..finding import files_by_stem, locate, on_disk
from ..images import read_image
from ..layout import Recognised, json_object, subfolders
from ..own_images import OwnImagesDataModule, OwnImagesOptions
from ..splitting import names_of
from ..wording import composed, first_few

Outline = list[np.ndarray] | dict[str, Any]
"""Polygons, each `(2 * N,)` float64 of x, y, x, y, ...; or run lengths as in the file."""

PURPOSE = "Drawing outlines in the form of COCO"
MOST_WITHOUT_OUTLINE = 0.05
"""Share of a file's objects."""
_REMEDY = "Export the annotations again."


@dataclass
class AnnotatedImage:
    """What an annotation file says of an image.

    Attributes:
        name: The file's path below the folder of images, without ending.
        height: In pixels; None where the file does not say.
        width: Likewise.
        objects: Class id (or ignore), outline, and where it stands in the file, for messages.
    """

    name: str
    height: int | None
    width: int | None
    objects: list[tuple[int, Outline, str]] = field(default_factory=list)


class COCO(SegmentationDataset):
    """Images with annotations in the form of COCO.

    Args:
        annotations: The file that `images` were read from.
        images: As `read_annotations` gives them.
        folder: Where the files of the images lie.
        labels: The first class is the background.

    Raises:
        ConfigError: `pycocotools` is not installed.
        DataError: Files of images are missing.
    """

    def __init__(
        self, annotations: str | Path, images: Sequence[AnnotatedImage], folder: str | Path, labels: LabelSet
    ) -> None:
        need("pycocotools.mask", "coco", PURPOSE)
        self.annotations, self.labels = Path(annotations), labels
        self._images = list(images)
        remedy = "Set data.images (and data.val_images) to the folder in which they lie, below data.root."
        names = [f"./{image.name}" for image in self._images]
        self._files = locate(names, Path(folder), f"Images of {annotations}", remedy)

    def __len__(self) -> int:
        return len(self._images)

    def sample_id(self, index: int) -> str:
        """Return the image's file name, without ending."""
        return self._images[index].name

    def files(self, index: int) -> tuple[Path, ...]:
        """Return the image's file and the annotations'."""
        return self._files[index], self.annotations

    def load(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Read image `index`, and draw its mask of class ids and 255.

        Raises:
            DataError: The image is unreadable or of another size, or an outline cannot be drawn.
        """
        entry, path = self._images[index], self._files[index]
        image = read_image(path)
        check_declared_size(image, entry.height, entry.width, path, self.annotations)
        height, width = image.shape[:2]
        void = self.labels.ignore_index
        drawn = [(value, _area(outline, height, width, where)) for value, outline, where in entry.objects]
        drawn.sort(key=lambda one: (one[0] != void, -int(one[1].sum())))
        mask = np.zeros((height, width), np.uint8)
        for value, area in drawn:
            mask[area] = value
        return image, mask


@dataclass(frozen=True, kw_only=True)
class COCOOptions(OwnImagesOptions):
    """What is to be read of annotations in the form of COCO."""

    annotations: str = "annotations.json"
    """File of the training annotations, or of all, below the root."""
    images: str = "."
    """Folder of the images that the file of annotations is about, below the root."""
    val_annotations: str | None = None
    """File of the validation annotations, below the root; null divides the images of the file of annotations."""
    val_images: str | None = None
    """Folder of the images that the file of validation annotations is about, below the root; null takes that of the
    training images."""


class COCODataModule(OwnImagesDataModule):
    """COCO itself, or the user's own images with annotations in its form: polygons or run lengths in JSON."""

    Options = COCOOptions
    options: COCOOptions
    layout = "COCO (a JSON file with images, annotations and categories)"
    generality = 2

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._read: dict[Path, dict[str, AnnotatedImage]] = {}

    @classmethod
    def recognise(cls, root: Path) -> Recognised | None:
        """Recognise a folder with a file of annotations; one for training and one for validation, if there are two."""
        files = {path: json_object(path) for path in sorted([*root.glob("*.json"), *root.glob("annotations/*.json")])}
        lists = {"images", "annotations", "categories"}
        files = {path: content for path, content in files.items() if lists <= set(content)}
        if not files:
            return None
        train = next((path for path in files if "train" in path.stem), next(iter(files)))
        val = next((path for path in files if "val" in path.stem and path != train), None)
        categories = sorted(files[train]["categories"], key=lambda category: category["id"])
        options: dict[str, Any] = {
            "root": str(root.resolve()),
            "class_names": ["background", *[str(category["name"]) for category in categories]],
        }
        for prefix, path in (("", train), ("val_", val)):
            if path is not None:
                options[f"{prefix}annotations"] = path.relative_to(root).as_posix()
                options[f"{prefix}images"] = _folder_of(files[path], root)
        size = len(files[train]["images"])
        images = list(files_by_stem(root / options["images"]).values())
        return Recognised("COCO", options, images, size if val else max(1, int(0.8 * size)))

    def build_dataset(self, split: Split) -> COCO:
        """Open a split."""
        options = self.options
        if options.val_annotations and split == "val":
            path, folder = self.root / options.val_annotations, self.root / (options.val_images or options.images)
            return COCO(path, list(self._images(path).values()), folder, self.labels)
        path = self.root / options.annotations
        images = self._images(path)
        splits = {"train": list(images)} if options.val_annotations else self.divided(list(images))
        return COCO(path, [images[name] for name in names_of(splits, split)], self.root / options.images, self.labels)

    def _images(self, path: Path) -> dict[str, AnnotatedImage]:
        """Read a file once."""
        if path not in self._read:
            self._read[path] = read_annotations(path, self.labels)
        return self._read[path]


def _folder_of(content: dict[str, Any], root: Path) -> str:
    """Return the folder below `root` in which the first image of a COCO file lies; `.` if it is nowhere."""
    name = str(content["images"][0].get("file_name")) if content["images"] else ""
    places = [root, *subfolders(root), *[inner for folder in subfolders(root) for inner in subfolders(folder)]]
    found = (place for place in places if name and on_disk(place / name).is_file())
    return next((place.relative_to(root).as_posix() for place in found), ".")


def read_annotations(path: Path, labels: LabelSet) -> dict[str, AnnotatedImage]:
    """Read an annotation file; its categories are found in `labels` by name.

    Returns:
        The images by name, in the order of the file, those without objects too.

    Raises:
        DataError: The file is damaged or of another form, names no image or one twice, uses a category that is no
            class, or has too many objects without an outline.
    """
    content = read_json(path, _REMEDY)
    lists = ("images", "categories", "annotations")
    if not all(isinstance(content.get(key), list) for key in lists):
        raise DataError(
            f"{path} is no annotation file in the form of COCO: it holds {first_few(content) or 'nothing'}, expected "
            f"lists images, categories and annotations. Set data.annotations to the file of instances."
        )
    try:
        images = {
            int(entry["id"]): AnnotatedImage(_name(entry["file_name"]), entry.get("height"), entry.get("width"))
            for entry in content["images"]
        }
        used = {int(entry["category_id"]) for entry in content["annotations"]}
        classes = _classes(
            {int(entry["id"]): str(entry["name"]) for entry in content["categories"]}, used, labels, path
        )
        with_objects = {int(entry["category_id"]) for entry in content["annotations"] if not entry.get("iscrowd")}
        _say_groups_are_objects(path, [labels.class_names[classes[number]] for number in sorted(used - with_objects)])
        left_out: list[DataError] = []
        for entry in content["annotations"]:
            where = f"{path}, annotation {entry.get('id')}"
            if int(entry["image_id"]) not in images:
                raise DataError(f"{where} belongs to image {entry['image_id']}, which is not in the file. {_REMEDY}")
            category = int(entry["category_id"])
            is_group = entry.get("iscrowd") and category in with_objects
            value = labels.ignore_index if is_group else classes[category]
            try:
                outline = _outline(entry.get("segmentation"), where)
            except _NoOutlineError as error:
                left_out.append(error)
                continue
            images[int(entry["image_id"])].objects.append((value, outline, where))
        _check_few(left_out, len(content["annotations"]), path)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path} is not in the form of COCO: {type(error).__name__}: {error}. {_REMEDY}") from error
    if not images:
        raise DataError(f"{path} names no images. {_REMEDY}")
    check_unique([image.name for image in images.values()], "Images", path)
    return {image.name: image for image in images.values()}


class _NoOutlineError(DataError):
    """An object cannot be drawn; others can."""


def _check_few(left_out: Sequence[DataError], objects: int, path: Path) -> None:
    """Say how many objects cannot be drawn, or refuse the file where they are many."""
    if len(left_out) > MOST_WITHOUT_OUTLINE * objects:
        raise DataError(str(left_out[0]))
    if left_out:
        rank_zero_warn(f"{path}: {len(left_out)} of {objects} objects are left out. The first: {left_out[0]}")


def _say_groups_are_objects(path: Path, names: Sequence[str]) -> None:
    if names:
        rank_zero_info(
            f"{path}: of {first_few(names)} it has outlines with iscrowd 1 alone, as brushes of annotation tools "
            f"write: they are read as objects, not as groups to be ignored."
        )


def _name(file_name: str) -> str:
    return composed(PurePosixPath(file_name.replace("\\", "/")).with_suffix("").as_posix())


def _classes(categories: dict[int, str], used: Iterable[int], labels: LabelSet, path: Path) -> dict[int, int]:
    """Return category id -> class id; categories without objects need not be classes."""
    for number in sorted(used):
        if number not in categories:
            raise DataError(f"{path} uses category {number}, which is not among its categories. {_REMEDY}")
        name = categories[number]
        if name not in labels.class_names[1:]:
            wanted = [labels.class_names[0], *(categories[each] for each in sorted(set(used) & set(categories)))]
            raise DataError(
                f"{path}: category {name!r} (id {number}) is not in data.class_names."
                f"{did_you_mean(name, labels.class_names[1:])} The file's own are class_names: [{', '.join(wanted)}]."
            )
    return {number: labels.class_names.index(name) for number, name in categories.items() if name in labels.class_names}


def _outline(segmentation: object, where: str) -> Outline:
    """Check an object's outline; polygons become arrays, which take a quarter of the memory."""
    if isinstance(segmentation, dict):
        if not {"size", "counts"} <= set(segmentation):
            raise DataError(f"{where}: run lengths need size and counts, found {first_few(segmentation)}. {_REMEDY}")
        return segmentation
    if not isinstance(segmentation, list) or not segmentation:
        raise _NoOutlineError(
            f"{where} has no outline, only a box at most. Annotate with polygons or masks: boxes do not tell the "
            f"classes of pixels."
        )
    polygons = [np.asarray(polygon, np.float64) for polygon in segmentation]
    for polygon in polygons:
        if polygon.ndim != 1 or polygon.size < 6 or polygon.size % 2 or not np.isfinite(polygon).all():
            raise _NoOutlineError(
                f"{where}: a polygon holds {polygon.size} numbers, expected x, y of 3 points or more, all finite. "
                f"{_REMEDY}"
            )
    return polygons


def _area(outline: Outline, height: int, width: int, where: str) -> np.ndarray:
    """Return `(H, W)` bool, True inside."""
    coco_mask = need("pycocotools.mask", "coco", PURPOSE)
    if isinstance(outline, list):
        return coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(outline, height, width))).astype(bool)
    if list(outline["size"]) != [height, width]:
        raise DataError(
            f"{where}: its run lengths are of an image of {outline['size']}, the image is [{height}, {width}] "
            f"(height, width). {_REMEDY}"
        )
    counts = outline["counts"]
    try:
        runs = np.asarray(_decompressed(counts) if isinstance(counts, str) else counts, np.int64)
        if runs.ndim != 1 or (runs < 0).any() or runs.sum() != height * width:
            raise ValueError(f"they cover {runs.sum()} of {height * width} pixels")
    except (TypeError, ValueError) as error:
        raise DataError(f"{where}: its run lengths are damaged: {error}. {_REMEDY}") from error
    inside = np.repeat(np.arange(len(runs)) % 2 == 1, runs)  # outside and inside by turns
    return inside.reshape(width, height).T  # down the columns


def _decompressed(counts: str) -> list[int]:
    """Return the run lengths that a string of COCO's holds.

    Each number is written in groups of 5 bits, lowest first, in characters from "0" on; bit 5 says that more groups
    follow, bit 4 of the last one is the sign. From the fourth number on it is the difference to the last but one.
    `pycocotools`' own reading takes damaged strings without a word.
    """
    runs: list[int] = []
    position = 0
    while position < len(counts):
        number, shift, more = 0, 0, True
        while more:
            if position == len(counts):
                raise ValueError("they end within a number")
            group = ord(counts[position]) - 48
            if not 0 <= group < 64:
                raise ValueError(f"{counts[position]!r} is no character of theirs")
            number |= (group & 31) << shift
            position, shift, more = position + 1, shift + 5, bool(group & 32)
        if group & 16:
            number -= 1 << shift
        runs.append(number + (runs[-2] if len(runs) > 2 else 0))
    return runs
