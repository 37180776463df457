from __future__ import annotations

from pathlib import Path

import pytest

from deeplab_lightning.data.pairing.splitting import fraction_split, listed_split, split_names
from deeplab_lightning.data.spacing import spread
from deeplab_lightning.errors import ConfigError, DataError

NAMES = [f"pic{number:03d}" for number in range(200)]


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


# ------------------------------------------------------------------------------------------------------- by fraction


def test_a_fraction_divides_all_names_once() -> None:
    splits = fraction_split(NAMES, {"val": 0.2, "test": 0.1})
    assert list(splits) == ["train", "val", "test"]
    assert [len(names) for names in splits.values()] == [140, 40, 20]
    assert sorted(name for names in splits.values() for name in names) == NAMES
    assert all(names == sorted(names) for names in splits.values())


def test_a_fraction_is_the_same_everywhere_and_for_every_order() -> None:
    assert fraction_split(NAMES, {"val": 0.2}) == fraction_split(NAMES[::-1], {"val": 0.2})
    assert fraction_split([f"pic{n}" for n in range(6)], {"val": 0.34}, seed=3)["val"] == ["pic2", "pic5"]  # for ever
    assert fraction_split(NAMES, {"val": 0.2}, seed=0) != fraction_split(NAMES, {"val": 0.2}, seed=1)


def test_adding_images_moves_few() -> None:
    before = set(fraction_split(NAMES, {"val": 0.2})["val"])
    after = set(fraction_split([*NAMES, *(f"new{n}" for n in range(20))], {"val": 0.2})["val"])
    assert len(after) == 44
    assert len(before - after) <= 4


def test_val_is_spread_over_the_names() -> None:
    chosen = [NAMES.index(name) for name in fraction_split(NAMES, {"val": 0.2})["val"]]
    assert sum(index < 100 for index in chosen) in range(12, 29)


def test_small_shares_get_one_image() -> None:
    assert [len(names) for names in fraction_split(["a", "b", "c"], {"val": 0.01}).values()] == [2, 1]
    with pytest.raises(DataError, match="1 annotated images cannot be divided into train, val: each needs one"):
        fraction_split(["a"], {"val": 0.5})


@pytest.mark.parametrize("fractions", [{"val": 0.0}, {"val": 1.0}, {"val": -0.1}, {"val": 0.5, "test": 0.5}])
def test_fractions_that_cannot_be_used(fractions: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=f"val_fraction {fractions['val']:g}.*between 0 and 1"):
        fraction_split(NAMES, fractions)


# ---------------------------------------------------------------------------------------------------------- by lists


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("pic 1", "pic 1"),
        ("pic 1.jpg", "pic 1"),
        ("pic 1.JSON", "pic 1"),
        ("./images/pic 1.png", "pic 1"),
        ("/data/images/pic 1.png", "pic 1"),
        (r"images\pic 1.png", "pic 1"),
        ("frame.v2", "frame.v2"),
        ("frame.v2.tif", "frame.v2"),
        ("pic2", "day 1/pic2"),
        ("images/day 1/pic2.jpg", "day 1/pic2"),
        ("day 1/pic3", "day 1/pic3"),
        ("old/day 2/pic3.jpg", "day 2/pic3"),
        ("same", "same"),
        ("day 1/same.png", "day 1/same"),
        ("scan.png", "scan.png"),
    ],
)
def test_lists_name_images_with_and_without_folders_and_endings(tmp_path: Path, line: str, expected: str) -> None:
    names = ["pic 1", "frame.v2", "day 1/pic2", "day 1/pic3", "day 2/pic3", "day 1/same", "same", "scan.png"]
    assert listed_split(write(tmp_path / "val.txt", "", line), names) == [expected]


def test_lists_keep_their_order(tmp_path: Path) -> None:
    assert listed_split(write(tmp_path / "val.txt", "c", "", "a.jpg"), ["a", "b", "c"]) == ["c", "a"]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["pic"], r"'pic' may be day1/pic, day2/pic\. Write the folder too, as in 'day1/pic'"),
        (
            ["other", "othr.jpg", "nothing"],
            r"2 of 3 lines name no annotated image: othr.jpg, nothing\. Did you mean 'other'",
        ),
        (["other", "other.png"], "1 names are listed more than once, such as other"),
        (["day3/pic"], "1 of 1 lines name no annotated image: day3/pic"),
        ([" "], "val.txt is empty"),
    ],
)
def test_lists_that_cannot_be_used(tmp_path: Path, lines: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        listed_split(write(tmp_path / "val.txt", *lines), ["day1/pic", "day2/pic", "other"])


def test_lists_in_another_encoding(tmp_path: Path) -> None:
    (tmp_path / "val.txt").write_bytes("straße".encode("latin-1"))
    with pytest.raises(DataError, match=r"Cannot read the list .*val.txt.*UTF-8"):
        listed_split(tmp_path / "val.txt", ["straße"])
    (tmp_path / "val.txt").write_text("straße", encoding="utf-8-sig")  # as some editors save it
    assert listed_split(tmp_path / "val.txt", ["straße"]) == ["straße"]


# ----------------------------------------------------------------------------------------------- by what is laid down


def test_lists_go_before_folders_before_chance(tmp_path: Path) -> None:
    names = ["train/a", "train/b", "val/c", "val/d"]
    assert split_names(tmp_path, names) == {"train": names[:2], "val": names[2:]}
    write(tmp_path / "train.txt", "c")
    write(tmp_path / "val.txt", "a")
    assert split_names(tmp_path, names) == {"train": ["val/c"], "val": ["train/a"]}  # b and d are left out
    write(tmp_path / "test.txt", "d")
    assert split_names(tmp_path, names)["test"] == ["val/d"]


@pytest.mark.parametrize("folders", [("Train", "Val"), ("train", "valid"), ("training", "validation")])
def test_splits_have_several_spellings(tmp_path: Path, folders: tuple[str, str]) -> None:
    names = [f"{folder}/{index}" for folder in folders for index in range(3)]
    assert split_names(tmp_path, names) == {"train": names[:3], "val": names[3:]}
    for folder, line in zip(folders, ("1", "2"), strict=True):
        (tmp_path / f"{folder}.txt").write_text(line)
    assert split_names(tmp_path, ["1", "2", "3"]) == {"train": ["1"], "val": ["2"]}


def test_two_spellings_at_once_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds both val/ and valid/: keep one folder of val"):
        split_names(tmp_path, ["train/1", "val/2", "valid/3"])
    for name in ("train", "val", "Validation"):
        (tmp_path / f"{name}.txt").write_text("1")
    with pytest.raises(DataError, match=r"holds both Validation\.txt and val\.txt: keep one list of val"):
        split_names(tmp_path, ["1"])


def test_chance_where_nothing_is_laid_down(tmp_path: Path) -> None:
    assert split_names(tmp_path, NAMES, 0.3, seed=5) == fraction_split(NAMES, {"val": 0.3}, 5)
    assert split_names(tmp_path, NAMES, 0.3, 0.1, 5) == fraction_split(NAMES, {"val": 0.3, "test": 0.1}, 5)
    in_folders = [f"day{n % 3}/{name}" for n, name in enumerate(NAMES)]
    assert split_names(tmp_path, in_folders) == fraction_split(in_folders, {"val": 0.2})


def test_a_list_or_folder_alone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"lie in train/ but not val/: train and val are both needed\. Add val/"):
        split_names(tmp_path, ["train/a", "b"])
    with pytest.raises(DataError, match=r"lie in test/ but not train/ and val/"):
        split_names(tmp_path, ["test/a", "b"])
    with pytest.raises(DataError, match=r"1 of 3 images of .* lie in none of its folders train/, val/: b\."):
        split_names(tmp_path, ["train/a", "b", "val/c"])
    write(tmp_path / "val.txt", "b")
    with pytest.raises(DataError, match=r"holds val.txt but not train.txt: .* Add train.txt, or take away val.txt"):
        split_names(tmp_path, ["a", "b"])


def test_lists_that_share_images_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "train.txt", "a", "b")
    write(tmp_path / "val.txt", "c.jpg", "b.jpg")
    with pytest.raises(DataError, match=r"1 images are in both train.txt and val.txt of .*: b\."):
        split_names(tmp_path, ["a", "b", "c"])


def test_places_are_spread_from_end_to_end() -> None:
    assert spread(10, 4) == [0, 3, 6, 9]
    assert spread(100, 3) == [0, 50, 99]
    assert spread(3, 100) == [0, 1, 2]
    assert spread(9, 1) == [0]
    assert spread(0, 5) == []
