"""The user's own folder: every layout and every form of mask, and what is said where they do not fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from deeplab_lightning.data.forms.folder_reading import Folder
from deeplab_lightning.data.sets.folder import FolderDataModule
from deeplab_lightning.errors import ConfigError, DataError
from deeplab_lightning.labels import voc_palette
from tests.fakes.folder import HEIGHT, NAMES, WIDTH, draw, write_folder, write_geotiff, write_image, write_nifti

COLOURS = np.array([[10, 20, 30], [200, 0, 0], [0, 200, 0]], np.uint8)
ONE_CHANNEL: dict[str, Any] = {"mean": (0.4,), "std": (0.2,)}


def module(root: Path, **options: Any) -> FolderDataModule:
    settings: dict[str, Any] = {"class_names": ["ground", "box"], "batch_size": 2, "crop_size": 33, "num_workers": 0}
    return FolderDataModule(root=str(root), **{**settings, **options})


def ids(dataset: Folder) -> list[str]:
    return [dataset.sample_id(index) for index in range(len(dataset))]


def all_masks(data: FolderDataModule) -> dict[str, np.ndarray]:
    """Read all images of all splits."""
    found = {}
    for split in data.splits:
        dataset = data.dataset(split)  # type: ignore[arg-type]
        for index in range(len(dataset)):
            found[dataset.sample_id(index)] = dataset.load(index)[1]
    return found


def check_masks(data: FolderDataModule, classes: int = 2) -> None:
    masks = all_masks(data)
    assert sorted(masks) == sorted(NAMES)
    for number, name in enumerate(NAMES):
        np.testing.assert_array_equal(masks[name], draw(number, classes)[0])
        assert masks[name].dtype == np.uint8


# --------------------------------------------------------------------------------------------------------------- masks


def test_masks_of_class_ids(tmp_path: Path) -> None:
    data = module(write_folder(tmp_path))
    check_masks(data)
    dataset = data.dataset("train")
    image = dataset.load(0)[0]
    assert image.shape == (HEIGHT, WIDTH, 3)
    assert image.dtype == np.uint8
    name = dataset.sample_id(0)
    assert dataset.files(0) == (tmp_path / "images" / f"{name}.png", tmp_path / "masks" / f"{name}.png")
    assert data.labels.palette == voc_palette(2)


@pytest.mark.parametrize("stored_as", ["grey", "rgb", "16 bits"])
def test_black_and_white_masks_by_a_label_map(tmp_path: Path, stored_as: str) -> None:
    def store(mask: np.ndarray) -> np.ndarray:
        grey = mask * np.uint8(255)
        return {"grey": grey, "rgb": np.dstack([grey] * 3), "16 bits": mask.astype(np.uint16) * 255}[stored_as]

    check_masks(module(write_folder(tmp_path, mask_of=store), label_map={0: 0, 255: 1}))


def test_palette_masks_are_read_as_indices(tmp_path: Path) -> None:
    write_folder(tmp_path)
    for path in (tmp_path / "masks").iterdir():
        indexed = Image.open(path).convert("L")
        image = Image.fromarray(np.array(indexed))
        image.putpalette(bytes(range(30)))
        image.save(path)
    check_masks(module(tmp_path))
    check_masks(module(tmp_path, palette=COLOURS[:2].tolist(), label_map={0: 0, 1: 1}))  # for display alone
    check_masks(module(tmp_path, palette=[[0, 1, 2], [3, 4, 5]]))
    with pytest.raises(
        DataError, match=r"\[3, 4, 5\].* colours of the file's own palette: if its numbers are the class"
    ):
        all_masks(module(tmp_path, palette=COLOURS[:2].tolist()))


def test_palettes_that_differ_are_read_by_their_colours(tmp_path: Path) -> None:
    """One file numbers the classes 0, 1, the next 1, 0, as tools do that number colours in the order they meet them."""
    write_folder(tmp_path, classes=3)
    for number, path in enumerate(sorted((tmp_path / "masks").iterdir())):
        order = np.roll(np.arange(3), number)
        image = Image.fromarray(np.argsort(order).astype(np.uint8)[np.array(Image.open(path))])
        image.putpalette(COLOURS[order].tobytes())
        image.save(path)
    check_masks(module(tmp_path, class_names=["ground", "box", "disc"], palette=COLOURS.tolist()), 3)


def test_grey_masks_among_masks_in_colours_are_grey_colours(tmp_path: Path) -> None:
    """What they hold is never taken for ids: 255 would be void, and 1 the second class."""
    colours = np.array([(0, 0, 0), (200, 0, 0), (255, 255, 255)], np.uint8)
    write_folder(tmp_path, classes=3, mask_of=lambda mask: colours[mask])
    truth = draw(0, 3)[0]
    truth[truth == 1] = 0
    options = {"class_names": ["ground", "box", "disc"], "palette": colours.tolist()}
    path = tmp_path / "masks" / "pic0.png"
    Image.fromarray(np.where(truth == 2, np.uint8(255), np.uint8(0))).save(path)
    np.testing.assert_array_equal(all_masks(module(tmp_path, **options))["pic0"], truth)
    Image.fromarray(np.minimum(truth, 1)).save(path)
    with pytest.raises(DataError, match=r"\[1, 1, 1\].* The mask is grey: if its numbers are the class ids, set"):
        all_masks(module(tmp_path, **options))


def test_masks_of_which_nothing_would_be_learned_are_refused(tmp_path: Path) -> None:
    write_folder(tmp_path, mask_of=lambda mask: mask + np.uint8(5))
    with pytest.raises(DataError, match=r"All pixels of the \d masks looked at .* are ignored: nothing can be learned"):
        module(tmp_path, label_map={5: 255, 6: 255}).dataset("train")


@pytest.mark.parametrize("stored_as", ["JPEG", "RGB JPEG", "fractions", "WebP"])
def test_a_threshold_takes_masks_whose_values_are_not_exact(tmp_path: Path, stored_as: str) -> None:
    write_folder(tmp_path)
    truth = {name: draw(number)[0] for number, name in enumerate(NAMES)}
    for name, mask in truth.items():
        (tmp_path / "masks" / f"{name}.png").unlink()
        grey = Image.fromarray(mask * np.uint8(255))
        to = tmp_path / "masks" / name
        if stored_as == "fractions":
            unknown = np.where(np.arange(mask.shape[1]) < 3, np.nan, mask * 0.9 + 0.05)
            Image.fromarray(unknown.astype(np.float32)).save(f"{to}.tif")
            mask[:, :3] = 255
        elif stored_as == "WebP":
            grey.convert("RGB").save(f"{to}.webp", quality=80)
        else:
            grey.convert("RGB" if "RGB" in stored_as else "L").save(f"{to}.jpg", quality=90)
    check = all_masks(module(tmp_path, mask_threshold=0.5 if stored_as == "fractions" else 128))
    for name, mask in truth.items():
        np.testing.assert_array_equal(check[name], mask)
    with pytest.raises(DataError):
        all_masks(module(tmp_path))


@pytest.mark.parametrize("suffix", [".webp", ".gif"])
def test_lossless_webp_and_gif_are_exact(tmp_path: Path, suffix: str) -> None:
    write_folder(tmp_path, classes=3)
    for path in sorted((tmp_path / "masks").iterdir()):
        mask = np.array(Image.open(path))
        path.unlink()
        if suffix == ".webp":
            Image.fromarray(np.dstack([mask] * 3)).save(path.with_suffix(suffix), lossless=True)
        else:
            indexed = Image.fromarray(mask)
            indexed.putpalette(COLOURS.tobytes())
            indexed.save(path.with_suffix(suffix))
    palette = COLOURS.tolist() if suffix == ".gif" else None
    check_masks(module(tmp_path, class_names=["ground", "box", "disc"], palette=palette), 3)


def test_masks_in_colours_by_a_palette(tmp_path: Path) -> None:
    names = ["ground", "box", "disc"]
    write_folder(tmp_path, classes=3, mask_of=lambda mask: COLOURS[mask])
    data = module(tmp_path, class_names=names, palette=COLOURS.tolist())
    check_masks(data, 3)
    assert data.labels.palette == tuple(map(tuple, COLOURS.tolist()))
    void = module(tmp_path, palette=COLOURS[:2].tolist(), void_colours=[COLOURS[2].tolist()], ignore_index=9)
    for number, name in enumerate(NAMES):
        expected = draw(number, 3)[0]
        expected[expected == 2] = 9
        np.testing.assert_array_equal(all_masks(void)[name], expected)


def test_unknown_colours_are_listed_with_their_pixels(tmp_path: Path) -> None:
    write_folder(tmp_path, classes=3, mask_of=lambda mask: COLOURS[mask])
    count = int((draw(0, 3)[0] == 2).sum())
    data = module(tmp_path, palette=COLOURS[:2].tolist())
    where = next(split for split in data.splits if "pic0" in data.splits[split])
    dataset = data.dataset(where)  # type: ignore[arg-type]
    with pytest.raises(
        DataError, match=rf"pic0\.png holds colours .*: \[0, 200, 0\] \({count} pixels\)\. .*void_colours"
    ):
        dataset.load(ids(dataset).index("pic0"))


def test_colours_without_a_palette_name_it(tmp_path: Path) -> None:
    data = module(write_folder(tmp_path, mask_of=lambda mask: COLOURS[mask]))
    with pytest.raises(DataError, match=r"2 colours, such as \(.*palette: \[\[red, green, blue\]"):
        data.dataset("train").load(0)


def test_unknown_values_are_listed_with_their_pixels(tmp_path: Path) -> None:
    write_folder(tmp_path, classes=3, mask_of=lambda mask: mask * np.uint8(100))
    data = module(tmp_path, label_map={0: 0, 100: 1})
    with pytest.raises(DataError, match=r"values that data\.label_map does not: 200 \(\d+ pixels\)\. It maps 0, 100\."):
        data.dataset("train").load(0)
    check = module(tmp_path, label_map={0: 0, 100: 1, 200: 255}).dataset("train").load(0)[1]
    assert set(np.unique(check)) == {0, 1, 255}


def test_values_out_of_range(tmp_path: Path) -> None:
    write_folder(tmp_path / "a", classes=3)
    with pytest.raises(DataError, match=r"labels out of range: 2 \(\d+ pixels\)"):
        module(tmp_path / "a").dataset("train").load(0)
    write_folder(tmp_path / "b", mask_of=lambda mask: mask.astype(np.uint16) * 1000)
    with pytest.raises(DataError, match=r"from 0 to 1000; class ids are 0..255\. .*label_map: \{0: 0, 1000: 1\}"):
        module(tmp_path / "b").dataset("train").load(0)


def test_black_and_white_masks_are_refused_while_nobody_says_what_white_is(tmp_path: Path) -> None:
    """255 being ignored, they would train on background alone, without an error."""
    write_folder(tmp_path, mask_of=lambda mask: mask * np.uint8(255))
    with pytest.raises(
        DataError, match=r"black and white.*class 'box', set label_map: \{0: 0, 255: 1\}; if it is void"
    ):
        module(tmp_path).dataset("train")
    with pytest.raises(DataError, match=r"black and white: set label_map: \{0: 0, 255: 1\}"):
        module(tmp_path, ignore_index=9).dataset("train").load(0)
    void = module(tmp_path, label_map={0: 0, 255: 255}).dataset("train").load(0)[1]
    assert set(np.unique(void)) == {0, 255}


def test_black_and_white_may_be_colours(tmp_path: Path) -> None:
    write_folder(tmp_path, mask_of=lambda mask: np.dstack([mask * np.uint8(255)] * 3))
    check_masks(module(tmp_path, palette=[[0, 0, 0], [255, 255, 255]]))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"class_names": ["one"]}, "1 names, expected 2 to 255"),
        ({"palette": [[0, 0, 0]]}, "2 class names but 1 colours"),
        ({"palette": [[0, 0, 0], [0, 0, 256]]}, r"data\.palette is .*256.*expected 0 to 255"),
        ({"palette": [[0, 0, 0], [0, 0]]}, r"data\.palette holds \[0, 0\]"),
        ({"palette": [[0, 0, 0], [0, 0, 0]]}, r"\[0, 0, 0\] stands twice"),
        ({"palette": [[0, 0, 0], [9, 9, 9]], "void_colours": [[9, 9, 9]]}, r"\[9, 9, 9\] stands twice"),
        ({"ignore_index": -100}, "ignore_index is -100; expected 0 to 255"),
        ({"ignore_index": 1}, "ignore_index 1 is also the id of class 'box'"),
        ({"label_map": {0: 0, 7: 2}}, r"label_map leads to 2, expected classes 0\.\.1 or 255"),
        ({"val_fraction": 1.0}, "val_fraction is 1.0; expected more than 0 to below 1"),
    ],
)
def test_settings_that_cannot_be_used(tmp_path: Path, options: dict[str, Any], words: str) -> None:
    write_folder(tmp_path)
    with pytest.raises(ConfigError, match=words):
        module(tmp_path, **options).dataset("train")


# ----------------------------------------------------------------------------------------------------- pairs and splits


def test_split_by_chance(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    names = [f"day{index % 3}/pic{index}" for index in range(20)]
    data = module(write_folder(tmp_path, names=names), val_fraction=0.25, test_fraction=0.1)
    with caplog.at_level("INFO"):
        data.setup("fit")
        data.setup("test")
    assert caplog.text.count("files are divided by chance (split_seed 0): 13 train, 5 val, 2 test") == 1
    parts = {split: ids(data.dataset(split)) for split in ("train", "val", "test")}  # type: ignore[arg-type]
    assert sorted(name for part in parts.values() for name in part) == sorted(names)
    again = module(tmp_path, val_fraction=0.25, test_fraction=0.1)
    assert again.splits == data.splits
    assert module(tmp_path, val_fraction=0.25, test_fraction=0.1, split_seed=1).splits != data.splits


@pytest.mark.parametrize("splits_first", [False, True])
def test_split_by_folders(tmp_path: Path, splits_first: bool, caplog: pytest.LogCaptureFixture) -> None:
    for split, names in {"train": NAMES[:3], "val": NAMES[3:5], "test": NAMES[5:]}.items():
        folders = [f"{split}/{kind}" if splits_first else f"{kind}/{split}" for kind in ("images", "masks")]
        write_folder(tmp_path, names=names, images=folders[0], masks=folders[1])
    data = module(tmp_path)
    with caplog.at_level("INFO"):
        assert ids(data.dataset("val")) == ["val/pic3", "val/pic4"]
    assert "as the folders say: 3 train, 2 val, 1 test" in caplog.text
    assert ids(data.dataset("test")) == ["test/pic5"]
    np.testing.assert_array_equal(data.dataset("test").load(0)[1], draw(0)[0])


def test_split_by_lists_leaves_out_what_none_names(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_folder(tmp_path)
    (tmp_path / "masks" / "pic5.png").unlink()  # not annotated yet, and in no list
    (tmp_path / "train.txt").write_text("images/pic3.png\npic1\n")
    (tmp_path / "val.txt").write_text("pic0.png\n")
    data = module(tmp_path)
    with caplog.at_level("INFO"):
        assert ids(data.dataset("train")) == ["pic3", "pic1"]
    assert "as the lists say: 2 train, 1 val" in caplog.text
    with pytest.raises(ConfigError, match="no test split"):
        data.dataset("test")
    (tmp_path / "val.txt").write_text("pic0.png\npic5.png\n")
    with pytest.raises(DataError, match=r"val\.txt: 1 of 2 lines name no annotated image: pic5\.png"):
        module(tmp_path).dataset("val")


def test_images_without_masks_and_masks_without_images(tmp_path: Path) -> None:
    names = [f"pic{index}" for index in range(9)]
    write_folder(tmp_path, names=names)
    for index in range(7):
        (tmp_path / "masks" / f"pic{index}.png").rename(tmp_path / f"{index}.png")
    with pytest.raises(DataError, match=r"7 of 9 images .* have no mask masks/\{name\}: pic0, .*pic4 and 2 more\."):
        module(tmp_path).dataset("train")
    for index in range(7):
        (tmp_path / f"{index}.png").rename(tmp_path / "masks" / f"pic{index}.png")
    (tmp_path / "images" / "pic8.png").unlink()
    with pytest.raises(DataError, match=r"1 of 9 masks .* have no image images/\{name\}: pic8\."):
        module(tmp_path).dataset("train")


def test_masks_with_something_behind_their_names(tmp_path: Path) -> None:
    write_folder(tmp_path, mask_suffix="_mask")
    with pytest.raises(
        DataError, match=r"no mask masks/\{name\}: .*pair 6 images with masks: .* data\.masks .masks/\{name\}_mask"
    ):
        module(tmp_path).dataset("train")
    (tmp_path / "masks" / "pic0_instances.png").touch()
    check_masks(module(tmp_path, masks="masks/{name}_mask"))


def test_images_and_masks_in_one_folder(tmp_path: Path) -> None:
    write_folder(tmp_path, images="all", masks="all", mask_suffix="_L")
    check_masks(module(tmp_path, images="all", masks="all/{name}_L"))


def test_missing_folders_and_names_twice(tmp_path: Path) -> None:
    write_folder(tmp_path / "mine")
    with pytest.raises(DataError, match=r"no images/ to read: .*Did you mean '.*mine'\? Expected images/"):
        module(tmp_path).dataset("train")
    with pytest.raises(DataError, match=r"There is no labels/ to read: .*holds images/, masks/"):
        module(tmp_path / "mine", masks="labels").dataset("train")
    Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "mine" / "images" / "pic0.jpg")
    with pytest.raises(DataError, match=r"pic0\.jpg and pic0\.png have one name"):
        module(tmp_path / "mine").dataset("train")
    (tmp_path / "mine" / "empty").mkdir()
    with pytest.raises(DataError, match="empty holds no file that ends in"):
        module(tmp_path / "mine", images="empty").dataset("train")


def test_sizes_must_agree(tmp_path: Path) -> None:
    data = module(write_folder(tmp_path, mask_of=lambda mask: mask[1:]))
    with pytest.raises(DataError, match=r"pic\d\.png is 52x40, .*pic\d\.png is 52x39"):
        data.dataset("train").load(0)


# ------------------------------------------------------------------------------------------------- kinds of images


def grey16(image: np.ndarray) -> np.ndarray:
    return image[..., 0].astype(np.uint16) * 257


def test_16_bits_of_one_channel(tmp_path: Path) -> None:
    write_folder(tmp_path, suffix=".tif", image_of=grey16)
    data = module(tmp_path, pixel_range=65535.0, **ONE_CHANNEL)
    check_masks(data)
    image = data.dataset("train").load(0)[0]
    assert image.dtype == np.float32
    number = int(data.dataset("train").sample_id(0)[-1])
    np.testing.assert_array_equal(image[..., 0], draw(number)[1][..., 0].astype(float) * 257)


def test_one_channel_of_8_bits_stays_one(tmp_path: Path) -> None:
    image = (
        module(write_folder(tmp_path, image_of=lambda image: image[..., 0]), **ONE_CHANNEL).dataset("train").load(0)[0]
    )
    assert image.shape == (HEIGHT, WIDTH, 1)
    assert image.dtype == np.uint8


def test_training_batches_of_many_channels(tmp_path: Path) -> None:
    """Cropped beyond the image: what lies there is the mean, in stored units."""
    write_folder(tmp_path, suffix=".npy", image_of=lambda image: np.dstack([image, image[..., :2]]) / np.float32(255))
    mean = (0.1, 0.2, 0.3, 0.4, 0.5)
    data = module(tmp_path, pixel_range=1.0, mean=mean, std=(0.5,) * 5, crop_size=65, scale_range=(1.0, 1.0))
    batch = next(iter(data.train_dataloader()))
    assert batch["image"].shape == (2, 5, 65, 65)
    assert batch["image"].dtype == torch.float32
    assert batch["mask"].dtype == torch.uint8
    beyond = batch["mask"] == 255
    assert beyond.any()
    for channel in range(5):
        torch.testing.assert_close(batch["image"][:, channel][beyond], torch.full((int(beyond.sum()),), mean[channel]))


@pytest.mark.parametrize(
    ("suffix", "image_of", "options", "words"),
    [
        (".tif", grey16, ONE_CHANNEL, r"uint16 values from .* but pixel_range is 255,.* set pixel_range: 65535,"),
        (
            ".tif",
            lambda image: grey16(image) // 16,
            ONE_CHANNEL,
            r"set pixel_range: 4095 \(12 bits\) or 65535 \(16 bits\)",
        ),
        (
            ".png",
            lambda image: image[..., 0],
            {"pixel_range": 65535.0, **ONE_CHANNEL},
            r"uint8 .* set pixel_range: 255,",
        ),
        (".npy", lambda image: image[..., 0] / 255, ONE_CHANNEL, r"float64 values .* set pixel_range: 1,"),
        (".npy", lambda image: image / 255.0, {"pixel_range": 65535.0}, r"float64 values .* set pixel_range: 1,"),
        (".npy", lambda image: np.dstack([image, image]), {}, r"has 6 channels.*set mean: \[.*6 numbers each"),
        (".png", lambda image: image, ONE_CHANNEL, r"has 3 channels, but mean and std declare 1 channel"),
    ],
)
def test_the_first_image_is_held_against_what_is_declared(
    tmp_path: Path, suffix: str, image_of: Any, options: dict[str, Any], words: str
) -> None:
    write_folder(tmp_path, suffix=suffix, image_of=image_of)
    with pytest.raises(DataError, match=words):
        module(tmp_path, **options).dataset("train")


def test_hounsfield_units_are_as_they_are(tmp_path: Path) -> None:
    write_folder(tmp_path, suffix=".npy", image_of=lambda image: image[..., :1].astype(np.int16) * 10 - 1000)
    image = module(tmp_path, pixel_range=1.0, mean=(0.0,), std=(500.0,)).dataset("train").load(0)[0]
    assert image.min() < 0
    assert image.dtype == np.float32


def test_slices_of_volumes(tmp_path: Path) -> None:
    pytest.importorskip("nibabel")
    for number in range(5):
        parts = [draw(10 * number + index) for index in range(4)]
        volume = np.stack([image[..., 0] for _, image in parts], axis=2).swapaxes(0, 1)[:, ::-1]
        labels = np.stack([mask for mask, _ in parts], axis=2).swapaxes(0, 1)[:, ::-1]
        write_nifti(tmp_path / "images" / f"case{number}.nii.gz", volume.astype(np.int16), "LPS")
        write_nifti(tmp_path / "masks" / f"case{number}.nii.gz", labels, "RAS")
    data = module(tmp_path, pixel_range=1.0, mean=(120.0,), std=(60.0,))
    train, val = data.dataset("train"), data.dataset("val")
    assert (len(train), len(val)) == (16, 4)
    case = data.splits["val"][0]
    assert ids(val) == [f"{case}#{index:03}" for index in range(4)]  # a volume is never in two splits
    for index in range(4):
        mask, image = draw(10 * int(case[-1]) + index)
        np.testing.assert_array_equal(val.load(index)[0][..., 0], image[..., 0])
        np.testing.assert_array_equal(val.load(index)[1], mask)
    assert val.files(0) == (tmp_path / "images" / f"{case}.nii.gz", tmp_path / "masks" / f"{case}.nii.gz")
    write_nifti(tmp_path / "masks" / f"{case}.nii.gz", labels[..., :3])
    with pytest.raises(DataError, match=r"has 4 slices and its mask .* 3: expected a volume of the same size"):
        module(tmp_path, pixel_range=1.0, mean=(120.0,), std=(60.0,)).dataset("val")


def test_a_mask_that_lies_elsewhere_in_the_body_is_refused(tmp_path: Path) -> None:
    """Tools that forget the affine: the mask would be turned against its image, without a word."""
    nibabel = pytest.importorskip("nibabel")
    volume = np.arange(20 * 30 * 4, dtype=np.int16).reshape(20, 30, 4)
    affine = np.diag([-2.0, -2.0, 5.0, 1.0])  # LPS, as CT scanners write
    for number in range(5):
        for folder, where in (("images", affine), ("masks", affine if number else np.eye(4))):
            (tmp_path / folder).mkdir(exist_ok=True)
            nibabel.save(nibabel.Nifti1Image(volume % 2, where), tmp_path / folder / f"case{number}.nii")
    with pytest.raises(DataError, match=r"case0\.nii lie 58 mm apart, with voxels of 2 mm"):
        [module(tmp_path, pixel_range=1.0, mean=(0.0,), std=(1.0,)).dataset(split) for split in ("train", "val")]
    moved = affine.copy()
    moved[0, 3] = 0.4  # rounding in a header is no other place
    nibabel.save(nibabel.Nifti1Image(volume % 2, moved), tmp_path / "masks" / "case0.nii")
    data = module(tmp_path, pixel_range=1.0, mean=(0.0,), std=(1.0,))
    assert len(data.dataset("train")) + len(data.dataset("val")) == 20


def test_windows_of_rasters(tmp_path: Path) -> None:
    pytest.importorskip("rasterio")
    scenes = {f"scene{number}": draw(number, height=100, width=70) for number in range(3)}
    for name, (mask, image) in scenes.items():
        bands = np.dstack([image, image[..., 0]]).astype(np.uint16)
        write_geotiff(tmp_path / "images" / f"{name}.tif", bands, left=5.0)
        write_geotiff(tmp_path / "masks" / f"{name}.tif", mask, left=5.0)
    options: dict[str, Any] = {"pixel_range": 1000.0, "mean": (0.1,) * 4, "std": (0.1,) * 4, "window_size": 40}
    data = module(tmp_path, **options)
    val = data.dataset("val")
    (name,) = data.splits["val"]
    assert ids(val) == [f"{name}#{row}_{column}" for row in (0, 33, 66) for column in (0, 35)]
    mask, image = scenes[name]
    seen = np.full_like(mask, 9)
    for index, sample_id in enumerate(ids(val)):
        row, column = map(int, sample_id.split("#")[1].split("_"))
        pixels, labels = val.load(index)
        height, width = labels.shape
        seen[row : row + height, column : column + width] = labels
        np.testing.assert_array_equal(pixels[..., 3], image[row : row + height, column : column + width, 0])
    np.testing.assert_array_equal(seen, mask)
    write_geotiff(tmp_path / "masks" / f"{name}.tif", mask, left=6.0)
    with pytest.raises(DataError, match="lie in different places"):
        module(tmp_path, **options).dataset("val")


# -------------------------------------------------------------------------------------------------------- description


def test_it_describes_itself_without_data() -> None:
    description = FolderDataModule.describe(
        FolderDataModule.Options(
            root="/nowhere",
            class_names=["ground", "box"],
            palette=[[1, 2, 3], [4, 5, 6]],
            mean=[0.1, 0.2],
            std=[0.3, 0.4],
            pixel_range=4095.0,
            ignore_index=9,
            label_map={0: 0, 7: 1},
        )
    )
    assert description == {
        "class_names": ["ground", "box"],
        "palette": [[1, 2, 3], [4, 5, 6]],
        "ignore_index": 9,
        "channels": 2,
        "mean": [0.1, 0.2],
        "std": [0.3, 0.4],
        "pixel_range": 4095.0,
    }


def test_names_may_have_dots(tmp_path: Path) -> None:
    write_folder(tmp_path, names=["a.1", "a.2", "b.c.d"])
    assert sorted(all_masks(module(tmp_path))) == ["a.1", "a.2", "b.c.d"]


def test_capital_endings_and_hidden_files(tmp_path: Path) -> None:
    write_folder(tmp_path)
    for name in NAMES:
        (tmp_path / "images" / f"{name}.png").rename(tmp_path / "images" / f"{name}.PNG")
    write_image(tmp_path / "images" / ".hidden.png", draw(0)[1])
    check_masks(module(tmp_path))
