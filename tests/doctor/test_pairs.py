"""Leftovers: files that lie beside those of the splits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from deeplab_lightning.doctor.pairs import leftovers

from ..fakes.cityscapes import write_cityscapes


def touch(root: Path, *names: str) -> list[Path]:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")
    return [root / name for name in names]


def told(used: Sequence[tuple[Path, ...]]) -> dict[str, tuple[str, ...]]:
    return {found.kind: tuple(Path(name).name for name in found.files) for found in leftovers(used)}


def test_complete_folders_have_none(tmp_path: Path) -> None:
    used = [tuple(touch(tmp_path, f"i/{name}.jpg", f"m/{name}.png")) for name in "abc"]
    assert leftovers(used) == []


def test_images_and_masks_side_by_side(tmp_path: Path) -> None:
    used = [tuple(touch(tmp_path, f"{name}.png", f"{name}_mask.png")) for name in "abc"]
    touch(tmp_path, "d.png", "e_mask.png", "f.png", "f_mask.png")
    assert told(used) == {"extra_image": ("d.png",), "extra_mask": ("e_mask.png",), "unlisted_pair": ("f.png",)}


def test_annotations_beside_images(tmp_path: Path) -> None:
    used = [tuple(touch(tmp_path, f"{name}.jpg", f"{name}.json")) for name in "abc"]
    touch(tmp_path, "d.jpg", "e.json", ".hidden.jpg", "notes.txt")
    assert told(used) == {"extra_image": ("d.jpg",), "extra_mask": ("e.json",)}


def test_other_files_of_a_mask_folder_are_left_alone(tmp_path: Path) -> None:
    """Cityscapes keeps colours, instances and polygons beside its masks."""
    root = write_cityscapes(tmp_path)
    masks = sorted((root / "gtFine" / "train").glob("*/*_labelIds.png"))
    names = [mask.name.removesuffix("_gtFine_labelIds.png") for mask in masks]
    images = [
        root / "leftImg8bit" / "train" / mask.parent.name / f"{name}_leftImg8bit.png"
        for mask, name in zip(masks, names, strict=True)
    ]
    used = list(zip(images, masks, strict=True))
    assert leftovers(used) == []
    assert told(used[:-1]) == {"unlisted_pair": (images[-1].name,)}


def test_mostly_unused_folders_are_by_design(tmp_path: Path) -> None:
    used = [tuple(touch(tmp_path, "i/a.jpg", "m/a.png"))]
    touch(tmp_path, "i/b.jpg", "i/c.jpg")
    assert [(found.kind, found.severity, found.count) for found in leftovers(used)] == [("extra_image", "note", 2)]


def test_images_without_masks_are_no_pairs(tmp_path: Path) -> None:
    assert leftovers([(tmp_path / "a.jpg",), ()]) == []


def test_something_before_both_names(tmp_path: Path) -> None:
    used: list[tuple[Path, ...]] = [tuple(touch(tmp_path, f"i/image_{n}.png", f"m/label_{n}.png")) for n in (1, 2, 13)]
    touch(tmp_path, "i/image_4.png", "m/label_4.png", "i/image_5.png", "m/label_6.png")
    assert told(used) == {
        "unlisted_pair": ("image_4.png",),
        "extra_image": ("image_5.png",),
        "extra_mask": ("label_6.png",),
    }


def test_an_ending_alone_tells_masks_from_images(tmp_path: Path) -> None:
    used = [tuple(touch(tmp_path, f"{name}.jpg", f"{name}.png")) for name in "abc"]
    touch(tmp_path, "d.jpg", "d.png", "e.jpg")
    assert told(used) == {"unlisted_pair": ("d.jpg",), "extra_image": ("e.jpg",)}


def test_names_whose_capitals_differ(tmp_path: Path) -> None:
    used = [tuple(touch(tmp_path, f"i/IMG_{n}A.jpg", f"m/img_{n}a.png")) for n in (1, 2, 3)]
    touch(tmp_path, "i/IMG_4A.jpg", "m/img_4a.png")
    assert told(used) == {"unlisted_pair": ("IMG_4A.jpg",)}
