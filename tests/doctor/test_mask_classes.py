"""What masks mean: what is stated is taken, what is not is asked, and nothing is joined by chance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deeplab_lightning.data.classes.mask_samples import MaskValues, look_at_masks
from deeplab_lightning.data.classes.stated_classes import StatedClass, StatedClasses
from deeplab_lightning.data.sets.folder import FolderDataModule
from deeplab_lightning.doctor.layouts import propose
from deeplab_lightning.doctor.mask_classes import Meaning, meaning_of
from deeplab_lightning.errors import ConfigError


def listed(names: Sequence[str]) -> list[StatedClasses]:
    return [StatedClasses(Path("classes.txt"), tuple(map(StatedClass, names)))] if names else []


def of_values(*values: int, names: tuple[str, ...] = ()) -> Meaning:
    return meaning_of(MaskValues(values=Counter(dict.fromkeys(values, 1000))), listed(names))


def of_colours(*colours: tuple[int, int, int], names: tuple[str, ...] = ()) -> Meaning:
    return meaning_of(MaskValues(colours=Counter(dict.fromkeys(colours, 1000))), listed(names))


@pytest.mark.parametrize(
    ("values", "label_map"),
    [
        ((0, 128, 255), {0: 0, 128: 1, 255: 2}),
        ((0, 127), {0: 0, 127: 1}),
        ((0, 127, 255), {0: 0, 127: 1, 255: 2}),
        ((0, 85, 170, 255), {0: 0, 85: 1, 170: 2, 255: 3}),
        ((0, 1000, 2000), {0: 0, 1000: 1, 2000: 2}),
        ((0, 1, 65535), {0: 0, 1: 1, 65535: 255}),
        ((-9999, 0, 1), {-9999: 255, 0: 0, 1: 1}),
        ((0, 255), {0: 0, 255: 1}),
    ],
)
def test_codings_are_mapped(values: tuple[int, ...], label_map: dict[int, int]) -> None:
    meaning = of_values(*values)
    assert meaning.options["label_map"] == label_map
    assert len(meaning.options["class_names"]) == len(set(label_map.values()) - {255})


@pytest.mark.parametrize(
    ("values", "count"),
    [((0, 1), 2), ((0, 1, 2, 255), 3), ((1, 2, 3), 4), ((0, 1, 3, 255), 4), (tuple(range(150)), 150), ((0,), 2)],
)
def test_ids_stay_ids(values: tuple[int, ...], count: int) -> None:
    meaning = of_values(*values)
    assert meaning.options == {"class_names": [f"class_{index}" for index in range(count)]}


def test_cityscapes_own_ids_have_gaps() -> None:
    ids = (0, 1, 2, 3, 4, 5, 7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 33)
    assert "label_map" not in of_values(*ids).options


def test_soft_edges_get_a_threshold() -> None:
    values = Counter(dict.fromkeys(range(256), 3)) + Counter({0: 50_000, 255: 9_000})
    meaning = meaning_of(MaskValues(values=values), listed(["defect"]))
    assert meaning.options == {"mask_threshold": 128, "class_names": ["background", "defect"]}
    flat = Counter(dict.fromkeys(range(256), 100))  # as many pixels in between: no edge of anything
    assert "mask_threshold" not in meaning_of(MaskValues(values=flat), []).options


def test_numbers_of_objects_are_asked_about() -> None:
    meaning = of_values(*range(0, 30_000, 100))
    assert "label_map" not in meaning.options
    assert "numbers of objects rather than of classes?" in meaning.remarks[0]


@pytest.mark.parametrize(
    ("values", "names", "expected"),
    [
        ((0, 1, 2), ("road", "car", "sky"), ["road", "car", "sky"]),
        ((0, 1), ("background", "car", "sky"), ["background", "car", "sky"]),  # sky was not met
        ((0, 1), ("car", "sky", "road"), ["class_0", "class_1"]),
        ((0, 1, 2), ("crack", "spall"), ["class_0", "class_1", "class_2"]),
        ((0, 1, 2), ("__ignore__", "_background_", "crack", "spall"), ["_background_", "crack", "spall"]),
        ((0, 255), ("crack", "spall"), ["background", "foreground"]),
        ((0, 255), ("crack",), ["background", "crack"]),
        ((0, 255), ("bg", "crack"), ["bg", "crack"]),
    ],
)
def test_names_of_a_file_are_joined_where_there_is_one_way(
    values: tuple[int, ...], names: tuple[str, ...], expected: list[str]
) -> None:
    meaning = of_values(*values, names=names)
    assert meaning.options["class_names"] == expected
    if expected[0] == "class_0" or "foreground" in expected:
        assert f"names {len(names)} classes" in meaning.remarks[0]


def test_names_and_colours_are_never_joined() -> None:
    meaning = of_colours((0, 0, 0), (255, 0, 0), (0, 255, 0), names=("car", "road", "sky"))
    assert meaning.options["class_names"] == ["class_0", "class_1", "class_2"]
    assert "which colour each has is not said" in meaning.remarks[0]


def test_vocs_void_is_void_among_vocs_colours_alone() -> None:
    voc = of_colours((0, 0, 0), (128, 0, 0), (224, 224, 192))
    assert voc.options["void_colours"] == [[224, 224, 192]]
    assert "If it is a class, move it to palette" in voc.remarks[0]
    assert voc.options["palette"] == [[0, 0, 0], [128, 0, 0]]
    other = of_colours((0, 0, 0), (250, 10, 0), (224, 224, 192))
    assert "void_colours" not in other.options
    assert len(other.options["palette"]) == 3


def test_blended_colours_are_ignored_and_rare_ones_named() -> None:
    colours = Counter({(0, 0, 0): 90_000, (255, 0, 0): 9_000, (127, 0, 0): 20, (127, 90, 0): 20, (60, 0, 0): 21})
    meaning = meaning_of(MaskValues(colours=colours, solid=Counter({(60, 0, 0): 1})))
    assert meaning.options["palette"] == [[0, 0, 0], [255, 0, 0], [60, 0, 0], [127, 90, 0]]
    assert meaning.options["void_colours"] == [[127, 0, 0]]
    assert "1 colours are ignored (void_colours): [127, 0, 0]" in meaning.remarks[0]
    assert "2 of 4 colours have fewer than 0.1% of the pixels: [60, 0, 0], [127, 90, 0]" in meaning.remarks[1]


def test_many_colours_make_no_palette() -> None:
    meaning = of_colours(*((index, 255 - index, 7) for index in range(100)))
    assert "palette" not in meaning.options
    assert "blended or stored as JPEG" in meaning.remarks[0]


def test_soft_masks_from_a_folder_to_ids(tmp_path: Path) -> None:
    ramp = np.clip(np.arange(-3000, 3000).reshape(60, 100) // 4 + 128, 0, 255).astype(np.uint8)
    for index in range(5):
        (tmp_path / "images").mkdir(exist_ok=True)
        (tmp_path / "masks").mkdir(exist_ok=True)
        Image.fromarray(np.full((60, 100, 3), 40 * index, np.uint8)).save(tmp_path / "images" / f"{index}.png")
        Image.fromarray(ramp).save(tmp_path / "masks" / f"{index}.png")
    options = propose(tmp_path).options
    assert options["mask_threshold"] == 128
    data = FolderDataModule(**options)
    assert (data.dataset("train").load(0)[1] == (ramp >= 128)).all()
    with pytest.raises(ConfigError, match=r"--data\.mask_threshold 128 divides masks into two classes"):
        FolderDataModule(**{**options, "class_names": ["a", "b", "c"]})


def test_black_and_white_masks_among_those_of_ids_are_asked_about(tmp_path: Path) -> None:
    """255 as void would take the object out of half of the masks."""
    paths = [tmp_path / f"{number}.png" for number in range(4)]
    for number, path in enumerate(paths):
        Image.fromarray(np.eye(8, dtype=np.uint8) * (255 if number % 2 else 1)).save(path)
    remarks = meaning_of(look_at_masks(paths)).remarks
    assert any("2 of 4 masks hold it and 0 alone" in remark for remark in remarks)
