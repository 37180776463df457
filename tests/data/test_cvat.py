"""CVAT for images: each shape's pixels, their order, subsets, and XML that is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.path import Path as Outline
from matplotlib.transforms import Affine2D

from deeplab_lightning.data.pairing.layout import Recognised
from deeplab_lightning.data.sets.cvat import CVATDataModule
from deeplab_lightning.errors import DataError

from ..fakes.cvat import HEIGHT, WIDTH, brush, polygon, rectangle, write_cvat, write_images, xml_of

SQUARE = rectangle("crack", 10, 5, 30, 25)


def block(left: int, top: int, right: int, bottom: int) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[top:bottom, left:right] = 1
    return mask


def inside(outline: Outline) -> np.ndarray:
    """The pixels whose centre lies inside."""
    columns, rows = np.meshgrid(np.arange(WIDTH) + 0.5, np.arange(HEIGHT) + 0.5)
    return outline.contains_points(np.stack([columns.ravel(), rows.ravel()], axis=1)).reshape(HEIGHT, WIDTH)


def read_back(root: Path) -> tuple[Recognised, CVATDataModule]:
    """Recognise a folder, and open what was recognised."""
    found = CVATDataModule.recognise(root)
    assert found is not None
    return found, CVATDataModule(**found.options, batch_size=1, crop_size=33, num_workers=0)


def mask_of(root: Path, *shapes: str) -> np.ndarray:
    """The mask of these shapes, of which two images have all."""
    write_images(root / "images", ["a.png", "b.png"])
    (root / "annotations.xml").write_text(xml_of({"a.png": shapes, "b.png": shapes}))
    return read_back(root)[1].dataset("train").load(0)[1]


# --------------------------------------------------------------------------------------------------- shapes to masks


def test_polygons(tmp_path: Path) -> None:
    np.testing.assert_array_equal(mask_of(tmp_path, SQUARE), block(10, 5, 30, 25))
    corners = [(5.25, 3.75), (44.5, 8.1), (30.3, 36.2), (12.9, 22.22)]
    expected = inside(Outline([*corners, corners[0]], closed=True))
    np.testing.assert_array_equal(mask_of(tmp_path, polygon("spall", *corners)), 2 * expected)


def test_masks_run_along_the_rows_of_their_box(tmp_path: Path) -> None:
    shape = np.random.default_rng(0).integers(0, 2, (7, 11), dtype=np.uint8)
    for first in (0, 1):
        shape[0, 0] = first  # the first run is of what is outside, and may be empty
        expected = np.zeros((HEIGHT, WIDTH), np.uint8)
        expected[20:27, 30:41] = 2 * shape
        np.testing.assert_array_equal(mask_of(tmp_path, brush("spall", shape, 30, 20)), expected)


def test_boxes_and_ellipses_are_turned_clockwise(tmp_path: Path) -> None:
    box = '<box label="crack" xtl="10.0" ytl="10.0" xbr="40.0" ybr="20.0" rotation="30.0" z_order="0"></box>'
    disc = '<ellipse label="spall" cx="25.3" cy="30.0" rx="9.0" ry="4.0" rotation="20.0" z_order="1"></ellipse>'
    # Screens' y points down: matplotlib's turn of positive angles is clockwise there.
    turned = Outline([(10, 10), (40, 10), (40, 20), (10, 20), (10, 10)], closed=True)
    turned = turned.transformed(Affine2D().rotate_deg_around(25, 15, 30))
    assert np.asarray(turned.vertices)[1, 1] > 15  # the right end has gone down
    ring = Outline.unit_circle().transformed(Affine2D().scale(9, 4).rotate_deg(20).translate(25.3, 30))
    found = mask_of(tmp_path, box, disc)
    expected = np.where(inside(ring), 2, inside(turned))
    assert (found != expected).sum() <= 2  # matplotlib's circle is of curves
    np.testing.assert_array_equal(found == 1, (expected == 1) & (found != 2))
    assert any("2 boxes are drawn filled" in line for line in read_back(tmp_path)[0].remarks)


def test_higher_shapes_lie_on_top_and_of_equal_ones_the_later(tmp_path: Path) -> None:
    low, high = rectangle("spall", 0, 0, 20, 20, z_order=-1), rectangle("crack", 0, 0, 10, 10, z_order=3)
    large = rectangle("spall", 0, 0, 40, 40, z_order=0)
    found = mask_of(tmp_path, high, SQUARE, large, low)
    np.testing.assert_array_equal(found, np.where(block(0, 0, 10, 10), 1, 2 * block(0, 0, 40, 40)))


def test_shapes_without_area_are_counted(tmp_path: Path) -> None:
    line = '<polyline label="crack" points="1,1;5,5" z_order="0"></polyline><tag label="crack"></tag>'
    with pytest.warns(UserWarning, match=r"2 of 8 objects are left out.* is a polyline, which has no area"):
        np.testing.assert_array_equal(mask_of(tmp_path, SQUARE, SQUARE, SQUARE, line), block(10, 5, 30, 25))


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ('<points label="crack" points="1,1"/>', "shape 1 is a points, which has no area"),
        ('<box label="crack" xtl="1" ytl="1" xbr="9" ybr="9"/>', "has 2 boxes and no outlines"),
        ('<box label="crack" xtl="1" ytl="1" xbr="9"/>', "is a box without ybr"),
        ('<polygon label="crack" points="1,1;5,5"/>', "expected x and y of 3 points"),
        ('<polygon label="crack" points="1,1;5,5;3e7,2"/>', "nowhere near an image"),
        ('<polygon label="crack" points="1,1;5,5;nan,2"/>', "nowhere near an image"),
        ('<polygon label="crack" points="1,1;5,5;a,2"/>', "could not convert string to float"),
        ('<polygon label="crack"/>', "could not convert"),
        ('<polygon points="1,1;5,5;9,2"/>', "shape 1 has no label"),
        ('<ellipse label="crack" cx="1" cy="1" rx="0" ry="9"/>', "has no area"),
        ('<mask label="crack" rle="3, 3" left="1" top="1" width="2" height="2"/>', "they cover 6 of 4 pixels"),
        ('<mask label="crack" rle="3, x" left="1" top="1" width="2" height="2"/>', "invalid literal"),
        ('<mask label="crack" rle="1" left="1" top="1" width="-1" height="-1"/>', "a mask of -1x-1 pixels"),
        (
            '<mask label="crack" rle="0, 1000000000000" left="0" top="0" width="1000000" height="1000000"/>',
            "a block of",
        ),
    ],
)
def test_shapes_that_cannot_be_drawn(tmp_path: Path, shape: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        mask_of(tmp_path, shape)


# -------------------------------------------------------------------------------------------------------- whole files


def test_an_export_of_a_task(tmp_path: Path) -> None:
    found, data = read_back(write_cvat(tmp_path))
    assert found.options["class_names"] == ["background", "crack", "spall"]
    assert {split: len(names) for split, names in data.splits.items()} == {"train": 4, "val": 1}
    expected = np.where(block(12, 8, 20, 12), 2, block(10, 5, 30, 25))
    np.testing.assert_array_equal(data.dataset("val").load(0)[1], expected)


def test_subsets_are_splits_and_folders(tmp_path: Path) -> None:
    text = ""
    for subset, names in {"Train": ["a.png", "b.png"], "Validation": ["a.png"], "Test": ["a.png"]}.items():
        write_images(tmp_path / "images" / subset, names)
        one = xml_of({name: [SQUARE] for name in names}, subset)
        images = one[one.index("<image ") : one.index("</annotations>")]
        text = text.replace("</annotations>", f"{images}</annotations>") or one
    (tmp_path / "annotations.xml").write_text(text.replace("task>", "project>"))
    found, data = read_back(tmp_path)
    assert data.splits == {
        "train": ["images/Train/a", "images/Train/b"], "val": ["images/Validation/a"], "test": ["images/Test/a"],
    }  # fmt: skip
    assert found.options["class_names"] == ["background", "crack", "spall"]


def test_labels_without_area_are_no_classes(tmp_path: Path) -> None:
    write_cvat(tmp_path)
    path = tmp_path / "annotations.xml"
    extra = "<label><name>night</name><type>tag</type></label><label><name>knee</name><parent>leg</parent></label>"
    path.write_text(path.read_text().replace("</labels>", f"{extra}</labels>"))
    assert read_back(tmp_path)[0].options["class_names"] == ["background", "crack", "spall"]


def test_images_of_another_size_and_missing_ones(tmp_path: Path) -> None:
    write_cvat(tmp_path)
    (tmp_path / "images" / "0.png").unlink()
    found, _ = read_back(tmp_path)
    assert any("1 of 5 annotated images are missing, and left out. The first: 0.png" in line for line in found.remarks)
    path = tmp_path / "annotations.xml"
    path.write_text(path.read_text().replace('width="50"', 'width="51"'))
    with pytest.raises(DataError, match="was drawn on an image of 51x40"):
        read_back(tmp_path)[1].dataset("train").load(0)
    for image in (tmp_path / "images").iterdir():
        image.unlink()
    with pytest.raises(DataError, match="5 of 5 annotated images are missing"):
        CVATDataModule.recognise(tmp_path)


BOMB = """<?xml version="1.0"?><!DOCTYPE a [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>
<annotations><version>1.1</version><meta><task><labels><label><name>&b;</name></label></labels></task></meta></annotations>"""
OUTSIDE = BOMB.replace('"aaaaaaaaaa"', 'SYSTEM "file:///etc/hostname"')


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOMB, "declares a document type"),
        (OUTSIDE, "declares a document type"),
        ("<annotations><version>1.1</version><meta>", "is no XML: no element found"),
        ("<annotations><meta/><image width='5'/></annotations>", "image 1 has no name"),
        ("<annotations><meta/><track id='0' label='crack'></track></annotations>", "form for video, with tracks"),
        ("<annotations><meta/></annotations>", "holds no annotated images; expected CVAT for images 1.1"),
    ],
)
def test_files_that_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "annotations.xml").write_text(text)
    with pytest.raises(DataError, match=message):
        CVATDataModule.recognise(tmp_path)


def test_other_xml_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text("<annotation><folder>VOC2012</folder></annotation>")
    (tmp_path / "b.xml").mkdir()
    assert CVATDataModule.recognise(tmp_path) is None
