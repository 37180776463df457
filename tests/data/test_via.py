"""The VGG Image Annotator's files, beside masks that were made otherwise."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.path import Path as Outline

from deeplab_lightning.data.sets.via import VIADataModule
from deeplab_lightning.doctor.layouts import propose
from deeplab_lightning.errors import ConfigError, DataError

from ..fakes.via import HEIGHT, RECT, SQUARE, WIDTH, entry, write_images, write_via

CLASSES = ["background", "road", "car"]


def module(root: Path, **options: Any) -> VIADataModule:
    return VIADataModule(root=str(root), **{"class_names": CLASSES, "num_workers": 0, **options})


def expected(road: int = 1, car: int = 2) -> np.ndarray:
    """Return the mask of the square and the rectangle."""
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[5:25, 10:20] = road
    mask[10:30, 30:38] = car
    return mask


def mask_of(root: Path, shape: dict[str, Any]) -> np.ndarray:
    entries = [entry(f"p{number}.jpg", (shape, {"kind": "road"})) for number in range(3)]
    return module(write_via(root, entries)).dataset("train").load(0)[1]


def inside(points: Any) -> np.ndarray:
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    centres = np.stack([columns.ravel() + 0.5, rows.ravel() + 0.5], axis=1)
    return Outline(points).contains_points(centres).reshape(HEIGHT, WIDTH)


@pytest.mark.parametrize("project", [True, False])
def test_projects_and_exports(tmp_path: Path, project: bool) -> None:
    root = write_via(tmp_path, project=project)
    assert np.array_equal(module(root).dataset("train").load(0)[1], expected())


def test_regions_as_an_object_as_in_the_first_version(tmp_path: Path) -> None:
    regions = ((SQUARE, {"kind": "road"}), (RECT, {"kind": "car"}))
    root = write_via(tmp_path, [entry(f"p{n}.jpg", *regions, as_object=True) for n in range(3)], project=False)
    assert np.array_equal(module(root).dataset("train").load(0)[1], expected())


def test_makesense(tmp_path: Path) -> None:
    """Its export closes polygons by their first point, and calls the attribute label."""
    write_images(tmp_path)
    points = {"name": "polygon", "all_points_x": [10.2, 30.5, 20.1, 10.2], "all_points_y": [5.5, 8.1, 30.3, 5.5]}
    regions = {"0": {"shape_attributes": points, "region_attributes": {"label": "road"}}}
    content = {f"p{n}.jpg": {"fileref": "", "size": 9, "filename": f"p{n}.jpg", "base64_img_data": "",
                             "file_attributes": {}, "regions": regions} for n in range(3)}  # fmt: skip
    (tmp_path / "labels_my-project_2024-01-01.json").write_text(json.dumps(content))
    assert propose(tmp_path).options["class_names"] == ["background", "road"]
    mask = module(tmp_path).dataset("train").load(0)[1]
    assert np.array_equal(mask == 1, inside([(10.2, 5.5), (30.5, 8.1), (20.1, 30.3)]))


def test_csv(tmp_path: Path) -> None:
    write_images(tmp_path)
    with (tmp_path / "via_export_csv.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["filename", "file_size", "file_attributes", "region_count", "region_id",
                        "region_shape_attributes", "region_attributes"])  # fmt: skip
        for number in range(3):
            for index, (shape, kind) in enumerate([(SQUARE, "road"), (RECT, "car")]):
                table.writerow([f"p{number}.jpg", 9, "{}", 2, index, json.dumps(shape), json.dumps({"kind": kind})])
        table.writerow(["p4.jpg", 9, "{}", 0, 0, "{}", "{}"])
    data = module(tmp_path)
    assert np.array_equal(data.dataset("train").load(0)[1], expected())
    assert len(data.annotations.images) == 4


def test_circles_and_turned_ellipses(tmp_path: Path) -> None:
    around = np.linspace(0, 2 * math.pi, 2000, endpoint=False)
    circle = np.stack([25 + 9.3 * np.cos(around), 20 + 9.3 * np.sin(around)], axis=1)
    assert np.array_equal(mask_of(tmp_path, {"name": "circle", "cx": 25, "cy": 20, "r": 9.3}) == 1, inside(circle))
    x, y, theta = 15 * np.cos(around), 5 * np.sin(around), 0.6
    turned = [25 + x * math.cos(theta) - y * math.sin(theta), 20 + x * math.sin(theta) + y * math.cos(theta)]
    shape = {"name": "ellipse", "cx": 25, "cy": 20, "rx": 15, "ry": 5, "theta": theta}
    assert np.array_equal(mask_of(tmp_path, shape) == 1, inside(np.stack(turned, axis=1)))


def test_which_attribute_is_the_class_is_asked(tmp_path: Path) -> None:
    both = [(SQUARE, {"kind": "road", "state": "wet"}), (RECT, {"kind": "car", "state": "dry"})]
    root = write_via(tmp_path, [entry(f"p{n}.jpg", *both) for n in range(4)])
    found = propose(root)
    assert found.options["class_attribute"] is None
    assert "class_attribute: null  # say which holds the class: kind, state" in found.as_yaml("title")
    assert any("kind (car, road); state (dry, wet)" in remark for remark in found.remarks)
    with pytest.raises(ConfigError, match=r"kind \(car, road\); state \(dry, wet\)\. Set data.class_attribute"):
        module(root).dataset("train")
    assert np.array_equal(module(root, class_attribute="kind").dataset("train").load(0)[1], expected())
    states = module(root, class_attribute="state", class_names=["background", "dry", "wet"])
    assert np.array_equal(states.dataset("train").load(0)[1], expected(road=2, car=1))
    with pytest.raises(ConfigError, match=r"'kinds', but regions have kind, state.*Did you mean 'kind'"):
        module(root, class_attribute="kinds").dataset("train")


def test_regions_without_attributes_are_of_one_class_that_the_user_names(tmp_path: Path) -> None:
    root = write_via(tmp_path, [entry(f"p{n}.jpg", (SQUARE, {}), (RECT, {"kind": ""})) for n in range(4)])
    found = propose(root)
    assert found.options["class_names"] == ["background", "object"]
    assert any("no attributes" in remark for remark in found.remarks)
    assert np.array_equal(module(root, class_names=["ground", "balloon"]).dataset("train").load(0)[1], expected(1, 1))


def test_splits_in_folders_with_a_file_each(tmp_path: Path) -> None:
    """As the balloons of Mask R-CNN's example lie."""
    for split in ("train", "val"):
        write_via(tmp_path / split, project=False)
    data = module(tmp_path)
    assert (len(data.dataset("train")), len(data.dataset("val"))) == (6, 6)
    assert propose(tmp_path).options["class_names"] == ["background", "car", "road"]


def test_classes_are_in_the_projects_order_and_boxes_may_be_ticked(tmp_path: Path) -> None:
    ticked = [(SQUARE, {"kind": {"road": True, "car": False}}), (RECT, {"kind": {"car": True}})]
    root = write_via(tmp_path, [entry(f"p{n}.jpg", *ticked) for n in range(4)])
    assert propose(root).options["class_names"] == ["background", "road", "car", "tree"]
    assert np.array_equal(module(root).dataset("train").load(0)[1], expected())


def test_what_has_no_area_or_no_class_is_counted(tmp_path: Path) -> None:
    line = {"name": "polyline", "all_points_x": [1, 2, 9], "all_points_y": [1, 5, 9]}
    strange = [(line, {"kind": "road"}), ({"name": "point", "cx": 1, "cy": 2}, {"kind": "car"}),
               (SQUARE, {}), (SQUARE, {"kind": {"road": True, "car": True}})]  # fmt: skip
    found = VIADataModule.read(write_via(tmp_path, [entry("p0.jpg", *strange), entry("p1.jpg")]))
    assert [one.rpartition(", region ")[2] for one in found.left_out] == [
        "1 has no area: it is a polyline",
        "2 has no area: it is a point",
        "3 has 0 values of kind, expected one",
        "4 has 2 values of kind, expected one",
    ]
    assert any("2 images have no regions, and are read as background: p0.jpg, p1.jpg" in one for one in found.remarks)


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ({"name": "polygon", "all_points_x": [1, 2, 3], "all_points_y": [1, 2]}, "ValueError"),
        ({"name": "polygon", "all_points_x": [1, 2, 3]}, "'all_points_y' is missing"),
        ({"name": "rect", "x": 1, "y": 2, "width": 1e9, "height": 3}, "nowhere near"),
        ({"name": "circle", "cx": "a", "cy": 2, "r": 3}, "ValueError"),
    ],
)
def test_damaged_regions(tmp_path: Path, shape: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError, match=words):
        VIADataModule.read(write_via(tmp_path, [entry("p0.jpg", (shape, {"kind": "car"}))]))


def test_other_files_are_not_taken(tmp_path: Path) -> None:
    for text in ("{}", "[]", '{"a": {"filename": "x"}}', '{"regions": [], "images": []}', "{"):
        (tmp_path / "x.json").write_text(text)
        assert not VIADataModule.is_form(tmp_path)
    (tmp_path / "x.csv").write_text("filename,label\na.jpg,car\n")
    assert not VIADataModule.is_form(tmp_path)


def test_rectangles_alone_may_be_boxes(tmp_path: Path) -> None:
    write_via(tmp_path, [entry(f"p{number}.jpg", (RECT, {"kind": "car"})) for number in range(6)])
    found = VIADataModule.recognise(tmp_path)
    assert found is not None
    assert any("All 6 objects are rectangles" in remark for remark in found.remarks)
