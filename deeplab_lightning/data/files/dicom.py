"""DICOM images (package pydicom, extra `medical`): their frames, in the units of their header, as they are shown."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import DataError
from ...extras import need
from ...files import open_file
from .annotations import parsing
from .limits import expect_memory, expect_parts, expect_size

DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")
SEGMENTATIONS = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
"""SOP classes of DICOM segmentations: of one bit or a fraction for each segment, and label maps."""

_DEFLATED = "1.2.840.10008.1.2.1.99"
_LARGEST_RATIO = 1032
"""Bytes that a deflated one can stand for."""
_FETCH_AGAIN = "Copy it again, or take it out of the data."


def is_dicom(path: Path) -> bool:
    """Tell whether a file is DICOM: by its ending, or where it has none, or a number such as a UID's, by content."""
    ending = path.suffix.lower()
    if ending in DICOM_SUFFIXES:
        return True
    if ending and not ending[1:].isdigit():
        return False
    try:
        with open_file(path) as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def dicom_header(path: str | Path) -> Any:
    """Read all of a file but its pixels.

    Raises:
        ConfigError: pydicom is missing.
        DataError: The file cannot be read.
    """
    return opened_dicom(path, stop_before_pixels=True)


def patient_in_header(path: str | Path) -> str:
    """Return the patient, or else the study, that a file's header names; empty if it names none or cannot be read.

    Raises:
        ConfigError: pydicom is missing.
    """
    try:
        header = dicom_header(path)
    except DataError:  # whoever reads its pixels says so
        return ""
    return str(header.get("PatientID") or header.get("StudyInstanceUID") or "")


def frame_count(path: str | Path) -> int:
    """Return how many frames a DICOM file has. Only its header is read.

    Raises:
        ConfigError: pydicom is missing.
        DataError: The file cannot be read.
    """
    with parsing(path, _FETCH_AGAIN):
        return frames_in(dicom_header(path), path)


def read_dicom(path: str | Path, frame: int | None = None, of_mask: bool = False) -> np.ndarray:
    """Read a DICOM image in the units of its rescale slope and intercept, for CT Hounsfield units.

    No window is applied: that is what `mean` and `std` are for. Images in colours come out as RGB, those of a palette
    and in YCbCr among them. Of `MONOCHROME1`, whose smallest value is white, the stored numbers are turned round within
    the bits that they have, so that all images have white at the top.

    Args:
        path: The file.
        frame: Which, from 0; may be left out where there is one.
        of_mask: Whether the numbers are labels: a palette's colours then do not matter.

    Returns:
        `(H, W, C)`: stored numbers, float64 where slope and intercept change them.

    Raises:
        ConfigError: pydicom is missing, or its plug-in for this compression.
        DataError: The file cannot be read, holds no image or a segmentation, has several frames of which none is
            chosen, or is a mask in `MONOCHROME1`, of which it is not known what is meant.
    """
    with parsing(path, _FETCH_AGAIN):  # elements are made of their bytes when they are asked for
        return _pixels_in(opened_dicom(path), path, frame, of_mask)


def _pixels_in(dataset: Any, path: str | Path, frame: int | None, of_mask: bool) -> np.ndarray:
    count = frames_in(dataset, path)
    if dataset.get("SOPClassUID") in SEGMENTATIONS:
        raise DataError(
            f"{path} is a DICOM segmentation, not an image. Keep it below one root with the images that it refers to: "
            f"data.name: DicomSeg reads both."
        )
    if "PixelData" not in dataset and "FloatPixelData" not in dataset and "DoubleFloatPixelData" not in dataset:
        raise DataError(f"Cannot read {path}: it is {_kind(dataset)} without pixels, or cut short. {_FETCH_AGAIN}")
    if frame is None and count > 1:
        raise DataError(f"{path} has {count} frames: choose one, as in {path}#{count // 2}.")
    if not 0 <= (frame or 0) < count:
        raise DataError(f"{path} has {count} frames, 0 to {count - 1}; there is no frame {frame}.")
    pixels = pixels_of(dataset, path, frame or 0)
    photometric = str(dataset.get("PhotometricInterpretation", "")).strip()
    if photometric == "PALETTE COLOR" and not of_mask:
        look_up = need("pydicom.pixels", "medical", f"Reading {path}").apply_color_lut
        try:
            pixels = look_up(pixels, dataset)[..., :3]
        except Exception as error:  # of a damaged palette likewise
            raise DataError(f"Cannot read {path}: {_said(error)} {_FETCH_AGAIN}") from error
        return pixels if pixels.dtype == np.uint8 else (pixels >> 8).astype(np.uint8)
    if photometric == "MONOCHROME1":
        if of_mask:
            raise DataError(
                f"Mask {path} is MONOCHROME1, whose 0 is white: whether its numbers are meant as stored or as shown is "
                f"not said. Save it as MONOCHROME2, or as PNG."
            )
        pixels = _turned_round(pixels, dataset)
    slope, intercept = _rescaling(dataset, frame or 0)
    if (slope, intercept) != (1.0, 0.0):
        pixels = pixels * slope + intercept
    return pixels[..., None] if pixels.ndim == 2 else pixels


def pixels_of(dataset: Any, path: str | Path, frame: int) -> np.ndarray:
    """Decode a frame, `(H, W)` or `(H, W, 3)`; YCbCr becomes RGB.

    Raises:
        DataError: It is damaged, or compressed in a way that needs another package.
    """
    pixel_array = need("pydicom.pixels", "medical", f"Reading {path}").pixel_array
    with parsing(path, _FETCH_AGAIN):
        sides = [dataset.get(name) or 0 for name in ("Rows", "Columns", "SamplesPerPixel", "BitsAllocated")]
    if not all(isinstance(side, int) for side in sides):
        raise DataError(f"Cannot read {path}: it does not say its size. {_FETCH_AGAIN}")
    rows, columns, samples, bits = sides
    expect_size(path, rows, columns, samples * -(-bits // 8))
    try:
        return pixel_array(dataset, index=frame)
    except Exception as error:  # of a damaged file pydicom raises a dozen kinds
        raise DataError(f"Cannot read {path}: {_said(error)} {_FETCH_AGAIN}") from error


def opened_dicom(path: str | Path, **options: Any) -> Any:
    """Read a file; `options` are those of `pydicom.dcmread`.

    Raises:
        ConfigError: pydicom is missing.
        DataError: The file cannot be read.
    """
    pydicom = need("pydicom", "medical", f"Reading {path}")
    try:
        with open_file(path) as file:
            size = os.fstat(file.fileno()).st_size
        is_deflated = pydicom.filereader.read_file_meta_info(path).get("TransferSyntaxUID") == _DEFLATED
        expect_memory(path, size * (_LARGEST_RATIO if is_deflated else 1))
        return pydicom.dcmread(path, **options)
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist.") from error
    except DataError:
        raise
    except Exception as error:
        raise DataError(f"Cannot read {path}: {_said(error)} {_FETCH_AGAIN}") from error


def _said(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


def frames_in(dataset: Any, path: str | Path) -> int:
    """Return how many frames an opened file, `path`, has.

    Raises:
        DataError: It says no number, or one that no file has.
    """
    count = dataset.get("NumberOfFrames", 1) or 1
    if not isinstance(count, int):
        raise DataError(f"Cannot read {path}: its number of frames is {count!r}. {_FETCH_AGAIN}")
    expect_parts(path, int(count), "frames")
    return int(count)


def _kind(dataset: Any) -> str:
    uid = dataset.get("SOPClassUID")
    return f"a {uid.name}" if uid else "of an unknown kind"


def _turned_round(pixels: np.ndarray, dataset: Any) -> np.ndarray:
    """Return `smallest + largest - value`, of the values that the stored bits can hold."""
    bits = int(dataset.get("BitsStored", 8 * pixels.dtype.itemsize))
    around = -1 if dataset.get("PixelRepresentation", 0) == 1 else 2**bits - 1
    return (around - pixels.astype(np.int64)).astype(pixels.dtype)


def _rescaling(dataset: Any, frame: int) -> tuple[float, float]:
    """Return slope and intercept: of the file, or where it is an enhanced one, of all frames or of this one."""
    places = [dataset]
    for sequence, index in (("SharedFunctionalGroupsSequence", 0), ("PerFrameFunctionalGroupsSequence", frame)):
        groups = dataset.get(sequence) or []
        if index < len(groups):
            places += list(groups[index].get("PixelValueTransformationSequence") or [])
    holding = next((place for place in reversed(places) if "RescaleSlope" in place), None)
    if holding is None:
        return 1.0, 0.0
    return float(holding.RescaleSlope), float(holding.get("RescaleIntercept", 0))
