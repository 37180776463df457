"""Series of patients in DICOM with segmentations of liver and lesion, as archives of clinics hold them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .dicom import write_dicom, write_segmentation

LIVER, LESION = np.zeros((20, 31), bool), np.zeros((20, 31), bool)
LIVER[3:15, 4:20] = True
LESION[10:18, 8:12] = True
"""They overlap."""


def write_patient(root: Path, number: int) -> str:
    """Write a series of three slices, of which the middle one shows both segments and the last the liver."""
    series = f"1.2.3.{number}"
    uids = [
        write_dicom(
            root / f"p{number}" / "images" / f"IM{9 - index}",
            np.full((20, 31), 100 * number + index, np.int16),
            SeriesInstanceUID=series,
            PatientID=f"patient{number // 2}",
            InstanceNumber=9 - index,
            ImagePositionPatient=[0, 0, index * 5.0],
            ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
        )
        for index in range(3)
    ]
    frames = [(uids[1], 2, LESION), (uids[1], 1, LIVER), (uids[2], 1, LIVER)]
    write_segmentation(root / f"p{number}" / "seg.dcm", frames, {1: "Liver", 2: "Lesion"}, series)
    return series


def write_dicom_seg(root: Path) -> Path:
    """Write six series of three patients."""
    for number in range(6):
        write_patient(root, number)
    return root
