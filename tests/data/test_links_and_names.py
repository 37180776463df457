"""Folders that are links, and names whose accents one system writes as one character and another as two."""

from __future__ import annotations

import json
import os
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest

from deeplab_lightning.data.datamodule import SegmentationDataModule
from deeplab_lightning.data.pairing.finding import files_below, find_images
from deeplab_lightning.data.sets.ade20k import ADE20KDataModule
from deeplab_lightning.data.sets.camvid import CamVidDataModule
from deeplab_lightning.data.sets.cityscapes import CityscapesDataModule
from deeplab_lightning.data.sets.coco import COCODataModule
from deeplab_lightning.data.sets.folder import FolderDataModule
from deeplab_lightning.data.sets.labelme import LabelMeDataModule
from deeplab_lightning.data.sets.voc import VOCDataModule
from deeplab_lightning.doctor.pairs import leftovers
from deeplab_lightning.video.reading import find_videos
from tests.fakes.ade20k import write_ade20k
from tests.fakes.camvid import write_camvid
from tests.fakes.cityscapes import write_cityscapes
from tests.fakes.coco import write_coco
from tests.fakes.folder import write_folder
from tests.fakes.labelme import write_labelme
from tests.fakes.voc import write_voc

LABELMES = ["background", "person", "bottle"]
COCOS = ["background", "person", "bottle", "bus"]


def composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def decomposed(text: str) -> str:
    return unicodedata.normalize("NFD", text)


def ids(data: SegmentationDataModule) -> dict[str, list[str]]:
    """Open and read both splits."""
    found = {}
    for split in ("train", "val"):
        dataset = data.dataset(split)  # type: ignore[arg-type]
        found[split] = [dataset.sample_id(index) for index in range(len(dataset))]
        for index in range(len(dataset)):
            dataset.load(index)
    return found


# --- links ----------------------------------------------------------------------------------------------------------


def test_linked_folders_are_read(tmp_path: Path) -> None:
    """Of 4 images and a linked folder of 6, 4 were read."""
    write_folder(tmp_path / "data", names=[f"own{number}" for number in range(4)])
    write_folder(tmp_path / "elsewhere", names=[f"far{number}" for number in range(6)])
    for kind in ("images", "masks"):
        (tmp_path / "data" / kind / "more").symlink_to(tmp_path / "elsewhere" / kind, target_is_directory=True)
    found = ids(FolderDataModule(root=str(tmp_path / "data"), class_names=["ground", "box"]))
    assert len(found["train"]) + len(found["val"]) == 10
    assert len(find_images([tmp_path / "data" / "images"])) == 10


def test_splits_that_are_links_are_read(tmp_path: Path) -> None:
    for split in ("train", "val"):
        write_folder(tmp_path / "elsewhere" / split, names=[f"{split}{number}" for number in range(3)])
        for kind in ("images", "masks"):
            (tmp_path / "data" / kind).mkdir(parents=True, exist_ok=True)
            (tmp_path / "data" / kind / split).symlink_to(tmp_path / "elsewhere" / split / kind)
    found = ids(FolderDataModule(root=str(tmp_path / "data"), class_names=["ground", "box"]))
    assert found["val"] == [f"val/val{number}" for number in range(3)]


def test_links_that_lead_back_have_an_end(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "x.png").touch()
    (tmp_path / "a" / ".hidden").mkdir()
    (tmp_path / "a" / ".hidden" / "y.png").touch()
    (tmp_path / "a" / "b" / "back").symlink_to(tmp_path / "a")
    (tmp_path / "a" / "b" / "self").symlink_to(tmp_path / "a" / "b")
    (tmp_path / "a" / "twin").symlink_to(tmp_path / "a" / "b")
    assert [str(path.relative_to(tmp_path)) for path in files_below(tmp_path)] == ["a/b/x.png", "a/twin/x.png"]


def test_linked_folders_of_annotations_are_read(tmp_path: Path) -> None:
    write_labelme(tmp_path / "elsewhere")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "batch").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "images").mkdir()
    data = LabelMeDataModule(root=str(tmp_path / "data"), class_names=LABELMES)
    assert all(name.startswith("batch/") for names in data.splits.values() for name in names)
    recognised = LabelMeDataModule.recognise(tmp_path / "data")
    assert recognised is not None
    assert recognised.images


# --- accents --------------------------------------------------------------------------------------------------------


def rename(root: Path, spell: Callable[[Path], str]) -> None:
    """Rename all files and folders below a root, the innermost first."""
    for parent, folders, files in os.walk(root, topdown=False):
        for name in (*files, *folders):
            path = Path(parent, name)
            path.rename(path.with_name(spell(path)))


def rewrite(root: Path, old: str, new: str) -> None:
    """Replace a word in all lists and annotations."""
    for path in [*root.rglob("*.txt"), *root.rglob("*.json")]:
        path.write_text(path.read_text().replace(old, new))


@pytest.mark.parametrize("swap", [False, True])
def test_two_folders(tmp_path: Path, swap: bool) -> None:
    of_image, of_mask = (decomposed, composed) if swap else (composed, decomposed)
    write_folder(tmp_path, names=["été", "äpfel/öl", "plain"])
    rename(tmp_path / "images", lambda path: of_image(path.name))
    rename(tmp_path / "masks", lambda path: of_mask(path.name))
    (tmp_path / "train.txt").write_text("\n".join([of_mask("été"), "plain"]), encoding="utf-8")
    (tmp_path / "val.txt").write_text(of_image("äpfel/öl"), encoding="utf-8")
    data = FolderDataModule(root=str(tmp_path), class_names=["ground", "box"])
    assert ids(data) == {"train": [composed("été"), "plain"], "val": [composed("äpfel/öl")]}
    assert not leftovers([data.dataset("train").files(index) for index in range(2)])


def test_voc(tmp_path: Path) -> None:
    root = write_voc(tmp_path, aug=False)
    rename(root, lambda path: decomposed(path.name.replace("2007_", "2007é")) if path.suffix == ".jpg" else path.name)
    rename(root, lambda path: composed(path.name.replace("2007_", "2007é")) if path.suffix == ".png" else path.name)
    for path in root.rglob("*.txt"):
        path.write_text(decomposed(path.read_text().replace("2007_", "2007é")), encoding="utf-8")
    found = ids(VOCDataModule(root=str(root), train_split="train"))
    assert any("é" in name for name in found["train"])


def test_camvid(tmp_path: Path) -> None:
    root = write_camvid(tmp_path)
    spelt = {".png": composed, ".txt": str, "": str}
    for path in [*root.rglob("*.png")]:
        spell = decomposed if path.parent.name.endswith("annot") else spelt[path.suffix]
        path.rename(path.with_name(spell(f"é{path.name}")))
    for path in root.glob("*.txt"):
        lines = [
            " ".join(f"{word.rpartition('/')[0]}/é{word.rpartition('/')[2]}" for word in line.split())
            for line in path.read_text().splitlines()
        ]
        path.write_text(decomposed("\n".join(lines)), encoding="utf-8")
    found = ids(CamVidDataModule(root=str(root)))
    assert found["train"]
    assert all(name.startswith("é") for name in found["train"])


def test_ade20k(tmp_path: Path) -> None:
    root = write_ade20k(tmp_path)
    for path in [*root.rglob("*.jpg"), *root.rglob("*.png")]:
        spell = composed if path.suffix == ".jpg" else decomposed
        path.rename(path.with_name(spell(f"é{path.name}")))
    found = ids(ADE20KDataModule(root=str(root)))
    assert all(name.startswith("é") for names in found.values() for name in names)


def test_cityscapes(tmp_path: Path) -> None:
    """Zürich, for one."""
    root = write_cityscapes(tmp_path)
    for folder in [*root.glob("*/*/*")]:
        spell = composed if "leftImg8bit" in str(folder) else decomposed
        for path in [*folder.iterdir()]:
            path.rename(path.with_name(spell(f"ü{path.name}")))
        folder.rename(folder.with_name(spell(f"ü{folder.name}")))
    found = ids(CityscapesDataModule(root=str(root)))
    assert all(name.startswith("ü") for names in found.values() for name in names)


def test_coco(tmp_path: Path) -> None:
    root = write_coco(tmp_path)
    for path in [*root.rglob("*.jpg")]:
        path.rename(path.with_name(decomposed(f"é{path.name}")))
    for path in root.rglob("*.json"):
        content = json.loads(path.read_text())
        for image in content["images"]:
            image["file_name"] = composed(f"é{image['file_name']}")
        path.write_text(json.dumps(content))
    recognised = COCODataModule.recognise(root)
    assert recognised is not None
    found = ids(COCODataModule(**recognised.options))
    assert all(name.split("/")[1].startswith("é") for names in found.values() for name in names)


def test_labelme(tmp_path: Path) -> None:
    root = write_labelme(tmp_path)
    for path in [*root.rglob("*.jpg"), *root.rglob("*.json")]:
        spell = composed if path.suffix == ".json" else decomposed
        path.rename(path.with_name(spell(f"é{path.name}")))
    for path in root.rglob("*.json"):
        content = json.loads(path.read_text())
        if "images" not in content["imagePath"]:
            content["imagePath"] = composed(f"é{content['imagePath']}")
        path.write_text(json.dumps(content))
    data = LabelMeDataModule(root=str(root), class_names=LABELMES)
    found = ids(data)
    assert all(name.rpartition("/")[2].startswith("é") for names in found.values() for name in names)


def test_files_that_a_user_names(tmp_path: Path) -> None:
    path = tmp_path / decomposed("été") / decomposed("ö.png")
    path.parent.mkdir()
    path.touch()
    assert find_images([tmp_path / composed("été") / composed("ö.png")]) == [path]
    assert find_images([tmp_path / composed("été")]) == [path]
    assert find_videos([tmp_path / composed("été")], folders_are_videos=True)[0] == [path.parent]
