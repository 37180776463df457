"""The overview."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from deeplab_lightning.data.sets.camvid import CAMVID, CamVidDataModule
from deeplab_lightning.doctor.overview import choose, write_overview

from ..fakes.camvid import write_camvid
from .test_examination import examined


def test_the_overview_shows_images_and_classes(tmp_path: Path) -> None:
    done = examined(CamVidDataModule, root=str(write_camvid(tmp_path / "data", sizes={"train": 12, "val": 6})))
    png = tmp_path / "overview.png"
    write_overview(done, "CamVid", png)
    pixels = np.array(Image.open(png).convert("RGB")).reshape(-1, 3)
    assert len(pixels) > 500_000
    shown = {tuple(colour) for colour in np.unique(pixels, axis=0).tolist()}
    assert set(CAMVID.palette) <= shown


def test_images_are_chosen_for_the_classes_they_show(tmp_path: Path) -> None:
    root = write_camvid(tmp_path, sizes={"train": 5, "val": 1})
    for number, path in enumerate(sorted((root / "trainannot").iterdir())):
        mask = np.zeros((48, 60), np.uint8)
        mask[:5] = number >= 3
        mask[-5:] = 2 * (number == 4)
        Image.fromarray(mask).save(path)
    chosen = choose(examined(CamVidDataModule, root=str(root)))
    train = [look.index for split, _, look in chosen if split == "train"]
    assert train[0] == 4  # three classes
    assert len(chosen) == 6
    assert len(set(train)) == 5
