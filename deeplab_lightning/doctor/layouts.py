"""Which layout a folder has, and the configuration that reads it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ..data.finding import (
    IMAGE_SUFFIXES,
    RASTER_SUFFIXES,
    files_by_stem,
    found_instead,
    images_below,
    without_ending,
)
from ..errors import ConfigError
from ..labels.cityscapes import CITYSCAPES
from ..labels.label_set import VOID_COLOUR
from .channels import unusual_images
from .masks import MaskValues, image_sizes, look_at_masks, suggested_window

IMAGE_FOLDERS = ("images", "imgs", "image", "img", "pictures", "photos", "JPEGImages")
MASK_FOLDERS = ("masks", "labels", "annotations", "mask", "label", "gt", "segmentation", "SegmentationClass")
NAME_FILES = ("labels.txt", "classes.txt", "class_names.txt")
CHILDREN = 20
"""Subfolders that are tried where the folder itself has no known layout, over two levels."""
LAYOUTS = (
    "VOC2012 (JPEGImages/, SegmentationClass/, ImageSets/)",
    "Cityscapes (leftImg8bit/, gtFine/)",
    "CamVid (train/, trainannot/)",
    "CamVid's originals (701_StillsRaw_full/, LabeledApproved_full/)",
    "ADE20K (images/training/, annotations/training/)",
    "images/ and masks/",
    "LabelMe (NAME.json beside NAME.jpg)",
    "COCO (a JSON file with images, annotations and categories)",
)


@dataclass
class Proposal:
    """How a folder can be read.

    Attributes:
        layout: Its name, for people.
        class_path: The datamodule.
        init_args: Its arguments; `comments` says more about some of them.
        comments: Argument -> a remark that stands behind it in YAML.
        remarks: What else the user should know.
    """

    layout: str
    class_path: str
    init_args: dict[str, Any]
    comments: dict[str, str] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)

    def as_yaml(self, title: str) -> str:
        """Return a commented configuration that goes on top of a model's.

        Args:
            title: First comment, without `#`.
        """
        lines = [f"# {line}" for line in [title, *self.remarks]]
        lines += ["", "data:", f"  class_path: {self.class_path}", "  init_args:"]
        for name, value in self.init_args.items():
            written = yaml.safe_dump(value, default_flow_style=True, width=100_000, allow_unicode=True)
            comment = f"  # {self.comments[name]}" if name in self.comments else ""
            lines.append(f"    {name}: {written.removesuffix('...' + chr(10)).strip()}{comment}")
        return "\n".join(lines) + "\n"


def propose(folder: Path) -> Proposal:
    """Recognise a folder's layout, or that of the folder just below that has one.

    Args:
        folder: Given by the user.

    Raises:
        ConfigError: There is no such folder, or it has no known layout.
        DataError: The files that would tell cannot be read.
    """
    if not folder.is_dir():
        raise ConfigError(f"doctor looks at folders: {found_instead(folder, '')}")
    for place in _places(folder):
        for recognise in (_voc, _cityscapes, _camvid, _camvid32, _ade20k, _image_and_mask_folders, _coco):
            found = recognise(place)
            if found is not None:
                return found
    labelme = _labelme(folder)  # looks into all subfolders itself
    if labelme is not None:
        return labelme
    raise ConfigError(
        f"The layout was not recognised. {found_instead(folder, 'images')} Known are: {'; '.join(LAYOUTS)}."
    )


def _places(folder: Path) -> Iterable[Path]:
    """Return the folder, its subfolders, and theirs."""
    children = _subfolders(folder)
    grandchildren = [grandchild for child in children for grandchild in _subfolders(child)]
    return [folder, *children, *grandchildren[:CHILDREN]]


def _subfolders(folder: Path) -> list[Path]:
    found = [path for path in sorted(folder.iterdir()) if path.is_dir() and not path.name.startswith(".")]
    return found[:CHILDREN]


def _voc(root: Path) -> Proposal | None:
    lists = root / "ImageSets" / "Segmentation"
    if not (root / "JPEGImages").is_dir() or not lists.is_dir():
        return None
    augmented = any((root / "ImageSets").glob("Segmentation*/train*aug.txt"))
    arguments = {"root": _text(root), "train_split": "train_aug" if augmented else "train"}
    comments = {} if augmented else {"train_split": "there is no list for train_aug (SBD's annotations)"}
    return _with_window(
        Proposal("PASCAL VOC 2012", "VOCDataModule", arguments, comments),
        files_by_stem(root / "JPEGImages").values(),
        len(_lines(lists / "train.txt")),
    )


def _cityscapes(root: Path) -> Proposal | None:
    if not (root / "leftImg8bit").is_dir() or not ((root / "gtFine").is_dir() or (root / "gtCoarse").is_dir()):
        return None
    arguments: dict[str, Any] = {"root": _text(root)}
    if not (root / "gtFine" / "train").is_dir():
        arguments["annotations"] = "coarse"
    images = sorted((root / "leftImg8bit" / "train").glob("*/*_leftImg8bit.*"))
    proposal = Proposal("Cityscapes", "CityscapesDataModule", arguments)
    proposal.remarks.append(f"{CITYSCAPES.num_classes} classes; label ids are mapped to train ids as they are read.")
    return _with_window(proposal, images, len(images))


def _camvid(root: Path) -> Proposal | None:
    if not (root / "train").is_dir() or not (root / "trainannot").is_dir():
        return None
    images = files_by_stem(root / "train").values()
    listed = len(_lines(root / "train.txt")) or len(images)
    return _with_window(Proposal("CamVid", "CamVidDataModule", {"root": _text(root)}), images, listed)


def _camvid32(root: Path) -> Proposal | None:
    if not (root / "701_StillsRaw_full").is_dir() or not (root / "LabeledApproved_full").is_dir():
        return None
    images = files_by_stem(root / "701_StillsRaw_full").values()
    listed = len(_lines(root / "train.txt")) or len(images)
    return _with_window(Proposal("CamVid's originals", "CamVid32DataModule", {"root": _text(root)}), images, listed)


def _ade20k(root: Path) -> Proposal | None:
    if not (root / "images" / "training").is_dir() or not (root / "annotations" / "training").is_dir():
        return None
    images = files_by_stem(root / "images" / "training").values()
    return _with_window(Proposal("ADE20K", "ADE20KDataModule", {"root": _text(root)}), images, len(images))


def _image_and_mask_folders(root: Path) -> Proposal | None:
    bases = [root] if not (root / "train").is_dir() else [root, *(root / split for split in ("train", "val", "test"))]
    images, masks = (_first_folder(bases, names) for names in (IMAGE_FOLDERS, MASK_FOLDERS))
    if images is None or masks is None:
        return None
    image_files, mask_files = (
        {k: v for base in bases for k, v in _below(base / name).items()} for name in (images, masks)
    )
    if not image_files or not mask_files:
        return None
    suffix = _mask_suffix(set(image_files), set(mask_files))
    arguments: dict[str, Any] = {"root": _text(root), "images": images, "masks": masks}
    if suffix:
        arguments["mask_suffix"] = suffix
    proposal = Proposal(f"{images}/ and {masks}/", "FolderDataModule", arguments)
    _describe_classes(proposal, root, look_at_masks(list(mask_files.values())))
    kind = unusual_images(list(image_files.values()))
    proposal.init_args |= kind
    if kind:
        proposal.comments["mean"] = f"measured; {len(kind['mean'])} channels"
        proposal.comments["pixel_range"] = "the stored value that means 1: check it"
    pairs = sum(f"{stem}{suffix}" in mask_files for stem in image_files)
    return _with_window(proposal, image_files.values(), max(1, int(0.8 * pairs)))


def _labelme(root: Path) -> Proposal | None:
    annotations = sorted(path for path in root.rglob("*.json") if not path.name.startswith("."))
    found: list[str] = []
    shapes = False
    for path in annotations:
        content = _json(path)
        if isinstance(content.get("shapes"), list):
            shapes = True
            found += [
                str(shape["label"]) for shape in content["shapes"] if isinstance(shape, dict) and shape.get("label")
            ]
    if not shapes:
        return None
    special = ("__ignore__", "_background_", "background")
    named = dict.fromkeys([*_names_in_file(root), *sorted(set(found))])
    names = ["background", *[name for name in named if name not in special]]
    images = [path for path in sorted(root.rglob("*")) if path.suffix.lower() in IMAGE_SUFFIXES]
    proposal = Proposal("LabelMe", "LabelMeDataModule", {"root": _text(root), "class_names": names})
    return _with_window(proposal, images, max(1, int(0.8 * len(annotations))))


def _coco(root: Path) -> Proposal | None:
    files = {path: _json(path) for path in sorted([*root.glob("*.json"), *root.glob("annotations/*.json")])}
    files = {
        path: content for path, content in files.items() if {"images", "annotations", "categories"} <= set(content)
    }
    if not files:
        return None
    train = next((path for path in files if "train" in path.stem), next(iter(files)))
    val = next((path for path in files if "val" in path.stem and path != train), None)
    categories = sorted(files[train]["categories"], key=lambda category: category["id"])
    arguments: dict[str, Any] = {
        "root": _text(root),
        "class_names": ["background", *[str(category["name"]) for category in categories]],
    }
    for prefix, path in (("", train), ("val_", val)):
        if path is not None:
            arguments[f"{prefix}annotations"] = path.relative_to(root).as_posix()
            arguments[f"{prefix}images"] = _folder_of(files[path], root)
    images = files_by_stem(root / arguments["images"]).values()
    train_size = len(files[train]["images"]) if val else max(1, int(0.8 * len(files[train]["images"])))
    return _with_window(Proposal("COCO", "COCODataModule", arguments), images, train_size)


def _folder_of(content: dict[str, Any], root: Path) -> str:
    """Return the folder below `root` in which the first image of a COCO file lies; `.` if it is nowhere."""
    name = str(content["images"][0].get("file_name")) if content["images"] else ""
    places = [root, *_subfolders(root), *[inner for folder in _subfolders(root) for inner in _subfolders(folder)]]
    return next((place.relative_to(root).as_posix() for place in places if name and (place / name).is_file()), ".")


def _describe_classes(proposal: Proposal, root: Path, values: MaskValues) -> None:
    """Add class names, and how the values or colours of masks become ids."""
    named = _names_in_file(root)
    arguments, comments = proposal.init_args, proposal.comments
    if VOID_COLOUR in values.colours:
        values.colours.remove(VOID_COLOUR)
        arguments["void_colour"] = list(VOID_COLOUR)
    if values.colours:
        arguments["palette"] = [list(colour) for colour in values.colours]
        comments["palette"] = "the colours found in masks, black first, then the most frequent"
    elif values.black_and_white:
        arguments["label_map"] = {0: 0, 255: 1}
        comments["label_map"] = "black and white masks: 255 is the second class, not void"
    count = len(values.colours) or (2 if values.black_and_white else max(2, values.largest + 1))
    if named and len(named) >= count:
        arguments["class_names"] = named
        return
    arguments["class_names"] = ["background", "foreground"] if values.black_and_white else [
        f"class_{index}" for index in range(count)
    ]  # fmt: skip
    comments["class_names"] = "name them, in the order of their ids"
    if named:
        proposal.remarks.append(
            f"The folder names {len(named)} classes ({', '.join(named)}), but its masks hold {count}: see class_names."
        )


def _with_window(proposal: Proposal, images: Iterable[Path], train_size: int) -> Proposal:
    """Add crop and batch from the images' sizes and number."""
    sizes = image_sizes(list(images))
    crop = suggested_window(sizes)
    proposal.init_args |= {
        "crop_size": crop,
        "batch_size": max(1, min(8, train_size)),
        "scale_range": [0.5, 2.0],
    }
    if "mean" not in proposal.init_args:  # colours
        proposal.init_args["colour_jitter"] = 0.3
    proposal.comments |= {"crop_size": f"16 * {crop // 16} + 1", "batch_size": "see what doctor measured"}
    return proposal


def _first_folder(bases: Sequence[Path], names: Sequence[str]) -> str | None:
    """Return the real name of the first of `names` that one of `bases` holds as a folder, in letters of any case."""
    held = {
        path.name.casefold(): path.name for base in bases if base.is_dir() for path in base.iterdir() if path.is_dir()
    }
    return next((held[name.casefold()] for name in names if name.casefold() in held), None)


def _below(folder: Path) -> dict[str, Path]:
    """Return images and rasters at any depth, by path below `folder` without ending."""
    found = images_below(folder, (*IMAGE_SUFFIXES, *RASTER_SUFFIXES))
    return {without_ending(path.relative_to(folder)).as_posix(): path for path in found}


def _mask_suffix(images: set[str], masks: set[str]) -> str:
    """Return what stands behind an image's name in its mask's, such as `_mask`; the one that makes most pairs."""
    candidates = {""}
    by_image = sorted(images)
    for mask in sorted(masks)[:50]:
        candidates |= {mask.removeprefix(stem) for stem in by_image if mask.startswith(stem)}
    return max(sorted(candidates), key=lambda tail: sum(f"{stem}{tail}" in masks for stem in images))


def _names_in_file(root: Path) -> list[str]:
    """Read class names, one a line, from the first file that holds them."""
    return next((names for name in NAME_FILES if (names := _lines(root / name))), [])


def _lines(path: Path) -> list[str]:
    if not path.is_file():
        return []
    text = path.read_text(encoding="utf-8-sig", errors="replace")
    return [line.strip() for line in text.splitlines() if line.strip()]


def _json(path: Path) -> dict[str, Any]:
    """Read a JSON object; whatever cannot be read is none, and the layout's own reader will say so."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _text(path: Path) -> str:
    return str(path.resolve())
