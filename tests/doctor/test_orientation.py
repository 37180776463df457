"""Images that EXIF turns, beside masks that have no orientation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deeplab_lightning.data.sets.folder import FolderDataModule
from deeplab_lightning.doctor.images import look_at_split
from deeplab_lightning.doctor.orientation import ORIENTATION, turned

from ..fakes.folder import write_folder


@pytest.mark.parametrize(
    ("orientation", "of_masks", "warned"),
    [
        (3, False, True),
        (2, False, True),
        (3, True, False),
        (1, False, False),
        (6, False, False),  # sizes differ: a mask that fits was turned, too
    ],
)
def test_which_way_up_a_mask_was_drawn_is_asked(tmp_path: Path, orientation: int, of_masks: bool, warned: bool) -> None:
    write_folder(tmp_path)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    for folder in ["images", *(["masks"] if of_masks else [])]:
        for path in (tmp_path / folder).iterdir():
            pixels = np.array(Image.open(path))
            Image.fromarray(np.rot90(pixels) if orientation == 6 else pixels).save(path, exif=exif)
    dataset = FolderDataModule(root=str(tmp_path), class_names=["a", "b"]).dataset("train")
    found = turned("train", dataset, look_at_split(dataset, "train", None, 1))
    assert [(one.severity, one.kind) for one in found] == [("warning", "orientation")] * warned
