"""Run lengths in CSV, beside the masks that they were made of pixel by pixel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deeplab_lightning.data.sets.run_lengths import RunLengthsDataModule, starts_and_lengths
from deeplab_lightning.doctor.layouts import propose
from deeplab_lightning.errors import ConfigError, DataError

from ..fakes.run_lengths import HEIGHT, WIDTH, blob, encoded, write_images, write_run_lengths, write_table

NAMES = ["background", "pitted", "scratched"]


def module(root: Path, **options: Any) -> RunLengthsDataModule:
    return RunLengthsDataModule(root=str(root), **{"class_names": NAMES, "num_workers": 0, **options})


def masks_of(data: RunLengthsDataModule) -> dict[str, np.ndarray]:
    sets = [data.dataset("train"), data.dataset("val")]
    return {one.sample_id(index): one.load(index)[1] for one in sets for index in range(len(one))}


@pytest.mark.parametrize("order", ["columns", "rows"])
def test_the_order_is_told_by_the_objects(tmp_path: Path, order: str) -> None:
    root = write_run_lengths(tmp_path, order)
    assert propose(root).options["order"] == order
    masks = masks_of(module(root))
    assert sorted(masks) == ["p0", "p1", "p2", "p3"]
    for number in range(4):
        mask = masks[f"p{number}"]
        first, second = blob(number + 1), blob(number + 3)
        assert np.array_equal(mask > 0, first | second)
        assert (mask[first & ~second] == 1).all()
        assert (mask[second & ~first] == 2).all()


@pytest.mark.parametrize("order", ["columns", "rows"])
def test_of_square_images_it_is_asked(tmp_path: Path, order: str) -> None:
    root = write_run_lengths(tmp_path, order, 44, 44)
    found = propose(root)
    assert "order: null  # say it: columns (most of Kaggle's competitions) or rows" in found.as_yaml("title")
    assert any("To be said before training" in remark for remark in found.remarks)
    with pytest.raises(ConfigError, match=r"Set data.order to columns .* or to rows"):
        module(root).dataset("train")
    mask = masks_of(module(root, order=order))["p0"]
    assert np.array_equal(mask > 0, blob(1, 44, 44) | blob(3, 44, 44))


def test_numbers_are_named_by_the_user_in_their_order(tmp_path: Path) -> None:
    root = write_run_lengths(tmp_path)
    found = propose(root)
    assert found.options["class_names"] == ["background", "class_1", "class_3"]
    assert found.comments["class_names"] == "name them, in this order: the file has only 1, 3"
    with pytest.raises(DataError, match=r"2 kinds of objects \(1, 3\) without names, but data.class_names has 3"):
        module(root, class_names=[*NAMES, "more"]).dataset("train")


def test_what_is_left_out_is_said(tmp_path: Path) -> None:
    remarks = RunLengthsDataModule.read(write_run_lengths(tmp_path)).remarks
    assert remarks[0].startswith("Pixels are taken as counted from 1, ")
    assert remarks[1:] == [
        "2 images have no line, and are left out: p4.jpg, p5.jpg. If nothing is on them, add a line without runs for "
        "each.",
        "Submissions are passed over: sample_submission.csv.",
    ]


def test_names_joined_with_their_class(tmp_path: Path) -> None:
    write_images(tmp_path / "train_images")
    rows = [
        (f"p{n}.jpg_{kind}", encoded(blob(n)) if kind == "Fish" else "") for n in range(6) for kind in ("Fish", "Sugar")
    ]
    write_table(tmp_path / "train.csv", "Image_Label,EncodedPixels", rows)
    assert propose(tmp_path).options["class_names"] == ["background", "Fish"]
    masks = masks_of(module(tmp_path, class_names=["background", "Fish"]))
    assert np.array_equal(masks["p2"] == 1, blob(2))


def test_several_lines_of_an_image_and_empty_ones(tmp_path: Path) -> None:
    """As Airbus's ships: no class, a line a ship, an empty one for none."""
    write_images(tmp_path / "train_v2")
    top, bottom = np.zeros((HEIGHT, WIDTH), bool), np.zeros((HEIGHT, WIDTH), bool)
    top[2:9, 3:20], bottom[20:31, 30:45] = True, True
    rows = [(f"p{n}.jpg", encoded(area)) for n in range(4) for area in (top, bottom)] + [
        ("p4.jpg", ""),
        ("p5.jpg", "-1"),
    ]
    write_table(tmp_path / "train_ship_segmentations_v2.csv", "ImageId,EncodedPixels", rows)
    assert propose(tmp_path).options["class_names"] == ["background", "object"]
    masks = masks_of(module(tmp_path, class_names=["sea", "ship"]))
    assert np.array_equal(masks["p1"], top | bottom)
    assert masks["p4"].sum() == masks["p5"].sum() == 0


def test_names_without_ending_and_very_long_lines(tmp_path: Path) -> None:
    write_images(tmp_path / "images", width=90, height=700)
    checks = np.indices((700, 90)).sum(0) % 2 == 0  # more than 131,072 characters
    rows = [(f"p{n}", encoded(checks if n == 0 else blob(n, 90, 700), "rows")) for n in range(6)]
    write_table(tmp_path / "train.csv", "id,rle_mask", rows)
    assert np.array_equal(masks_of(module(tmp_path, class_names=["a", "b"], order="rows"))["p0"] == 1, checks)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1 2 3", "3 numbers, the least 1; expected pairs"),
        ("5 0", "2 numbers, the least 0"),
        ("5 -2", "the least -2"),
        ("5 a", "no whole numbers"),
        ("5 3 7 2", "overlap or do not rise"),
        ("90 3 7 2", "as those of SIIM-ACR"),
        ("9" * 30 + " 1", "no whole numbers"),
        ("9" * 5000 + " 1", "no whole numbers"),
        ("1 " + "9" * 17, "expected pairs"),
    ],
)
def test_damaged_lines(text: str, words: str) -> None:
    with pytest.raises(DataError, match=f"^a.csv, line 2: .*{words}"):
        starts_and_lengths(text, "a.csv, line 2")


def test_runs_beyond_the_image(tmp_path: Path) -> None:
    root = write_run_lengths(tmp_path)
    write_table(root / "train.csv", "ImageId,EncodedPixels", [(f"p{n}.jpg", "1999 9") for n in range(4)])
    data = module(root, class_names=["a", "b"], order="rows")
    with pytest.raises(DataError, match=r"line \d: its runs end at pixel 2007, but its image has 50x40, which is 2000"):
        data.dataset("train").load(0)


def test_other_tables_are_not_taken(tmp_path: Path) -> None:
    write_images(tmp_path)
    for text in ("id,label\np0,1 2\n", "ImageId,EncodedPixels\nq9,1 2\n", "ImageId,EncodedPixels\np0,cat\n", "", "\0"):
        (tmp_path / "x.csv").write_text(text)
        assert not RunLengthsDataModule.is_form(tmp_path)


@pytest.mark.parametrize("first", [0, 1])
def test_what_pixels_are_counted_from_is_told_by_the_first_and_the_last(tmp_path: Path, first: int) -> None:
    write_images(tmp_path / "train")
    corner = np.zeros((HEIGHT, WIDTH), bool)
    corner[:3, :2] = corner[-3:, -2:] = True
    areas = [blob(1), corner, blob(2)]
    rows = [(f"p{n}.jpg", encoded(area, first=first)) for n, area in enumerate(areas)]
    write_table(tmp_path / "train.csv", "ImageId,EncodedPixels", rows)
    found = propose(tmp_path)
    assert found.options["first_pixel"] == first
    assert not any("are taken as counted from" in line for line in found.remarks)
    masks = masks_of(module(tmp_path, class_names=["background", "it"]))
    assert all(np.array_equal(masks[f"p{n}"], area) for n, area in enumerate(areas))


def test_where_nothing_tells_what_was_assumed_is_said(tmp_path: Path) -> None:
    write_images(tmp_path / "train")
    write_table(tmp_path / "a.csv", "ImageId,EncodedPixels", [(f"p{n}.jpg", encoded(blob(n))) for n in range(4)])
    found = propose(tmp_path)
    assert "first_pixel: 1  # assumed: see above" in found.as_yaml("title")
    assert any("If they are counted from 0, set first_pixel: 0" in line for line in found.remarks)
    names = ["background", "it"]
    assert np.array_equal(masks_of(module(tmp_path, class_names=names))["p2"], blob(2))
    shifted = masks_of(module(tmp_path, class_names=names, first_pixel=0))["p2"]
    assert np.array_equal(shifted.T.ravel()[1:], blob(2).T.ravel()[:-1])


def test_lines_that_count_differently_are_refused(tmp_path: Path) -> None:
    write_images(tmp_path / "train")
    rows = [("p0.jpg", "0 5"), ("p1.jpg", f"{HEIGHT * WIDTH} 1"), ("p2.jpg", "7 2")]
    write_table(tmp_path / "a.csv", "ImageId,EncodedPixels", rows)
    with pytest.raises(DataError, match=r"line 2 starts at 0; .*line 3 ends at the last pixel"):
        propose(tmp_path)
    with pytest.raises(DataError, match=r"a run starts at 0, but data\.first_pixel is 1"):
        module(tmp_path, class_names=["background", "it"], first_pixel=1).dataset("train")


@pytest.mark.parametrize("mark", [";", "\t"])
def test_semicolons_and_tabs_between_columns(tmp_path: Path, mark: str) -> None:
    write_images(tmp_path / "train")
    lines = [f"p{n}.jpg{mark}{encoded(blob(n))}" for n in range(4)]
    (tmp_path / "a.csv").write_text("\n".join([f"image_id{mark}rle", *lines]))
    assert propose(tmp_path).name == "RunLengths"
    assert np.array_equal(masks_of(module(tmp_path, class_names=["background", "it"]))["p1"], blob(1))
