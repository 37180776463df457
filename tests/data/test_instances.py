"""Numbers of objects on their way from annotation to batch: exact, unique, and where the image is."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from deeplab_lightning.checkpoints.parts import _not_described
from deeplab_lightning.data.drawing import draw_scene
from deeplab_lightning.data.files.object_numbers import numbers_of_things, read_numbers
from deeplab_lightning.data.sets.camvid import CAMVID
from deeplab_lightning.data.sets.cityscapes import CITYSCAPES, Cityscapes, CityscapesDataModule
from deeplab_lightning.data.sets.coco import COCODataModule
from deeplab_lightning.data.sets.cvat import CVATDataModule
from deeplab_lightning.data.sets.drawn_scenes import DRAWN_SCENES, DrawnScenes, DrawnScenesDataModule
from deeplab_lightning.data.sets.folder import FolderDataModule
from deeplab_lightning.data.sets.labelme import LabelMeDataModule
from deeplab_lightning.data.sets.object_masks import ObjectMasksDataModule
from deeplab_lightning.data.sets.voc import VOCDataModule
from deeplab_lightning.data.subset import Subset
from deeplab_lightning.data.transforms.geometry import Span, Window
from deeplab_lightning.data.transforms.pipelines import AugmentationOptions, TrainingTransform
from deeplab_lightning.errors import ConfigError, DataError
from deeplab_lightning.labels import LabelSet, own_labels

from ..fakes.cityscapes import write_cityscapes
from ..fakes.coco import image_entry, runs, thing, write_annotations
from ..fakes.folder import write_folder
from ..fakes.labelme import shape, write_annotation
from ..fakes.object_masks import LARGE, SMALL, save
from ..fakes.object_masks import image as write_image
from ..fakes.voc import write_voc

VOID = 255
LARGE_NUMBERS = np.array([1, 255, 256, 65_537, 2**24 - 1, 2**24 + 1, 2**31 - 1], np.int32)


def checked(dataset: Any, index: int) -> tuple[np.ndarray, np.ndarray]:
    """Return mask and numbers; numbers lie on things alone, each on one class."""
    mask, numbers = dataset.load(index)[1], dataset.instances(index)
    assert numbers.dtype == np.int32
    assert numbers.shape == mask.shape
    assert set(np.unique(mask[numbers > 0]).tolist()) <= set(dataset.labels.thing_ids)
    for number in np.unique(numbers[numbers > 0]):
        assert len(np.unique(mask[numbers == number])) == 1
    return mask, numbers


# ------------------------------------------------------------------------------------------------------ labels, things


def test_things_are_classes() -> None:
    labels = LabelSet(("sky", "car", "dog"), ((0, 0, 0), (1, 1, 1), (2, 2, 2)), things=("dog", "car"))
    assert labels.thing_ids == (2, 1)
    with pytest.raises(ConfigError, match=r"There is no class 'dgo'\. Did you mean 'dog'"):
        LabelSet(labels.class_names, labels.palette, things=("dgo",))
    with pytest.raises(ConfigError, match="Things repeat"):
        LabelSet(labels.class_names, labels.palette, things=("dog", "dog"))


def test_descriptions_tell_the_things_where_they_are_known() -> None:
    assert DrawnScenesDataModule().description["things"] == list(range(1, 10))
    described = CityscapesDataModule.describe(CityscapesDataModule.Options())
    assert [described["class_names"][one] for one in described["things"]] == list(CITYSCAPES.things)
    assert described["things"] == [11, 12, 13, 14, 15, 16, 17, 18]
    assert CAMVID.things == ()
    assert "things" not in VOCDataModule.describe(VOCDataModule.Options())


def test_checkpoints_with_and_without_things_are_read() -> None:
    described: dict[str, Any] = dict(DrawnScenesDataModule().description)
    assert _not_described(described) is None
    assert _not_described({key: value for key, value in described.items() if key != "things"}) is None
    for wrong in ([10], [-1], ["car"], [True], 3):
        assert "has things" in (_not_described({**described, "things": wrong}) or "")


# -------------------------------------------------------------------------------------------------- through transforms


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"rotation": 35.0},
        {"elastic": 1.0, "rotation": 10.0},
        {"transforms": [{"Affine": {"translate_px": 20, "p": 1.0}}, {"CoarseDropout": {"p": 1.0, "fill_mask": 7}}]},
        {"transforms": [{"RandomRotate90": {"p": 1.0}}, {"Perspective": {"p": 1.0}}]},
    ],
)
def test_numbers_go_where_the_mask_goes_to_the_bit(options: dict[str, Any]) -> None:
    """One mask says with its own values where each block is; the large numbers must be there, and nowhere else."""
    generator = np.random.default_rng(0)
    blocks = np.kron(generator.integers(1, 7, (9, 11)), np.ones((8, 8))).astype(np.uint8)
    image = np.repeat(20 * blocks[..., None], 3, axis=2)
    maps: dict[Any, np.ndarray] = {"instances": LARGE_NUMBERS[blocks], "depth": blocks.astype(np.float32) / 3}
    transform = TrainingTransform(AugmentationOptions(crop_size=65, **options), (0.0, 0.0, 0.0), VOID)
    outside = 0
    for seed in range(10):
        plain, mask = transform(image, blocks, seed)
        crop, same, found = transform.with_maps(image, blocks, maps, seed)
        assert np.array_equal(plain, crop)
        assert np.array_equal(mask, same)
        inside = (mask != VOID) & (mask != 7)
        table = np.zeros(256, np.int32)
        table[:7] = LARGE_NUMBERS
        assert found["instances"].dtype == np.int32
        assert np.array_equal(found["instances"], np.where(inside, table[mask], 0))
        assert np.array_equal(found["depth"], np.where(inside, (mask / np.float32(3)).astype(np.float32), 0))
        outside += int((~inside).sum())
    assert outside > 0


def seen_by(window: Window, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where on the stored image's plane the pixel centres of a crop lie, by the definition of a window alone.

    `x`, `y` are of the crop's plane, whose pixel (column, row) covers [column, column + 1) by [row, row + 1).
    """
    rows, columns = window.rows, window.columns
    right, down = x - columns.size / 2, y - rows.size / 2
    if window.flip:
        right = -right
    turn = math.radians(window.angle)
    right, down = (
        right * math.cos(turn) - down * math.sin(turn),
        right * math.sin(turn) + down * math.cos(turn),
    )
    return (right + columns.size / 2 + columns.start) * columns.ratio, (down + rows.size / 2 + rows.start) * rows.ratio


@pytest.mark.parametrize("rotation", [0.0, 40.0])
def test_redrawing_the_truth_after_the_transform_gives_the_same_numbers(rotation: float) -> None:
    """Discs are drawn once into the stored image, and once, by their formula, into the crop."""
    height, width = 90, 120
    discs = [(30.0, 25.0, 14.0), (80.0, 60.0, 22.0), (100.0, 20.0, 9.0), (20.0, 75.0, 12.0)]

    def drawn(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the disc at each place, and how far the nearest rim is."""
        numbers, rim = np.zeros(x.shape, np.int32), np.full(x.shape, np.inf)
        for number, (left, top, radius) in enumerate(discs, start=1):
            distance = np.hypot(x - left, y - top) - radius
            numbers[distance < 0] = number * 2**22
            rim = np.minimum(rim, np.abs(distance))
        return numbers, rim

    stored, _ = drawn(*np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5))
    transform = TrainingTransform(AugmentationOptions(crop_size=65, rotation=rotation), (0.0,) * 3, VOID)
    image, mask = np.zeros((height, width, 3), np.uint8), np.zeros((height, width), np.uint8)
    shown = 0
    for seed in range(24):
        numbers = transform.with_maps(image, mask, {"instances": stored}, seed)[2]["instances"]
        window = transform.window.draw(image.shape, None, np.random.default_rng(seed))
        x, y = seen_by(window, *np.meshgrid(np.arange(65) + 0.5, np.arange(65) + 0.5))
        expected, rim = drawn(x, y)
        beyond = np.maximum(np.maximum(-x, x - width), np.maximum(-y, y - height))
        clear = (rim > 2.5) & (np.abs(beyond) > 2.5)  # two roundings to a pixel, of up to 2 stored ones
        assert clear.mean() > 0.5
        assert np.array_equal(numbers[clear], np.where(beyond > 0, 0, expected)[clear])
        shown += len(np.unique(numbers)) - 1
    assert shown > 40


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float32, np.float64])
@pytest.mark.parametrize("angle", [0.0, 7.0, 90.0, -33.0])
def test_a_window_takes_the_same_pixels_of_any_dtype(dtype: Any, angle: float) -> None:
    values = np.random.default_rng(0).integers(0, 250, (50, 60)).astype(np.uint8)
    window = Window(Span(50, 67, 40, 41), Span(60, 80, 30, 41), flip=True, angle=angle)
    expected = window.cut_mask(values, 250)
    found = window.cut_mask(values.astype(dtype), 250)
    assert found.dtype == dtype
    assert np.array_equal(found, expected)
    assert (expected == 250).any()
    assert len(np.unique(expected)) > 100


# --------------------------------------------------------------------------------------------------------- drawn scenes


def test_drawn_things_have_one_number_wherever_they_are_seen() -> None:
    dataset = DrawnScenes("train", 12, 96, 128, seed=3)
    parted = 0
    for index in range(12):
        mask, numbers = checked(dataset, index)
        scene = draw_scene((3, 0, index), 96, 128)
        assert np.array_equal(numbers, np.where(mask == VOID, 0, scene.instances))
        assert ((numbers > 0) == ((mask != VOID) & (mask != 0))).all()  # no crowds
        for number in np.unique(numbers[numbers > 0]):
            parted += cv2.connectedComponents((numbers == number).astype(np.uint8))[0] > 2
    assert parted > 3
    assert DRAWN_SCENES.things == DRAWN_SCENES.class_names[1:]


def test_batches_hold_numbers_where_they_were_asked_for() -> None:
    data = DrawnScenesDataModule(
        height=64, width=80, train_size=4, val_size=3, crop_size=33, batch_size=2, num_workers=0, eval_batch_size=2
    )
    assert "instances" not in next(iter(data.train_dataloader()))
    data.deliver("instances")
    data.deliver("depth")
    data.deliver("instances")
    batch = next(iter(data.train_dataloader()))
    assert set(batch) == {"image", "mask", "sample_id", "instances", "depth"}
    assert (batch["instances"].shape, batch["instances"].dtype) == ((2, 33, 33), torch.int32)
    things = (batch["mask"] > 0) & (batch["mask"] != VOID)
    assert torch.equal(batch["instances"] > 0, things)
    whole = next(iter(data.val_dataloader()))
    assert [tuple(numbers.shape) for numbers in whole["instances"]] == [(64, 80)] * 2


def test_data_without_numbers_names_what_has_some(tmp_path: Path) -> None:
    data = VOCDataModule(root=str(write_voc(tmp_path)), num_workers=0, batch_size=1, crop_size=33)
    data.setup("fit")
    with pytest.raises(ConfigError, match=r"needs numbers of objects.* has none: drawn scenes.*data.instances"):
        data.deliver("instances")
    late = VOCDataModule(root=str(tmp_path), num_workers=0, batch_size=1, crop_size=33)
    late.deliver("instances")
    with pytest.raises(ConfigError, match="needs numbers of objects"):
        late.train_dataloader()


def test_a_subset_has_the_maps_of_its_images() -> None:
    source = DrawnScenes("train", 5, 64, 64)
    some = Subset(source, [3, 1, 3])
    assert some.maps == source.maps
    assert np.array_equal(some.instances(2), source.instances(3))
    assert np.array_equal(some.depth(1), source.depth(1))


# ----------------------------------------------------------------------------------------------------------- Cityscapes


def test_cityscapes_single_things_have_their_instance_ids(tmp_path: Path) -> None:
    root = write_cityscapes(tmp_path)
    start = root / "gtFine/train/aachen/aachen_000000_000019_gtFine"
    rng = np.random.default_rng(0)
    label_ids = np.kron(rng.choice([7, 24, 26, 29, 33], (6, 12)), np.ones((8, 8), int)).astype(np.uint8)
    of_class = np.kron(rng.integers(-1, 3, (6, 12)), np.ones((8, 8), int))
    numbered = (label_ids >= 24) & (of_class >= 0)  # -1: a group that nobody parted
    ids = np.where(numbered, 1000 * label_ids.astype(int) + of_class, label_ids)
    cv2.imwrite(f"{start}_labelIds.png", label_ids)
    cv2.imwrite(f"{start}_instanceIds.png", ids.astype(np.uint16))
    mask, numbers = checked(Cityscapes(root, "train"), 0)
    single = numbered & (label_ids != 29)  # caravans are not evaluated
    assert np.array_equal(numbers, np.where(single, ids, 0))
    crowd = np.isin(mask, CITYSCAPES.thing_ids) & (numbers == 0)
    assert np.array_equal(crowd, ~numbered & np.isin(label_ids, [24, 26, 33]))
    Path(f"{start}_instanceIds.png").unlink()
    assert not Cityscapes(root, "train").has_instances
    assert not Cityscapes(root, "test").has_instances
    assert Cityscapes(root, "val").has_instances


def test_real_cityscapes() -> None:
    place = Path(os.environ.get("DEEPLAB_SHARED_DATA", "")) / "cityscapes8"
    if not os.environ.get("DEEPLAB_SHARED_DATA") or not place.is_dir():
        pytest.skip("set DEEPLAB_SHARED_DATA to the folder that holds cityscapes8/")
    dataset = Cityscapes(place, "train")
    cars = 0
    for index in range(0, 8, 3):
        mask, numbers = checked(dataset, index)
        stored = np.array(Image.open(str(dataset.files(index)[1]).replace("labelIds", "instanceIds")))
        for name in CITYSCAPES.things:
            train_id = CITYSCAPES.class_names.index(name)
            single = (mask == train_id) & (stored >= 1000)
            assert np.array_equal((numbers > 0) & (mask == train_id), single)
            assert np.array_equal(numbers[single], stored[single])
        cars += len(np.unique(numbers[numbers // 1000 == 26]))
    assert cars > 10


# ---------------------------------------------------------------------------------------------------- outlines of tools


def test_coco_objects_are_numbered_as_they_are_drawn(tmp_path: Path) -> None:
    """Smaller objects lie on top, crowds below all, and have no number."""
    (tmp_path / "train").mkdir()
    boxes = [
        (3, [5, 5, 12, 5, 12, 12, 5, 12]),
        (1, [2, 2, 30, 2, 30, 30, 2, 30]),
        (1, [20, 20, 45, 20, 45, 38, 20, 38]),
    ]
    small = np.zeros((40, 50), np.uint8)
    small[22:26, 32:36] = 1
    crowds = [thing(1, 1, one, iscrowd=1) for one in ({"size": [40, 50], "counts": [0, 40 * 50]}, runs(small))]
    for name in ("a", "b", "c", "d", "e"):
        Image.new("RGB", (50, 40)).save(tmp_path / "train" / f"{name}.png")
    annotations = [thing(1, category, [points]) for category, points in boxes] + crowds
    entries = [image_entry(number, f"{name}.png") for number, name in enumerate("abcde", start=1)]
    write_annotations(tmp_path / "train" / "_annotations.coco.json", entries, annotations)
    options: dict[str, Any] = {"root": str(tmp_path), "class_names": ["background", "person", "car", "toothbrush"]}
    module = COCODataModule(**options)
    assert module.description["things"] == [1, 2, 3]
    place = next(
        (split, index)
        for split in ("train", "val")
        for index in range(len(module.dataset(split)))  # type: ignore[arg-type]
        if module.dataset(split).sample_id(index).endswith("a")  # type: ignore[arg-type]
    )
    mask, numbers = checked(module.dataset(place[0]), place[1])  # type: ignore[arg-type]
    expected = np.zeros((40, 50), np.int32)
    expected[2:30, 2:30], expected[20:38, 20:45], expected[5:12, 5:12] = 2, 3, 1
    assert np.array_equal(numbers, expected)
    assert (mask[numbers == 0] == VOID).all()
    stuff = COCODataModule(**options, things=("car",)).dataset(place[0])  # type: ignore[arg-type]
    assert np.array_equal(stuff.instances(place[1]), np.where(expected == 1, 1, 0))
    assert not COCODataModule(**options, things=()).dataset("train").has_instances


def test_labelme_shapes_of_one_group_are_one_object(tmp_path: Path) -> None:
    shapes = [
        shape("dog", [[2, 2], [10, 10]], "rectangle", group_id=1),
        shape("sky", [[0, 0], [49, 1]], "rectangle", group_id=1),
        shape("dog", [[30, 2], [40, 10]], "rectangle", group_id=1),
        shape("dog", [[20.3, 20.2], [40.1, 22.7], [31.5, 33.9]]),
        shape("__ignore__", [[8, 8], [12, 12]], "rectangle"),
        shape("dog", [[4, 30], [7, 30]], "circle", group_id=2),
        shape("dog", [[45, 5], [45, 35]], "line"),
    ]
    for name in ("a", "b", "c"):
        Image.new("RGB", (50, 40)).save(tmp_path / f"{name}.png")
        write_annotation(tmp_path / f"{name}.json", shapes, imagePath=f"{name}.png")
    options: dict[str, Any] = {"root": str(tmp_path), "class_names": ["background", "dog", "sky"], "things": ("dog",)}
    mask, numbers = checked(LabelMeDataModule(**options).dataset("train"), 0)
    assert np.array_equal(numbers > 0, mask == 1)
    assert set(np.unique(numbers).tolist()) == {0, 1, 4, 6, 7}
    assert (numbers[2:8, 2:8] == 1).all()
    assert (numbers[2:11, 30:41] == 1).all()
    assert numbers[8:13, 8:13].max() == 0
    both = LabelMeDataModule(**{**options, "things": None}).dataset("train")
    assert set(np.unique(checked(both, 0)[1]).tolist()) == {0, 1, 2, 4, 6, 7}


def test_cvat_shapes_of_one_group_are_one_object(tmp_path: Path) -> None:
    outline = '<polygon label="dog" points="{0},2;{1},2;{1},9;{0},9;{0},5" z_order="0" {2}/>'
    shapes = "".join(
        outline.format(left, left + 5, group)
        for left, group in ((1, 'group_id="3"'), (10, 'group_id="0"'), (20, 'group_id="3"'), (30, ""))
    )
    images = ""
    for number, name in enumerate("abc"):
        Image.new("RGB", (50, 40)).save(tmp_path / f"{name}.png")
        images += f'<image id="{number}" name="{name}.png" width="50" height="40">{shapes}</image>'
    meta = "<meta><job><labels><label><name>dog</name></label></labels></job></meta>"
    (tmp_path / "annotations.xml").write_text(f"<annotations><version>1.1</version>{meta}{images}</annotations>")
    module = CVATDataModule(root=str(tmp_path), class_names=["background", "dog"])
    _, numbers = checked(module.dataset("train"), 0)
    assert [numbers[5, column] for column in (3, 12, 22, 32)] == [1, 2, 1, 4]


@pytest.mark.parametrize("of_objects", [True, False])
def test_one_mask_an_object(tmp_path: Path, of_objects: bool) -> None:
    """Masks of whole classes do not tell objects apart."""
    for name in ("a", "b", "c"):
        write_image(tmp_path / "images" / f"{name}.png")
        for number, area in enumerate((SMALL, LARGE)):
            place = f"{name}_mask_{number}.png" if of_objects else f"class{number}/{name}.png"
            save(tmp_path / "masks" / place, area)
    names = ["background", "cell"] if of_objects else ["background", "class0", "class1"]
    dataset = ObjectMasksDataModule(root=str(tmp_path), class_names=names).dataset("train")
    assert dataset.has_instances == of_objects
    if of_objects:
        assert np.array_equal(checked(dataset, 0)[1], np.where(SMALL, 1, np.where(LARGE, 2, 0)))


# ---------------------------------------------------------------------------------------------------------- own folders


@pytest.mark.parametrize("kind", ["8 bits", "palette", "16 bits", "32 bits", "colours"])
def test_files_of_numbers(tmp_path: Path, kind: str) -> None:
    largest = {"8 bits": 255, "palette": 255, "16 bits": 65535, "32 bits": 2**31 - 1, "colours": 2**24 - 1}[kind]
    ids = np.array([[0, 1, 2], [200, largest - 1, largest]], np.int64)
    path = tmp_path / ("ids.tif" if kind == "32 bits" else "ids.png")
    if kind == "palette":
        image = Image.fromarray(ids.astype(np.uint8))
        image.putpalette(np.random.default_rng(0).integers(0, 256, 768, np.uint8).tobytes())
        image.save(path)
    elif kind == "colours":
        Image.fromarray(np.stack([ids & 255, ids >> 8 & 255, ids >> 16], axis=-1).astype(np.uint8)).save(path)
    else:
        Image.fromarray(ids.astype({"8 bits": np.uint8, "16 bits": np.uint16, "32 bits": np.int32}[kind])).save(path)
    found = read_numbers(path)
    assert found.dtype == np.int32
    assert np.array_equal(found, ids)


def test_numbers_below_zero_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.array([[-1, 5]], np.int32)).save(tmp_path / "ids.tif")
    with pytest.raises(DataError, match="holds numbers from -1 to 5"):
        read_numbers(tmp_path / "ids.tif")


def test_files_that_count_each_class_from_one_have_unique_numbers() -> None:
    labels = LabelSet(("sky", "car", "dog", "cat"), ((0, 0, 0),) * 4, things=("car", "dog", "cat"))
    ids, mask = np.array([[1, 1, 1, 2, 7, 5]], np.int32), np.array([[1, 2, 0, 3, VOID, 3]], np.uint8)
    found = numbers_of_things(ids, mask, labels, "a.png")
    assert found.tolist() == [[1, (1 << 29) + 1, 0, (2 << 29) + 2, 0, (2 << 29) + 5]]
    assert found.dtype == np.int32
    one = LabelSet(labels.class_names, labels.palette, things=("dog",))
    assert numbers_of_things(ids * (2**31 - 1), mask, one, "a.png").max() == 2**31 - 1
    with pytest.raises(DataError, match=r"a.png numbers an object 536870912; beside 3 kinds of things"):
        numbers_of_things(np.full((1, 6), 1 << 29, np.int32), mask, labels, "a.png")
    assert not numbers_of_things(ids, mask, own_labels(["a", "b", "c", "d"]), "a.png").any()


def numbered_folder(root: Path, folder: str = "instances") -> Path:
    """Write a folder of three classes with 16-bit numbers: 1000 and the column of blocks, where the class is 1."""
    write_folder(root, classes=3)
    for path in sorted((root / "masks").iterdir()):
        mask = np.array(Image.open(path))
        ids = np.where(mask == 1, 1000 + np.arange(mask.shape[1]) // 8, 0).astype(np.uint16)
        (root / folder).mkdir(exist_ok=True)
        Image.fromarray(ids).save(root / folder / path.name)
    return root


def test_a_folder_with_numbers(tmp_path: Path) -> None:
    root = numbered_folder(tmp_path)
    options: dict[str, Any] = {"root": str(root), "class_names": ["a", "b", "c"], "num_workers": 0, "crop_size": 33}
    data = FolderDataModule(**options, instances="instances", things=("b", "c"), batch_size=1)
    assert data.description["things"] == [1, 2]
    dataset = data.dataset("train")
    mask, numbers = checked(dataset, 0)
    assert np.array_equal(numbers, np.where(mask == 1, 1000 + np.arange(mask.shape[1]) // 8, 0))
    data.deliver("instances")
    assert next(iter(data.train_dataloader()))["instances"].max() >= 1000
    assert not FolderDataModule(**options).dataset("train").has_instances
    with pytest.raises(ConfigError, match=r"--data.instances is given without --data.things.*\[b, c\]"):
        FolderDataModule(**options, instances="instances")
    with pytest.raises(ConfigError, match=r"--data.things is given without --data.instances"):
        FolderDataModule(**options, things=("b",))
    path = root / "instances" / f"{dataset.sample_id(0)}.png"
    Image.fromarray(np.zeros((5, 6), np.uint16)).save(path)
    with pytest.raises(DataError, match="must have the size of its image"):
        dataset.instances(0)
    path.unlink()
    with pytest.raises(DataError, match=r"have no numbers of objects, instances/NAME with \.png"):
        FolderDataModule(**options, instances="instances", things=("b",)).dataset("train")


def test_annotations_are_json_that_a_tool_may_write(tmp_path: Path) -> None:
    """Group ids of LabelMe are numbers or text; a null is none."""
    shapes = [shape("dog", [[5 * n, 2], [5 * n + 3, 9]], "rectangle", group_id=g) for n, g in enumerate((None, 0, "0"))]
    for name in ("a", "b"):
        Image.new("RGB", (50, 40)).save(tmp_path / f"{name}.png")
        path = write_annotation(tmp_path / f"{name}.json", shapes, imagePath=f"{name}.png")
    assert json.loads(path.read_text())["shapes"][0]["group_id"] is None
    module = LabelMeDataModule(root=str(tmp_path), class_names=["background", "dog"])
    assert set(np.unique(module.dataset("train").instances(0)).tolist()) == {0, 1, 2}
