"""From masks in a coding, and files beside them, to what `doctor` proposes, and what is then read: the truth."""

from __future__ import annotations

import io
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from deeplab_lightning.data.classes.mask_samples import look_at_masks
from deeplab_lightning.data.datamodule import Split
from deeplab_lightning.data.sets import datamodule_named
from deeplab_lightning.doctor.layouts import Proposal, propose
from deeplab_lightning.errors import DataError

from ..fakes.cityscapes import write_cityscapes
from ..fakes.meanings import COLOURS, COUNT, indexed, objects, truth, write_masks
from ..fakes.voc import write_voc


def read(proposal: Proposal) -> dict[str, np.ndarray]:
    """Read all masks as the written configuration says."""
    data = yaml.safe_load(proposal.as_yaml("title"))["data"]
    module = datamodule_named(data.pop("name"))(**data, num_workers=0)
    found: dict[str, np.ndarray] = {}
    for split in SPLITS:
        dataset = module.dataset(split)
        found |= {dataset.sample_id(index)[-2:]: dataset.load(index)[1] for index in range(len(dataset))}
    return found


def check(proposal: Proposal, ids: dict[int, int]) -> None:
    """Compare what is read with the truth, whose numbers mean other ids there."""
    masks = read(proposal)
    assert sorted(masks) == [f"p{number}" for number in range(COUNT)]
    for number in range(COUNT):
        expected = np.vectorize(ids.__getitem__)(truth(number))
        np.testing.assert_array_equal(masks[f"p{number}"], expected)


SPLITS: tuple[Split, ...] = ("train", "val")
SAME = {0: 0, 1: 1, 2: 2}


def test_a_label_map_names_colours_in_its_own_order(tmp_path: Path) -> None:
    write_masks(tmp_path, lambda number: COLOURS[truth(number)], "JPEGImages", "SegmentationClass")
    (tmp_path / "labelmap.txt").write_text("background:0,0,0::\nroad:51,221,255::\ncar:250,50,83::\n")
    proposal = propose(tmp_path)
    assert proposal.options["class_names"] == ["background", "road", "car"]
    check(proposal, {0: 0, 1: 2, 2: 1})


def test_what_a_class_list_does_not_name_is_asked(tmp_path: Path) -> None:
    write_masks(tmp_path, lambda number: COLOURS[truth(number)])
    (tmp_path / "class_dict.csv").write_text("name,r,g,b\nsky,51,221,255\ncar,250,50,83\n")
    proposal = propose(tmp_path)
    assert proposal.options["class_names"] == ["class_0", "sky", "car"]
    assert "class_dict.csv does not name [0, 0, 0]" in proposal.remarks[0]
    check(proposal, {0: 0, 1: 2, 2: 1})
    (tmp_path / "class_dict.csv").write_text("name,r,g,b\nsky,51,221,255\nvoid,0,0,0\ncar,250,50,83\n")
    check(propose(tmp_path), {0: 255, 1: 1, 2: 0})


@pytest.mark.parametrize(
    ("stated", "names"),
    [
        ("_classes.csv: Pixel Value, Class\n0, background\n1, crack\n2, spall\n", ["background", "crack", "spall"]),
        ("labels.txt: __ignore__\n_background_\ncrack\nspall\n", ["_background_", "crack", "spall"]),
        ("classes.txt: crack\nspall\nrust\n", ["class_0", "class_1", "class_2"]),  # 0 lies around: rust is 3
        ("classes.txt: crack\nspall\n", ["class_0", "class_1", "class_2"]),
    ],
)
def test_names_of_numbers(tmp_path: Path, stated: str, names: list[str]) -> None:
    write_masks(tmp_path, truth)
    name, _, text = stated.partition(": ")
    (tmp_path / name).write_text(text)
    proposal = propose(tmp_path)
    assert proposal.options["class_names"] == names
    assert ("crack, spall" in " ".join(proposal.remarks)) == (names[0] == "class_0")
    check(proposal, SAME)


def test_numbers_that_a_file_states_are_mapped(tmp_path: Path) -> None:
    write_masks(tmp_path, lambda number: np.array([4, 9, 30], np.uint8)[truth(number)])
    (tmp_path / "label2id.json").write_text('{"void": 4, "tree": 30, "car": 9}')
    proposal = propose(tmp_path)
    assert proposal.options["label_map"] == {4: 255, 9: 0, 30: 1, 255: 255}
    check(proposal, {0: 255, 1: 0, 2: 1})


def test_palettes_that_agree_are_shown_and_joined(tmp_path: Path) -> None:
    write_masks(tmp_path, lambda number: indexed(truth(number), COLOURS))
    proposal = propose(tmp_path)
    assert proposal.options["palette"] == COLOURS.tolist()
    check(proposal, SAME)
    (tmp_path / "labelmap.txt").write_text("background:0,0,0::\nroad:51,221,255::\ncar:250,50,83::\n")
    proposal = propose(tmp_path)
    assert proposal.options["class_names"] == ["background", "road", "car"]
    check(proposal, {0: 0, 1: 2, 2: 1})


def test_palettes_that_differ_are_read_by_colour(tmp_path: Path) -> None:
    def stored(number: int) -> Image.Image:
        order = np.roll(np.arange(3), number)
        return indexed(np.argsort(order).astype(np.uint8)[truth(number)], COLOURS[order])

    proposal = propose(write_masks(tmp_path, stored))
    assert "their palettes differ: p0.png shows 1 as [250, 50, 83], p1.png as [0, 0, 0]" in proposal.remarks[0]
    colours = [tuple(colour) for colour in proposal.options["palette"]]
    check(proposal, {number: colours.index(tuple(COLOURS[number].tolist())) for number in range(3)})


def test_grey_files_among_indexed_greys_are_read_as_they_are_shown(tmp_path: Path) -> None:
    """Of GIFs in black and white, some are stored as 0 and 255, some as 0 and 1: 255 would pass for void."""

    def stored(number: int) -> Image.Image:
        mask = truth(number, 2)
        grey = Image.fromarray(mask * np.uint8(255))
        return grey if number % 2 else indexed(mask, np.array([(0, 0, 0), (255, 255, 255)]))

    proposal = propose(write_masks(tmp_path, stored))
    assert proposal.options["palette"] == [[0, 0, 0], [255, 255, 255]]
    assert all((mask == truth(int(name[1]), 2)).all() for name, mask in read(proposal).items())


def test_white_first_is_said(tmp_path: Path) -> None:
    white_first = np.array([(255, 255, 255), (0, 0, 0)])
    write_masks(tmp_path, lambda number: indexed(1 - truth(number, 2), white_first))
    (tmp_path / "classes.txt").write_text("background\ncrack\n")
    proposal = propose(tmp_path)
    assert proposal.options["class_names"] == ["class_0", "class_1"]
    assert "show 0 as white" in proposal.remarks[0]


def test_numbers_of_objects(tmp_path: Path) -> None:
    proposal = propose(write_masks(tmp_path / "few", objects))
    assert proposal.options["mask_threshold"] == 1
    assert proposal.options["class_names"] == ["background", "foreground"]
    assert "look like numbers of objects, not of classes: up to 5 in a mask" in proposal.remarks[0]
    assert all((mask == (objects(int(name[1])) > 0)).all() for name, mask in read(proposal).items())
    assert look_at_masks(proposal.masks).pieces == (16, 16)

    def across(number: int) -> np.ndarray:  # numbers that no other mask has
        mask = objects(number).astype(np.uint16)
        return np.where(mask > 0, 100 * mask + 1000 * number, 0).astype(np.uint16)

    proposal = propose(write_masks(tmp_path / "large", across))
    assert proposal.options["mask_threshold"] == 1

    def cityscapes(number: int) -> np.ndarray:
        return np.where(objects(number) > 0, 26_000 + objects(number).astype(np.int32), 7).astype(np.uint16)

    proposal = propose(write_masks(tmp_path / "class and object", cityscapes))
    assert "class * 1000 + object" in proposal.remarks[0]
    assert len(proposal.options["class_names"]) == 2

    def coloured(number: int) -> np.ndarray:
        colours = np.random.default_rng(number).integers(30, 250, (9, 3), dtype=np.uint8)
        colours[0] = 0
        return colours[objects(number)]

    assert "colours of objects rather than of classes?" in propose(write_masks(tmp_path / "c", coloured)).remarks[0]


def test_classes_are_no_objects(tmp_path: Path) -> None:
    proposal = propose(write_masks(tmp_path, truth))
    assert "mask_threshold" not in proposal.options
    assert proposal.remarks == []


def jpeg(pixels: np.ndarray) -> Image.Image:
    stored = io.BytesIO()
    Image.fromarray(pixels).save(stored, "JPEG", quality=85)
    return Image.open(stored)


@pytest.mark.parametrize("ending", [".jpg", ".png"])
def test_jpeg_of_two_classes_is_divided_of_three_refused(tmp_path: Path, ending: str) -> None:
    write_masks(tmp_path / "two", lambda number: jpeg(truth(number, 2) * np.uint8(255)), ending=ending)
    proposal = propose(tmp_path / "two")
    assert proposal.options["mask_threshold"] == 128
    masks = read(proposal)
    assert all((mask == truth(int(name[1]), 2)).all() for name, mask in masks.items())
    write_masks(tmp_path / "three", lambda number: jpeg(truth(number) * np.uint8(127)), ending=ending)
    proposal = propose(tmp_path / "three")
    assert len(proposal.options["class_names"]) == 2
    assert not {"mask_threshold", "label_map"} & set(proposal.options)
    assert "JPEG" in proposal.remarks[0]
    with pytest.raises(DataError):
        read(proposal)


def test_fractions_and_no_numbers(tmp_path: Path) -> None:
    def stored(number: int, low: float, high: float) -> np.ndarray:
        mask = np.where(truth(number, 2) > 0, np.float32(high), np.float32(low))
        mask[:, :4] = np.nan
        return mask

    for folder, low, high in (("probabilities", 0.1, 0.9), ("ids", 0, 1)):
        write_masks(tmp_path / folder, partial(stored, low=low, high=high), ending=".tif")
        proposal = propose(tmp_path / folder)
        assert ("mask_threshold" in proposal.options) == (folder == "probabilities")
        for name, mask in read(proposal).items():
            expected = truth(int(name[1]), 2)
            expected[:, :4] = 255
            np.testing.assert_array_equal(mask, expected)


def test_nan_is_named(tmp_path: Path) -> None:
    def stored(number: int) -> np.ndarray:
        mask = truth(number).astype(np.float32)
        mask[:, :4] = np.nan
        return mask

    assert "(NaN) is taken for" in propose(write_masks(tmp_path, stored, ending=".tif")).remarks[0]


def test_nodata_is_ignored_and_said(tmp_path: Path) -> None:
    def stored(number: int) -> np.ndarray:
        mask = truth(number).astype(np.uint16)
        mask[:, :4] = 65_535
        return mask

    proposal = propose(write_masks(tmp_path, stored))
    assert proposal.options["label_map"] == {0: 0, 1: 1, 2: 2, 65_535: 255}
    assert "65535 is taken for the mark of pixels of which nothing is known" in proposal.remarks[0]


def test_edges_of_three_colours_that_were_smoothed_are_ignored_if_few(tmp_path: Path) -> None:
    def stored(number: int) -> np.ndarray:
        mask = COLOURS[truth(number)]
        mask[31, 40] = COLOURS[1] // 2
        return mask

    proposal = propose(write_masks(tmp_path, stored))
    assert sorted(proposal.options["palette"]) == sorted(COLOURS.tolist())
    assert proposal.options["void_colours"] == [[125, 25, 41]]
    assert all(mask[31, 40] == 255 for mask in read(proposal).values())


def test_spellings_and_repetitions_of_a_name_can_be_read(tmp_path: Path) -> None:
    write_masks(tmp_path, lambda number: COLOURS[truth(number)])
    for second, expected in (("Car", "Car"), ("car", "car (2)")):
        (tmp_path / "labelmap.txt").write_text(f"background:0,0,0::\ncar:51,221,255::\n{second}:250,50,83::\n")
        proposal = propose(tmp_path)
        assert proposal.options["class_names"] == ["background", "car", expected]
        assert f"'car' and '{expected}' may be one class in two spellings" in proposal.remarks[0]
        check(proposal, {0: 0, 1: 2, 2: 1})


def test_all_of_one_value_is_said(tmp_path: Path) -> None:
    proposal = propose(write_masks(tmp_path, lambda number: np.full_like(truth(number), 255)))
    assert "All pixels of the masks looked at are 255" in proposal.remarks[0]
    with pytest.raises(DataError, match="nothing but class 'class_0' would be learned"):
        read(proposal)


@pytest.mark.parametrize(
    ("images", "masks"),
    [
        ("images/{}", "annotations/{}"),  # ADE20K's folders
        ("{}", "{}annot"),  # CamVid's
    ],
)
def test_own_classes_in_the_folders_of_a_known_set(tmp_path: Path, images: str, masks: str) -> None:
    splits = ("training", "validation") if "/" in images else ("train", "val")
    for split in splits:
        write_masks(tmp_path, truth, images.format(split), masks.format(split))
    proposal = propose(tmp_path)
    assert proposal.name == "Folder"
    check(proposal, SAME)


def test_own_classes_in_vocs_folders(tmp_path: Path) -> None:
    write_masks(tmp_path, truth, "JPEGImages", "SegmentationClass")
    lists = tmp_path / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("p0\np1\np2\np3\n")
    (lists / "val.txt").write_text("p4\np5\n")
    assert propose(tmp_path).name == "Folder"


def test_vocs_names_with_another_count_or_other_classes(tmp_path: Path) -> None:
    write_voc(tmp_path)
    assert "where VOC has 1464" in propose(tmp_path).remarks[0]
    (tmp_path / "labelmap.txt").write_text("background:0,0,0::\ncrack:128,0,0::\n")
    assert propose(tmp_path).name == "Folder"


def test_other_cities_are_named(tmp_path: Path) -> None:
    write_cityscapes(tmp_path)
    assert len(propose(tmp_path).remarks) == 1
    for folder in ("leftImg8bit", "gtFine", "gtCoarse"):
        (tmp_path / folder / "train" / "bochum").rename(tmp_path / folder / "train" / "springfield")
    assert (
        "Cityscapes has no springfield: check that the label ids are its own (7 road," in propose(tmp_path).remarks[1]
    )
