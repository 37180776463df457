"""Which pictures a user means by files, folders and globs."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from ..errors import DataError, did_you_mean

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
"""Endings by which pictures are found in folders, lower case. `read_image` itself goes by content, not by name."""


def find_images(inputs: Sequence[str | Path]) -> list[Path]:
    """Find the pictures that files, folders and globs stand for.

    Folders are searched through by ending (`IMAGE_SUFFIXES`), hidden files and linked folders left out. A file named in
    full is taken whatever its ending, so that reading it can say what is wrong.

    Args:
        inputs: Paths or patterns; `**` matches any depth of folders.

    Returns:
        Each picture once, in the order of `inputs` and sorted within each.

    Raises:
        DataError: An input stands for no picture.
    """
    found: dict[Path, None] = {}
    for entry in map(str, inputs):
        pictures = _matches(entry)
        if not pictures:
            raise DataError(_no_match(entry))
        found.update(dict.fromkeys(pictures))
    return list(found)


def _matches(entry: str) -> list[Path]:
    path = Path(entry).expanduser()
    if path.is_file():
        return [path]
    if path.is_dir():
        return _pictures_below(path)
    pictures: set[Path] = set()
    for match in map(Path, glob.glob(str(path), recursive=True)):
        if match.is_dir():  # as if the shell had expanded the pattern
            pictures.update(_pictures_below(match))
        elif match.suffix.lower() in IMAGE_SUFFIXES:
            pictures.add(match)
    return sorted(pictures)


def _pictures_below(folder: Path) -> list[Path]:
    pictures: list[Path] = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        pictures += [
            Path(parent, name)
            for name in names
            if not name.startswith(".") and Path(name).suffix.lower() in IMAGE_SUFFIXES
        ]
    return sorted(pictures)


def _no_match(entry: str) -> str:
    path = Path(entry).expanduser()
    wanted = f"pictures end in {', '.join(IMAGE_SUFFIXES)}"
    if path.is_dir():
        endings = Counter(Path(name).suffix or "no ending" for _, _, names in os.walk(path) for name in names)
        held = ", ".join(f"{count} x {ending}" for ending, count in endings.most_common(5)) or "nothing"
        return f"No pictures in folder {path}: it holds {held}; {wanted}."
    if glob.has_magic(entry):
        return f"No pictures match {entry!r}: {wanted}.{nearest_sibling(path)}"
    return f"{entry} does not exist.{nearest_sibling(path)}"


def nearest_sibling(path: Path) -> str:
    """Say what comes closest to the first part of `path` that does not exist."""
    while not path.parent.exists() and path.parent != path:
        path = path.parent
    if glob.has_magic(path.name):
        return ""
    if not path.parent.is_dir():
        return f" {path.parent} is a file, not a folder."
    suggestion = did_you_mean(path.name, os.listdir(path.parent))
    return f" There is no {path.name!r} in {path.parent.resolve()}.{suggestion}"
