"""What tells one state of a data set from another, cheaply: by one fingerprint across machines, by another on one.

`fingerprint`, for records: file names and sizes, and the content of some masks. Times of files are left out: a copy on
another machine has others and is the same data. Images' content is left out, too, and of the masks only `MASKS` are
read, spread evenly over the split: an edit that keeps a file's size is found where it changes one of those. What is
drawn has no files; there, arrays stand for them.

`exact_fingerprint`, for what is kept of scores and probabilities: names, sizes and times of all files, the settings
that decide what their pixels mean (`reading_of`), and the pixels of `DECODED` images; those of all where there are
neither files nor settings that they follow from.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError
from ..files import open_file
from .dataset import SegmentationDataset
from .spacing import spread

MASKS = 64
"""Masks of a split whose content counts."""
DRAWN = 4
"""Samples that are drawn anew where there are no files."""
DECODED = 8
"""Images whose pixels and labels are part of the exact fingerprint."""
_LARGEST = 1 << 22
"""Of larger files, such as annotations in one JSON, only the beginning and the end are read."""


def fingerprint(dataset: SegmentationDataset) -> dict[str, int | str]:
    """Return what identifies a split's data.

    Returns:
        `images`, how many; `files`, a hash of all sample ids with the names and sizes of their files, in order; and
        `masks`, a hash of the content of some masks. The same data in another folder has the same.
    """
    size = len(dataset)
    names, masks = hashlib.sha256(), hashlib.sha256()
    has_files = size > 0 and bool(dataset.files(0))
    for index in range(size):
        described = [dataset.sample_id(index), *map(_name_and_size, dataset.files(index))]
        names.update(("\t".join(described) + "\n").encode())
    read: set[Path] = set()
    for index in spread(size, MASKS if has_files else DRAWN):
        if not has_files:
            for array in dataset.load(index):
                masks.update(repr(array.shape).encode() + array.tobytes())
            continue
        for path in dataset.files(index)[1:]:
            if path not in read:
                read.add(path)
                _add_content(masks, path)
    return {"images": size, "files": names.hexdigest()[:16], "masks": masks.hexdigest()[:16]}


def exact_fingerprint(dataset: SegmentationDataset, chosen: Sequence[int]) -> str:
    """Return what changes when some images, their masks or their reading do: for scores that are kept.

    Unlike `fingerprint` it counts files' times, so that an edited file is never taken for the old one, and how classes
    are read. `chosen` are the images' places in the split.
    """
    digest = hashlib.sha256(reading_of(dataset).encode())
    decoded = {chosen[place] for place in spread(len(chosen), DECODED)}
    for index in chosen:
        files = (*dataset.files(index), *dataset.map_files(index))
        stats = [(path.name, *_size_and_time(path)) for path in files]
        digest.update(json.dumps([dataset.sample_id(index), stats]).encode())
        if not (stats or dataset.is_drawn):
            decoded.add(index)
    for index in sorted(decoded):
        try:
            image, mask = dataset.load(index)
        except DataError:  # whoever scores it says what is wrong
            digest.update(b"unreadable")
            continue
        digest.update(str((image.shape, image.dtype)).encode())
        digest.update(image.tobytes())
        digest.update(mask.tobytes())
    return digest.hexdigest()


def reading_of(dataset: SegmentationDataset) -> str:
    """Name what besides the files decides the numbers in an image and its mask: the kind of data set and its settings.

    Lists are what belongs to single images, such as their paths: adding an image changes nothing for the others.
    """
    return repr(_settings(dataset))


def _settings(value: Any) -> Any:
    """Return a value with the same `repr` in every process, different for different settings."""
    if isinstance(value, SegmentationDataset):
        settings = {name: inner for name, inner in vars(value).items() if not isinstance(inner, list)}
        return type(value).__module__, type(value).__qualname__, _settings(settings)
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, hashlib.sha256(value.tobytes()).hexdigest()
    if isinstance(value, Mapping):
        return sorted((repr(_settings(key)), _settings(item)) for key, item in value.items())
    if isinstance(value, list | tuple):
        return [_settings(item) for item in value]
    if value is None or isinstance(value, str | int | float | Path | np.generic):
        return value
    return type(value).__qualname__, _settings(getattr(value, "__dict__", {}))


def _size_and_time(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:  # missing
        return -1, -1
    return found.st_size, found.st_mtime_ns


def _name_and_size(path: Path) -> str:
    try:
        return f"{path.name} {path.stat().st_size}"
    except OSError:
        return f"{path.name} missing"


def _add_content(content: hashlib._Hash, path: Path) -> None:
    try:
        with open_file(path) as file:
            content.update(file.read(_LARGEST))
            if file.seek(0, os.SEEK_END) > _LARGEST:
                file.seek(-_LARGEST // 2, os.SEEK_END)
                content.update(file.read())
    except OSError:
        content.update(b"unreadable")  # reading it for training will say so, if it comes to that
