"""DICOM segmentations (SEG) and the images that they refer to, wherever they lie below a folder.

A segmentation is one file of many frames. Each frame says which segment it shows and which image it lies on, by the
image's UID or by its place in the body (DICOM PS3.3, A.51 and C.8.20); empty frames are usually left out, so an image
of the series without frames is background. Segments are classes by their labels. Where they overlap, what comes later
in `class_names` lies on top. Images of one patient are in one split.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from ...errors import DataError, DeepLabError
from ...options import above
from ..checks import check_pair
from ..datamodule import Split
from ..dataset import SegmentationDataset
from ..files.annotations import parsing
from ..files.dicom import SEGMENTATIONS, dicom_header, frames_in, is_dicom, opened_dicom, pixels_of
from ..files.rasters import Source, read_any, read_source
from ..forms.outlines import LabelIds
from ..forms.own_images import OwnImagesDataModule, OwnImagesOptions
from ..pairing.finding import files_below, without_ending
from ..pairing.layout import Recognised
from ..pairing.spellings import split_called
from ..pairing.splitting import names_of, split_groups
from ..spacing import spread
from ..wording import composed, first_few
from .scans import measured

NEAR = 0.1
"""Most that an image and a frame on it may lie apart, in mm."""
SLICES_LOOKED_AT = 8


@dataclass(frozen=True, kw_only=True)
class DicomSegOptions(OwnImagesOptions):
    """What is to be read of segmentations."""

    ignored_labels: tuple[str, ...] = ()
    """Labels of segments whose pixels are ignored."""
    pixel_range: Annotated[float, above(0, near=1)] = 1.0
    """Stored value that means 1.0: 1 for values in units of their own, 255 for 8 bits."""


@dataclass(frozen=True)
class Frame:
    """A frame of a segmentation; of a label map, whose pixels are numbers of segments, `labels` has several."""

    path: Path
    index: int
    labels: Mapping[int, str]
    is_map: bool


_REMEDY = "Export it again, or take it out of the data."


@dataclass
class SegmentedImage:
    """An image and what lies on it.

    Attributes:
        source: File, and frame if it has several.
        patient: Whose it is.
        order: Sorts the images of a series from the feet upwards.
        frames: Of segmentations.
    """

    source: Source
    patient: str
    order: tuple[str, float, int]
    frames: list[Frame] = field(default_factory=list)


class SegmentedImages(SegmentationDataset):
    """Some of the images.

    Args:
        images: Name -> image.
        names: Which to read.
        labels: The classes, of which the first is the background.
        options: The data set's.
    """

    def __init__(
        self, images: Mapping[str, SegmentedImage], names: Sequence[str], labels: Any, options: DicomSegOptions
    ) -> None:
        self.labels, self._options = labels, options
        self._names, self._images = list(names), [images[name] for name in names]
        self._id_of = LabelIds(labels, options.ignored_labels)

    def __len__(self) -> int:
        return len(self._images)

    def sample_id(self, index: int) -> str:
        """Return the image's path without ending, and its frame."""
        return self._names[index]

    def files(self, index: int) -> tuple[Path, ...]:
        """Return the image's file and those of its segmentations."""
        image = self._images[index]
        return (image.source.path, *dict.fromkeys(frame.path for frame in image.frames))

    def load(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Read an image, and draw its mask.

        Raises:
            DataError: A file is unreadable, sizes differ, a label was not declared, or two segments are of one label.
        """
        entry = self._images[index]
        image = read_source(entry.source, len(self._options.mean), self._options.pixel_range)
        areas: dict[int, np.ndarray] = {}
        for frame in entry.frames:
            pixels = pixels_of(_segmentation(frame.path), frame.path, frame.index)
            check_pair(image, pixels, str(entry.source), f"{frame.path}#{frame.index}")
            for number, label in frame.labels.items():
                area = pixels == number if frame.is_map else pixels > 0
                value = self._id_of(label, f"{frame.path}, segment {number},")
                if value in areas and value and areas[value].any() and area.any():
                    raise DataError(
                        f"{entry.source} has two segments of {label!r}, one in {frame.path}: keep one of the "
                        f"segmentations, or name their segments differently."
                    )
                areas[value] = area
        mask = np.zeros(image.shape[:2], np.uint8)
        for value in sorted(areas):
            mask[areas[value]] = value
        return image, mask


class DicomSegDataModule(OwnImagesDataModule):
    """Images in DICOM with segmentations in DICOM."""

    Options = DicomSegOptions
    options: DicomSegOptions
    layout = "DICOM segmentations (SEG) with their images"

    @classmethod
    def recognise(cls, root: Path) -> Recognised | None:
        """Recognise a folder that holds segmentations; classes are their segments' labels."""
        if not any(is_dicom(path) for path in files_below(root)):
            return None
        try:
            images, labels = read_segmentations(root)
        except DeepLabError:
            return None
        if not images:
            return None
        with parsing(root, _REMEDY):
            return cls._recognised(root, list(images.values()), labels)

    @classmethod
    def _recognised(cls, root: Path, listed: list[SegmentedImage], labels: list[str]) -> Recognised:
        chosen = [listed[index].source for index in spread(len(listed), SLICES_LOOKED_AT)]
        background = [] if labels and labels[0].casefold() == "background" else ["background"]
        return Recognised(
            cls.layout,
            {"root": str(root.resolve()), "class_names": [*background, *labels]}
            | measured([read_any(one) for one in chosen]),
            [one.source.path for one in listed],
            max(1, int(0.8 * len(listed))),
            [],
            {
                "class_names": "where segments overlap, the later lies on top",
                "mean": "measured; of CT a window is better",
            },
            sources=frozenset(one.source.path for one in listed),
        )

    @cached_property
    def images(self) -> dict[str, SegmentedImage]:
        """Name -> image.

        Raises:
            DataError: There is no segmentation, or one does not lie on the images.
        """
        images, _ = read_segmentations(self.root)
        if not images:
            raise DataError(f"{self.root} holds no DICOM segmentation with its images. Keep both below one folder.")
        return images

    @cached_property
    def splits(self) -> dict[str, list[str]]:
        """Split -> names of its images."""
        options = self.options
        stated = {name: split_called(name.partition("/")[0]) for name in self.images}
        patients = {name: image.patient for name, image in self.images.items()}
        fractions = (options.val_fraction, options.test_fraction)
        return self.folded(split_groups(self.root, patients, stated, *fractions, options.split_seed), patients)

    def build_dataset(self, split: Split) -> SegmentedImages:
        """Open a split."""
        return SegmentedImages(self.images, names_of(self.splits, split), self.labels, self.options)


def read_segmentations(root: Path) -> tuple[dict[str, SegmentedImage], list[str]]:
    """Read the headers of all DICOM files below a folder.

    Returns:
        Name -> image of the series that segmentations refer to, in order; and the segments' labels, in theirs.

    Raises:
        DataError: A header is damaged, an image is missing, lies otherwise, or a segmentation is of a kind that is not
            read.
    """
    with parsing(root, _REMEDY):
        return _read_segmentations(root)


def _read_segmentations(root: Path) -> tuple[dict[str, SegmentedImage], list[str]]:
    headers = {path: dicom_header(path) for path in files_below(root) if is_dicom(path)}
    segmentations = {path: one for path, one in headers.items() if one.get("SOPClassUID") in SEGMENTATIONS}
    wanted = set()
    for path, one in segmentations.items():
        with parsing(path, _REMEDY):
            wanted.add(_series(one))
    images: dict[tuple[str, int], SegmentedImage] = {}
    of_series: dict[str, list[tuple[str, Any]]] = defaultdict(list)
    for path, header in headers.items():
        with parsing(path, _REMEDY):
            series = str(header.get("SeriesInstanceUID", ""))
            if path in segmentations or "Rows" not in header or series not in wanted:
                continue
            uid, count = str(header.SOPInstanceUID), frames_in(header, path)
            of_series[series].append((uid, header))
            patient = str(header.get("PatientID") or header.get("StudyInstanceUID") or series)
            height = _height(header)
            for frame in range(count):
                order = (series, height, int(header.get("InstanceNumber") or 0) + frame)
                images[uid, frame] = SegmentedImage(Source(path, frame if count > 1 else None), patient, order)
    labels: dict[str, None] = {}
    for path, header in segmentations.items():
        with parsing(path, _REMEDY):
            segments = {int(one.SegmentNumber): str(one.SegmentLabel).strip() for one in header.SegmentSequence}
            labels |= dict.fromkeys(segments.values())
            if header.get("SegmentationType") == "FRACTIONAL":
                raise DataError(f"{path} holds fractions (SegmentationType), not segments. Export it as BINARY.")
            is_map = header.get("SegmentationType") == "LABELMAP"
            for index, groups in enumerate(header.PerFrameFunctionalGroupsSequence):
                place = _image_of(path, header, groups, of_series[_series(header)])
                if place not in images:
                    raise DataError(
                        f"{path}, frame {index}, lies on an image that is not below {root} ({place[0]}). Keep images "
                        f"and segmentations below one root."
                    )
                if is_map:
                    shown = {number: label for number, label in segments.items() if number}
                else:
                    (identified,) = _either(header, groups, "SegmentIdentificationSequence")
                    number = int(identified.ReferencedSegmentNumber)
                    shown = {number: segments[number]}
                images[place].frames.append(Frame(path, index, shown, is_map))
    ordered = sorted(images.values(), key=lambda image: image.order)
    named = {_name(root, image.source): image for image in ordered}
    return named, list(labels)


def _name(root: Path, source: Source) -> str:
    return composed(without_ending(source.path.relative_to(root)).as_posix()) + source.mark


def _series(segmentation: Any) -> str:
    """Return the series that a segmentation lies on."""
    referenced = segmentation.get("ReferencedSeriesSequence") or []
    return str(referenced[0].SeriesInstanceUID) if referenced else ""


def _either(header: Any, groups: Any, name: str) -> Sequence[Any]:
    """Return a sequence of a frame's own groups, or of those that all frames share."""
    shared = header.get("SharedFunctionalGroupsSequence") or []
    return groups.get(name) or (shared[0].get(name) if shared else None) or []


def _image_of(path: Path, header: Any, groups: Any, images: Sequence[tuple[str, Any]]) -> tuple[str, int]:
    """Return UID and frame of the image that a frame lies on: by reference, else by its place."""
    sources = [
        one
        for entry in _either(header, groups, "DerivationImageSequence")
        for one in entry.get("SourceImageSequence") or []
    ]
    lies = _either(header, groups, "PlaneOrientationSequence")
    if len({str(one.ReferencedSOPInstanceUID) for one in sources}) == 1:
        uid = str(sources[0].ReferencedSOPInstanceUID)
        frame = sources[0].get("ReferencedFrameNumber", 1)
        number = int(frame if isinstance(frame, int | str) else 1) - 1
    else:
        (position,) = _either(header, groups, "PlanePositionSequence") or (None,)
        if position is None:
            raise DataError(f"{path} does not say which images it lies on. Export it with references to its source.")
        there = np.array(position.ImagePositionPatient, float)
        near = [
            uid
            for uid, image in images
            if "ImagePositionPatient" in image
            and np.abs(np.array(image.ImagePositionPatient, float) - there).max() < NEAR
        ]
        if len(near) != 1:
            raise DataError(
                f"{path}: {len(near)} images of its series lie where a frame does ({first_few(map(str, there))}), "
                f"expected one. Export it on the grid of the images."
            )
        uid, number = near[0], 0
    image = next((one for known, one in images if known == uid), None)
    if image is not None and lies and "ImageOrientationPatient" in image:
        turned = np.abs(
            np.array(lies[0].ImageOrientationPatient, float) - np.array(image.ImageOrientationPatient, float)
        )
        if turned.max() > 1e-3:
            raise DataError(
                f"{path} is turned against its image {uid} by their headers. Export it on the images' grid."
            )
    return uid, number


def _height(header: Any) -> float:
    """Return where an image lies along the way that its series goes, in mm."""
    if "ImagePositionPatient" not in header or "ImageOrientationPatient" not in header:
        return 0.0
    along = np.array(header.ImageOrientationPatient, float).reshape(2, 3)
    return float(np.cross(*along) @ np.array(header.ImagePositionPatient, float))


@lru_cache(maxsize=2)
def _segmentation(path: Path) -> Any:
    """Open a segmentation; the last two are kept, for they are read frame by frame."""
    return opened_dicom(path)
