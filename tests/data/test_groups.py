"""Patients and copies come into one split, or it is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deeplab_lightning.data.pairing.groups import copies_among, divided_groups, kept_together, patient_of
from deeplab_lightning.data.pairing.splitting import fold_split, fraction_split
from deeplab_lightning.data.sets.folder import FolderDataModule
from deeplab_lightning.doctor.layouts import propose

from ..fakes.dicom import write_dicom


def write(root: Path, *names: str, ending: str = ".png") -> Path:
    rng = np.random.default_rng(0)
    for name in names:
        for kind in ("images", "masks"):
            path = root / (name.replace("*", kind) if "*" in name else f"{kind}/{name}")
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = rng.integers(0, 2, (20, 20), dtype=np.uint8)
            if kind == "images":
                pixels = rng.integers(0, 256, (20, 20, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(f"{path}{ending}")
    return root


def module(root: Path) -> FolderDataModule:
    return FolderDataModule(root=str(root), class_names=["a", "b"], num_workers=0)


@pytest.mark.parametrize(
    ("name", "patient"),
    [
        ("patient01_slice03", "patient01"),
        ("train/patient01/03", "patient01"),
        ("sub-01_T1w", "sub-01"),
        ("scan_case_00012_0000", "scan_case_00012"),
        ("TCGA_CS_4941_19960909_1", "TCGA_CS_4941"),
        ("suitcase12_3", "suitcase12_3"),
        ("subway1", "subway1"),
    ],
)
def test_patients_by_names(name: str, patient: str) -> None:
    assert patient_of(name) == patient


def test_copies_are_those_of_names_that_are_there() -> None:
    names = [
        "train/p0",
        "val/p0 (1)",
        "val/p0 - Copy (2)",
        "Copy of p0",
        "p0 copy",
        "x (1)",
        "p1",
        "val/p1",
        "a/p0 copy",
    ]
    assert copies_among(names) == dict.fromkeys(
        ["val/p0 (1)", "val/p0 - Copy (2)", "Copy of p0", "p0 copy"], "train/p0"
    )
    assert len({kept_together(names)[name] for name in ("train/p0", "val/p0 (1)", "Copy of p0")}) == 1


def test_chance_keeps_patients_together() -> None:
    names = [f"patient{patient:02}_slice{part}" for patient in range(10) for part in range(4)]
    for seed in range(5):
        splits = fraction_split(names, {"val": 0.2, "test": 0.1}, seed)
        assert {split: len(inside) for split, inside in splits.items()} == {"train": 28, "val": 8, "test": 4}
        assert divided_groups(splits, kept_together(names)) == ""
        folds = fold_split(splits, 3, 1, seed)
        assert divided_groups({"train": folds["train"], "val": folds["val"]}, kept_together(names)) == ""


def test_a_large_patient_does_not_fill_val() -> None:
    names = [f"patient1_{part}" for part in range(50)] + [f"patient{one}_0" for one in range(2, 12)]
    for seed in range(5):
        assert len(fraction_split(names, {"val": 0.1}, seed)["val"]) == 6


def test_of_one_patient_images_are_divided(tmp_path: Path) -> None:
    write(tmp_path, *(f"patient1_{part}" for part in range(6)))
    with pytest.warns(match=r"1 patients, or images and their copies, .*patient1 \(train and val\)"):
        assert len(module(tmp_path).dataset("val")) == 1


def test_stated_splits_that_divide_a_patient_are_warned_of(tmp_path: Path) -> None:
    write(tmp_path, *(f"train/*/patient{one}_{part}" for one in (1, 2) for part in range(3)), "val/*/patient2_7")
    with pytest.warns(match=r"1 patients, .*patient2 \(train and val\)"):
        module(tmp_path).dataset("train")


def test_one_name_in_two_splits_is_no_patient(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    write(tmp_path, *(f"{split}/*/{name}" for split in ("train", "val") for name in ("case_1", "case_2", "p0")))
    module(tmp_path).dataset("train")
    assert not any("patients" in str(one.message) for one in recwarn)


def test_copies_are_said_at_first_sight(tmp_path: Path) -> None:
    write(tmp_path, "train/*/p0", "train/*/p1", "val/*/p0 (1)", "val/*/p3")
    found = propose(tmp_path)
    assert any(
        line.startswith("1 images are called as copies: val/images/p0 (1) of train/images/p0.")
        for line in found.remarks
    )
    with pytest.warns(match=r"p0 \(train and val\)"):
        module(tmp_path).dataset("train")


def test_slices_of_a_patient_by_the_dicom_header(tmp_path: Path) -> None:
    pytest.importorskip("pydicom")
    rng = np.random.default_rng(0)
    for number in range(12):
        path = tmp_path / "images" / f"{number:02}.dcm"
        write_dicom(path, rng.integers(0, 99, (8, 8)).astype(np.int16), PatientID=f"P{number % 4}")
        (tmp_path / "masks").mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 2, (8, 8), dtype=np.uint8)).save(tmp_path / "masks" / f"{number:02}.png")
    for seed in range(4):
        options = {"class_names": ["a", "b"], "num_workers": 0, "split_seed": seed, "mean": (0.5,), "std": (0.2,)}
        splits = FolderDataModule(root=str(tmp_path), **options).splits
        patients = {split: {int(name) % 4 for name in names} for split, names in splits.items()}
        assert len(splits["val"]) == 3
        assert not patients["train"] & patients["val"]
