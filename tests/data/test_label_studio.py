"""Label Studio's exports, beside masks that were made otherwise."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.path import Path as Outline
from PIL import Image

from deeplab_lightning.data.sets.label_studio import LabelStudioDataModule, brush_pixels
from deeplab_lightning.doctor.layouts import propose
from deeplab_lightning.errors import ConfigError, DataError

from ..fakes.label_studio import (
    HEIGHT,
    WIDTH,
    annotation,
    brush,
    packed,
    percent,
    polygon,
    result,
    task,
    write_label_studio,
)

CLASSES = ["background", "car", "road"]
SQUARE = [[10.0, 10.0], [20.0, 10.0], [20.0, 20.0], [10.0, 20.0]]


def module(root: Path, **options: Any) -> LabelStudioDataModule:
    return LabelStudioDataModule(root=str(root), **{"class_names": CLASSES, "num_workers": 0, **options})


def mask_of(root: Path, results: list[dict[str, Any]]) -> np.ndarray:
    """Return the mask of an image with these objects."""
    write_label_studio(
        root, [task(n, f"/data/upload/3/0a1b2c3d-p{n}.png", results if n == 0 else []) for n in range(3)]
    )
    data = module(root)
    for split in ("train", "val"):
        dataset = data.dataset(split)
        for index in range(len(dataset)):
            if dataset.sample_id(index) == "p0":
                return dataset.load(index)[1]
    raise AssertionError


def inside(points: Any) -> np.ndarray:
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    centres = np.stack([columns.ravel() + 0.5, rows.ravel() + 0.5], axis=1)
    return Outline(points).contains_points(centres).reshape(HEIGHT, WIDTH)


def test_polygons_in_percent(tmp_path: Path) -> None:
    points = [[3.2, 4.1], [30.7, 8.3], [22.1, 33.9], [9.4, 20.6]]
    mask = mask_of(tmp_path, [polygon(points, "road")])
    assert np.array_equal(mask == 2, inside(points))
    assert set(np.unique(mask)) == {0, 2}


@pytest.mark.parametrize("repeat", [True, False])
def test_brushes_in_packed_run_lengths(repeat: bool) -> None:
    values = np.random.default_rng(0).integers(0, 3, (9, 7, 4), dtype=np.uint8) * 127
    assert np.array_equal(brush_pixels(bytes(packed(values, repeat)), values.size), values.ravel())
    values = np.zeros(70_000 * 4, np.uint8)  # more than one number of 16 bits can count
    values[9:200_000] = 255
    assert np.array_equal(brush_pixels(bytes(packed(values)), values.size), values)


def test_a_brush_that_was_packed_by_the_tool() -> None:
    """2 x 2 pixels of four channels of 255, as the tool's own packing writes them: one run of 16 values."""
    by_hand = f"{16:032b}" + "00111" + "0010" + "0011" + "0111" + "1111" + "1" + "01" + "1111" + "11111111"
    by_hand += "0" * (-len(by_hand) % 8)
    data = bytes(int(by_hand[start : start + 8], 2) for start in range(0, len(by_hand), 8))
    assert (brush_pixels(data, 16) == 255).all()


def test_brushes_are_where_their_last_channel_is(tmp_path: Path) -> None:
    area = np.random.default_rng(1).random((HEIGHT, WIDTH)) > 0.7
    assert np.array_equal(mask_of(tmp_path, [brush(area, "car")]) == 1, area)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda data: data[: len(data) // 2], "end early"),
        (lambda data: b"\xff\xff\xff\xff" + data[4:], "hold 4294967295 values"),
        (lambda data: b"", "end early"),
        (lambda data: data[:4] + bytes([data[4] | 0xF8]) + data[5:], "bits, expected 8"),
    ],
)
def test_damaged_brushes_take_no_memory(change: Any, words: str) -> None:
    data = bytes(packed(np.arange(64, dtype=np.uint8)))
    with pytest.raises(ValueError, match=words):
        brush_pixels(change(data), 64)


def test_rectangles_are_turned_about_their_corner(tmp_path: Path) -> None:
    angle = 30
    value = {"x": 40, "y": 25, "width": 24, "height": 20, "rotation": angle, "rectanglelabels": ["car"]}
    left, top, across, down = 20.0, 10.0, 12.0, 8.0  # in pixels
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    corners = [(left + x * cos - y * sin, top + x * sin + y * cos) for x, y in
               ((0, 0), (across, 0), (across, down), (0, down))]  # fmt: skip
    assert np.array_equal(mask_of(tmp_path, [result("rectanglelabels", value)]) == 1, inside(corners))


def test_upright_rectangles(tmp_path: Path) -> None:
    value = {"x": 20, "y": 25, "width": 10, "height": 50, "rotation": 0, "rectanglelabels": ["car"]}
    expected = np.zeros((HEIGHT, WIDTH), np.uint8)
    expected[10:30, 10:15] = 1
    assert np.array_equal(mask_of(tmp_path, [result("rectanglelabels", value)]), expected)


def test_ellipses_have_radii_in_percent_of_width_and_height(tmp_path: Path) -> None:
    value = {"x": 50, "y": 50, "radiusX": 20, "radiusY": 10, "rotation": 20, "ellipselabels": ["road"]}
    around = np.linspace(0, 2 * math.pi, 2000, endpoint=False)
    x, y = 10 * np.cos(around), 4 * np.sin(around)
    angle = math.radians(20)
    points = np.stack(
        [25 + x * math.cos(angle) - y * math.sin(angle), 20 + x * math.sin(angle) + y * math.cos(angle)], 1
    )
    assert np.array_equal(mask_of(tmp_path, [result("ellipselabels", value)]) == 2, inside(points))


def test_labels_in_a_result_of_their_own(tmp_path: Path) -> None:
    """<Polygon/> and <Labels/> write two results of one id; choices say something of the whole image."""
    shape = {"points": percent(SQUARE), "closed": True}
    results = [
        result("polygon", shape, id="a"),
        result("labels", {**shape, "labels": ["car"]}, id="a"),
        result("choices", {"choices": ["day"]}, id="b"),
    ]
    mask = mask_of(tmp_path, results)
    assert np.array_equal(mask == 1, inside(SQUARE))
    assert not module(tmp_path).annotations.left_out


def test_later_objects_lie_over_earlier_ones(tmp_path: Path) -> None:
    whole = [[0.0, 0.0], [50.0, 0.0], [50.0, 40.0], [0.0, 40.0]]
    mask = mask_of(tmp_path, [polygon(whole, "road"), polygon(SQUARE, "car")])
    assert ((mask == 1).sum(), (mask == 2).sum()) == (100, 1900)


def test_the_newest_annotation_that_was_not_cancelled_counts(tmp_path: Path) -> None:
    old = annotation([polygon(SQUARE, "car")], "2024-01-01T00:00:00Z")
    new = annotation([polygon(SQUARE, "road")], "2024-03-01T00:00:00Z")
    cancelled = annotation([], "2024-04-01T00:00:00Z", was_cancelled=True)
    tasks = [task(n, f"p{n}.png", new, old, cancelled) for n in range(3)]
    data = module(write_label_studio(tmp_path, tasks))
    assert {one.label for image in data.annotations.images.values() for one in image.objects} == {"road"}


def test_tasks_without_annotation_are_left_out_and_said(tmp_path: Path) -> None:
    tasks = [task(n, f"p{n}.png", [polygon(SQUARE, "car")]) for n in range(3)]
    tasks += [task(3, "p3.png"), task(4, "p4.png", annotation([], was_cancelled=True)), task(5, "p5.png", [])]
    write_label_studio(tmp_path, tasks)
    found = LabelStudioDataModule.read(tmp_path)
    assert sorted(found.images) == ["p0", "p1", "p2", "p5"]  # p5 was submitted: nothing is on it
    assert found.remarks == ["2 tasks have no annotation that was submitted, and are left out: p3.png, p4.png"]
    recognised = LabelStudioDataModule.recognise(tmp_path)
    assert recognised is not None
    assert found.remarks[0] in recognised.remarks


@pytest.mark.parametrize(
    ("said", "file"),
    [
        ("/data/upload/12/1a2b3c4d-my_photo.jpg", "1a2b3c4d-my_photo.jpg"),
        ("/data/upload/12/1a2b3c4d-my_photo.jpg", "my photo.jpg"),
        ("/data/local-files/?d=set/day%201/x.png", "day 1/x.png"),
        ("s3://bucket/set/x.png", "elsewhere/x.png"),
        ("https://host.example/a/b%20c.jpg?token=1", "b c.jpg"),
        ("https://host.example/a/c.jpeg", "c.png"),
        ("../../x.png", "x.png"),
    ],
)
def test_images_are_found(tmp_path: Path, said: str, file: str) -> None:
    write_label_studio(tmp_path, [task(1, said, [polygon(SQUARE, "car")])])
    path = tmp_path / "images" / file
    path.parent.mkdir(exist_ok=True)
    Image.new("RGB", (WIDTH, HEIGHT)).save(path)
    assert [one.image for one in LabelStudioDataModule.read(tmp_path).images.values()] == [path]


def test_images_of_one_name_in_two_folders(tmp_path: Path) -> None:
    for day in ("day1", "day2"):
        (tmp_path / day).mkdir()
        Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / day / "x.png")
    said = ["/data/local-files/?d=set/day1/x.png", "/data/local-files/?d=set/day2/x.png"]
    write_label_studio(tmp_path, [task(n, one, [polygon(SQUARE, "car")]) for n, one in enumerate(said)])
    assert sorted(LabelStudioDataModule.read(tmp_path).images) == ["day1/x", "day2/x"]
    write_label_studio(tmp_path, [task(1, "https://host.example/x.png", [polygon(SQUARE, "car")])])
    with pytest.raises(DataError, match=r"x.png may be .*day1/x.png, .*day2/x.png"):
        LabelStudioDataModule.read(tmp_path)


@pytest.mark.parametrize(
    ("tasks", "words"),
    [
        ([task(n, "p1.png", [polygon(SQUARE, "car")]) for n in (1, 2)], "task 2 is of .*p1.png, which .* another task"),
        ([task(1, "p1.png", [polygon(SQUARE, "car", image_rotation=90)])], "turned by 90 degrees"),
        (
            [task(1, "p1.png", [polygon(SQUARE, "car"), polygon(SQUARE, "car", original_width=9)])],
            "images of several sizes",
        ),
        ([{**task(1, "", [polygon(SQUARE, "car")]), "data": {"a": "x.png", "b": "y.png"}}], "speaks of 2 images"),
        ([task(1, "p1.png", [polygon(SQUARE, "car")]), 3], "task 2 is not in the form expected"),
        (
            [task(1, "p1.png", [result("polygonlabels", {"points": [["x", 1]] * 3, "polygonlabels": ["car"]})])],
            "no list of x and y",
        ),
    ],
)
def test_what_is_refused(tmp_path: Path, tasks: list[Any], words: str) -> None:
    write_label_studio(tmp_path, tasks)
    with pytest.raises(DataError, match=words):
        LabelStudioDataModule.read(tmp_path)


def test_missing_images(tmp_path: Path) -> None:
    tasks = [task(n, f"p{n}.png", [polygon(SQUARE, "car")]) for n in range(5)]
    root = write_label_studio(tmp_path, [*tasks, task(9, "lost.png", [polygon(SQUARE, "car")])])
    assert LabelStudioDataModule.read(root).missing == [
        f"{next(root.glob('*.json'))}, task 9 is of lost.png, which is nowhere below {root}."
    ]
    write_label_studio(tmp_path, [task(1, "lost.png", [polygon(SQUARE, "car")])])
    with pytest.raises(DataError, match="1 of 1 annotated images are missing"):
        _ = module(root).annotations


def test_what_has_no_area_is_counted(tmp_path: Path) -> None:
    lines = [
        result("keypointlabels", {"x": 1, "y": 2, "width": 0.5, "keypointlabels": ["car"]}),
        result("polygonlabels", {"points": percent(SQUARE[:2]), "polygonlabels": ["car"]}),
        result("polygonlabels", {"points": percent(SQUARE), "closed": False, "polygonlabels": ["car"]}),
        result("polygonlabels", {"points": percent(SQUARE), "polygonlabels": ["car", "road"]}),
    ]
    good = [polygon(SQUARE, "car") for _ in range(100)]
    root = write_label_studio(tmp_path, [task(n, f"p{n}.png", lines if n == 0 else good) for n in range(3)])
    left_out = module(root).annotations.left_out
    assert len(left_out) == 4
    assert left_out[0].endswith("object 1 has no area: it is of kind keypointlabels")
    assert left_out[3].endswith("object 4 has 2 labels, expected one")
    write_label_studio(tmp_path, [task(n, f"p{n}.png", lines) for n in range(3)])
    with pytest.raises(DataError, match="12 of 12 objects have no outline"):
        _ = module(root).annotations


def test_the_short_form(tmp_path: Path) -> None:
    """JSON_MIN: what stands in `value` in the long form, beside the image."""
    write_label_studio(tmp_path)
    (export,) = tmp_path.glob("*.json")
    tasks = []
    for number in range(3):
        value = {**polygon(SQUARE, "road")["value"], "original_width": WIDTH, "original_height": HEIGHT}
        tasks.append({"image": f"/data/upload/3/0a1b2c3d-p{number}.png", "id": number, "label": [value],
                      "annotator": 1, "annotation_id": 4, "lead_time": 3.5})  # fmt: skip
    export.write_text(json.dumps(tasks))
    mask = module(tmp_path).dataset("train").load(0)[1]
    assert np.array_equal(mask == 2, inside(SQUARE))


def test_it_is_recognised_and_nothing_else(tmp_path: Path) -> None:
    found = propose(write_label_studio(tmp_path / "outer" / "data").parent)
    assert (found.name, found.options["class_names"]) == ("LabelStudio", CLASSES)
    assert (found.train_size, len(found.images)) == (5, 5)
    export = next((tmp_path / "outer" / "data").glob("*.json"))
    for other in ("[]", "{}", "[1, 2]", '[{"data": {"text": "a"}, "annotations": []}]', "[", '[{"image": "a.png"}]'):
        export.write_text(other)
        assert not LabelStudioDataModule.is_form(export.parent)


def test_brushes_as_png_alone_do_not_tell_their_images(tmp_path: Path) -> None:
    Image.new("L", (4, 4)).save(tmp_path / "task-1-annotation-1-by-1-tag-car-0.png")
    with pytest.raises(DataError, match=r"1 brushes exported from Label Studio as PNG.*Export the project as JSON too"):
        propose(tmp_path)


@pytest.mark.parametrize(("ending", "mark"), [("csv", ","), ("tsv", "\t")])
def test_tables(tmp_path: Path, ending: str, mark: str) -> None:
    points = [[3.2, 4.1], [30.7, 8.3], [22.1, 33.9], [9.4, 20.6]]
    one = polygon(points, "road")
    value = one["value"] | {"original_width": WIDTH, "original_height": HEIGHT}
    with (tmp_path / f"project-1.{ending}").open("w", newline="") as file:
        table = csv.writer(file, delimiter=mark)
        table.writerow(["annotation_id", "annotator", "id", "image", "label", "lead_time"])
        for number in range(3):
            Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / f"p{number}.png")
            row = [number, 1, number, f"/data/upload/3/0a1b2c3d-p{number}.png", json.dumps([value]), 3.5]
            table.writerow(row)
    found = propose(tmp_path)
    assert (found.name, found.options["class_names"]) == ("LabelStudio", ["background", "road"])
    dataset = LabelStudioDataModule(root=str(tmp_path), class_names=["background", "road"], num_workers=0)
    assert np.array_equal(dataset.dataset("train").load(0)[1], inside(points))


def test_predictions_that_nobody_submitted_are_named(tmp_path: Path) -> None:
    predicted = task(0, "/data/upload/3/0a1b2c3d-p0.png")
    predicted["predictions"] = [{"result": [polygon([[1.0, 1.0], [9.0, 1.0], [9.0, 9.0]], "road")]}]
    (tmp_path / "tasks.json").write_text(json.dumps([predicted]))
    Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "p0.png")
    with pytest.raises(ConfigError, match=r"tasks.json holds tasks of Label Studio with predictions alone, .*submit"):
        propose(tmp_path)
