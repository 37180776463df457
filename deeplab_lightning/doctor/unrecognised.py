"""What is said of a folder that no data set takes for its own: what it holds, and what comes nearest."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image

from ..data.files.limits import opened_image
from ..data.pairing.finding import IMAGE_SUFFIXES, RASTER_SUFFIXES, files_below
from ..data.wording import first_few
from ..files import open_file, read_bytes

FOLDERS_NAMED = 8
"""Folders whose files are counted in a message; those with most files."""
HALVES_LOOKED_AT = 5
START = 4096
"""Bytes of a text file that are looked at."""
ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".rar", ".7z")
CONTAINERS = {
    ".parquet": "a Parquet table", ".tfrecord": "TensorFlow records", ".tfrecords": "TensorFlow records",
    ".h5": "an HDF5 file", ".hdf5": "an HDF5 file", ".mdb": "an LMDB", ".lmdb": "an LMDB", ".pkl": "a pickle",
    ".ndjson": "lines of JSON", ".geojson": "outlines in coordinates of the Earth", ".shp": "a shapefile",
}  # fmt: skip
"""Endings of what holds many images or outlines, and is not read."""


def describe(folder: Path) -> str:
    """Say what a folder holds, and what would have to be there, in a few sentences."""
    files = files_below(folder)
    if not files:
        return f"{folder} holds no files."
    return " ".join([f"{folder} holds {_by_folder(folder, files)}.", *_hints(folder, files)])


def _by_folder(folder: Path, files: Sequence[Path]) -> str:
    """Count files by folder and ending."""
    endings: dict[Path, Counter[str]] = defaultdict(Counter)
    for path in files:
        endings[path.parent][path.suffix.lower() or "without ending"] += 1
    order = sorted(endings, key=lambda place: -endings[place].total())
    named = [
        f"{_shown(place, folder)} ({', '.join(f'{count} {ending}' for ending, count in endings[place].most_common(4))})"
        for place in order
    ]
    return first_few(named, FOLDERS_NAMED)


def _shown(path: Path, folder: Path) -> str:
    return "itself" if path == folder else f"{path.relative_to(folder).as_posix()}/"


def _hints(folder: Path, files: Sequence[Path]) -> Iterator[str]:
    images = [path for path in files if path.name.lower().endswith((*IMAGE_SUFFIXES, *RASTER_SUFFIXES))]
    texts = [path for path in files if path.suffix.lower() in (".json", ".xml", ".txt", ".csv", ".yaml", ".yml")]
    archives = [path for path in files if path.suffix.lower() in ARCHIVES and path not in images]
    if archives:
        yield f"Unpack {first_few([path.name for path in archives], 3)} if the data is in there."
    for ending, what in CONTAINERS.items():
        held = [path for path in files if path.suffix.lower() == ending]
        if held:
            name = held[0].relative_to(folder)
            yield f"{name} is {what}, which is not read: write its images and masks as files, one PNG a mask."
    seen: set[str] = set()
    for path in texts:
        hint = _hint_of(path)
        if hint and hint not in seen:
            seen.add(hint)
            yield f"{path.relative_to(folder)} {hint}"
        if len(seen) == 2:
            break
    if not images:
        yield "There are no images of a kind that is read."
    elif _are_halves(images):
        yield (
            "All images are twice as wide as high, as where image and mask stand side by side in one file (pix2pix): "
            "cut each into two files of one name, in images/ and masks/."
        )
    elif not texts and not archives:
        yield (
            "If one of these folders holds masks, say so: data: {name: Folder, images: FOLDER, masks: FOLDER}, where a "
            "mask is called after its image, or '{name}_image' and '{name}_mask' in place of the folders. "
            "If all are images, they have to be annotated first: `predict` with any "
            "checkpoint writes masks to start from."
        )


def _are_halves(images: Sequence[Path]) -> bool:
    """Whether the first few images are twice as wide as high."""
    try:
        for path in images[:HALVES_LOOKED_AT]:
            with opened_image(path) as image:
                if image.width != 2 * image.height:
                    return False
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return False
    return bool(images)


def _hint_of(path: Path) -> str:
    """Say what a text file is, where that tells why it does not serve."""
    try:
        with open_file(path) as file:
            start = file.read(START).decode("utf-8", "replace")
    except OSError:
        return ""
    ending = path.suffix.lower()
    if ending == ".xml" and "<bndbox>" in start:
        return "holds boxes (the form of PASCAL VOC's detection): boxes do not tell the classes of pixels."
    if ending == ".txt" and re.fullmatch(r"(\d+( -?\d*\.?\d+){4}\s*\n?)+", start.split("\n", 1)[0] + "\n"):
        return "holds boxes (YOLO's form of detection): boxes do not tell the classes of pixels."
    if ending == ".json":
        return _hint_of_json(path, start)
    return ""


def _hint_of_json(path: Path, start: str) -> str:
    """Name the fields of a JSON file; of a big one those at its start."""
    try:
        content = json.loads(read_bytes(path)) if path.stat().st_size <= 50_000_000 else None
    except (OSError, ValueError, RecursionError):
        return "is no JSON, or damaged."
    if isinstance(content, dict) and {"images", "annotations", "categories"} <= set(content):
        return "has the lists of COCO, but no outlines that could be read: keypoints or captions, or no text in UTF-8."
    if isinstance(content, dict):
        return f"is JSON with the fields {first_few(map(str, content), 6)}, which no known form has."
    if isinstance(content, list) and any(isinstance(one, dict) and one.get("predictions") for one in content[:100]):
        return (
            "holds tasks of Label Studio with predictions alone, which nobody has submitted: open them there, submit "
            "those that are right, and export again."
        )
    if isinstance(content, list) and any(isinstance(one, dict) and "predictions" in one for one in content[:100]):
        return "holds tasks of Label Studio in which nothing is outlined yet: annotate, submit, and export again."
    if isinstance(content, list):
        inner = content[0] if content else None
        fields = f" of objects with the fields {first_few(map(str, inner), 6)}" if isinstance(inner, dict) else ""
        return f"is a list{fields}, which no known form is."
    names = re.findall(r'"(\w+)"\s*:', start)
    return f"is JSON with the fields {first_few(dict.fromkeys(names), 6)}, which no known form has."
