"""Files that state what masks hold: the forms that tools write, and what is none of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from deeplab_lightning.data.classes.stated_classes import StatedClass, read_stated, stated_classes, states_others
from deeplab_lightning.data.pairing.layout import lines_of

SKY, CAR = StatedClass("sky", colour=(51, 221, 255)), StatedClass("car", colour=(250, 50, 83))
BLACK = (0, 0, 0)
FORMS = {
    # CVAT, in VOC's form
    "labelmap.txt": (
        "# label:color_rgb:parts:actions\nbackground:0,0,0::\nsky:51,221,255::\ncar:250,50,83::\n",
        [StatedClass("background", colour=BLACK), SKY, CAR],
    ),
    # CamVid's own has tabs before the names, Datumaro's a space
    "label_colors.txt": (
        "0 0 0\t\tVoid\n51 221 255 sky\n250 50 83\tcar\n",
        [StatedClass("Void", colour=BLACK), SKY, CAR],
    ),
    "class_dict.csv": ("name,r,g,b\nsky,51,221,255\ncar,250,50,83\n", [SKY, CAR]),
    "class_dict_seg.csv": ("name, r, g, b\nsky, 51, 221, 255\ncar, 250, 50, 83\n", [SKY, CAR]),
    "color_map.csv": ("sky;51;221;255\ncar;250;50;83\n", [SKY, CAR]),
    "colours.csv": ('Class,Hex\nsky,#33ddff\ncar,"#FA3253"\n', [SKY, CAR]),
    "_classes.csv": (
        "Pixel Value, Class\n0, background\n1, crack\n",
        [StatedClass("background", 0), StatedClass("crack", 1)],
    ),
    "objectInfo150.csv": (
        "Idx,Ratio,Train,Val,Stuff,Name\n1,0.15,11664,1172,1,wall\n2,0.1,6046,612,1,building;edifice\n",
        [StatedClass("wall", 1), StatedClass("building", 2)],
    ),
    "objectInfo150.txt": (
        "Idx\tRatio\tTrain\tVal\tName\n1\t0.15\t11664\t1172\twall\n2\t0.1\t6046\t612\tbuilding, edifice\n",
        [StatedClass("wall", 1), StatedClass("building", 2)],
    ),
    "dataset_meta.json": (
        '{"label_map": {"0": "bg", "7": "sky"}, "segmentation_colors": [[0, 0, 0], [51, 221, 255]]}',
        [StatedClass("bg", 0, BLACK), StatedClass("sky", 7, (51, 221, 255))],
    ),
    # Supervisely: the ids are its data base's
    "meta.json": (
        '{"classes": [{"title": "sky", "shape": "bitmap", "color": "#33DDFF", "id": 10541}], "tags": []}',
        [SKY],
    ),
    "obj_class_to_machine_color.json": (
        '{"kiwi": [1, 1, 1], "lemon": [2, 2, 2]}',
        [StatedClass("background", 0, BLACK), StatedClass("kiwi", 1, (1, 1, 1)), StatedClass("lemon", 2, (2, 2, 2))],
    ),
    # Mapillary Vistas: the place in the list is the number
    "config_v1.2.json": (
        '{"labels": [{"color": [165, 42, 42], "readable": "Bird", "name": "animal--bird"}, '
        '{"color": [0, 192, 0], "readable": "Ground Animal", "name": "animal--ground-animal"}], "version": 1.1}',
        [StatedClass("Bird", 0, (165, 42, 42)), StatedClass("Ground Animal", 1, (0, 192, 0))],
    ),
    "id2label.json": ('{"0": "wall", "1": "floor"}', [StatedClass("wall", 0), StatedClass("floor", 1)]),
    "label2id.json": ('{"wall": 0, "floor": 1}', [StatedClass("wall", 0), StatedClass("floor", 1)]),
    "palette.json": ('{"sky": [51, 221, 255], "car": "#fa3253"}', [SKY, CAR]),
    "classes.json": (
        '{"classes": ["sky", "car"], "palette": [[51, 221, 255], [250, 50, 83]]}',
        [StatedClass("sky", 0, (51, 221, 255)), StatedClass("car", 1, (250, 50, 83))],
    ),
    "notes.json": ('{"categories": [{"id": 3, "name": "car"}]}', [StatedClass("car", 3)]),
    "classes.txt": ("crack\nspall\n", [StatedClass("crack"), StatedClass("spall")]),
    "labels.txt": ("0: empty\n1: plane\n", [StatedClass("empty", 0), StatedClass("plane", 1)]),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMS)
def test_each_form_is_read(tmp_path: Path, name: str) -> None:
    text, expected = FORMS[name]
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert list(read_stated(tmp_path / name)) == expected


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("labels.csv", "image_id,class\n0,cat\n0,cat\n"),  # a table of images
        ("train_classes.txt", "images/a.jpg\nimages/b.jpg\n"),
        ("classes.csv", "ImageId,EncodedPixels\na,1 3\n"),
        ("labels.json", '{"images": [], "annotations": [], "categories": [{"id": 1, "name": "car"}]}'),
        ("labels.json", '{"version": "5.0", "flags": {}}'),
        ("classes.json", "{"),
        ("classes.txt", ""),
        ("colors.csv", "name,r,g,b\nsky,51,221,999\n"),
        ("readme.txt", "sky\ncar\n"),
    ],
)
def test_what_states_nothing_is_left_alone(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    assert read_stated(tmp_path / name) == ()


def test_files_are_found_beside_the_masks_once(tmp_path: Path) -> None:
    """Roboflow lays one into each split."""
    masks = []
    for split in ("train", "valid"):
        (tmp_path / split).mkdir()
        (tmp_path / split / "_classes.csv").write_text("Pixel Value, Class\n0, background\n1, crack\n")
        masks.append(tmp_path / split / "a_mask.png")
    (tmp_path / "classes.txt").write_text("background\ncrack\n")
    found = stated_classes(tmp_path, masks)
    assert [one.file.name for one in found] == ["_classes.csv", "classes.txt"]
    assert found[0].by_value[1].name == "crack"
    (tmp_path.parent / "classes.csv").write_text("name,r,g,b\nsky,1,2,3\n")  # above the root
    assert len(stated_classes(tmp_path, masks)) == 2


def test_other_classes_than_a_known_set(tmp_path: Path) -> None:
    assert not states_others(tmp_path, ["background", "car"])
    (tmp_path / "class_names.txt").write_text("__ignore__\n_background_\nCar\n")
    assert not states_others(tmp_path, ["background", "car"])
    assert states_others(tmp_path, ["background", "bus"])


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_names_in_other_encodings(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "classes.txt").write_bytes("Späll\r\nRiß\r\n".encode(encoding))
    assert lines_of(tmp_path / "classes.txt") == ["Späll", "Riß"]
