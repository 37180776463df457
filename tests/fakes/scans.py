"""Scans of patients in the forms of published data sets: a file for each channel, and a mask."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from .folder import write_nifti

SHAPE = (24, 20, 4)
"""Voxels along right, front and up."""


def volume(number: int, values: Sequence[int] = (0, 1, 2)) -> tuple[np.ndarray, np.ndarray]:
    """Return a scan `SHAPE` int16 and its mask uint8 of these values, each of which occurs."""
    rng = np.random.default_rng(number)
    index = np.kron(rng.integers(0, len(values), (6, 5, 2)), np.ones((4, 4, 2), np.int64))
    index.ravel()[: len(values)] = np.arange(len(values))
    return (index * 200 + rng.integers(0, 50, SHAPE)).astype(np.int16), np.array(values, np.uint8)[index]


def as_slice(of_volume: np.ndarray, index: int) -> np.ndarray:
    """Return a slice as it is to be read: rows from front to back, columns from left to right."""
    return of_volume[:, ::-1, index].swapaxes(0, 1)


def write_nnunet(root: Path, channels: int = 2, cases: int = 5, **told: object) -> Path:
    """Write nnU-Net's second form; two more cases have no labels."""
    for number in range(cases + 2):
        scan, mask = volume(number)
        folder = "Tr" if number < cases else "Ts"
        for channel in range(channels):
            write_nifti(root / f"images{folder}" / f"la_{number:03}_{channel:04}.nii.gz", scan + 1000 * channel)
        if number < cases:
            write_nifti(root / "labelsTr" / f"la_{number:03}.nii.gz", mask)
    description = {
        "channel_names": {str(index): name for index, name in enumerate(("T2", "ADC")[:channels])},
        "labels": {"background": 0, "PZ": 1, "TZ": 2},
        "numTraining": cases,
        "file_ending": ".nii.gz",
    }
    (root / "dataset.json").write_text(json.dumps(description | told))
    return root


def write_scans(root: Path) -> Path:
    """Write what `configs/data/scans.yaml` reads."""
    return write_nnunet(root)


def write_msd(root: Path, cases: int = 5) -> Path:
    """Write the Medical Segmentation Decathlon's form: the 4th dimension of a file holds the channels."""
    for number in range(cases):
        scan, mask = volume(number)
        write_nifti(root / "imagesTr" / f"BRATS_{number:03}.nii.gz", np.stack([scan, scan + 1000], axis=-1))
        write_nifti(root / "labelsTr" / f"BRATS_{number:03}.nii.gz", mask)
        (root / "imagesTr" / f"._BRATS_{number:03}.nii.gz").write_bytes(b"macOS")
    description = {
        "modality": {"0": "FLAIR", "1": "T1w"},
        "labels": {"0": "background", "1": "edema", "2": "enhancing tumor"},
        "tensorImageSize": "4D",
    }
    (root / "dataset.json").write_text(json.dumps(description))
    return root


def write_nnunet_png(root: Path) -> Path:
    """Write nnU-Net's form of photographs: the one file of a case holds RGB."""
    for number in range(5):
        scan, mask = volume(number)
        for folder in ("imagesTr", "labelsTr"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        rgb = np.stack([scan[..., index] // 3 for index in range(3)], axis=-1).astype(np.uint8)
        Image.fromarray(rgb).save(root / "imagesTr" / f"img-{number}_0000.png")
        Image.fromarray(mask[..., 0]).save(root / "labelsTr" / f"img-{number}.png")
    description = {
        "channel_names": {"0": "R", "1": "G", "2": "B"},
        "labels": {"background": 0, "road": 1, "ignore": 2},
        "file_ending": ".png",
    }
    (root / "dataset.json").write_text(json.dumps(description))
    return root


def write_brats(root: Path) -> Path:
    """Write BraTS 2020's form."""
    for number in range(5):
        scan, mask = volume(number, (0, 1, 2, 4))
        name = f"BraTS20_Training_{number:03}"
        for channel, kind in enumerate(("flair", "t1", "t1ce", "t2")):
            write_nifti(root / name / f"{name}_{kind}.nii", scan + 1000 * channel)
        write_nifti(root / name / f"{name}_seg.nii", mask)
    (root / "name_mapping.csv").write_text("Grade\n")
    return root


def write_acdc(root: Path) -> Path:
    """Write ACDC's form: two moments of each heart, and the whole beat in one file."""
    for number in range(1, 6):
        patient = f"patient{number:03}"
        folder = root / "training" / patient
        for frame in (1, 12):
            scan, mask = volume(100 * number + frame, (0, 1, 2, 3))
            write_nifti(folder / f"{patient}_frame{frame:02}.nii.gz", scan)
            write_nifti(folder / f"{patient}_frame{frame:02}_gt.nii.gz", mask)
        write_nifti(folder / f"{patient}_4d.nii.gz", np.stack([volume(1)[0]] * 2, axis=-1))
        (folder / "Info.cfg").write_text("ED: 1\nES: 12\n")
    return root


def write_lits(root: Path) -> Path:
    """Write LiTS's form, which numbers volumes without zeros before."""
    for number in range(12):
        scan, mask = volume(number)
        write_nifti(root / f"volume_pt{number // 6}" / f"volume-{number}.nii", scan)
        write_nifti(root / "segmentations" / f"segmentation-{number}.nii", mask)
    return root
