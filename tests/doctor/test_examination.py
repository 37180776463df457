"""Untouched data are told as they are; each kind of damage, alone, is found, and nothing else."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from deeplab_lightning.data.datamodule import SegmentationDataModule
from deeplab_lightning.data.sets.camvid import CamVidDataModule
from deeplab_lightning.data.sets.folder import FolderDataModule
from deeplab_lightning.data.sets.voc import VOCDataModule
from deeplab_lightning.doctor.examination import Examination, class_table, examine
from deeplab_lightning.doctor.findings import Finding, exit_code
from deeplab_lightning.errors import DataError

from ..fakes.camvid import write_camvid
from ..fakes.folder import write_folder
from ..fakes.voc import TRAIN, VAL, write_palette_mask, write_voc

OPTIONS: dict[str, Any] = {"crop_size": 49, "batch_size": 2, "scale_range": (0.5, 2.0)}


def shared(folder: str) -> Path:
    place = os.environ.get("DEEPLAB_SHARED_DATA")
    if not place or not (Path(place) / folder).is_dir():
        pytest.skip(f"set DEEPLAB_SHARED_DATA to the folder that holds {folder}/")
    return Path(place) / folder


def examined(datamodule: type[SegmentationDataModule], limit: int | None = None, **options: Any) -> Examination:
    options = OPTIONS | options
    return examine(datamodule(**options), datamodule.describe(datamodule.Options(**options)), options, limit, workers=1)


def kinds(findings: list[Finding]) -> list[str]:
    return sorted(found.kind for found in findings)


# --- CamVid -----------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["fake", "real"])
def camvid(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A small CamVid without test split: 12 images for training, 6 for validation."""
    if request.param == "fake":
        return write_camvid(tmp_path / "CamVid", sizes={"train": 12, "val": 6})
    source, root = shared("CamVid"), tmp_path / "CamVid"
    for split, count in (("train", 12), ("val", 6)):
        lines = (source / f"{split}.txt").read_text().splitlines()
        lines = lines[:: len(lines) // count][:count]
        for folder in (split, f"{split}annot"):
            (root / folder).mkdir(parents=True)
        for name in (Path(line.split()[0]).stem for line in lines):
            shutil.copy(source / split / f"{name}.jpg", root / split)
            shutil.copy(source / f"{split}annot" / f"{name}.png", root / f"{split}annot")
        (root / f"{split}.txt").write_text("\n".join(lines) + "\n")
    return root


def pair(root: Path, split: str = "train") -> tuple[Path, Path]:
    """Return the third image of a split and its mask."""
    image = sorted((root / split).iterdir())[2]
    return image, root / f"{split}annot" / f"{image.stem}.png"


def add(root: Path, split: str, name: str) -> None:
    """Write a pair into a split's list."""
    with (root / f"{split}.txt").open("a") as file:
        file.write(f"{split}/{name}.png {split}annot/{name}.png\n")


def copy_pair(root: Path, to: str, name: str = "again") -> tuple[Path, Path]:
    image, mask = pair(root)
    copies = root / to / f"{name}{image.suffix}", root / f"{to}annot" / f"{name}.png"
    shutil.copy(image, copies[0])
    shutil.copy(mask, copies[1])
    return copies


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def remove_mask(root: Path) -> str:
    pair(root)[1].unlink()
    return "missing_files"


def add_image(root: Path) -> str:
    image, _ = pair(root)
    shutil.copy(image, image.with_stem("extra"))
    return "extra_image"


def add_mask(root: Path) -> str:
    _, mask = pair(root)
    shutil.copy(mask, mask.with_stem("extra"))
    return "extra_mask"


def leave_out_of_the_list(root: Path) -> str:
    path = root / "train.txt"
    path.write_text("\n".join(path.read_text().splitlines()[:-1]) + "\n")
    return "unlisted_pair"


def cut_image(root: Path) -> str:
    cut(pair(root)[0])
    return "unreadable_image"


def cut_mask(root: Path) -> str:
    cut(pair(root)[1])
    return "unreadable_mask"


def resize_mask(root: Path) -> str:
    _, path = pair(root)
    cv2.imwrite(str(path), cv2.imread(str(path), cv2.IMREAD_UNCHANGED)[::2, ::2])
    return "size"


def change_mask(path: Path, change: Callable[[np.ndarray], np.ndarray]) -> None:
    cv2.imwrite(str(path), change(cv2.imread(str(path), cv2.IMREAD_UNCHANGED)))


def write_wrong_label(root: Path) -> str:
    change_mask(pair(root)[1], lambda mask: np.where(np.arange(mask.size).reshape(mask.shape) < 5, 37, mask))
    return "labels"


def write_black_and_white(root: Path) -> str:
    change_mask(pair(root)[1], lambda mask: np.where(mask == 3, np.uint8(255), np.uint8(0)))
    return "black_white"


def write_jpeg_mask(root: Path) -> str:
    _, path = pair(root)
    Image.open(path).convert("L").save(path, "JPEG")
    return "lossy_mask"


def write_colour_mask(root: Path) -> str:
    _, path = pair(root)
    Image.fromarray(np.eye(256, 3, dtype=np.uint8)[np.array(Image.open(path))] * 255).save(path)
    return "colour_mask"


def duplicate(root: Path) -> str:
    copy_pair(root, "train")
    add(root, "train", "again")
    return "duplicate"


def contradict(root: Path) -> str:
    _, mask = copy_pair(root, "train")
    change_mask(mask, lambda values: values[::-1])
    add(root, "train", "again")
    return "contradiction"


def leak(root: Path) -> str:
    copy_pair(root, "val")
    add(root, "val", "again")
    return "leak"


def empty_class(root: Path) -> str:
    for path in (root / "valannot").iterdir():
        change_mask(path, lambda mask: np.where(mask == 10, np.uint8(3), mask))
    return "empty_class"


def void_mask(root: Path) -> str:
    change_mask(pair(root)[1], lambda mask: np.full_like(mask, 11))
    return "all_void"


def blank_image(root: Path) -> str:
    path, _ = pair(root)
    Image.fromarray(np.full_like(np.array(Image.open(path)), 90)).save(path)
    return "blank_image"


DAMAGES = [remove_mask, add_image, add_mask, leave_out_of_the_list, cut_image, cut_mask, resize_mask,
           write_wrong_label, write_black_and_white, write_jpeg_mask, write_colour_mask, duplicate, contradict, leak,
           empty_class, void_mask, blank_image]  # fmt: skip
WARNINGS = {"extra_image", "extra_mask", "unlisted_pair", "duplicate", "empty_class", "all_void", "blank_image"}


def test_untouched_camvid_only_lacks_a_test_split(camvid: Path) -> None:
    done = examined(CamVidDataModule, root=str(camvid))
    assert kinds(done.findings) == ["no_test"]
    assert [len(looks) for looks in done.looks.values()] == [12, 6]
    assert exit_code(done.findings, strict=True) == 0


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_damage_is_found_and_nothing_else(camvid: Path, damage: Callable[[Path], str]) -> None:
    kind = damage(camvid)
    done = examined(CamVidDataModule, root=str(camvid))
    assert kinds(done.findings) == sorted([kind, "no_test"])
    found = next(found for found in done.findings if found.kind == kind)
    assert found.severity == ("warning" if kind in WARNINGS else "error")
    assert found.count == (0 if kind in ("missing_files", "empty_class") else 1)
    assert exit_code(done.findings, strict=False) == (kind not in WARNINGS)
    assert exit_code(done.findings, strict=True) == 1


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_how_errors_are_worded_does_not_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: Callable[[Path], str]
) -> None:
    root = write_camvid(tmp_path / "CamVid", sizes={"train": 12, "val": 6})
    image, mask = pair(root)
    kind = damage(root)
    plain = examined(CamVidDataModule, root=str(root)).findings
    monkeypatch.setattr(DataError, "__str__", lambda error: error.args[0][::-1])
    reworded = examined(CamVidDataModule, root=str(root)).findings
    assert kinds(reworded) == kinds(plain) == sorted([kind, "no_test"])
    assert [found.files for found in reworded] == [found.files for found in plain]
    named = next(found.files for found in plain if found.kind == kind)
    if kind in ("unreadable_image", "unreadable_mask", "size", "labels", "lossy_mask", "colour_mask", "black_white"):
        assert named == (str(image if kind == "unreadable_image" else mask),)


def test_lists_that_share_an_image_are_a_leak_in_other_words_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DataError, "__str__", lambda error: error.args[0][::-1])
    root = write_folder(tmp_path, names=[f"p{index}" for index in range(10)], classes=2)
    for split in ("train", "val"):
        (root / f"{split}.txt").write_text("p1\n")
    done = examined(FolderDataModule, root=str(root), class_names=["ground", "thing"])
    assert "leak" in kinds(done.findings)


def test_an_image_of_other_channels_than_declared_is_named(tmp_path: Path) -> None:
    root = write_folder(tmp_path, names=[f"p{index}" for index in range(10)], classes=2)
    options = {"root": str(root), "class_names": ["ground", "thing"], "seed": 0}
    grey = next(path for path in sorted((root / "images").iterdir()) if path.stem == "p5")
    Image.open(grey).convert("F").save(grey.with_suffix(".tif"))
    grey.unlink()
    found = next(found for found in examined(FolderDataModule, **options).findings if found.severity == "error")
    assert (found.kind, found.files) == ("unloadable", (str(grey.with_suffix(".tif")),))


def test_damaged_files_are_named(camvid: Path) -> None:
    image, mask = pair(camvid)
    val_mask = pair(camvid, "val")[1]
    cut(val_mask)
    resize_mask(camvid)
    done = examined(CamVidDataModule, root=str(camvid))
    files = {found.kind: found.files for found in done.findings if found.severity == "error"}
    assert files == {"size": (str(mask),), "unreadable_mask": (str(val_mask),)}
    assert str(image) in next(found.what for found in done.findings if found.kind == "size")


def test_where_a_split_does_not_open_single_files_are_looked_at(camvid: Path) -> None:
    remove_mask(camvid)
    broken = sorted((camvid / "train").iterdir())[0]
    cut(broken)
    done = examined(CamVidDataModule, root=str(camvid))
    assert kinds(done.findings) == ["missing_files", "no_test", "unreadable_file"]
    assert next(found.files for found in done.findings if found.kind == "unreadable_file") == (str(broken),)
    assert list(done.looks) == ["val"]


def test_the_whole_of_camvid_is_sound() -> None:
    """Its 367 training and 101 validation images: nothing wrong, no test split, and the published class counts."""
    done = examined(CamVidDataModule, root=str(shared("CamVid")))
    assert kinds(done.findings) == ["no_test"]
    rows = {row["class"]: row for row in class_table(done)}
    assert rows["Sky"]["train_share"] == pytest.approx(0.1754, abs=5e-5)
    assert rows["Bicyclist"]["train_images"] == 201
    advice = {found.kind: found.what for found in done.advice}
    assert "0.412, 0.425, 0.432" in advice["normalisation"]
    assert "Val is darker than train" in advice["shift"]
    assert "Road has 109 times as many" in advice["imbalance"]


def test_a_test_split_that_is_there_but_broken_is_an_error(tmp_path: Path) -> None:
    root = write_camvid(tmp_path, sizes={"train": 12, "val": 6, "test": 3})
    assert kinds(examined(CamVidDataModule, root=str(root)).findings) in ([], ["empty_class"])
    sorted((root / "testannot").iterdir())[0].unlink()
    errors = [found for found in examined(CamVidDataModule, root=str(root)).findings if found.severity == "error"]
    assert kinds(errors) == ["missing_files"]
    assert errors[0].what.startswith("test cannot be opened.")


def test_the_limit_spreads_over_the_split(tmp_path: Path) -> None:
    root = write_camvid(tmp_path, sizes={"train": 9, "val": 2})
    done = examined(CamVidDataModule, limit=3, root=str(root))
    assert [look.index for look in done.looks["train"]] == [0, 4, 8]


def test_a_batch_larger_than_the_split(tmp_path: Path) -> None:
    root = write_camvid(tmp_path, sizes={"train": 12, "val": 6})
    done = examined(CamVidDataModule, root=str(root), batch_size=16)
    assert kinds(done.findings) == ["batch", "no_test"]
    assert next(found.remedy for found in done.findings if found.kind == "batch") == "data: {batch_size: 12}"


# --- PASCAL VOC -------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["fake", "real"])
def voc(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A small VOC2012 of which every image is used, and the splits share none."""
    root = tmp_path / "VOC2012"
    if request.param == "real":
        shutil.copytree(shared("VOCdevkit") / "VOC2012", root)
        names = (root / "ImageSets/Segmentation/train.txt").read_text().split()
        for split, name in zip(("train", "val"), names, strict=True):
            (root / f"ImageSets/Segmentation/{split}.txt").write_text(f"{name}\n")
        return root
    write_voc(root, aug=False)
    for path in (root / "JPEGImages").iterdir():
        if path.stem not in (*TRAIN, *VAL):
            path.unlink()
    return root


def voc_findings(root: Path) -> list[Finding]:
    return examined(VOCDataModule, root=str(root), train_split="train", batch_size=1).findings


def test_the_voc_sample_leaks() -> None:
    found = voc_findings(shared("VOCdevkit") / "VOC2012")
    assert kinds(found) == ["empty_class", "leak", "no_test"]
    assert [one.kind for one in found if one.severity == "error"] == ["leak"]


def test_trained_on_what_is_scored(voc: Path) -> None:
    """Where the data set itself does not refuse it, contents do."""
    lists = voc / "ImageSets" / "Segmentation"
    shutil.copy(lists / "val.txt", lists / "trainval.txt")
    done = examined(VOCDataModule, root=str(voc), train_split="trainval", val_split="val", batch_size=1)
    leaked = next(found for found in done.findings if found.kind == "leak")
    assert leaked.count == len(done.looks["val"])


def break_voc(root: Path, kind: str) -> None:
    mask = sorted((root / "SegmentationClass").iterdir())[0]
    values = np.array(Image.open(mask))
    if kind == "labels":
        write_palette_mask(mask, np.where(values == 0, np.uint8(37), values))
    elif kind == "black_white":
        write_palette_mask(mask, np.where(values == 0, np.uint8(0), np.uint8(255)))
    elif kind == "lossy_mask":
        Image.open(mask).convert("RGB").save(mask, "JPEG")
    elif kind == "colour_mask":
        Image.open(mask).convert("RGB").save(mask)
    elif kind == "size":
        write_palette_mask(mask, values[1:])
    elif kind == "unreadable_image":
        cut(root / "JPEGImages" / f"{mask.stem}.jpg")
    else:
        shutil.copy(mask, mask.with_stem("2099_000001"))


@pytest.mark.parametrize(
    "kind", ["labels", "black_white", "lossy_mask", "colour_mask", "size", "unreadable_image", "extra_mask"]
)
def test_damage_of_voc_is_found(voc: Path, kind: str) -> None:
    before = voc_findings(voc)
    break_voc(voc, kind)
    known = {(found.kind, found.severity) for found in before}
    new = [found for found in voc_findings(voc) if (found.kind, found.severity) not in known]
    assert kinds([found for found in new if found.kind != "empty_class"]) == [kind]


def test_unannotated_images_of_voc_are_by_design(voc: Path) -> None:
    image = sorted((voc / "JPEGImages").iterdir())[0]
    for number in range(10):
        shutil.copy(image, image.with_stem(f"2099_{number:06}"))
    extra = next(found for found in voc_findings(voc) if found.kind == "extra_image")
    assert (extra.severity, extra.count) == ("note", 10)


# --- the user's own folder --------------------------------------------------------------------------------------------


def test_a_users_folder_without_faults(tmp_path: Path) -> None:
    root = write_folder(tmp_path, names=[f"p{index}" for index in range(10)], classes=2)
    done = examined(FolderDataModule, root=str(root), class_names=["ground", "thing"])
    assert kinds(done.findings) == ["no_test"]


def test_a_fault_that_stops_both_splits_is_told_once(tmp_path: Path) -> None:
    root = write_folder(tmp_path, names=[f"p{index}" for index in range(10)])
    sorted((root / "masks").iterdir())[0].unlink()
    done = examined(FolderDataModule, root=str(root), class_names=["ground", "thing"])
    assert [(found.kind, found.severity) for found in done.findings] == [("missing_files", "error")]
    assert done.findings[0].what.startswith("train and val and test cannot be opened.")


def test_void_that_hides_all_objects_is_an_error(tmp_path: Path) -> None:
    """As brushes that were exported as crowds are: any network would score 1.0."""
    root = write_camvid(tmp_path, sizes={"train": 4, "val": 4})
    for split in ("train", "val"):
        for path in (root / f"{split}annot").iterdir():
            change_mask(path, lambda mask: np.where(mask == 1, 1, 11).astype(np.uint8))
    done = examined(CamVidDataModule, root=str(root))
    errors = [found for found in done.findings if found.severity == "error"]
    assert [found.kind for found in errors] == ["empty_class", "empty_class"]
    assert "'Building' alone has pixels in train" in errors[0].what
    for path in (root / "trainannot").iterdir():
        change_mask(path, lambda mask: np.full_like(mask, 11))
    done = examined(CamVidDataModule, root=str(root))
    assert ("all_void", "error") in [(found.kind, found.severity) for found in done.findings]
