"""Scans whose channels are files: every form's slices and masks against arrays, and patients in one split."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml

from deeplab_lightning.data.pairing.groups import patient_of
from deeplab_lightning.data.sets import datamodule_named
from deeplab_lightning.data.sets.scans import ScansDataModule, find_cases
from deeplab_lightning.doctor.layouts import Proposal, propose
from deeplab_lightning.errors import ConfigError, DataError
from tests.fakes.folder import write_nifti
from tests.fakes.scans import (
    as_slice,
    volume,
    write_acdc,
    write_brats,
    write_lits,
    write_msd,
    write_nnunet,
    write_nnunet_png,
)

pytest.importorskip("nibabel")


def read_back(folder: Path) -> tuple[Proposal, ScansDataModule]:
    """Return what doctor proposes, and the datamodule of its YAML."""
    found = propose(folder)
    data = yaml.safe_load(found.as_yaml("title"))["data"]
    datamodule = datamodule_named(data.pop("name"))(**data, num_workers=0)
    assert isinstance(datamodule, ScansDataModule)
    return found, datamodule


def samples(datamodule: ScansDataModule) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    found = {}
    for split in ("train", "val"):
        dataset = datamodule.dataset(split)  # type: ignore[arg-type]
        found |= {dataset.sample_id(index): dataset.load(index) for index in range(len(dataset))}
    return found


@pytest.mark.parametrize(
    ("write", "name", "channels", "classes"),
    [
        (write_nnunet, "la_003", 2, ["background", "PZ", "TZ"]),
        (write_msd, "BRATS_003", 2, ["background", "edema", "enhancing tumor"]),
        (write_lits, "3", 1, ["background", "liver", "tumour"]),
    ],
)
def test_slices_and_masks(
    tmp_path: Path, write: Callable[[Path], Path], name: str, channels: int, classes: list[str]
) -> None:
    found, datamodule = read_back(write(tmp_path / "outer" / "data").parent)
    assert found.options["class_names"] == classes
    scan, mask = volume(3)
    read = samples(datamodule)
    for index in range(4):
        image, labels = read[f"{name}#{index:03}"]
        expected = np.stack([as_slice(scan, index) + 1000 * channel for channel in range(channels)], axis=-1)
        np.testing.assert_array_equal(image, expected.astype(np.float32))
        np.testing.assert_array_equal(labels, as_slice(mask, index))
    assert datamodule.description["channels"] == channels


def test_brats(tmp_path: Path) -> None:
    """Values 0, 1, 2 and 4; t1 is not taken for t1ce."""
    found, datamodule = read_back(write_brats(tmp_path))
    assert found.options["label_map"] == {0: 0, 1: 1, 2: 2, 4: 3}
    assert found.options["class_names"][3] == "enhancing tumour"
    scan, mask = volume(2, (0, 1, 2, 4))
    image, labels = samples(datamodule)["BraTS20_Training_002#001"]
    np.testing.assert_array_equal(image[..., 2], as_slice(scan, 1) + 2000)
    np.testing.assert_array_equal(image[..., 1], as_slice(scan, 1) + 1000)
    np.testing.assert_array_equal(labels, np.minimum(as_slice(mask, 1), 3))
    write_nifti(tmp_path / "BraTS20_Training_002" / "BraTS20_Training_002_seg.nii", mask + 5)
    with pytest.raises(DataError, match=r"002_seg\.nii#00\d holds values that data\.label_map does not: 5"):
        samples(ScansDataModule(**found.options))


def test_acdc_by_patient(tmp_path: Path) -> None:
    found, datamodule = read_back(write_acdc(tmp_path))
    assert "5 that no pattern fits (training/patient001/patient001_4d.nii.gz" in found.as_yaml("title")
    names = {split: {name.partition("_")[0] for name in inside} for split, inside in datamodule.splits.items()}
    assert len(names["val"]) == 1
    assert len(names["train"]) == 4
    assert not names["train"] & names["val"]
    assert sorted(len(inside) for inside in datamodule.splits.values()) == [2, 8]
    scan, mask = volume(312, (0, 1, 2, 3))
    image, labels = samples(datamodule)["patient003_12#003"]
    np.testing.assert_array_equal(image[..., 0], as_slice(scan, 3))
    np.testing.assert_array_equal(labels, as_slice(mask, 3))


def test_photographs_in_nnunets_form(tmp_path: Path) -> None:
    """Three channels in one file, and a label that is ignored."""
    found, datamodule = read_back(write_nnunet_png(tmp_path))
    assert found.options["class_names"] == ["background", "road"]
    assert found.options["label_map"] == {0: 0, 1: 1, 2: 255}
    assert "mean" not in found.options
    scan, mask = volume(4)
    image, labels = samples(datamodule)["img-4"]
    np.testing.assert_array_equal(image[..., 1], scan[..., 1] // 3)
    np.testing.assert_array_equal(labels == 255, mask[..., 0] == 2)


def test_a_test_split_with_labels(tmp_path: Path) -> None:
    write_nnunet(tmp_path)
    for number in (5, 6):
        write_nifti(tmp_path / "labelsTs" / f"la_{number:03}.nii.gz", volume(number)[1])
    _, datamodule = read_back(tmp_path)
    assert datamodule.splits["test"] == ["la_005", "la_006"]
    assert sorted(datamodule.splits["train"] + datamodule.splits["val"]) == [f"la_{number:03}" for number in range(5)]


def test_what_is_left_out_is_said(tmp_path: Path) -> None:
    found = propose(write_nnunet(tmp_path, labels={"background": 0, "whole": [1, 2], "core": 2}))
    text = found.as_yaml("title")
    assert "4 without a mask (imagesTs/la_005_0000.nii.gz" in text
    assert "whole are regions made of several values" in text
    assert found.options["class_names"] == ["background", "class_1", "core"]
    assert "values that nnU-Net or MSD does not name: 1" in text


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    options = propose(write_nnunet(tmp_path)).options
    moved = volume(2)[0]
    write_nifti(tmp_path / "imagesTr" / "la_002_0001.nii.gz", moved, axes="LPS")  # turned alike by its header
    samples(ScansDataModule(**options))
    write_nifti(tmp_path / "imagesTr" / "la_002_0001.nii.gz", moved[:-1])
    with pytest.raises(DataError, match=r"la_002_0000\.nii\.gz has .* voxels .*la_002_0001\.nii\.gz"):
        samples(ScansDataModule(**options))
    (tmp_path / "imagesTr" / "la_002_0001.nii.gz").unlink()
    with pytest.raises(DataError, match=r"1 channels of case la_002 .* are missing.*images\{split\}/\{name\}_0001"):
        _ = ScansDataModule(**options).splits
    with pytest.raises(DataError, match="holds no case with a mask"):
        find_cases(tmp_path, ["{name}_x"], "{name}_y")
    with pytest.raises(ConfigError, match="names no"):
        find_cases(tmp_path, ["scan"], "{name}")
    with pytest.raises(ConfigError, match="the same words in braces"):
        find_cases(tmp_path, ["{name}_{frame}"], "{name}")


def test_whose_scan_it_is() -> None:
    for name, patient in {
        "patient001_frame12": "patient001",
        "sub-03_ses-1": "sub-03",
        "BraTS-GLI-00005-100": "BraTS-GLI-00005",
        "BRATS_001": "BRATS_001",
        "case_00012": "case_00012",
        "la_003": "la_003",
    }.items():
        assert patient_of(name) == patient
