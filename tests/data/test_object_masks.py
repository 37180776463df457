"""A mask for each object or class, in the ways in which data sets have them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from deeplab_lightning.data.sets.object_masks import MaskFile, ObjectMasksDataModule
from deeplab_lightning.doctor.layouts import propose
from deeplab_lightning.errors import DataError

from ..fakes.folder import write_folder
from ..fakes.object_masks import HEIGHT, LARGE, SMALL, WIDTH, block, image, save


def masks_of(root: Path, class_names: list[str]) -> dict[str, np.ndarray]:
    data = ObjectMasksDataModule(root=str(root), class_names=class_names, num_workers=0)
    sets = [data.dataset("train"), data.dataset("val")]
    return {one.sample_id(index): one.load(index)[1] for one in sets for index in range(len(one))}


def two_classes(large: int = 1, small: int = 2) -> np.ndarray:
    """Return the mask of both objects, the smaller on top."""
    mask = np.where(LARGE, large, 0)
    return np.where(SMALL, small, mask)


def test_a_folder_for_each_image(tmp_path: Path) -> None:
    """As Kaggle's Data Science Bowl 2018."""
    for number in range(4):
        image(tmp_path / "stage1" / f"id{number}" / "images" / f"id{number}.png", number)
        save(tmp_path / "stage1" / f"id{number}" / "masks" / "0ab.png", LARGE)
        save(tmp_path / "stage1" / f"id{number}" / "masks" / "1cd.png", block(40, 2, 44, number + 6))
    found = propose(tmp_path)
    assert (found.name, found.options["class_names"]) == ("ObjectMasks", ["background", "object"])
    assert found.comments["class_names"].startswith("name them")
    masks = masks_of(tmp_path / "stage1", ["background", "nucleus"])
    assert sorted(masks) == ["id0", "id1", "id2", "id3"]
    assert np.array_equal(masks["id3"] == 1, LARGE | block(40, 2, 44, 9))


def test_numbers_behind_the_name(tmp_path: Path) -> None:
    for stem in ("img_1", "img_12", "img_1_2"):  # each begins like another
        image(tmp_path / "images" / f"{stem}.jpg")
        save(tmp_path / "masks" / f"{stem}_mask_0.png", LARGE)
        save(tmp_path / "masks" / f"{stem}_mask_1.png", SMALL)
    assert propose(tmp_path).name == "ObjectMasks"
    masks = masks_of(tmp_path, ["ground", "leaf"])
    assert all(np.array_equal(mask, (LARGE | SMALL)) for mask in masks.values())
    assert len(masks) == 3


def test_class_and_number_behind_the_name(tmp_path: Path) -> None:
    for number in range(3):
        image(tmp_path / "images" / f"a{number}.jpg")
        save(tmp_path / "masks" / f"a{number}_object_road_0.png", LARGE)
        save(tmp_path / "masks" / f"a{number}_object_traffic light_12.png", SMALL)
    found = propose(tmp_path)
    assert found.options["class_names"] == ["background", "road", "traffic light"]
    assert any("Classes are the words in the masks' names" in remark for remark in found.remarks)
    masks = masks_of(tmp_path, ["background", "road", "traffic light"])
    assert np.array_equal(masks["a1"], two_classes())


def test_a_folder_for_each_class(tmp_path: Path) -> None:
    for number in range(4):
        image(tmp_path / "images" / f"a{number}.jpg")
        save(tmp_path / "masks" / "crack" / f"a{number}.png", SMALL)
        if number:
            save(tmp_path / "masks" / "spall" / f"a{number}.png", LARGE)
    found = propose(tmp_path)
    assert (found.name, found.options["class_names"]) == ("ObjectMasks", ["background", "crack", "spall"])
    masks = masks_of(tmp_path, ["background", "crack", "spall"])
    assert np.array_equal(masks["a0"], np.where(SMALL, 1, 0))
    assert np.array_equal(masks["a2"], two_classes(large=2, small=1))


def test_masks_beside_images(tmp_path: Path) -> None:
    """As BUSI: further masks of an image have a number."""
    for kind in ("benign", "malignant"):
        for number in range(1, 4):
            image(tmp_path / kind / f"{kind} ({number}).png")
            save(tmp_path / kind / f"{kind} ({number})_mask.png", LARGE)
        save(tmp_path / kind / f"{kind} (1)_mask_1.png", SMALL)
    assert propose(tmp_path).name == "ObjectMasks"
    masks = masks_of(tmp_path, ["background", "lesion"])
    assert len(masks) == 6
    assert np.array_equal(masks["benign/benign (1)"], LARGE | SMALL)
    assert np.array_equal(masks["malignant/malignant (2)"], LARGE)


def test_images_without_mask_are_said(tmp_path: Path) -> None:
    for number in range(3):
        image(tmp_path / "images" / f"a{number}.jpg")
    for number in range(2):
        save(tmp_path / "masks" / f"a0_{number}.png", LARGE)
    remarks = ObjectMasksDataModule.read(tmp_path).remarks
    assert any(one.startswith("2 images have no mask, and are read as background: a1.jpg, a2.jpg") for one in remarks)


@pytest.mark.parametrize("options", [{}, {"mask_suffix": "_mask"}])
def test_pairs_are_not_taken(tmp_path: Path, options: Any) -> None:
    write_folder(tmp_path, mask_of=lambda mask: mask * np.uint8(255), **options)
    assert not ObjectMasksDataModule.is_form(tmp_path)
    assert propose(tmp_path).name == "Folder"


def test_pairs_in_the_same_folders_are_not_taken(tmp_path: Path) -> None:
    for folder in ("day", "night"):
        image(tmp_path / "images" / folder / "a.jpg")
        save(tmp_path / "masks" / folder / "a.png", LARGE)
    assert not ObjectMasksDataModule.is_form(tmp_path)


def test_masks_of_several_values_are_not_taken(tmp_path: Path) -> None:
    image(tmp_path / "images" / "a.jpg")
    for name in ("a_mask.png", "a_instance.png"):
        (tmp_path / "masks").mkdir(exist_ok=True)
        Image.fromarray((np.arange(HEIGHT * WIDTH) % 3).astype(np.uint8).reshape(HEIGHT, WIDTH)).save(
            tmp_path / "masks" / name
        )
    assert not ObjectMasksDataModule.is_form(tmp_path)
    with pytest.raises(DataError, match=r"of one object holds the values 0, 1, 2; expected 0 and one other"):
        MaskFile(tmp_path / "masks" / "a_mask.png").area(HEIGHT, WIDTH)
    with pytest.raises(DataError, match=r"a_mask.png is 50x40, its image 9x9"):
        MaskFile(tmp_path / "masks" / "a_mask.png").area(9, 9)
