"""DICOM files: images of one frame and of several, and segmentations that refer to them, as pydicom writes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

SEG = "1.2.840.10008.5.1.4.1.1.66.4"


def write_dicom(path: Path, pixels: np.ndarray, **tags: object) -> str:
    """Write `(H, W)`, `(H, W, 3)` uint8 or, with `NumberOfFrames`, `(N, H, W)`; return the SOP instance's UID."""
    dataset = _dataset("1.2.840.10008.5.1.4.1.1.2")
    colours = pixels.ndim == 3 and "NumberOfFrames" not in tags
    dataset.Rows, dataset.Columns = pixels.shape[:2] if colours else pixels.shape[-2:]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = (3, "RGB") if colours else (1, "MONOCHROME2")
    if colours:
        dataset.PlanarConfiguration = 0
    signed = pixels.dtype.kind == "i"
    pixels = pixels if pixels.dtype == np.uint8 else pixels.astype(np.int16 if signed else np.uint16)
    dataset.BitsAllocated = dataset.BitsStored = 8 * pixels.dtype.itemsize
    dataset.HighBit, dataset.PixelRepresentation = dataset.BitsStored - 1, int(signed)
    dataset.PixelData = pixels.tobytes() + b"\0" * (pixels.nbytes % 2)
    for name, value in tags.items():
        setattr(dataset, name, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return str(dataset.SOPInstanceUID)


def write_segmentation(
    path: Path,
    frames: Sequence[tuple[str, int, np.ndarray]],
    segments: Mapping[int, str],
    series: str,
    **tags: object,
) -> None:
    """Write a DICOM SEG of one bit a pixel.

    Args:
        path: Where to.
        frames: Of each the image that it lies on (SOP instance UID), its segment's number, and `(H, W)` bool.
        segments: Number -> label.
        series: Series of the images.
        tags: Others.
    """
    from pydicom import Dataset
    from pydicom.pixels import pack_bits

    dataset = _dataset(SEG)
    dataset.Modality, dataset.SegmentationType = "SEG", "BINARY"
    dataset.Rows, dataset.Columns = frames[0][2].shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 1
    dataset.HighBit, dataset.PixelRepresentation = 0, 0
    dataset.NumberOfFrames = len(frames)
    dataset.SegmentSequence = [_item(SegmentNumber=number, SegmentLabel=label) for number, label in segments.items()]
    dataset.ReferencedSeriesSequence = [_item(SeriesInstanceUID=series)]
    groups: list[Dataset] = []
    for image, number, _ in frames:
        source = _item(ReferencedSOPInstanceUID=image)
        groups.append(
            _item(
                SegmentIdentificationSequence=[_item(ReferencedSegmentNumber=number)],
                DerivationImageSequence=[_item(SourceImageSequence=[source])],
            )
        )
    dataset.PerFrameFunctionalGroupsSequence = groups
    dataset.PixelData = pack_bits(np.stack([mask for _, _, mask in frames]).astype(np.uint8).ravel(), pad=True)
    for name, value in tags.items():
        setattr(dataset, name, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)


def _dataset(sop_class: str) -> Any:
    import pydicom

    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = pydicom.uid.UID(sop_class)
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = pydicom.uid.generate_uid()
    return dataset


def _item(**tags: object) -> Any:
    import pydicom

    item = pydicom.Dataset()
    for name, value in tags.items():
        setattr(item, name, value)
    return item
