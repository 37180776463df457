"""How a folder's layout is recognised: what a data set says of a folder that is its own, and what it looks at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...errors import DataError
from ...files import open_file, read_bytes
from ..files.annotations import read_json

NAME_FILES = ("labels.txt", "classes.txt", "class_names.txt")
"""Files in which people keep their class names, one a line."""
CHILDREN = 20
"""Subfolders of a folder that are looked at."""


@dataclass
class Recognised:
    """How a data set reads a folder.

    Attributes:
        layout: The layout's name, for people.
        options: The data set's options; `comments` says more about some of them.
        images: Its images, or those for training, whose sizes tell which crop suits.
        train_size: Images for training.
        masks: Where nothing tells the classes but the masks: the files to look at.
        comments: Option -> a remark that stands behind it in YAML.
        remarks: What else the user should know.
        sources: The files that say what is on the images, if another form of others may lie beside them.
    """

    layout: str
    options: dict[str, Any]
    images: list[Path]
    train_size: int
    masks: list[Path] = field(default_factory=list)
    comments: dict[str, str] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    sources: frozenset[Path] = frozenset()


def subfolders(folder: Path) -> list[Path]:
    """Return a folder's first `CHILDREN` folders, hidden ones left out."""
    found = [path for path in sorted(folder.iterdir()) if path.is_dir() and not path.name.startswith(".")]
    return found[:CHILDREN]


def lines_of(path: Path) -> list[str]:
    """Return a file's lines without the empty ones; none where there is no file."""
    if not path.is_file():
        return []
    content = read_bytes(path)
    try:
        text = content.decode("utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError:  # what spreadsheets of Windows write, where every byte is a letter
        text = content.decode("cp1252", errors="replace")
    return [line.strip() for line in text.splitlines() if line.strip()]


def json_object(path: Path) -> dict[str, Any]:
    """Read a JSON object; whatever cannot be read is none, and the layout's own reader will say so."""
    try:
        return read_json(path, "")
    except DataError:
        return {}


ANNOTATION_FOLDERS = ("annotations", "annotation", "ann", "labels", "json", "jsons", "result", "results", "export")
"""Where annotations of all images lie, if not beside their folder, in letters of any case."""
HEAD = 1 << 16
"""Bytes of a file that tell whether it is worth being parsed."""


def annotation_files(root: Path, ending: str, folders: Sequence[str] = ANNOTATION_FOLDERS) -> list[Path]:
    """Return the files with an ending, such as `.json`, in a folder and its folders of certain names; none hidden."""
    if not root.is_dir():
        return []
    places = [root, *[path for path in subfolders(root) if path.name.casefold() in folders]]
    found = [path for place in places for path in sorted(place.iterdir()) if path.suffix.lower() == ending]
    return [path for path in found if not path.name.startswith(".") and path.is_file()]


def head_of(path: Path) -> bytes:
    """Return the first bytes of a file without space and byte order mark before them; none if it cannot be read."""
    try:
        with open_file(path) as file:
            return file.read(HEAD).removeprefix(b"\xef\xbb\xbf").lstrip()
    except OSError:
        return b""


def names_in_file(root: Path) -> list[str]:
    """Return the class names of the first of `NAME_FILES` that holds some."""
    return next((names for name in NAME_FILES if (names := lines_of(root / name))), [])
