"""What all forms of outlines share, by a form made for it: labels, splits, order, what is left out, images' files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deeplab_lightning.data.files.regions import Bitmap
from deeplab_lightning.data.forms.outlines import (
    AnnotatedImage,
    Annotations,
    LabelIds,
    Outlined,
    OutlinedImages,
    OutlinesDataModule,
    class_names_of,
    splits_of,
)
from deeplab_lightning.data.forms.own_images import OwnImagesOptions
from deeplab_lightning.data.pairing.named_images import NamedImages, name_of, split_in
from deeplab_lightning.errors import ConfigError, DataError
from deeplab_lightning.labels import own_labels

LABELS = own_labels(["background", "car", "dog"])


class Points(OutlinesDataModule):
    """Files NAME.pts, a line `label column row side` for each square; `?` before it marks a box."""

    layout = "Points (NAME.pts)"

    @classmethod
    def is_form(cls, root: Path) -> bool:
        return any(root.glob("**/*.pts"))

    @classmethod
    def read(cls, root: Path) -> Annotations:
        found, images = Annotations(), NamedImages(root)
        for path in sorted(root.glob("**/*.pts")):
            file = images.find(path.stem, near=path.parent)
            if file is None:
                found.missing.append(f"{path.stem} of {path}.")
                continue
            image = AnnotatedImage(file, path)
            for number, line in enumerate(path.read_text().splitlines(), start=1):
                label, left, top, side = line.removeprefix("?").rsplit(" ", 3)
                region = Bitmap(np.ones((int(side), int(side)), bool), int(left), int(top))
                image.objects.append(Outlined(label, region, f"{path}, line {number}", ignored=line[0] == "?"))
                found.left_out += [f"{path}, line {number} is a box."] if line[0] == "?" else []
            found.add(name_of(file, root), image)
        found.labels = sorted({one.label for image in found.images.values() for one in image.objects})
        return found


def write(root: Path, name: str, *lines: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_name(f"{path.name}.pts").write_text("\n".join(lines))
    Image.new("RGB", (20, 20)).save(path.with_name(f"{path.name}.png"))


def module(root: Path, **options: object) -> Points:
    return Points(root=str(root), crop_size=33, **{"class_names": list(LABELS.class_names), **options})


def square(left: int, top: int, side: int) -> np.ndarray:
    mask = np.zeros((20, 20), bool)
    mask[top : top + side, left : left + side] = True
    return mask


# ------------------------------------------------------------------------------------------------------------- labels


def test_labels_are_found_by_their_spelling() -> None:
    ids = LabelIds(LABELS, ["__ignore__"])
    for label, value in {
        "car": 1, "Car": 1, " car ": 1, "DOG": 2, "_background_": 0, "Background": 0, "bg": 0, "__ignore__": 255,
    }.items():  # fmt: skip
        assert ids(label, "a, object 1") == value
    for wrong in ("cars", "", None, 1, ["car"]):
        with pytest.raises(DataError, match=r"a, object 1 has the label .*, which was not declared"):
            ids(wrong, "a, object 1")
    with pytest.raises(DataError, match=r"Did you mean 'car'\? .* The labels there are: cars, dogs\."):
        LabelIds(LABELS, known=["cars", "dogs"])("cars", "a")


def test_spellings_that_are_two_classes_are_told_apart() -> None:
    ids = LabelIds(own_labels(["background", "car", "Car"]))
    assert (ids("car", "a"), ids("Car", "a")) == (1, 2)
    with pytest.raises(DataError, match="not declared"):
        ids("CAR", "a")
    assert LabelIds(own_labels(["Background", "car"]))("BACKGROUND", "a") == 0  # both spellings mean 0
    with pytest.raises(ConfigError, match=r"car: a class in data.class_names and ignored"):
        LabelIds(LABELS, ["car"])


def test_class_names_of_labels() -> None:
    names, said = class_names_of(["car", "Car ", "traffic  light", "__ignore__", "bg", ""])
    assert names == ["background", "car", "traffic light"]
    assert said == [
        "Spellings taken for one class: 'car', 'Car '.",
        "Objects labelled 'bg' are the background: where they lie, class 0.",
    ]


# -------------------------------------------------------------------------------------------------------------- masks


def test_later_objects_lie_on_top_and_larger_ones_below_where_order_says_nothing(tmp_path: Path) -> None:
    write(tmp_path, "a", "dog 2 2 4", "car 0 0 10", "?dog 1 1 3", "dog 30 30 5")
    found = Points.read(tmp_path)
    for larger_first, expected in (
        (False, np.where(square(1, 1, 3), 255, square(0, 0, 10))),
        (True, np.where(square(2, 2, 4), 2, np.where(square(0, 0, 10), 1, 255 * square(1, 1, 3)))),
    ):
        found.images["a"].larger_first = larger_first
        np.testing.assert_array_equal(OutlinedImages(found.images, ["a"], LABELS).load(0)[1], expected)


def test_nothing_but_ignored_objects_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "a", "dog 2 2 4")
    found = Points.read(tmp_path)
    with pytest.raises(DataError, match="Every object of these 1 images is ignored"):
        OutlinedImages(found.images, ["a"], own_labels(["background", "car"]), ["dog"])


def test_what_is_recognised_is_read(tmp_path: Path) -> None:
    for number in range(5):
        write(tmp_path, f"train/{number}", "car 0 0 5", "Dog 5 5 5")
    write(tmp_path, "valid/a", "car 0 0 5")
    found = Points.recognise(tmp_path)
    assert found is not None
    assert (found.layout, found.options["class_names"]) == ("Points", ["background", "Dog", "car"])
    assert (found.train_size, len(found.images)) == (5, 5)
    data = Points(**found.options, crop_size=33)
    assert [data.dataset("val").sample_id(0)] == ["valid/a"]
    with pytest.raises(DataError, match="'Dog', which was not declared"):
        module(tmp_path, class_names=["background", "car"]).dataset("train")


def test_many_boxes_and_many_missing_images_are_refused(tmp_path: Path) -> None:
    for number in range(4):
        write(tmp_path, f"{number}", "car 0 0 5", "car 9 9 5", "?dog 1 1 3" if number else "")
        (tmp_path / f"{number}.pts").write_text((tmp_path / f"{number}.pts").read_text().strip())
    with pytest.raises(DataError, match=r"3 of 11 objects have no outline. The first: .*1.pts, line 3 is a box"):
        Points.recognise(tmp_path)
    for number in (2, 3):
        (tmp_path / f"{number}.pts").write_text("car 0 0 5\ncar 9 9 5")
    (tmp_path / "0.png").unlink()
    found = Points.recognise(tmp_path)
    assert found is not None
    assert any(
        line.startswith("1 of 4 annotated images are missing, and left out. The first: 0 of") for line in found.remarks
    )
    (tmp_path / "1.png").unlink()
    with pytest.raises(DataError, match=r"2 of 4 annotated images are missing") as caught:
        Points.recognise(tmp_path)
    assert caught.value.kind == "missing_files"


def test_too_many_labels_and_none(tmp_path: Path) -> None:
    write(tmp_path, "a", *(f"class{number} 0 0 1" for number in range(255)))
    with pytest.raises(DataError, match="names 255 labels, expected 1 to 254"):
        Points.recognise(tmp_path)
    write(tmp_path, "a")
    with pytest.raises(DataError, match="names 0 labels"):
        Points.recognise(tmp_path)


# ------------------------------------------------------------------------------------------------------------- splits


@pytest.mark.parametrize(
    ("stated", "sizes", "words"),
    [
        ({"train": 4, "val": 2}, {"train": 4, "val": 2}, "as their folders or files say: 4 train, 2 val"),
        ({"train": 4, "test": 2}, {"train": 3, "val": 1, "test": 2}, "None are stated for val"),
        ({"val": 5}, {"train": 4, "val": 1}, "for validation alone"),
        ({None: 4, "val": 2}, {"train": 4, "val": 2}, "4 images are stated for no split, and no others for training"),
        ({None: 5, "test": 2}, {"train": 4, "val": 1, "test": 2}, "they are trained on"),
        ({None: 4, "train": 3, "val": 2}, {"train": 3, "val": 2}, "4 images are stated for no split, and left out"),
    ],
)
def test_splits_that_are_stated_in_part(
    tmp_path: Path, stated: dict[str | None, int], sizes: dict[str, int], words: str
) -> None:
    images = {f"{split}{number}": split for split, count in stated.items() for number in range(count)}
    options = OwnImagesOptions(root=str(tmp_path), class_names=["background", "car"])
    splits, said = splits_of(images, options, tmp_path)
    assert {split: len(names) for split, names in splits.items()} == sizes
    assert list(splits)[:2] == ["train", "val"]
    assert any(words in line for line in said)
    assert all(images[name] == "test" for name in splits.get("test", []))
    assert not any(images[name] == "test" for name in splits["train"] + splits["val"])


def test_the_test_alone_is_not_divided(tmp_path: Path) -> None:
    options = OwnImagesOptions(root=str(tmp_path), class_names=["background", "car"])
    with pytest.raises(DataError, match=r"3 annotated images of .* are all for the test"):
        splits_of({"a": "test", "b": "test", "c": "test"}, options, tmp_path)


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train2017", "train"), ("instances_val2017", "val"), ("Valid", "val"), ("_test", "test"),
        ("test-dev2017", "test"),
        ("train_annotations", "train"), ("dev", "val"), ("devkit", None), ("trainval", None), ("train_val", None),
        ("constraint", None), ("images", None), ("latest", None), ("training 2", "train"),
    ],
)  # fmt: skip
def test_splits_in_names(name: str, split: str | None) -> None:
    assert split_in(name) == split


# ------------------------------------------------------------------------------------------------------- images' files


def images(root: Path, *names: str) -> NamedImages:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (2, 2)).save(root / name)
    return NamedImages(root)


@pytest.mark.parametrize(
    ("held", "said", "split", "expected"),
    [
        (["images/a.jpg", "masks/a.png"], "a.jpg", None, "images/a.jpg"),
        (["images/a.png", "masks/a.png"], "a.png", None, "images/a.png"),
        (["images/a.png", "SegmentationClass/a.png"], "a.jpg", None, "images/a.png"),
        (["day1/a.jpg", "day2/a.jpg"], "C:\\x\\day2\\a.jpg", None, "day2/a.jpg"),
        (["day1/a.jpg", "day2/a.jpg"], "/home/me/day1/a.jpg", None, "day1/a.jpg"),
        (["day1/a.jpg"], "../../day7/a.jpg", None, "day1/a.jpg"),
        (["train/a.jpg", "val/a.jpg"], "a.jpg", "val", "val/a.jpg"),
        (["train/a.jpg"], "a.jpg", "val", None),
        (["train/a.jpg", "val/a.jpg"], "val/a.jpg", "train", "val/a.jpg"),
        (["a.JPG"], "a.jpg", None, "a.JPG"),
        (["a.v1.jpg"], "a.v1", None, "a.v1.jpg"),
        (["a.v1.jpg"], "a.v1.jpg", None, "a.v1.jpg"),
        (["a.jpg"], "b.jpg", None, None),
    ],
)
def test_images_are_found_by_what_they_are_called(
    tmp_path: Path, held: list[str], said: str, split: str | None, expected: str | None
) -> None:
    root = tmp_path / "root"
    images(tmp_path, "day7/a.jpg", "b.jpg")  # beside the root: never taken
    assert images(root, *held).find(said, split) == (None if expected is None else root / expected)


def test_two_images_that_fit_equally_well_are_asked_for(tmp_path: Path) -> None:
    found = images(tmp_path, "day1/a.jpg", "day2/a.jpg")
    with pytest.raises(DataError, match=r"a.jpg may be .*day1/a.jpg, .*day2/a.jpg\. Keep one"):
        found.find("a.jpg")
    assert found.find("a.jpg", near=tmp_path / "day2") == tmp_path / "day2" / "a.jpg"


def test_images_without_a_single_object_teach_nothing(tmp_path: Path) -> None:
    """As where whole images have tags, and the file names labels."""
    images = {name: AnnotatedImage(tmp_path / f"{name}.png", tmp_path / "tags.xml") for name in "abc"}
    with pytest.raises(DataError, match=r"None of the 3 annotated images of .* has an outlined object: there is"):
        Points.recognised(tmp_path, Annotations(images, labels=["car"]))
