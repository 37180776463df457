"""Writes drafts of one or several forms, each into a folder that appears whole or not at all."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import numpy as np

from ...errors import ConfigError
from ...files import writing
from ..options import DraftOptions
from .form import DraftClass, DraftImage, Form, form_named
from .outlines import outlines
from .specks import without_specks

_ELSEWHERE = "Choose another folder with --output."


class Drafts:
    """Writes drafts while it is open; they are there once it is closed without an error.

    Each form has a folder of its own, with the images: linked to (hard links, which take no room), or copied where they
    lie on another disk. So nothing is written beside the user's own images, and the folder can be moved or packed.

    Args:
        output: Folder of the forms' folders.
        options: Which forms, if any, and how exact.
        classes: Id in class maps -> class that is drafted; all others are background.

    Raises:
        ConfigError: Drafts are there already: they may have been corrected.
    """

    def __init__(self, output: Path, options: DraftOptions, classes: Mapping[int, DraftClass]) -> None:
        self._options = options
        self.folders = {name: output / name for name in dict.fromkeys(options.write)}
        self._classes = classes
        self._forms: dict[str, Form] = {}
        self._count = 0
        for folder in self.folders.values():
            if folder.exists():
                raise ConfigError(
                    f"{folder} is there already, and drafts in it may have been corrected: they are not overwritten. "
                    f"{_ELSEWHERE}"
                )

    def __enter__(self) -> Drafts:
        """Make the folders, under other names as yet."""
        with writing("drafts", _ELSEWHERE):
            for name, folder in self.folders.items():
                part = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}.part")
                part.mkdir(parents=True)
                self._forms[name] = form_named(name)(part, self._classes)
        return self

    def add(self, image: Path, name: Path, mask: np.ndarray) -> None:
        """Write the drafts of an image.

        Args:
            image: Its file.
            name: What it is to be called, with folders and without ending; of no two images the same.
            mask: `(H, W)` uint8 class ids.

        Raises:
            DataError: They cannot be written.
        """
        if not self._forms:
            return
        height, width = mask.shape
        regions = outlines(without_specks(mask, self._options.draft_min_area), self._options.draft_tolerance)
        draft = DraftImage(f"{name.as_posix()}{image.suffix}", height, width, regions)
        with writing("drafts", _ELSEWHERE):
            for form in self._forms.values():
                _place(image, form.folder / form.images / draft.file)
                form.add(draft)
        self._count += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Finish the drafts; leave nothing of them behind an error, or where no image could be segmented."""
        try:
            if kind is None and self._count:
                with writing("drafts", _ELSEWHERE):
                    for name, form in self._forms.items():
                        form.finish()
                        form.folder.rename(self.folders[name])
        finally:
            for form in self._forms.values():
                shutil.rmtree(form.folder, ignore_errors=True)


def _place(image: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(image.resolve(), target)
    except OSError:  # another disk, or one without links
        shutil.copyfile(image, target)
