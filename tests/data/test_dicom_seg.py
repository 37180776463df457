"""DICOM segmentations, written frame by frame, against masks drawn by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from deeplab_lightning.data.files.dicom import dicom_header
from deeplab_lightning.data.files.rasters import Source, read_source
from deeplab_lightning.data.sets import datamodule_named
from deeplab_lightning.data.sets.dicom_seg import DicomSegDataModule, SegmentedImages
from deeplab_lightning.doctor.layouts import propose
from deeplab_lightning.errors import DataError
from tests.fakes.dicom import write_segmentation
from tests.fakes.dicom_seg import LESION, LIVER, write_dicom_seg, write_patient

pytest.importorskip("pydicom")


def read_back(root: Path) -> DicomSegDataModule:
    data = yaml.safe_load(propose(root).as_yaml("title"))["data"]
    datamodule = datamodule_named(data.pop("name"))(**data, num_workers=0)
    assert isinstance(datamodule, DicomSegDataModule)
    return datamodule


def test_segments_become_classes(tmp_path: Path) -> None:
    datamodule = read_back(write_dicom_seg(tmp_path))
    assert datamodule.labels.class_names == ("background", "Liver", "Lesion")
    found = {}
    for split in ("train", "val"):
        dataset = datamodule.dataset(split)  # type: ignore[arg-type]
        found |= {dataset.sample_id(index): dataset.load(index) for index in range(len(dataset))}
    assert len(found) == 18
    both = np.where(LESION, 2, LIVER.astype(np.uint8))
    for index, expected in enumerate([np.zeros_like(both), both, LIVER.astype(np.uint8)]):
        image, mask = found[f"p4/images/IM{9 - index}"]
        assert (image == 400 + index).all()
        np.testing.assert_array_equal(mask, expected)
    patients = {split: {int(name[1]) // 2 for name in names} for split, names in datamodule.splits.items()}
    assert not patients["train"] & patients["val"]
    order = [name for name in datamodule.images if name.startswith("p4")]
    assert order == ["p4/images/IM9", "p4/images/IM8", "p4/images/IM7"]


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    series = [write_patient(tmp_path, number) for number in range(2)]
    options = propose(tmp_path).options
    write_segmentation(tmp_path / "again.dcm", [("1.9.9", 1, LIVER)], {1: "Liver"}, series[0])
    with pytest.raises(DataError, match=r"again\.dcm, frame 0, lies on an image that is not below"):
        _ = DicomSegDataModule(**options).images
    image = str(dicom_header(tmp_path / "p0" / "images" / "IM8").SOPInstanceUID)
    write_segmentation(tmp_path / "again.dcm", [(image, 1, LIVER)], {1: "Liver"}, series[0])
    datamodule = DicomSegDataModule(**options)
    with pytest.raises(DataError, match=r"IM8 has two segments of 'Liver', one in .*"):
        SegmentedImages(datamodule.images, ["p0/images/IM8"], datamodule.labels, datamodule.options).load(0)
    write_segmentation(tmp_path / "again.dcm", [(image, 1, LIVER)], {1: "L"}, series[0], SegmentationType="FRACTIONAL")
    with pytest.raises(DataError, match=r"again\.dcm holds fractions"):
        _ = DicomSegDataModule(**options).images
    with pytest.raises(DataError, match=r"seg\.dcm is a DICOM segmentation, not an image.*DicomSeg"):
        read_source(Source(tmp_path / "p0" / "seg.dcm", 0), 1, 1.0)
