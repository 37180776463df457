"""The image that an annotation means: tools write down paths of the machine that they ran on, and addresses."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from itertools import takewhile
from pathlib import Path, PurePosixPath

from ..errors import DataError, did_you_mean
from .finding import IMAGE_SUFFIXES, images_below, without_ending
from .wording import composed, first_few


class ImagesBelow:
    """The images in a folder and the folders in it, by what annotations say of them.

    Only images below the folder are found, whatever a path says.

    Args:
        root: The folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.paths = images_below(root)
        self._by_name: dict[str, list[Path]] = {}
        self._by_stem: dict[str, list[Path]] = {}
        for path in self.paths:
            self._by_name.setdefault(composed(path.name), []).append(path)
            self._by_stem.setdefault(composed(path.stem), []).append(path)

    def find(self, said: str, annotation: Path) -> Path | None:
        """Return the image that a path means, or a name with or without ending; None if there is none.

        Of several of one name it is the one whose folders end as the path's do, or else the one beside the annotation.

        Raises:
            DataError: Several images fit equally well.
        """
        parts = [part for part in PurePosixPath(composed(said.replace("\\", "/"))).parts if part not in ("/", "..")]
        if not parts:
            return None
        found = self._by_name.get(parts[-1]) or self._by_stem.get(parts[-1])
        if not found and parts[-1].lower().endswith(IMAGE_SUFFIXES):  # saved again with another ending
            found = self._by_stem.get(PurePosixPath(parts[-1]).stem)
        if not found:
            return None
        shared = [_shared_folders(path, parts) for path in found]
        best = [path for path, count in zip(found, shared, strict=True) if count == max(shared)]
        near = [path for path in best if path.parent == annotation.parent]
        if len(best) > 1 and len(near) != 1:
            places = first_few(path.relative_to(self.root).as_posix() for path in best)
            raise DataError(
                f"{annotation} speaks of {said!r}, which may be {places}. Keep one of them, or give data.root the "
                f"folder that holds this annotation and its images alone."
            )
        return near[0] if len(near) == 1 and len(best) > 1 else best[0]

    def need(self, said: Sequence[str], annotation: Path, missing: list[str]) -> Path | None:
        """Return the first image that one of some spellings means; note the first spelling as missing if none does."""
        found = next((path for path in (self.find(one, annotation) for one in said) if path), None)
        if found is None:
            missing.append(said[0])
        return found

    def check_none_missing(self, missing: Sequence[str], count: int, annotation: Path) -> None:
        """Refuse annotations that speak of images which are not there.

        Args:
            missing: What they are called.
            count: How many images the annotations speak of.
            annotation: The file.

        Raises:
            DataError: There are some.
        """
        if missing:
            near = did_you_mean(PurePosixPath(missing[0]).name, self._by_name)
            raise DataError(
                f"{len(missing)} of the {count} images that {annotation} speaks of are not in {self.root}: "
                f"{first_few(missing)}.{near} Put them there, in any folder; or set data.root to a folder that holds "
                f"both the images and this file.",
                kind="missing_files",
            )


def _shared_folders(path: Path, parts: Sequence[str]) -> int:
    """Return how many folders, counted from the file's name upwards, a path has in common with another's parts."""
    ours, theirs = [composed(part) for part in path.parts[-2::-1]], list(parts[-2::-1])
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(ours, theirs, strict=False)))


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
    spelled = list(short.values())
    twice = {name for name in spelled if spelled.count(name) > 1} if len(set(spelled)) < len(spelled) else set()
    return {path: full[path] if name in twice else name for path, name in short.items()}
