"""Drafts of annotations: outlines of class maps, and what our own readers make of the forms."""

from __future__ import annotations

import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from matplotlib.path import Path as Outline
from PIL import Image
from scipy.spatial import KDTree

from deeplab_lightning.data.files.regions import Polygon
from deeplab_lightning.data.sets import datamodule_named
from deeplab_lightning.doctor.layouts import propose
from deeplab_lightning.errors import ConfigError
from deeplab_lightning.inference import DraftOptions
from deeplab_lightning.inference.drafts.form import IGNORED, DraftClass, form_names
from deeplab_lightning.inference.drafts.outlines import OutlinedRegion, outlines
from deeplab_lightning.inference.drafts.specks import without_specks
from deeplab_lightning.inference.drafts.writing import Drafts

CLASSES = {
    1: DraftClass("person & dog", (200, 0, 0)),
    2: DraftClass("car", (0, 200, 0)),
    3: DraftClass("sky", (0,) * 3),
}
ALL = {**CLASSES, 255: DraftClass(IGNORED, (224, 224, 192))}


def blobs(seed: int, height: int = 48, width: int = 60, classes: int = 4, sigma: float = 2.5) -> np.ndarray:
    """A class map of smooth regions that enclose and touch each other."""
    rng = np.random.default_rng(seed)
    fields = [cv2.GaussianBlur(rng.standard_normal((height, width)), (0, 0), sigma) for _ in range(classes)]
    return np.stack(fields).argmax(0).astype(np.uint8)


def noise(seed: int, height: int = 12, width: int = 15, classes: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, classes, (height, width)).astype(np.uint8)


def nested() -> np.ndarray:
    """Rings in rings: background in a class, a class in that, thin lines, corners that touch, ignored pixels."""
    mask = np.zeros((40, 50), np.uint8)
    mask[2:30, 3:33] = 1
    mask[6:26, 8:28] = 0
    mask[8:20, 10:25] = 2
    mask[10:15, 12:20] = 0
    mask[12, 14:17] = 3
    mask[22:24, 9:12] = 1
    mask[24, 12] = 1
    mask[35, 2:48] = 3
    np.fill_diagonal(mask[20:40, 30:50], 2)
    mask[0:5, 40:] = 255
    mask[39, 49] = 1
    return mask


def stacked() -> np.ndarray:
    """Regions of which one begins where another has an edge: what is drawn between them is no edge of theirs."""
    rows = (
        "3333388833 3333388833 3333388333 3333338333 3333333333 3333372333 3333330333 3333330333 3333300333 3333300333"
    )
    return np.array([[int(value) for value in row] for row in rows.split()], np.uint8)


def filled(rings: list[np.ndarray], height: int, width: int) -> np.ndarray:
    """Fill rings by the even-odd rule: which pixels' centres lie in an odd number of them."""
    rows, columns = np.mgrid[:height, :width]
    centres = np.stack([columns.ravel() + 0.5, rows.ravel() + 0.5], axis=1)
    inside = [Outline(np.concatenate([ring, ring[:1]])).contains_points(centres) for ring in rings]
    return np.sum(inside, axis=0).reshape(height, width) % 2 == 1


def rings_of(region: OutlinedRegion) -> list[np.ndarray]:
    return [ring.corners for ring in (region.outer, *region.holes)]


def along(rings: list[np.ndarray], step: float = 0.05) -> np.ndarray:
    """Points close to each other on outlines."""
    points = []
    for ring in rings:
        for here, there in zip(ring, np.roll(ring, -1, axis=0), strict=True):
            share = np.arange(0, 1, step / max(1.0, float(np.hypot(*(there - here)))))
            points.append(here + share[:, None] * (there - here))
    return np.concatenate(points)


# ------------------------------------------------------------------------------------------------------- outlines


@pytest.mark.parametrize("mask", [nested(), noise(0), noise(1, classes=2), blobs(2), np.full((3, 4), 7, np.uint8)])
def test_outlines_that_are_not_simplified_give_the_class_map_back(mask: np.ndarray) -> None:
    again = np.full(mask.shape, 100, np.uint8)
    times = np.zeros(mask.shape, int)
    for region in outlines(mask, 0):
        area = filled(rings_of(region), *mask.shape)
        again[area] = region.class_id
        times += area
        assert region.area == area.sum()
        assert cv2.connectedComponents(area.view(np.uint8), connectivity=4)[0] == 2
        np.testing.assert_array_equal(region.bitmap().area(*mask.shape), area)
        column, row = region.outer.pixels.T
        assert (mask[row, column] == region.class_id).all()
    np.testing.assert_array_equal(again, mask)
    assert (times == 1).all()


@pytest.mark.parametrize("tolerance", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("mask", [nested(), stacked(), noise(3), blobs(4), blobs(5, sigma=6)])
def test_simplified_outlines_cover_each_pixel_once_and_lie_within_the_tolerance(
    mask: np.ndarray, tolerance: float
) -> None:
    exact, regions = outlines(mask, 0), outlines(mask, tolerance)
    assert len(regions) == len(exact)  # none vanished
    assert sum(region.area for region in regions) == pytest.approx(mask.size)
    covered = sum(region.bitmap().area(*mask.shape).astype(int) for region in regions)
    assert (np.asarray(covered) == 1).all()
    for before, after in zip(exact, regions, strict=True):
        assert (before.class_id, len(before.holes)) == (after.class_id, len(after.holes))
        assert after.outer.area > 0
        assert all(ring.area < 0 for ring in after.holes)
    theirs, ours = (along([ring for region in found for ring in rings_of(region)]) for found in (exact, regions))
    assert KDTree(theirs).query(ours)[0].max() <= tolerance + 0.05
    assert KDTree(ours).query(theirs)[0].max() <= tolerance + 0.05


def test_simplified_outlines_have_fewer_corners_and_no_gaps_between_neighbours() -> None:
    mask = np.zeros((30, 40), np.uint8)
    rows, columns = np.mgrid[:30, :40]
    mask[columns > 10 + rows // 2] = 1
    mask[columns > 25 - rows // 3] = 2
    regions = outlines(mask, 1)
    assert sum(len(region.outer.corners) for region in regions) < 20
    edges = [
        (tuple(here), tuple(there))
        for region in regions
        for ring in rings_of(region)
        for here, there in zip(ring.tolist(), np.roll(ring, -1, axis=0).tolist(), strict=True)
    ]
    at_edge = [(0, 0), (0, 40), (1, 0), (1, 30)]
    border = [one for one in edges if not any(one[0][axis] == one[1][axis] == side for axis, side in at_edge)]
    assert border
    assert all((there, here) in edges for here, there in border)


@pytest.mark.parametrize("tolerance", [0, 1])
def test_keyholes_fill_to_the_same_pixels(tolerance: float) -> None:
    for region in outlines(nested(), tolerance):
        ring = region.keyhole()
        assert len(ring) == sum(len(one) + 2 for one in rings_of(region)) - 2
        np.testing.assert_array_equal(Polygon((ring.astype(np.float64),)).area(40, 50), region.bitmap().area(40, 50))


def test_specks_go_to_the_nearest_larger_region() -> None:
    for mask in (noise(0, 30, 40, 2), nested(), blobs(9, sigma=1)):
        mask[:10] = 5
        found = without_specks(mask, 12)
        areas = [region.area for region in outlines(found, 0)]
        assert min(areas) >= 12
        for region in outlines(mask, 0):
            if region.area >= 12:
                assert (found[region.bitmap().area(*mask.shape)] == region.class_id).all()
    mask = np.zeros((9, 9), np.uint8)
    mask[:, 6:] = 1
    mask[3:5, 2:4] = 2
    mask[0, 5] = 3
    expected = np.where(mask == 2, 0, mask)
    expected[0, 5] = without_specks(mask, 5)[0, 5]
    assert expected[0, 5] in (0, 1)  # both touch it
    np.testing.assert_array_equal(without_specks(mask, 5), expected)
    np.testing.assert_array_equal(without_specks(mask, 4)[3:5, 2:4], 2)
    np.testing.assert_array_equal(without_specks(mask, 100), mask)


# ------------------------------------------------------------------------------- class map, draft, our own reader


def write_drafts(root: Path, form: str, masks: dict[str, np.ndarray], tolerance: float = 0) -> Path:
    """Write images and their drafts, and return the folder of the drafts."""
    with Drafts(root / "out", DraftOptions((form,), tolerance, draft_min_area=0), ALL) as drafts:
        for name, mask in masks.items():
            image = root / "in" / f"{name}.png"
            image.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((*mask.shape, 3), 90, np.uint8)).save(image)
            drafts.add(image, Path(name), mask)
    return root / "out" / form


def submitted(folder: Path) -> None:
    """Do what Label Studio does with predictions that a person submits: they become annotations."""
    if (folder / "tasks.json").exists():
        tasks = json.loads((folder / "tasks.json").read_text())
        for task in tasks:
            task["annotations"] = [{"was_cancelled": False, "result": one["result"]} for one in task.pop("predictions")]
        (folder / "tasks.json").write_text(json.dumps(tasks))


def read_drafts(folder: Path) -> dict[str, np.ndarray]:
    """Read drafts as doctor proposes it: the end of each image's name -> mask, with the ids of `ALL`."""
    submitted(folder)
    proposal = propose(folder)
    data = datamodule_named(proposal.name)(**{**proposal.options, "batch_size": 1, "num_workers": 0})
    table = np.zeros(256, np.uint8)
    ids = {one.name: class_id for class_id, one in ALL.items()}
    for number, name in enumerate(data.labels.class_names):
        table[number] = 0 if name == "background" else ids[name]
    table[255] = 255
    found = {}
    for split in ("train", "val"):
        dataset = data.dataset(split)
        for index in range(len(dataset)):
            found[dataset.sample_id(index)] = table[dataset.load(index)[1]]
    return found


MASKS = {"a": nested(), "deeper/a": blobs(7), "b": np.zeros((20, 30), np.uint8), "c d+é": np.full((9, 8), 2, np.uint8),
         "noise": noise(8, classes=4)}  # fmt: skip


@pytest.mark.parametrize("form", form_names())
def test_drafts_are_read_back_as_the_class_map(tmp_path: Path, form: str) -> None:
    found = read_drafts(write_drafts(tmp_path, form, MASKS))
    assert len(found) == len(MASKS)
    for name, mask in found.items():
        original = max((key for key in MASKS if name.endswith(key)), key=len)
        np.testing.assert_array_equal(mask, MASKS[original], err_msg=original)


@pytest.mark.parametrize("form", form_names())
def test_simplified_drafts_are_read_back_within_the_tolerance(tmp_path: Path, form: str) -> None:
    masks = {str(number): blobs(number, 90, 120, sigma=8) for number in range(3)}
    off = 0.0
    for name, found in read_drafts(write_drafts(tmp_path, form, masks, tolerance=1)).items():
        mask = masks[Path(name).name]
        for value in range(4):
            away = cv2.distanceTransform((mask != value).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
            assert away[found == value].max(initial=0) <= (2.5 if form == "labelme" else 1.5), value
        off += float((found != mask).mean()) / len(masks)
    assert 0 < off < 0.04


# ------------------------------------------------------------------------------------------------------- writing


def test_drafts_are_never_overwritten(tmp_path: Path) -> None:
    folder = write_drafts(tmp_path, "labelme", {"a": nested()})
    (folder / "a.json").write_text("corrected")
    with pytest.raises(ConfigError, match=r"labelme is there already, and drafts in it may have been corrected"):
        write_drafts(tmp_path, "labelme", {"a": nested()})
    assert (folder / "a.json").read_text() == "corrected"


def test_what_is_interrupted_leaves_nothing(tmp_path: Path) -> None:
    image = tmp_path / "a.png"
    Image.fromarray(np.zeros((40, 50, 3), np.uint8)).save(image)
    for wrong in (KeyboardInterrupt, None):
        drafts = Drafts(tmp_path / "out", DraftOptions(tuple(form_names())), ALL)
        try:
            with drafts:
                if wrong:
                    drafts.add(image, Path("a"), nested())
                    assert len(list((tmp_path / "out").iterdir())) == len(form_names())
                    raise wrong
        except KeyboardInterrupt:
            pass
        assert list((tmp_path / "out").iterdir()) == []


def test_images_are_linked_and_their_folder_is_left_alone(tmp_path: Path) -> None:
    folder = write_drafts(tmp_path, "labelme", {"a": nested()})
    assert os.path.samefile(folder / "a.png", tmp_path / "in" / "a.png")
    assert sorted(path.name for path in (tmp_path / "in").iterdir()) == ["a.png"]
    assert sorted(path.name for path in folder.iterdir()) == ["a.json", "a.png", "labels.txt"]


def test_labelmes_polygons_are_drawn_as_labelme_does(tmp_path: Path) -> None:
    """By its own way: Pillow's polygon of the points as they stand, filled and with its outline, in drawing order."""
    from PIL import ImageDraw

    mask = nested()
    annotation = json.loads((write_drafts(tmp_path, "labelme", {"a": mask}) / "a.json").read_text())
    ids = {one.name: class_id for class_id, one in ALL.items()} | {"_background_": 0}
    drawn = Image.new("L", (50, 40))
    for shape in annotation["shapes"]:
        points = [tuple(point) for point in shape["points"]]
        value = ids[shape["label"]]
        ImageDraw.Draw(drawn).polygon(points, fill=value, outline=value)
    np.testing.assert_array_equal(np.array(drawn), mask)
    assert annotation["imagePath"] == "a.png"


def test_coco_has_polygons_and_run_lengths_of_whole_regions(tmp_path: Path) -> None:
    mask = np.zeros((6, 7), np.uint8)
    mask[:, 1:6] = 1  # from edge to edge: runs go on from column to column
    mask[2:4, 3] = 0
    mask[1, 0] = 2
    content = json.loads((write_drafts(tmp_path, "coco", {"a": mask}) / "annotations.json").read_text())
    assert [one["name"] for one in content["categories"]] == [one.name for one in ALL.values()]
    ring, pixel = content["annotations"]
    assert ring["segmentation"] == {"size": [6, 7], "counts": [6, 14, 2, 14, 6]}
    assert (ring["area"], ring["bbox"], ring["iscrowd"]) == (28, [1, 0, 5, 6], 0)
    assert pixel["segmentation"] == [[0, 1, 1, 1, 1, 2, 0, 2]]
    assert (pixel["category_id"], pixel["area"], pixel["bbox"]) == (2, 1, [0, 1, 1, 1])


def test_cvats_elements(tmp_path: Path) -> None:
    from xml.etree import ElementTree

    mask = np.zeros((5, 6), np.uint8)
    mask[1:4, 2:5] = 1
    mask[2, 3] = 0
    mask[0, 0] = 2
    root = ElementTree.parse(write_drafts(tmp_path, "cvat", {"x/a": mask}) / "annotations.xml").getroot()
    assert [label.findtext("name") for label in root.iter("label")] == [one.name for one in ALL.values()]
    (image,) = root.iter("image")
    assert image.attrib == {"id": "0", "name": "x/a.png", "width": "6", "height": "5"}
    hollow, square = image
    box = {key: hollow.attrib[key] for key in ("label", "rle", "left", "top", "width", "height")}
    assert box == {"label": "person & dog", "rle": "0, 4, 1, 4", "left": "2", "top": "1", "width": "3", "height": "3"}
    assert (square.tag, square.attrib["points"]) == ("polygon", "0.00,0.00;1.00,0.00;1.00,1.00;0.00,1.00")


def test_yolos_lines(tmp_path: Path) -> None:
    mask = np.zeros((4, 8), np.uint8)
    mask[1:3, 2:4] = 2
    folder = write_drafts(tmp_path, "yolo", {"x/a": mask})
    assert (folder / "labels/train/x/a.txt").read_text() == "1 0.25 0.25 0.5 0.25 0.5 0.75 0.25 0.75\n"
    assert (folder / "train.txt").read_text() == "images/train/x/a.png\n"
    assert '  1: "car"\n' in (folder / "data.yaml").read_text()


def test_label_studios_tasks(tmp_path: Path) -> None:
    mask = np.zeros((4, 8), np.uint8)
    mask[1:3, 2:4] = 2
    folder = write_drafts(tmp_path, "label-studio", {"x y/a": mask})
    (task,) = json.loads((folder / "tasks.json").read_text())
    assert task["data"] == {"image": "/data/local-files/?d=images/x%20y/a.png"}
    (result,) = task["predictions"][0]["result"]
    assert result["value"]["points"] == [[25, 25], [50, 25], [50, 75], [25, 75]]
    assert (result["original_width"], result["original_height"]) == (8, 4)
    interface = (folder / "labelling_interface.xml").read_text()
    assert f'<PolygonLabels name="{result["from_name"]}" toName="{result["to_name"]}">' in interface
    assert 'value="person &amp; dog"' in interface
