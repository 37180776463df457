"""Image files found by what annotation files call them: by a bare name, a path of another machine, another ending.

Only files below the data's root are found, whatever a path says. Which split a folder or a file holds is told by its
name (`split_in`), and an image of another split is never taken: train/1.jpg and val/1.jpg are two images.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path, PurePath, PurePosixPath

from ...errors import DataError
from ..wording import composed, first_few
from .finding import IMAGE_SUFFIXES, images_below, without_ending
from .spellings import split_called

IMAGES_NAMED = ("images", "image", "imgs", "img", "jpegimages", "photos", "pictures", "data")
"""Folders in which images are looked for before others, in small letters."""
_NO_IMAGES = re.compile(r"mask|label|annotation|panoptic|segment|pixelmap|stuffthing|thumb|overlay|visuali|^gt", re.I)
"""Folders whose files show annotations, and are taken last."""
_LOOSELY = ("train", "training", "val", "valid", "validation", "eval", "test", "testing")


def split_in(name: str) -> str | None:
    """Return the split that a name tells: `train2017`, `instances_val2017`, `_test`, `valid`; None if it tells none.

    A name that tells several is of the test: nothing is trained on by mistake.
    """
    whole = split_called(name)
    if whole is not None:
        return whole
    words = [word for word in re.findall("[a-z]+", name.casefold()) if word in _LOOSELY]
    told = {split_called(word) for word in words}
    return "test" if "test" in told else told.pop() if len(told) == 1 else None


def split_of_path(path: PurePath, root: PurePath | None = None) -> str | None:
    """Return the split that the folders of a path, below the root, tell: the outermost first."""
    inside = path if root is None else path.relative_to(root)
    return next((split for part in inside.parent.parts if (split := split_in(part))), None)


def name_of(path: Path, root: Path) -> str:
    """Return the name of an image: its path below the root, without ending."""
    return composed(path.relative_to(root).with_suffix("").as_posix())


class NamedImages:
    """The images below a folder.

    Args:
        root: The folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._by_stem: dict[str, list[Path]] = {}
        for path in images_below(root):
            self._by_stem.setdefault(composed(path.stem).casefold(), []).append(path)

    def __len__(self) -> int:
        return sum(map(len, self._by_stem.values()))

    def left_out(self, used: Iterable[Path]) -> list[str]:
        """Say how many other images there are than those that are used; folders of masks and such do not count."""
        everything = {path for paths in self._by_stem.values() for path in paths}
        others = sorted(path.relative_to(self.root).as_posix() for path in everything - set(used))
        others = [name for name in others if not _NO_IMAGES.search(str(PurePosixPath(name).parent))]
        return [f"{len(others)} images have no annotation, and are left out: {first_few(others, 3)}."] if others else []

    def find(self, name: str, split: str | None = None, near: Path | None = None) -> Path | None:
        """Return the file that a name means.

        Args:
            name: A file name or path, absolute, of Windows, or without ending.
            split: In which it is; None if nothing says.
            near: Folder of the file that names it.

        Returns:
            The file: in the folders that the name says, as far as they are there, else in those of its split, in one
            that is called after images, of the same ending, and near. None if there is none.

        Raises:
            DataError: Several fit equally well.
        """
        said = PurePosixPath(composed(name.strip().replace("\\", "/")))
        split = split or split_of_path(said)
        stems = {said.name.casefold(), said.stem.casefold()} if said.suffix.lower() in IMAGE_SUFFIXES else {said.name}
        candidates = [path for stem in stems for path in self._by_stem.get(stem.casefold(), [])]
        ranked = [(rank, path) for path in candidates if (rank := self._rank(path, said, split, near)) is not None]
        if not ranked:
            return None
        best = max(rank for rank, _ in ranked)
        fitting = sorted(path for rank, path in ranked if rank == best)
        if len(fitting) > 1:
            raise DataError(
                f"{name} may be {first_few(map(str, fitting))}. Keep one of them below {self.root}, or give each the "
                f"folder that its annotation says."
            )
        return fitting[0]

    def _rank(self, path: Path, said: PurePosixPath, split: str | None, near: Path | None) -> tuple[int, ...] | None:
        """Return how well a file fits; None if it is of another split."""
        place = PurePosixPath(composed(path.relative_to(self.root).as_posix()))
        shared = _shared(place.parent.parts[::-1], said.parent.parts[::-1])
        of_split = split_of_path(place)
        if split and of_split and of_split != split and shared == 0:
            return None
        folders = [part.casefold() for part in place.parent.parts]
        beside = 0 if near is None else _shared(path.parent.parts, near.parts)
        return (
            shared,
            int(split is not None and of_split == split),
            -int(any(_NO_IMAGES.search(part) for part in folders)),
            int(place.suffix == said.suffix) + int(place.suffix.casefold() == said.suffix.casefold()),
            beside,
            int(any(part in IMAGES_NAMED for part in folders)),
            int(all(part in IMAGES_NAMED or split_in(part) for part in folders[: len(folders) - shared])),  # as said
            int(place.stem == said.stem),
            int(place.suffix.casefold() == ".png"),  # of two that were converted into one another, without loss
        )


def _shared(one: tuple[str, ...], other: tuple[str, ...]) -> int:
    """Return how many parts agree from the first on."""
    agree = [a == b for a, b in zip(one, other, strict=False)]
    return agree.index(False) if False in agree else len(agree)


def short_names(paths: Iterable[Path]) -> dict[Path, str]:
    """Return a name for each image: its path below the folder that holds them all, without ending where that is clear.

    So names begin with `train/` where images lie in such a folder beside another.
    """
    paths = list(dict.fromkeys(paths))
    if not paths:
        return {}
    above = os.path.commonpath([path.parent for path in paths])
    full = {path: composed(os.path.relpath(path, above).replace(os.sep, "/")) for path in paths}
    short = {path: without_ending(Path(name)).as_posix() for path, name in full.items()}
    often = Counter(short.values())
    return {path: full[path] if often[name] > 1 else name for path, name in short.items()}
