"""The user's own images from folder to masks, with images that are not RGB: fit, validate, predict, and Python."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import deeplab_lightning
from deeplab_lightning.__main__ import main
from deeplab_lightning.data.sets.folder import FolderDataModule
from deeplab_lightning.errors import DataError
from deeplab_lightning.metrics.per_image import ImageCounts
from tests.conftest import SMALL, V3PLUS
from tests.fakes.folder import draw, write_folder, write_nifti

OPTIONS = {
    "class_names": ["ground", "box"],
    "label_map": {0: 0, 255: 1},
    "mean": [0.45],
    "std": [0.3],
    "pixel_range": 65535.0,
    "val_fraction": 0.34,
}


def grey16(number: int) -> np.ndarray:
    return draw(number)[1][..., 0].astype(np.uint16) * 257


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 16-bit TIFF of one channel with black and white masks."""
    folder = tmp_path_factory.mktemp("own")
    return write_folder(
        folder,
        suffix=".tif",
        image_of=lambda image: image[..., 0].astype(np.uint16) * 257,
        mask_of=lambda mask: mask * np.uint8(255),
    )


@pytest.fixture(scope="module")
def run(root: Path) -> Path:
    """A finished run on it."""
    config = root / "own.yaml"
    config.write_text(yaml.safe_dump({"data": {"name": "Folder", **OPTIONS}}))
    options = ["--data.root", str(root), *SMALL, "--run.folder", str(root / "runs")]
    assert main(["fit", "-c", str(V3PLUS), "-c", str(config), *options]) == 0
    return root / "runs" / "v3plus" / "version_0"


def test_a_run_on_16_bit_images_leaves_panels_and_what_predict_needs(run: Path) -> None:
    overview = np.array(Image.open(run / "panels" / "panels.png"))
    assert overview.ndim == 3
    description = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["hyper_parameters"]["description"]
    assert (description["channels"], description["pixel_range"]) == (1, 65535.0)


def test_validate_and_predict_agree_pixel_by_pixel(run: Path, root: Path, tmp_path: Path) -> None:
    """Also: a label map of integers survives its way through the checkpoint."""
    checkpoint = run / "checkpoints" / "last.ckpt"
    assert main(["validate", "--ckpt_path", str(checkpoint)]) == 0
    images = [str(root / "images" / f"pic{number}.tif") for number in range(6)]
    assert main(["predict", *images, "--ckpt_path", str(checkpoint), "--output", str(tmp_path)]) == 0
    val = FolderDataModule(root=str(root), **OPTIONS).dataset("val")  # type: ignore[arg-type]
    counts = ImageCounts(val.labels.class_names)
    for index in range(len(val)):
        pred = np.array(Image.open(tmp_path / "masks" / f"{val.sample_id(index)}.png")).astype(int)
        matrix = np.bincount(val.load(index)[1].ravel() * 2 + pred.ravel(), minlength=4).reshape(2, 2)
        counts.add(val.sample_id(index), matrix)
    validated = sorted((run / "validate").iterdir())[-1]
    np.testing.assert_array_equal(np.load(validated / "confusion.npz")["matrix"], counts.total())
    assert Image.open(tmp_path / "overlays" / "pic0.png").size == (52, 40)


def test_every_kind_of_input_gives_the_same_mask(run: Path, root: Path, tmp_path: Path) -> None:
    model = deeplab_lightning.load(run, device="cpu")
    expected = model.predict(root / "images" / "pic0.tif").mask
    stored = grey16(0)
    np.save(tmp_path / "a.npy", stored)
    Image.fromarray(stored).save(tmp_path / "a.png")
    inputs = [
        tmp_path / "a.npy",
        str(tmp_path / "a.png"),
        stored,
        stored[..., None].astype(np.float32),
        torch.from_numpy(stored.astype(np.int32))[None],
        Image.fromarray(stored),
    ]
    for image in inputs:
        result = model.predict(image)
        np.testing.assert_array_equal(result.mask, expected)
        assert result.overlay().shape == (40, 52, 3)


def test_images_of_another_kind_are_named(
    run: Path, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(draw(0)[1]).save(tmp_path / "rgb.png")
    words = ["predict", str(tmp_path / "rgb.png"), str(root / "images" / "pic0.tif"), "--ckpt_path", str(run)]
    assert main([*words, "--output", str(tmp_path / "out")]) == 1
    printed = capsys.readouterr().out
    assert "1 of 2 images segmented" in printed
    assert "rgb.png has 3 channels, but mean and std declare 1 channel" in printed
    Image.fromarray(draw(0)[1][..., 0]).save(tmp_path / "shallow.png")
    with pytest.raises(DataError, match=r"shallow\.png holds uint8 values .* but pixel_range is 65535, .*checkpoint's"):
        deeplab_lightning.load(run).predict(tmp_path / "shallow.png")
    with pytest.raises(DataError, match="The array holds uint8 values"):
        deeplab_lightning.load(run).predict(draw(0)[1][..., 0])
    with pytest.raises(DataError, match=r"shape \(40, 52, 3\) .*stored values 0\.\.65535, \(H, W, 1\) or \(H, W\)"):
        deeplab_lightning.load(run).predict(draw(0)[1])


def test_a_volume_is_segmented_slice_by_slice(run: Path, tmp_path: Path) -> None:
    pytest.importorskip("nibabel")
    slices = [grey16(number) for number in range(2)]
    volume = np.stack(slices, axis=2).swapaxes(0, 1)[:, ::-1]
    write_nifti(tmp_path / "scan.nii.gz", volume.astype(np.int32))
    assert main(["predict", str(tmp_path), "--ckpt_path", str(run), "--output", str(tmp_path / "out")]) == 0
    model = deeplab_lightning.load(run, device="cpu")
    for index, stored in enumerate(slices):
        expected = model.predict(stored).mask
        written = np.array(Image.open(tmp_path / "out" / "masks" / f"scan#{index:03}.png"))
        np.testing.assert_array_equal(written, expected)
        np.testing.assert_array_equal(model.predict(f"{tmp_path}/scan.nii.gz#{index}").mask, expected)
