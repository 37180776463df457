"""Cut-outs, whose alpha channel is the mask."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deeplab_lightning.data.sets.cutouts import CutoutsDataModule
from deeplab_lightning.doctor.layouts import propose
from deeplab_lightning.errors import ConfigError, DataError


def shape(number: int) -> np.ndarray:
    rows, columns = np.mgrid[:24, :30]
    return np.hypot(rows - 10 - number % 3, columns - 14) < 7


def write_cutouts(folder: Path, count: int = 5, hidden: bool = True, ending: str = ".png") -> Path:
    """Write images whose alpha has a soft edge around `shape`; `hidden` keeps the picture below what is clear."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for number in range(count):
        inside = shape(number)
        pixels = rng.integers(0, 256, (24, 30, 4), dtype=np.uint8)
        pixels[..., 3] = np.where(inside, 255, 0)
        pixels[10 + number % 3, 14, 3], pixels[0, 0, 3] = 200, 100  # half-transparent, either side of the middle
        if not hidden:
            pixels[~inside, :3] = 0
        Image.fromarray(pixels, "RGBA").save(
            folder / f"c{number}{ending}", **({"lossless": True, "exact": True} if ending == ".webp" else {})
        )
    return folder


@pytest.mark.parametrize("ending", [".png", ".webp"])
def test_alpha_is_the_mask_and_asked_about(tmp_path: Path, ending: str) -> None:
    write_cutouts(tmp_path / "photos", ending=ending)
    found = propose(tmp_path)
    assert (found.name, found.options["class_names"]) == ("Cutouts", ["background", "foreground"])
    assert any(line.startswith("A question: is the alpha channel the mask?") for line in found.remarks)
    assert not any("is gone" in line for line in found.remarks)
    data = CutoutsDataModule(root=str(tmp_path), class_names=["background", "shoe"], num_workers=0)
    seen = {}
    for split in ("train", "val"):
        dataset = data.dataset(split)
        for index in range(len(dataset)):
            image, mask = dataset.load(index)
            seen[dataset.sample_id(index)] = mask
            with Image.open(dataset.files(index)[0]) as file:
                assert np.array_equal(image, np.asarray(file)[..., :3])  # not blended
    assert sorted(seen) == [f"c{number}" for number in range(5)]
    for number in range(5):
        assert np.array_equal(seen[f"c{number}"], shape(number))


def test_a_picture_that_is_gone_is_said(tmp_path: Path) -> None:
    found = propose(write_cutouts(tmp_path, hidden=False))
    assert any("the picture around the objects is gone" in line for line in found.remarks)


def test_transparency_that_is_no_mask_is_no_cut_out(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(4):  # glass, and images that are opaque throughout
        pixels = rng.integers(0, 256, (20, 20, 4), dtype=np.uint8)
        if number % 2:
            pixels[..., 3] = 255
        Image.fromarray(pixels, "RGBA").save(tmp_path / f"{number}.png")
    with pytest.raises(ConfigError, match="layout was not recognised"):
        propose(tmp_path)


def test_masks_and_annotations_go_first(tmp_path: Path) -> None:
    write_cutouts(tmp_path / "images")
    (tmp_path / "masks").mkdir()
    for number in range(5):
        Image.fromarray(shape(number).astype(np.uint8)).save(tmp_path / "masks" / f"c{number}.png")
    assert propose(tmp_path).name == "Folder"


def test_images_without_alpha_are_left_out_and_said(tmp_path: Path) -> None:
    write_cutouts(tmp_path, 4)
    Image.new("RGB", (9, 9)).save(tmp_path / "photo.jpg")
    data = CutoutsDataModule(root=str(tmp_path), class_names=["background", "shoe"], num_workers=0)
    with pytest.warns(match=r"1 images have no alpha channel: left out, photo.jpg"):
        assert len(data.cutouts) == 4
    for path in tmp_path.glob("*.png"):
        path.unlink()
    data = CutoutsDataModule(root=str(tmp_path), class_names=["background", "shoe"], num_workers=0)
    with pytest.raises(DataError, match="holds no PNG or WebP with an alpha channel, of 1 images"):
        data.dataset("train")
