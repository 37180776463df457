"""Depth on its way from file to batch: read, cut and turned with its image, 0 where nobody knows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from deeplab_lightning.data.drawing import draw_scene
from deeplab_lightning.data.files.depth_maps import read_depth
from deeplab_lightning.data.loading import LoaderView
from deeplab_lightning.data.sets.drawn_scenes import DrawnScenes, DrawnScenesDataModule
from deeplab_lightning.data.sets.folder import FolderDataModule
from deeplab_lightning.data.transforms.pipelines import AugmentationOptions, TrainingTransform
from deeplab_lightning.errors import ConfigError, DataError

from ..fakes.folder import write_folder

VOID = 255


@pytest.mark.parametrize("kind", ["png", "tif", "npy"])
def test_files_of_depth(tmp_path: Path, kind: str) -> None:
    """Millimetres to metres; 0, and what is no number, is unknown."""
    stored = np.array([[0, 1500], [250, 65535]], np.uint16)
    path = tmp_path / f"depth.{kind}"
    if kind == "npy":
        np.save(path, np.array([[np.nan, 1500.0], [250.0, 65535.0]]))
    elif kind == "tif":
        cv2.imwrite(str(path), np.array([[-1, 1500.0], [250.0, 65535.0]], np.float32))
    else:
        cv2.imwrite(str(path), stored)
    depth = read_depth(path, 0.001)
    assert depth.dtype == np.float32
    assert np.allclose(depth, stored * 0.001)


def test_what_is_no_depth_map_is_refused(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "colours.png"), np.zeros((4, 4, 3), np.uint8))
    (tmp_path / "text.png").write_text("no image")
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="one number for each pixel"):
        read_depth(tmp_path / "colours.png")
    for name in ("text.png", "objects.npy", "missing.png"):
        with pytest.raises(DataError, match="cannot be read as a depth map"):
            read_depth(tmp_path / name)


def test_drawn_scenes_know_their_depth() -> None:
    """Nearer things are drawn over farther ones, so each object has one depth wherever it is seen."""
    dataset = DrawnScenes("train", 5, 96, 128, seed=3)
    depth = dataset.depth(2)
    scene = draw_scene((3, 0, 2), 96, 128)
    assert np.array_equal(depth, scene.depth)
    assert scene.objects
    for thing in scene.objects:
        assert np.allclose(depth[scene.instances == thing.instance_id], thing.depth)
    image, mask = dataset.load(2)
    image[:] = 0  # what was handed out is the caller's
    assert dataset.load(2)[0].any()
    assert np.array_equal(mask, scene.mask)


@pytest.mark.parametrize(
    "options", [{}, {"rotation": 20.0}, {"elastic": 1.0}, {"transforms": [{"Affine": {"translate_px": 20, "p": 1.0}}]}]
)
def test_depth_goes_where_the_mask_goes(options: dict[str, Any]) -> None:
    """With the mask's own numbers as depth both come out alike; void beyond the image is unknown."""
    generator = np.random.default_rng(0)
    labels = np.kron(generator.integers(1, 9, (6, 8)), np.ones((10, 10))).astype(np.uint8)
    image = np.repeat(20 * labels[..., None], 3, axis=2)
    transform = TrainingTransform(AugmentationOptions(crop_size=65, **options), (0.0, 0.0, 0.0), VOID)
    borders = 0
    for seed in range(12):
        crop, mask, maps = transform.with_maps(image, labels, {"depth": labels.astype(np.float32)}, seed)
        depth = maps["depth"]
        assert depth.dtype == np.float32
        assert np.array_equal(np.where(mask == VOID, 0, mask), depth)
        borders += int((depth == 0).sum())
        plain, plain_mask = transform(image, labels, seed)
        assert np.array_equal(plain, crop)  # asking for depth changes nothing else
        assert np.array_equal(plain_mask, mask)
    assert borders > 0


def test_batches_hold_depth_only_where_it_was_asked_for() -> None:
    data = DrawnScenesDataModule(
        height=64, width=80, train_size=4, val_size=3, crop_size=33, batch_size=2, num_workers=0, eval_batch_size=2
    )
    assert "depth" not in next(iter(data.train_dataloader()))
    data = DrawnScenesDataModule(
        height=64, width=80, train_size=4, val_size=3, crop_size=33, batch_size=2, num_workers=0, eval_batch_size=2
    )
    data.deliver("depth")
    batch = next(iter(data.train_dataloader()))
    assert batch["depth"].shape == (2, 33, 33)
    assert batch["depth"].dtype == torch.float32
    whole = next(iter(data.val_dataloader()))
    assert [tuple(depth.shape) for depth in whole["depth"]] == [(64, 80)] * 2


def test_a_folder_with_depth(tmp_path: Path) -> None:
    root = write_folder(tmp_path)
    options = {"root": str(root), "class_names": ["a", "b", "c"], "num_workers": 0, "batch_size": 1, "crop_size": 33}
    without = FolderDataModule(**options)
    without.setup("fit")
    with pytest.raises(ConfigError, match=r"needs depth maps.* has none: drawn scenes have.*--data.depth depth"):
        without.deliver("depth")
    missing = FolderDataModule(**options, depth="depth")
    with pytest.raises(DataError, match="There is no depth/ to read"):
        missing.setup("fit")
    (root / "depth").mkdir()
    sizes = {}
    for split in ("train", "val"):
        dataset = without.dataset(split)
        for index in range(len(dataset)):
            name, shape = dataset.sample_id(index), dataset.load(index)[1].shape
            sizes[name] = shape
            (root / "depth" / name).parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(root / "depth" / f"{name}.png"), np.full(shape, 2000, np.uint16))
    data = FolderDataModule(**options, depth="depth", depth_scale=0.001)
    data.setup("fit")
    data.deliver("depth")
    batch = next(iter(data.val_dataloader()))
    assert tuple(batch["depth"][0].shape) == sizes[batch["sample_id"][0]]
    assert torch.allclose(batch["depth"][0], torch.tensor(2.0))
    name = data.dataset("train").sample_id(0)
    cv2.imwrite(str(root / "depth" / f"{name}.png"), np.full((3, 4), 2000, np.uint16))
    view = LoaderView(data.dataset("train"), data.transform, maps=["depth"])
    with pytest.raises(DataError, match="they must have one size"):
        view[0]
