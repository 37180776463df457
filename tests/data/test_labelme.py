from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from deeplab_lightning.__main__ import main
from deeplab_lightning.data.files.images import read_image
from deeplab_lightning.data.sets.labelme import LabelMe, LabelMeDataModule, draw_shape, find_annotations, look_through
from deeplab_lightning.data.sets.voc import VOC, PascalVOC
from deeplab_lightning.doctor.layouts import propose
from deeplab_lightning.errors import ConfigError, DataError
from deeplab_lightning.labels import own_labels

from ..conftest import REPOSITORY, SMALL, V3PLUS
from ..fakes.labelme import NAMES, encoded_png, shape, write_annotation, write_labelme

CLASSES = ["background", "person", "bottle"]


def drawn(kind: str, points: Any, width: int = 12, height: int = 8, **fields: Any) -> np.ndarray:
    """Draw one shape with the value 1."""
    mask = Image.new("L", (width, height))
    draw_shape(mask, shape("person", points, kind, **fields), 1, "a.json, shape 1")
    return np.array(mask)


def block(left: int, top: int, right: int, bottom: int, width: int = 12, height: int = 8) -> np.ndarray:
    """Ones from pixel (left, top) to (right, bottom), both included."""
    mask = np.zeros((height, width), np.uint8)
    mask[top : bottom + 1, left : right + 1] = 1
    return mask


def from_text(*rows: str) -> np.ndarray:
    return np.array([[character == "#" for character in row] for row in rows], np.uint8)


# ------------------------------------------------------------------------------------------------- one shape at a time


def test_polygons_include_their_outline() -> None:
    corners = [[1.9, 1.2], [5.7, 1.2], [5.7, 4.9], [1.9, 4.9]]  # fractions are cut off
    np.testing.assert_array_equal(drawn("polygon", corners), block(1, 1, 5, 4))
    expected = from_text(
        "............",
        "..#.........",
        "..##........",
        "..###.......",
        "..####......",
        "..#####.....",
        "............",
        "............",
    )
    np.testing.assert_array_equal(drawn("polygon", [[2, 1], [6, 5], [2, 5]]), expected)


def test_polygons_that_are_not_convex() -> None:
    expected = block(1, 1, 9, 6) - block(4, 1, 6, 3)  # a U
    outline = [[1, 1], [3, 1], [3, 4], [7, 4], [7, 1], [9, 1], [9, 6], [1, 6]]
    np.testing.assert_array_equal(drawn("polygon", outline), expected)


def test_files_of_old_versions_hold_polygons_only() -> None:
    for kind in (None, ""):
        np.testing.assert_array_equal(drawn(kind, [[1, 1], [5, 1], [5, 4], [1, 4]]), block(1, 1, 5, 4))  # type: ignore[arg-type]


@pytest.mark.parametrize("points", [[[2, 1], [7, 5]], [[7, 5], [2, 1]], [[7.9, 1.3], [2.2, 5.5]]])
def test_rectangles_from_any_two_corners(points: list[list[float]]) -> None:
    np.testing.assert_array_equal(drawn("rectangle", points), block(2, 1, 7, 5))


def test_circles_from_centre_and_rim() -> None:
    expected = from_text(
        "...........",
        "....###....",
        "...#####...",
        "..#######..",
        "..#######..",
        "..#######..",
        "...#####...",
        "....###....",
        "...........",
    )
    for rim in ([8, 4], [5, 1], [2, 4]):
        np.testing.assert_array_equal(drawn("circle", [[5, 4], rim], 11, 9), expected)
    slanted = drawn("circle", [[20, 20], [26, 28]], 41, 41)  # radius 10
    assert slanted[20, 10:31].all()
    assert slanted[:10].sum() == slanted[31:].sum() == 0
    assert slanted.sum() == pytest.approx(np.pi * 10.5**2, rel=0.02)


def test_lines_are_ten_pixels_wide() -> None:
    flat = drawn("line", [[5, 10], [20, 10]], 30, 20)
    assert (flat.sum(axis=0)[5:21] == 10).all()
    assert flat[:, :5].sum() == flat[:, 21:].sum() == 0
    strip = drawn("linestrip", [[5, 10], [20, 10], [20, 30]], 40, 40)
    np.testing.assert_array_equal(strip[:15, :15], np.pad(flat, ((0, 20), (0, 10)))[:15, :15])
    assert (strip.sum(axis=1)[18:30] == 10).all()


def test_points_are_discs_of_radius_five() -> None:
    disc = drawn("point", [[10, 8]], 20, 20)
    assert (disc.sum(axis=0)[10], disc.sum(axis=1)[8]) == (11, 11)
    assert disc.sum() == pytest.approx(np.pi * 5.5**2, rel=0.05)


def test_masks_are_pasted_into_their_box() -> None:
    stencil = from_text("#.#", ".#.")
    expected = np.zeros((8, 12), np.uint8)
    expected[2:4, 4:7] = stencil
    for pixels in (stencil > 0, stencil, stencil * 255):
        result = drawn("mask", [[4, 2], [6, 3]], mask=encoded_png(pixels))
        np.testing.assert_array_equal(result, expected)
    over_the_border = drawn("mask", [[10, 7], [12, 8]], mask=encoded_png(stencil))
    assert over_the_border.sum() == 1
    assert over_the_border[7, 10] == 1


def test_what_lies_outside_is_cut_off() -> None:
    np.testing.assert_array_equal(drawn("rectangle", [[-5, 4], [3, 50]]), block(0, 4, 3, 7))
    np.testing.assert_array_equal(drawn("polygon", [[-9, -9], [90, -9], [90, 90], [-9, 90]]), block(0, 0, 11, 7))
    assert drawn("circle", [[500, 500], [510, 500]]).sum() == 0


@pytest.mark.parametrize(
    ("kind", "points", "message"),
    [
        ("polygon", [[1, 1], [2, 2]], "is a polygon of 2 points, expected 3 or more"),
        ("polygon", [], "is a polygon of 0 points, expected 3 or more"),
        ("rectangle", [[1, 1]], "is a rectangle of 1 points, expected 2"),
        ("circle", [[1, 1], [2, 2], [3, 3]], "is a circle of 3 points, expected 2"),
        ("point", [[1, 1], [2, 2]], "is a point of 2 points, expected 1"),
        ("polygn", [[1, 1]], r"is of kind 'polygn'; known are polygon, .*Did you mean 'polygon'\?"),
        ("polygon", [[1, 1], [2, 2], [3]], r"its points are no list of \[x, y\]"),
        ("polygon", None, r"its points are no list of \[x, y\]"),
        ("line", [[1, 1], [float("nan"), 2]], r"its point \[nan, 2\] lies nowhere near"),
        ("line", [[1, 1], [2, float("nan")]], r"its point \[2, nan\] lies nowhere near"),
        ("line", [[1, 1], [2, -1e9]], r"its point \[2, -1e\+09\] lies nowhere near"),
        ("mask", [[1, 1], [2, 2]], "its mask is no PNG in base64"),
    ],
)
def test_shapes_that_cannot_be_drawn(kind: str, points: Any, message: str) -> None:
    with pytest.raises(DataError, match=f"^a.json, shape 1.*{message}"):
        drawn(kind, points, mask="not base64")


def test_masks_of_another_size_than_their_box() -> None:
    with pytest.raises(DataError, match="its mask is 3x2, but its points span 3x3"):
        drawn("mask", [[4, 2], [6, 4]], mask=encoded_png(from_text("#.#", ".#.")))


# -------------------------------------------------------------------------------------------------------- whole files


def opened(root: Path, **options: Any) -> LabelMe:
    return LabelMe(root, find_annotations(root), own_labels(CLASSES), **options)


def test_images_and_masks(tmp_path: Path) -> None:
    dataset = opened(write_labelme(tmp_path))
    assert [dataset.sample_id(index) for index in range(len(dataset))] == sorted(NAMES)
    for index, name in enumerate(sorted(NAMES)):
        image, mask = dataset.load(index)
        assert image.shape == (40, 50, 3)
        assert image.dtype == mask.dtype == np.uint8
        assert set(np.unique(mask)) == ({0} if name == "f" else {0, 1, 2, 255})
        assert mask[30, 40] == (0 if name == "f" else 255)


def test_later_shapes_lie_over_earlier_ones(tmp_path: Path) -> None:
    Image.new("RGB", (50, 40)).save(tmp_path / "a.jpg")
    below, above = shape("person", [[2, 2], [30, 30]], "rectangle"), shape("bottle", [[9, 9], [40, 20]], "rectangle")
    write_annotation(tmp_path / "a.json", [below, above])
    mask = opened(tmp_path).load(0)[1]
    assert (mask == 2).sum() == 32 * 12
    assert (mask == 1).sum() == 29 * 29 - 22 * 12
    write_annotation(tmp_path / "a.json", [above, below])
    assert (opened(tmp_path).load(0)[1] == 1).sum() == 29 * 29


def test_background_and_ignored_labels(tmp_path: Path) -> None:
    Image.new("RGB", (50, 40)).save(tmp_path / "a.jpg")
    everywhere, hole = [[0.0, 0.0], [49.0, 39.0]], [[5.0, 5.0], [9.0, 9.0]]
    shapes = [shape("person", everywhere, "rectangle"), shape("_background_", hole, "rectangle")]
    write_annotation(tmp_path / "a.json", shapes)
    mask = opened(tmp_path).load(0)[1]
    assert (mask == 0).sum() == 25
    write_annotation(tmp_path / "a.json", [shapes[0], shape("blurred", hole, "rectangle")])
    assert (opened(tmp_path, ignored_labels=("blurred",)).load(0)[1] == 255).sum() == 25
    with pytest.raises(DataError, match=r"a.json, shape 2 has the label 'blurred', which was not declared\. Add it to"):
        opened(tmp_path).load(0)
    with pytest.raises(ConfigError, match=r"person: a class in data.class_names and ignored by data.ignored_labels"):
        opened(tmp_path, ignored_labels=("person",))


def test_where_images_are_found(tmp_path: Path) -> None:
    dataset = opened(write_labelme(tmp_path))
    index = {name: number for number, name in enumerate(sorted(NAMES))}
    assert dataset.files(index["a"]) == (tmp_path / "a.jpg", tmp_path / "a.json")
    assert dataset.files(index["b"]) == (tmp_path / "b.json",)
    assert dataset.files(index["c"]) == (tmp_path / "c.jpg", tmp_path / "c.json")  # imagePath leads nowhere
    assert dataset.files(index["day 2/d"])[0] == tmp_path / "day 2" / "d.jpg"
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "a.jpg").rename(tmp_path / "elsewhere" / "x.JPG")
    write_annotation(tmp_path / "a.json", [], imagePath="elsewhere\\x.JPG")
    assert dataset.files(index["a"])[0] == tmp_path / "elsewhere" / "x.JPG"
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    write_annotation(tmp_path / "b.json", [], imageData=encoded_png(image))
    np.testing.assert_array_equal(dataset.load(index["b"])[0], image)
    Image.new("RGB", (50, 40)).save(tmp_path / "b.PNG")  # a file goes before what the JSON holds
    assert dataset.load(index["b"])[0].max() == 0


def test_a_turned_image_is_read_upright_as_labelme_shows_it(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 50)).save(tmp_path / "a.jpg", exif=exif)
    write_annotation(tmp_path / "a.json", [])
    assert opened(tmp_path).load(0)[1].shape == (40, 50)
    write_annotation(tmp_path / "a.json", [], width=40, height=50)
    with pytest.raises(DataError, match=r"a.jpg is 50x40, but .*a.json was drawn .* 40x50 .*One is turned"):
        opened(tmp_path).load(0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ('{"shapes": [', "is damaged at line 1: Expecting value"),
        ('{"shapes": [3], "imagePath": "a.jpg"}', "shape 1: expected an object with label and points"),
        ('{"shapes": [{"points": []}]}', "has the label None, which was not declared"),
        ('{"shapes": [{"label": ["x"], "points": []}]}', r"has the label \['x'\], which was not declared"),
    ],
)
def test_damaged_annotations(tmp_path: Path, text: str, message: str) -> None:
    Image.new("RGB", (50, 40)).save(tmp_path / "a.jpg")
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(DataError, match=f"a.json.*{message}"):
        opened(tmp_path).load(0)


def test_annotations_in_other_encodings(tmp_path: Path) -> None:
    Image.new("RGB", (50, 40)).save(tmp_path / "a.jpg")
    text = '{"shapes": [{"label": "Straße", "points": [[0, 0], [3, 3]], "shape_type": "rectangle"}]}'
    (tmp_path / "a.json").write_text(text, encoding="utf-8-sig")
    dataset = LabelMe(tmp_path, ["a"], own_labels(["background", "Straße"]))
    assert dataset.load(0)[1].sum() == 16
    (tmp_path / "a.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match=r"a.json is not text in UTF-8 .* at byte 27"):
        dataset.load(0)


def test_an_image_that_is_missing_or_another(tmp_path: Path) -> None:
    write_labelme(tmp_path)
    (tmp_path / "a.jpg").unlink()
    with pytest.raises(DataError, match=r"a.json has no image: neither 'a.jpg' .*nor a with any ending .* lies in"):
        opened(tmp_path).load(0)
    Image.new("RGB", (60, 40)).save(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"a.png is 60x40, but .*a.json was drawn on an image of 50x40"):
        opened(tmp_path).load(0)
    write_annotation(tmp_path / "b.json", [], imageData="?")
    with pytest.raises(DataError, match=r"b.json: the image inside it \(imageData\) is damaged"):
        opened(tmp_path).load(1)
    write_annotation(tmp_path / "b.json", [], imageData="YWJj")
    with pytest.raises(DataError, match=r"b.json is not an image"):
        opened(tmp_path).load(1)


def test_folders_without_annotations(tmp_path: Path) -> None:
    Image.new("RGB", (50, 40)).save(tmp_path / "a.jpg")
    (tmp_path / ".cache").mkdir()
    (tmp_path / ".cache" / "a.json").touch()
    with pytest.raises(DataError, match=r"No LabelMe annotations were found: .*holds .*a.jpg\. Expected NAME.json"):
        find_annotations(tmp_path)
    with pytest.raises(DataError, match=r"does not exist"):
        find_annotations(tmp_path / "nowhere")


def test_json_of_other_tools_is_passed_over(tmp_path: Path) -> None:
    write_labelme(tmp_path)
    (tmp_path / "instances.json").write_text('{"images": [], "annotations": []}')
    (tmp_path / "day 2" / "list.json").write_text('[{"shapes": []}]')
    assert find_annotations(tmp_path) == sorted(NAMES)
    remarks = look_through(tmp_path, find_annotations(tmp_path)).remarks(tmp_path)
    assert remarks == ["2 JSON files are not LabelMe's, and are passed over: day 2/list.json, instances.json"]
    (tmp_path / "cut.json").write_text('{"version": "5.4.1", "flags": {}')  # may have been one
    assert "cut" in find_annotations(tmp_path)
    for path in tmp_path.rglob("*.json"):
        path.write_text("{}")
    with pytest.raises(DataError, match=r"Its 9 JSON files hold no shapes\."):
        find_annotations(tmp_path)


def test_spellings_of_one_label_are_one_class(tmp_path: Path) -> None:
    left, middle, right = ([[x, 0.0], [x + 9.0, 39.0]] for x in (0.0, 10.0, 20.0))
    for number, spellings in enumerate([("car", "Car", "car "), ("background", "Background", "_background_")]):
        Image.new("RGB", (50, 40)).save(tmp_path / f"{number}.jpg")
        shapes = [shape(label, box, "rectangle") for label, box in zip(spellings, (left, middle, right), strict=True)]
        write_annotation(tmp_path / f"{number}.json", shapes)
    found = LabelMeDataModule.recognise(tmp_path)
    assert found is not None
    assert found.options["class_names"] == ["background", "Car"]
    assert any("'Car', 'car', 'car '" in remark for remark in found.remarks)
    dataset = LabelMe(tmp_path, ["0", "1"], own_labels(["background", "car"]))
    expected = np.zeros((40, 50), np.uint8)
    expected[:, :30] = 1
    np.testing.assert_array_equal(dataset.load(0)[1], expected)
    assert dataset.load(1)[1].max() == 0


def test_spellings_that_are_classes_each_stay_apart(tmp_path: Path) -> None:
    Image.new("RGB", (50, 40)).save(tmp_path / "a.jpg")
    write_annotation(tmp_path / "a.json", [shape("Car", [[0, 0], [3, 3]], "rectangle")])
    assert LabelMe(tmp_path, ["a"], own_labels(["background", "car", "Car"])).load(0)[1].max() == 2


def test_the_list_of_labels_is_labelmes_own(tmp_path: Path) -> None:
    """LabelMe's labels.txt begins with two lines that are no classes."""
    write_labelme(tmp_path)
    (tmp_path / "labels.txt").write_text("__ignore__\n_background_\nbottle\nperson\nspare\n")
    found = LabelMeDataModule.recognise(tmp_path)
    assert found is not None
    assert found.options["class_names"] == ["background", "bottle", "person", "spare"]


def test_shapes_of_too_few_points_are_left_out_and_counted(tmp_path: Path) -> None:
    Image.new("RGB", (50, 40)).save(tmp_path / "a.jpg")
    good = [shape("person", [[2.0, 2.0], [9.0, 9.0]], "rectangle") for _ in range(60)]
    stray = [shape("person", [[20, 20], [30, 30]]), shape("person", [[20, 20]], "rectangle")]
    write_annotation(tmp_path / "a.json", [*stray, *good])
    for name in "bc":
        Image.new("RGB", (50, 40)).save(tmp_path / f"{name}.jpg")
        write_annotation(tmp_path / f"{name}.json", [])
    data = module(tmp_path)
    with pytest.warns(
        UserWarning, match=r"2 shapes are left out, which have no area\. The first: .*a.json, shape 1 is a polygon"
    ):
        _ = data.splits
    np.testing.assert_array_equal(LabelMe(tmp_path, ["a"], data.labels).load(0)[1][:10, :10], block(2, 2, 9, 9, 10, 10))
    write_annotation(tmp_path / "a.json", stray)
    with pytest.raises(DataError, match="2 of 2 objects have no outline"):
        _ = module(tmp_path).splits


def test_images_without_annotation_are_said(tmp_path: Path) -> None:
    write_labelme(tmp_path)
    Image.new("RGB", (50, 40)).save(tmp_path / "new.jpg")
    exported = tmp_path / "a_json"
    exported.mkdir()
    for name in ("img", "label", "label_viz"):
        Image.new("L", (50, 40)).save(exported / f"{name}.png")
    found = LabelMeDataModule.recognise(tmp_path)
    assert found is not None
    assert found.remarks == ["1 images have no annotation, and are left out: new.jpg"]


@pytest.mark.parametrize("said", ["../secret/x.jpg", "..\\secret\\x.jpg", "day 2/../../secret/x.jpg"])
def test_images_outside_the_root_are_not_read(tmp_path: Path, said: str) -> None:
    root, secret = tmp_path / "data", tmp_path / "secret"
    secret.mkdir()
    root.mkdir()
    Image.new("RGB", (50, 40)).save(secret / "x.jpg")
    write_annotation(root / "a.json", [], imagePath=said)
    with pytest.raises(
        DataError, match=rf"Images outside data.root .* set it to {tmp_path} if .* or put the image beside"
    ):
        LabelMe(root, ["a"], own_labels(CLASSES)).load(0)
    assert LabelMe(tmp_path, ["data/a"], own_labels(CLASSES)).load(0)[0].shape == (40, 50, 3)
    write_annotation(root / "a.json", [], imagePath=str(secret / "x.jpg"))
    with pytest.raises(DataError, match=r"Images outside data.root"):
        LabelMe(root, ["a"], own_labels(CLASSES)).load(0)


# ----------------------------------------------------------------------------------------------------- the datamodule


def module(root: Path, **options: Any) -> LabelMeDataModule:
    settings = {"class_names": CLASSES, "batch_size": 2, "crop_size": 33, "num_workers": 0, **options}
    return LabelMeDataModule(root=str(root), **settings)


def test_labels_are_the_users_own(tmp_path: Path) -> None:
    description = LabelMeDataModule.describe(
        LabelMeDataModule.Options(root="nowhere", class_names=CLASSES, mean=[0.5] * 3, std=[0.2] * 3)
    )
    assert description["class_names"] == CLASSES
    assert description["palette"] == [list(colour) for colour in VOC.palette[:3]]
    assert description["ignore_index"] == 255
    assert module(tmp_path).labels.class_names == tuple(CLASSES)
    for names in ([], ["person"], [f"class {number}" for number in range(256)]):
        with pytest.raises(ConfigError, match=f"class_names holds {len(names)} names, expected 2 to 255: first"):
            LabelMeDataModule.describe(LabelMeDataModule.Options(root="nowhere", class_names=names))
    with pytest.raises(ConfigError, match="Class names repeat"):
        module(tmp_path, class_names=["background", "person", "person"])


def test_splits(tmp_path: Path) -> None:
    data = module(write_labelme(tmp_path), val_fraction=0.34)
    train, val = data.dataset("train"), data.dataset("val")
    assert (len(train), len(val)) == (4, 2)
    ids = {view.sample_id(index) for view in (train, val) for index in range(len(view))}
    assert ids == set(NAMES)
    with pytest.raises(ConfigError, match=r"There is no test split\. Set --data.test_fraction 0.1, or"):
        data.dataset("test")
    assert len(module(tmp_path, test_fraction=0.2).dataset("test")) == 1
    (tmp_path / "train.txt").write_text("a.jpg\nday 2/e\nf\n")
    (tmp_path / "val.txt").write_text("d.jpg\n")
    data = module(tmp_path)
    assert [data.dataset("val").sample_id(0), len(data.dataset("train"))] == ["day 2/d", 3]
    batch = next(iter(data.train_dataloader()))
    assert batch["image"].shape == (2, 3, 33, 33)


def test_it_trains_from_the_command_line(tmp_path: Path) -> None:
    root = write_labelme(tmp_path / "data")
    overlay = str(REPOSITORY / "configs" / "data" / "labelme.yaml")
    options = ["--data.root", str(root), "--run.folder", str(tmp_path / "runs"), "--data.eval_batch_size", "2"]
    options += ["--trainer.max_steps", "1", "--trainer.val_check_interval", "1"]
    assert main(["fit", "-c", str(V3PLUS), "-c", overlay, *SMALL, *options]) == 0
    with np.load(tmp_path / "runs" / "v3plus" / "version_0" / "per_image.npz") as scores:
        assert len(scores["sample_ids"]) == 1


# ------------------------------------------------------------------------------------------------- two real images


def test_real_annotations_give_the_voc_masks() -> None:
    """To the last pixel: VOC's masks of these two were drawn from these polygons."""
    shared = os.environ.get("DEEPLAB_SHARED_DATA")
    if not shared or not Path(shared, "labelme").is_dir():
        pytest.skip("set DEEPLAB_SHARED_DATA to the folder that holds labelme/ and VOCdevkit/")
    names = [{"pottedplant": "potted plant", "tvmonitor": "tv/monitor"}.get(name, name) for name in VOC.class_names]
    dataset = LabelMe(Path(shared, "labelme"), ["2011_000003", "2011_000025"], own_labels(names))
    masks = PascalVOC(Path(shared, "VOCdevkit", "VOC2012"), "val")
    for index in range(2):
        image, mask = dataset.load(index)
        truth = masks.load(index)[1]
        assert (mask != truth).sum() == 0
        np.testing.assert_array_equal(image, read_image(dataset.files(index)[0]))


def test_an_image_is_annotated_once(tmp_path: Path) -> None:
    """A copy of the JSON would put the image into training and validation."""
    write_labelme(tmp_path)
    (tmp_path / "a backup.json").write_bytes((tmp_path / "a.json").read_bytes())
    with pytest.raises(DataError, match=r"a\.jpg is annotated twice: .*a backup\.json and .*a\.json mean it"):
        LabelMeDataModule.recognise(tmp_path)


def test_a_path_to_another_image_than_the_one_beside_is_no_answer(tmp_path: Path) -> None:
    """As after copying `a.json` to `f.json`, with an image of each name."""
    write_labelme(tmp_path)
    write_annotation(tmp_path / "f.json", [], imagePath="a.jpg")
    with pytest.raises(DataError, match=r"f\.json says that its image is a\.jpg \(imagePath\), but f\.jpg lies beside"):
        opened(tmp_path).load(NAMES.index("f"))


def test_rectangles_alone_may_be_boxes(tmp_path: Path) -> None:
    for name in "ab":
        Image.new("RGB", (50, 40)).save(tmp_path / f"{name}.jpg")
        write_annotation(tmp_path / f"{name}.json", [shape("car", [[2, 2], [9, 9]], "rectangle")])
    found = LabelMeDataModule.recognise(tmp_path)
    assert found is not None
    assert any("All 2 objects are rectangles" in remark for remark in found.remarks)


def test_numbers_are_labels(tmp_path: Path) -> None:
    for name, label in (("1", 1), ("2", 2.0), ("3", "1")):
        annotated = write_annotation(tmp_path / f"{name}.json", [shape("x", [[2, 2], [9, 2], [9, 9]])])
        content = json.loads(annotated.read_text())
        content["shapes"][0]["label"] = label
        annotated.write_text(json.dumps(content))
        Image.new("RGB", (content["imageWidth"], content["imageHeight"])).save(tmp_path / f"{name}.jpg")
    found = propose(tmp_path)
    assert found.options["class_names"] == ["background", "1", "2"]
    assert "class_names: [background, '1', '2']" in found.as_yaml("title")
    data = LabelMe(tmp_path, ["1", "2", "3"], own_labels(["background", "1", "2"]))
    assert [sorted(set(data.load(index)[1].ravel().tolist())) for index in range(3)] == [[0, 1], [0, 2], [0, 1]]
