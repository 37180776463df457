"""Patterns of paths: what they fit, and that a folder's own names tell them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deeplab_lightning.data.pairing import pattern_search
from deeplab_lightning.data.pairing.layout import Recognised
from deeplab_lightning.data.pairing.pattern_search import search, words_of
from deeplab_lightning.data.pairing.patterns import Pattern
from deeplab_lightning.data.sets.folder import FolderDataModule
from deeplab_lightning.doctor.layouts import propose
from deeplab_lightning.errors import ConfigError, DataError

from ..fakes import named
from ..fakes.folder import write_image
from ..fakes.named import Tree, write_named

OPTIONS = {
    "roboflow": ("{split}", "{split}/{name}_mask"),
    "cvat_masks": ("JPEGImages", "SegmentationClass"),
    "carvana": ("train", "train_masks/{name}_mask"),
    "camvid_kaggle": ("{split}", "{split}_labels/{name}_L"),
    "img_dir": ("img_dir/{split}", "ann_dir/{split}"),
    "vessels": ("images/{split}/{name}_*", "annotations/{split}/{name}_manual1"),
    "deepglobe": ("train/{name}_sat", "train/{name}_mask"),
    "kitti": ("training/image_2", "training/semantic"),
    "floodnet": ("{split}/{split}-org-img", "{split}/{split}-label-img/{name}_lab"),
    "potsdam": ("2_Ortho_RGB/{name}_RGB", "5_Labels_all/{name}_label"),
    "vaihingen": ("top", "gts_for_participants"),
    "inria": ("train/images", "train/gt"),
    "loveda": ("{split}/{name}/images_png/{name}", "{split}/{name}/masks_png/{name}"),
    "uavid": ("uavid_{split}/{name}/Images/{name}", "uavid_{split}/{name}/Labels/{name}"),
    "isic": ("ISIC2018_Task1-2_{split}_Input", "ISIC2018_Task1_{split}_GroundTruth/{name}_segmentation"),
    "cwfid": ("images/{name}_image", "annotations/{name}_annotation"),
    "side_by_side": ("{name}_image", "{name}_annotation"),
    "drive": ("{split}/images/{name}_{split}", "{split}/1st_manual/{name}_manual1"),
    "chase": ("{name}.jpg", "{name}_1stHO"),
    "masks_and_labels": ("images", "labels"),
    "coco_stuff": ("{split}_img", "{split}_label"),
    "davis": ("JPEGImages", "Annotations"),
    "other_capitals": ("images", "masks"),
    "endings_twice": ("images", "masks"),
    "prefixes": ("image_dir/image_{name}", "mask_dir/label_{name}"),
    "penn_fudan": ("PNGImages", "PedMasks/{name}_mask"),
    "modality": ("imagesTr/{name}_0000", "labelsTr"),
    "bdd100k": ("images/10k/{split}", "labels/sem_seg/masks/{split}"),
    "patients": ("{name}_images/{name}", "{name}_masks/{name}"),
    "lgg": ("{name}", "{name}_mask"),
    "magnetic_tiles": ("{name}/Imgs/{name}", "{name}/Imgs/{name}.png"),
    "drones": ("original_images", "label_images_semantic"),
    "clinic": ("Original", "Ground Truth"),
}
"""Tree -> options for images and masks."""


def recognised(root: Path) -> Recognised:
    found = FolderDataModule.recognise(root)
    assert found is not None
    return found


def module(found: Recognised) -> FolderDataModule:
    return FolderDataModule(**found.options, class_names=["a", "b", "c"], num_workers=0)


@pytest.mark.parametrize("tree", named.trees(), ids=lambda tree: tree.__name__)
def test_names_of_real_data_sets_are_found_and_read(tmp_path: Path, tree: Callable[[], Tree]) -> None:
    truth = write_named(tmp_path, tree())
    place = tmp_path / "PNG" if tree is named.clinic else tmp_path
    found = recognised(place)
    assert found.options == {"root": str(place.resolve())} | dict(
        zip(("images", "masks"), OPTIONS[tree.__name__], strict=True)
    )
    data = module(found)
    seen: dict[Path, str] = {}
    for split in data.splits:
        dataset = data.dataset(split)  # type: ignore[arg-type]
        for index in range(len(dataset)):
            image = dataset.files(index)[0]
            np.testing.assert_array_equal(dataset.load(index)[1], truth[image])
            assert image not in seen
            seen[image] = split
    assert {*seen} == {*truth}
    for image, split in seen.items():  # what a folder is called is heeded
        folders = image.relative_to(tmp_path).as_posix().lower()
        assert split == "test" or "test/" not in folders
    assert not any("Which are the masks" in remark for remark in found.remarks) or tree().others


def test_other_masks_of_the_same_images_are_named_with_the_line_that_takes_them(tmp_path: Path) -> None:
    write_named(tmp_path / "a", named.masks_and_labels())
    (asked,) = [remark for remark in recognised(tmp_path / "a").remarks if "Which are the masks" in remark]
    assert asked.endswith("To take those: masks: 'masks'")
    write_named(tmp_path / "b", named.drive())
    (asked,) = [remark for remark in recognised(tmp_path / "b").remarks if "Which are the masks" in remark]
    assert asked.endswith("To take those: images: '{split}/images', masks: '{split}/mask/{name}_mask'")
    write_named(tmp_path / "c", named.chase())
    remarks = " ".join(recognised(tmp_path / "c").remarks)
    assert "No name says which files are masks" in remarks
    assert "masks: '{name}_2ndHO'" in remarks


def test_folders_of_many_files_are_told_by_some_and_paired_by_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_named(tmp_path, named.chase())
    few = recognised(tmp_path)
    monkeypatch.setattr(pattern_search, "PER_FOLDER", 9)
    assert recognised(tmp_path) == few
    assert len(few.masks) == 6


def test_what_is_left_out_is_said(tmp_path: Path) -> None:
    write_named(tmp_path, named.deepglobe())
    remarks = " ".join(recognised(tmp_path).remarks)
    assert "Read by nothing: 8 image files: 4 in test/, 4 in valid/" in remarks
    write_named(tmp_path / "loveda", named.loveda())
    assert "Test/ has 4 images and no mask" in " ".join(recognised(tmp_path / "loveda").remarks)


def test_names_that_begin_with_a_split_are_asked_about(tmp_path: Path) -> None:
    for split in ("train", "train_b", "val"):
        for number in range(3):
            write_image(tmp_path / "images" / f"{split}_{number}.png", np.zeros((8, 8, 3), np.uint8))
            write_image(tmp_path / "masks" / f"{split}_{number}.png", np.eye(8, dtype=np.uint8))
    assert "Names begin with a split's (6 train, 3 val, 0 test)" in " ".join(recognised(tmp_path).remarks)


def test_folders_that_may_be_videos_are_asked_about(tmp_path: Path) -> None:
    """Chance would put frames of one video into training and validation; a list may name the videos."""
    truth = write_named(tmp_path, named.davis())
    found = recognised(tmp_path)
    assert any(
        "among training and validation" in remark and "a line may be a folder" in remark for remark in found.remarks
    )
    (tmp_path / "train.txt").write_text("bear\n")
    (tmp_path / "val.txt").write_text(
        "JPEGImages/480p/bus/00001.jpg Annotations/480p/bus/00001.png\n480p/bus/00002.jpg\n"
    )
    data = module(recognised(tmp_path))
    assert data.splits["val"] == ["480p/bus/00001", "480p/bus/00002"]
    assert [name.rpartition("/")[0] for name in data.splits["train"]] == ["480p/bear"] * 4
    dataset = data.dataset("val")
    np.testing.assert_array_equal(dataset.load(0)[1], truth[tmp_path / "JPEGImages/480p/bus/00001.jpg"])
    assert not any("Chance" in remark for remark in recognised(tmp_path).remarks)


def test_folders_are_named_only_where_they_can_be_read_alone(tmp_path: Path) -> None:
    write_named(tmp_path / "a", named.magnetic_tiles())
    (said,) = [remark for remark in recognised(tmp_path / "a").remarks if "taken for one data set" in remark]
    alone = Path(said.rpartition("doctor ")[2])
    assert propose(alone).options["masks"] == "{name}.png"
    write_named(tmp_path / "b", named.patients())
    (said,) = [remark for remark in recognised(tmp_path / "b").remarks if "taken for one data set" in remark]
    assert "doctor" not in said


def test_images_and_masks_that_share_a_number_alone_are_no_pairs(tmp_path: Path) -> None:
    write_named(tmp_path, Tree({f"images/cat_{i}.jpg": f"masks/dog_{i}.png" for i in range(4)}))
    assert FolderDataModule.recognise(tmp_path) is None


def test_photographs_alone_are_no_pairs(tmp_path: Path) -> None:
    """Two views of a scene, or photographs of two days, are no masks."""
    for name in ("left/1.png", "left/2.png", "right/1.png", "right/2.png"):
        write_named(tmp_path, Tree({}, [name]))
    assert FolderDataModule.recognise(tmp_path) is None


def test_a_second_data_set_is_left_to_its_own_folder(tmp_path: Path) -> None:
    write_named(tmp_path, Tree({f"A/images/{i}.jpg": f"A/masks/{i}.png" for i in range(5)}))
    write_named(tmp_path, Tree({f"B/imgs/{i}.jpg": f"B/labels/{i}.png" for i in range(4)}))
    assert FolderDataModule.recognise(tmp_path) is None  # `doctor` looks at both folders, and says what it leaves out
    write_named(tmp_path / "more", Tree({f"old_images/{i}.jpg": f"old_masks/{i}.png" for i in range(4)}))
    write_named(tmp_path / "more", Tree({f"photos/{i}b.jpg": f"labels/{i}b.png" for i in range(8)}))
    found = recognised(tmp_path / "more")
    assert found.options["images"] == "photos"
    assert any("To read it instead: images: 'old_images', masks: 'old_masks'" in line for line in found.remarks)


def test_a_test_is_never_trained_on(tmp_path: Path) -> None:
    """DRIVE has training and test; what is scored in validation is taken from training."""
    write_named(tmp_path, named.drive())
    data = module(recognised(tmp_path))
    assert {split: len(names) for split, names in data.splits.items()} == {"train": 3, "val": 1, "test": 4}
    assert all(name.startswith("training/") for name in data.splits["train"] + data.splits["val"])


def test_lists_in_another_folder_are_heeded(tmp_path: Path) -> None:
    write_named(tmp_path, named.cvat_masks())
    lists = tmp_path / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "default.txt").write_text("frame_000000\n")  # CVAT's list of all there is
    assert len(module(recognised(tmp_path)).splits["train"]) == 3
    (lists / "Train.txt").write_text("frame_000000\nframe_000001\n")
    (lists / "Validation.txt").write_text("frame_000003\n")
    assert module(recognised(tmp_path)).splits == {"train": ["frame_000000", "frame_000001"], "val": ["frame_000003"]}


def test_linked_folders_of_splits(tmp_path: Path) -> None:
    truth = write_named(tmp_path / "far", named.img_dir())
    for folder in ("img_dir", "ann_dir"):
        (tmp_path / "near" / folder).mkdir(parents=True)
        for split in ("train", "val"):
            (tmp_path / "near" / folder / split).symlink_to(tmp_path / "far" / folder / split)
    data = module(recognised(tmp_path / "near"))
    assert sum(len(names) for names in data.splits.values()) == len(truth)


# ------------------------------------------------------------------------------------------------------------ patterns


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("images", "images/day 1/a.jpg", ("", "day 1/a")),
        ("images", "Images/a.JPG", ("", "a")),
        ("images", "other/a.jpg", None),
        ("images", "images/a.txt", None),
        (".", "a.png", ("", "a")),
        ("{split}/{name}_mask", "Validation/x.1_MASK.png", ("Validation", "x.1")),
        ("{split}/{name}_mask", "extra/x_mask.png", None),
        ("{split}/{name}_{split}", "training/1_train.tif", ("training", "1")),
        ("{split}/{name}_{split}", "training/1_test.tif", None),
        ("{name}/Imgs/{name}", "a/b/Imgs/c.png", ("", "a/b/c")),
        ("{name}.jpg", "a.png", None),
        ("{name}.jpg", "a.png.jpg", ("", "a")),
        ("{name}", "a.jpg.png", ("", "a")),
        ("{name}", "scan.nii.gz", ("", "scan")),
        ("{name}_*", "a_b_test.png", ("", "a_b")),
        ("m(1)/{name}", "m(1)/a.png", ("", "a")),
    ],
)
def test_patterns_fit(pattern: str, path: str, expected: tuple[str, str] | None) -> None:
    assert Pattern(pattern).match(path) == expected


@pytest.mark.parametrize("pattern", ["../images", "{stem}/{name}", "{name", "images/{}"])
def test_patterns_that_are_none(pattern: str) -> None:
    with pytest.raises(ConfigError, match="is no pattern of files"):
        Pattern(pattern)


def test_a_file_is_of_the_pattern_that_says_more(tmp_path: Path) -> None:
    truth = write_named(tmp_path, Tree({f"{i}_photo.png": f"{i}.png" for i in range(4)}))
    data = FolderDataModule(root=str(tmp_path), class_names=["a", "b", "c"], images="{name}_photo", masks=".")
    assert {image for image, _ in data.files.values()} == {*truth}
    with pytest.raises(DataError, match=r"stand for the same files, such as .*0\.png\. Say what tells"):
        FolderDataModule(root=str(tmp_path), class_names=["a", "b"], images=".", masks="{name}").files  # noqa: B018


def test_two_files_of_one_name_are_told_apart_by_an_ending(tmp_path: Path) -> None:
    write_named(tmp_path, Tree({f"images/{i}.jpg": f"masks/{i}.png" for i in range(4)}, ["images/0.png"]))
    data = FolderDataModule(root=str(tmp_path), class_names=["a", "b"])
    with pytest.raises(DataError, match=r"say which ending counts: images/\{name\}\.(png|jpg)"):
        data.files  # noqa: B018
    data = FolderDataModule(root=str(tmp_path), class_names=["a", "b"], images="images/{name}.jpg")
    assert len(data.files) == 4


def test_files_beside_the_images_are_no_images(tmp_path: Path) -> None:
    tree = Tree({f"{i}.png": f"{i}_mask.png" for i in range(4)}, others=[f"{i}_instances.png" for i in range(4)])
    write_named(tmp_path, tree)
    data = FolderDataModule(root=str(tmp_path), class_names=["a", "b"], images=".", masks="{name}_mask")
    assert list(data.files) == ["0", "1", "2", "3"]
    Image.new("RGB", (9, 9)).save(tmp_path / "1_again.png")  # one is no rule
    with pytest.raises(DataError, match=r"1 of 5 images .* have no mask \{name\}_mask: 1_again"):
        FolderDataModule(root=str(tmp_path), class_names=["a", "b"], images=".", masks="{name}_mask").files  # noqa: B018


def test_masks_that_serve_all_splits(tmp_path: Path) -> None:
    pairs = {f"images/{s}/{s}{i}.jpg": f"masks/{s}{i}.png" for s in ("train", "val") for i in range(3)}
    truth = write_named(tmp_path, Tree(pairs))
    data = module(recognised(tmp_path))
    assert {split: len(names) for split, names in data.splits.items()} == {"train": 3, "val": 3}
    dataset = data.dataset("val")
    np.testing.assert_array_equal(dataset.load(0)[1], truth[dataset.files(0)[0]])


def test_words_of_names() -> None:
    assert words_of("leftImg8bit") == ["left", "img", "8", "bit"]
    assert words_of("JPEGImages_1st-manual") == ["jpeg", "images", "1", "st", "manual"]


def test_files_called_alike_in_a_folder_for_each_image(tmp_path: Path) -> None:
    for number in range(4):
        folder = tmp_path / f"case{number}"
        folder.mkdir()
        Image.new("RGB", (8, 8), (number, 50, 90)).save(folder / "image.png")
        Image.fromarray(np.eye(8, dtype=np.uint8)).save(folder / "mask.png")
    best = search(tmp_path)[0]
    assert (best.images, best.masks) == ("{name}/image", "{name}/mask")
    assert sorted(best.pairing.pairs) == ["case0", "case1", "case2", "case3"]


def test_other_lists_of_splits_are_said(tmp_path: Path) -> None:
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
        for number in range(3):
            Image.fromarray(np.eye(8, dtype=np.uint8)).save(tmp_path / folder / f"{number}.png")
    (tmp_path / "split.csv").write_text("image,split\n0,val\n")
    assert any("Not read: split.csv" in said for said in propose(tmp_path).remarks)


def write_pairs(root: Path, images: str, masks: str, count: int = 12) -> dict[int, np.ndarray]:
    """Write pairs whose paths hold the number; return the masks."""
    rng = np.random.default_rng(0)
    truth = {number: rng.integers(0, 3, (12, 14), dtype=np.uint8) for number in range(1, count + 1)}
    for number, mask in truth.items():
        for pattern, pixels in ((images, rng.integers(0, 256, (12, 14, 3), dtype=np.uint8)), (masks, mask)):
            path = root / pattern.replace("%%", f"{number:03}").replace("%", str(number))
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    return truth


@pytest.mark.parametrize(
    ("images", "masks"),
    [
        ("images/%.jpg", "masks/%%.png"),
        ("images/%%.jpg", "masks/%.png"),
        ("images/img_%.jpg", "masks/mask_%%.png"),
        ("%.jpg", "%%_mask.png"),
    ],
)
def test_zeros_before_numbers_do_not_count_and_are_said(tmp_path: Path, images: str, masks: str) -> None:
    truth = write_pairs(tmp_path, images, masks)
    found = recognised(tmp_path)
    assert any("images and masks are paired by number, whatever zeros stand before it" in one for one in found.remarks)
    data = module(found)
    seen = 0
    for split in ("train", "val"):
        dataset = data.dataset(split)
        for index in range(len(dataset)):
            number = int("".join(filter(str.isdigit, dataset.sample_id(index))))
            assert np.array_equal(dataset.load(index)[1], truth[number])
            seen += 1
    assert seen == len(truth)


def test_names_that_differ_but_for_zeros_stay_apart(tmp_path: Path) -> None:
    write_pairs(tmp_path, "images/%.jpg", "masks/%.png")
    for name, folder in (("01.jpg", "images"), ("01.png", "masks")):
        Image.fromarray(np.zeros((12, 14), np.uint8)).save(tmp_path / folder / name)
    pairing = search(tmp_path)[0].pairing
    assert pairing.padded == {}
    assert all(image.stem == mask.stem for image, mask in pairing.pairs.values())
    (tmp_path / "masks" / "01.png").unlink()  # the image has no mask: that of 1 is not its own
    assert search(tmp_path)[0].pairing.lonely_images == ["01"]


@pytest.mark.parametrize(
    ("images", "masks"),
    [
        ("images/{%}.jpg", "masks/{%}.png"),
        ("set {a}/images/%.jpg", "set {a}/masks/%.png"),
        ("{x}%.jpg", "{x}%_mask{y}.png"),
    ],
)
def test_braces_in_names(tmp_path: Path, images: str, masks: str) -> None:
    truth = write_pairs(tmp_path, images, masks)
    found = recognised(tmp_path / "set {a}" if "set" in images else tmp_path)
    data = module(found)
    dataset = data.dataset("train")
    assert len(dataset) + len(data.dataset("val")) == len(truth)
    for index in range(len(dataset)):
        number = int("".join(filter(str.isdigit, dataset.sample_id(index))))
        assert np.array_equal(dataset.load(index)[1], truth[number])
