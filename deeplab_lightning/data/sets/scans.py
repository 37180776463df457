"""Scans of patients: of each case a file for every channel, and a mask; volumes or images.

Which file is which is told by patterns of paths without ending, such as `{name}_flair`, in which words in braces stand
for any text without a slash, and before which any folders may stand. Files of equal words
belong together.

Forms that are recognised, and where they are described:

    nnU-Net, Medical Segmentation Decathlon   dataset.json, imagesTr/CASE_0000.*, labelsTr/CASE.*
                                              (github.com/MIC-DKFZ/nnUNet, documentation/dataset_format.md; of MSD
                                              CASE.nii.gz, whose 4th dimension holds the channels)
    BraTS 2017..2021                          CASE/CASE_flair.nii.gz, _t1, _t1ce, _t2, _seg  (med.upenn.edu/cbica/brats)
    BraTS 2023 and later                      CASE/CASE-t1n.nii.gz, -t1c, -t2w, -t2f, -seg
    ACDC                                      patient001/patient001_frame01.nii.gz, patient001_frame01_gt.nii.gz
    LiTS                                      volume-0.nii, segmentation-0.nii
    KiTS                                      case_00000/imaging.nii.gz, segmentation.nii.gz

Slices of a volume, and volumes of a patient, are in one split.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from lightning.pytorch.utilities import rank_zero_info

from ...errors import ConfigError, DataError, DeepLabError
from ...options import above
from ..checks import check_pair
from ..classes.masks import MaskDecoder
from ..datamodule import Split
from ..dataset import SegmentationDataset
from ..files.rasters import (
    Source,
    as_declared,
    check_same_place,
    has_ending,
    read_any,
    read_labels,
    read_source,
    sources_in,
)
from ..files.volumes import NIFTI_SUFFIXES, volume_values
from ..forms.own_images import OwnImagesDataModule, OwnImagesOptions
from ..pairing.finding import IMAGE_SUFFIXES, RASTER_SUFFIXES, images_below, without_ending
from ..pairing.groups import patient_of
from ..pairing.layout import Recognised, json_object
from ..pairing.spellings import split_called
from ..pairing.splitting import names_of, split_groups
from ..spacing import spread
from ..wording import composed, first_few

VOID = 255
"""Value that is ignored."""
MASKS_LOOKED_AT = 8
"""Masks that are read whole to learn which values there are; images of which one slice is measured."""
SPLIT_FIELD = {"Tr": "train", "Ts": "test"}
"""What `{split}` in a pattern may be, as nnU-Net calls its folders, beside the usual names."""


@dataclass(frozen=True, kw_only=True)
class ScansOptions(OwnImagesOptions):
    """Which files belong together, and what their values mean."""

    channels: list[str]
    """Pattern of each channel's file, in the order of the channels; one whose file holds all of them will do."""
    mask: str
    """Pattern of the mask's file."""
    label_map: dict[int, int] | None = None
    """Value in a mask -> class id, or 255 to ignore it, for all values that occur; null takes the values for class
    ids."""
    pixel_range: Annotated[float, above(0, near=1)] = 1.0
    """Stored value that means 1.0: 1 for volumes in units of their own, 255 for 8 bits."""


@dataclass
class Case:
    """A case's files.

    Attributes:
        channels: Of each channel.
        mask: Of the mask.
        patient: Whose scan it is, as far as names tell.
        split: Which one its folder or `{split}` says; None if they do not.
    """

    channels: list[Path]
    mask: Path
    patient: str
    split: str | None


@dataclass(frozen=True)
class Form:
    """A published data set's files, and what its values mean.

    Attributes:
        name: For people.
        channels: Patterns.
        mask: Pattern.
        classes: Value in masks -> name; a later value of a name that is there means the same class.
        remark: What is to be known.
    """

    name: str
    channels: tuple[str, ...]
    mask: str
    classes: Mapping[int, str]
    remark: str = ""


_TUMOUR = ("background", "necrotic and non-enhancing tumour core", "oedema", "enhancing tumour")
FORMS = (
    Form(
        "BraTS",
        ("{name}_flair", "{name}_t1", "{name}_t1ce", "{name}_t2"),
        "{name}_seg",
        dict(zip((0, 1, 2, 4), _TUMOUR, strict=True)),
    ),
    Form(
        "BraTS",
        ("{name}-t1n", "{name}-t1c", "{name}-t2w", "{name}-t2f"),
        "{name}-seg",
        dict(enumerate(_TUMOUR)),
    ),
    Form(
        "ACDC",
        ("{name}_frame{frame}",),
        "{name}_frame{frame}_gt",
        {0: "background", 1: "right ventricle", 2: "myocardium", 3: "left ventricle"},
    ),
    Form("LiTS", ("volume-{name}",), "segmentation-{name}", {0: "background", 1: "liver", 2: "tumour"}),
    Form("KiTS", ("{name}/imaging",), "{name}/segmentation", {0: "background", 1: "kidney", 2: "tumour", 3: "cyst"}),
)


class Scans(SegmentationDataset):
    """Some of the cases, slice by slice.

    Args:
        cases: Name -> files.
        names: Which to read.
        decoder: Turns masks into train ids.
        channels: How many are expected.
        pixel_range: The stored value that means 1.0.

    Raises:
        DataError: Files of a case lie in other places, or have other sizes.
    """

    def __init__(
        self,
        cases: Mapping[str, Case],
        names: Sequence[str],
        decoder: MaskDecoder,
        channels: int,
        pixel_range: float,
    ) -> None:
        self.labels = decoder.labels
        self._decoder, self._channels, self._pixel_range = decoder, channels, pixel_range
        self._ids: list[str] = []
        self._slices: list[tuple[tuple[Source, ...], Source]] = []
        for name in names:
            for sources in _slices(cases[name]):
                self._ids.append(name + sources[0].mark)
                self._slices.append((sources[:-1], sources[-1]))

    def __len__(self) -> int:
        return len(self._slices)

    def sample_id(self, index: int) -> str:
        """Return the case's name and the slice, such as `patient001_frame01#004`."""
        return self._ids[index]

    def files(self, index: int) -> tuple[Path, ...]:
        """Return the channels' files and the mask's."""
        channels, mask = self._slices[index]
        return (*(channel.path for channel in channels), mask.path)

    def load(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Read slice `index` as `(H, W, C)` uint8 or float32, and its mask `(H, W)` uint8 of class ids.

        Raises:
            DataError: A file is unreadable, sizes or channels differ, or the mask holds an unknown value.
        """
        channels, mask = self._slices[index]
        image = read_channels(channels, self._channels, self._pixel_range)
        labels = self._decoder(read_labels(mask), str(mask))
        check_pair(image, labels, str(channels[0]), str(mask))
        return image, labels


def read_channels(sources: Sequence[Source], channels: int, pixel_range: float) -> np.ndarray:
    """Read an image whose channels lie in files of their own, in their order, or all in one.

    Returns:
        `(H, W, channels)` as `read_source` returns it.

    Raises:
        DataError: Sizes differ, or there are other channels than expected.
    """
    if len(sources) == 1:
        return read_source(sources[0], channels, pixel_range)
    found = [read_any(one) for one in sources]
    for source, pixels in zip(sources, found, strict=True):
        if pixels.shape[:2] != found[0].shape[:2]:
            raise DataError(f"Channels must have one size: {sources[0]} is {found[0].shape}, {source} {pixels.shape}.")
    return as_declared(np.concatenate(found, axis=2), channels, pixel_range, f"{sources[0]} and its other channels")


class ScansDataModule(OwnImagesDataModule):
    """Scans of patients, of which each channel is a file."""

    Options = ScansOptions
    options: ScansOptions
    layout = "scans (nnU-Net's or MSD's dataset.json, imagesTr/, labelsTr/; BraTS; ACDC; LiTS; KiTS)"

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.decoder = MaskDecoder(self.labels, self.options.label_map)

    @classmethod
    def recognise(cls, root: Path) -> Recognised | None:
        """Recognise a form by its names; the masks tell which of its classes there are."""
        if (root / "imagesTr").is_dir() and (root / "labelsTr").is_dir():
            form = _of_nnunet(root)
        else:
            paths = _paths(root, tuple(suffix for suffix in RASTER_SUFFIXES if suffix not in (".npy", ".npz", ".mat")))
            form = next((one for one in FORMS if paths and _matching(paths, one)), None)
        return None if form is None else _recognised(root, form)

    @cached_property
    def cases(self) -> dict[str, Case]:
        """Name -> case. Files that are left out are said.

        Raises:
            ConfigError: A pattern has no name in it.
            DataError: There is no case, or one lacks a channel.
        """
        cases, left_out = find_cases(self.root, self.options.channels, self.options.mask)
        if left_out:
            rank_zero_info(f"{self.root}: {len(left_out)} files are left out: {'; '.join(_by_reason(left_out))}")
        return cases

    @cached_property
    def splits(self) -> dict[str, list[str]]:
        """Split -> names of its cases: as lists say, else as folders say, else by chance, patient by patient."""
        options, cases = self.options, self.cases
        patients = {name: case.patient for name, case in cases.items()}
        stated = {name: case.split for name, case in cases.items()}
        fractions = (options.val_fraction, options.test_fraction)
        return self.folded(split_groups(self.root, patients, stated, *fractions, options.split_seed), patients)

    def build_dataset(self, split: Split) -> Scans:
        """Open a split."""
        options = self.options
        return Scans(self.cases, names_of(self.splits, split), self.decoder, len(options.mean), options.pixel_range)


def find_cases(root: Path, channels: Sequence[str], mask: str) -> tuple[dict[str, Case], dict[str, list[str]]]:
    """Find the files of all cases that have a mask.

    Args:
        root: Below which they lie.
        channels: Patterns.
        mask: Pattern; what fits it is no channel.

    Returns:
        Name -> case, in the order of the names; and reason -> the files that are left out for it.

    Raises:
        ConfigError: A pattern cannot be used.
        DataError: There is no case, one lacks a channel, a mask has no image, or two files are of one case.
    """
    patterns = [_compiled(pattern) for pattern in (mask, *channels)]
    if any(set(_fields(one)) != set(_fields(mask)) for one in channels):
        raise ConfigError(f"data.channels {list(channels)} and data.mask {mask!r} must have the same words in braces.")
    if not root.is_dir():
        raise DataError(f"There is no folder {root}. Set data.root to the folder of the scans.")
    paths = _paths(root, (*IMAGE_SUFFIXES, *RASTER_SUFFIXES))
    found: dict[tuple[str, ...], dict[int, Path]] = defaultdict(dict)
    unmatched = []
    with_folders = _repeats(paths, patterns)
    for name, path in paths.items():
        kind, match = next(((i, m) for i, one in enumerate(patterns) if (m := one.fullmatch(name))), (-1, None))
        if match is None:
            unmatched.append(path.relative_to(root).as_posix())
            continue
        key = (match["folders"] if with_folders else "", *_told(match, _fields(mask)))
        if kind in found[key]:
            raise DataError(f"{found[key][kind]} and {path} are of one case: keep one of them.")
        found[key][kind] = path
    cases: dict[str, Case] = {}
    without_mask = []
    for key, files in sorted(found.items()):
        name = _name(key, _fields(mask))
        missing = [channels[index - 1] for index in range(1, len(patterns)) if index not in files]
        if missing:
            raise DataError(
                f"{len(missing)} channels of case {name} in {root} are missing, besides {next(iter(files.values()))}: "
                f"{first_few(missing)}. Add them, or move the case away.",
                kind="missing_files",
            )
        if 0 not in files:
            without_mask += [files[index].relative_to(root).as_posix() for index in range(1, len(patterns))]
            continue
        stated = dict(zip(("folders", *_fields(mask)), key, strict=True)).get("split", "")
        first = files[1].relative_to(root).parts[0]
        split = SPLIT_FIELD.get(stated) or split_called(stated) or split_called(first)
        cases[name] = Case([files[index] for index in range(1, len(patterns))], files[0], patient_of(name), split)
    if not cases:
        raise DataError(
            f"{root} holds no case with a mask {mask}.* and images {', '.join(channels)}.*: {len(without_mask)} files "
            f"have no mask, and {len(unmatched)} fit no pattern ({first_few(unmatched, 3) or 'none'}). Set "
            f"data.channels and data.mask to how the files are called."
        )
    reasons = {"without a mask": without_mask, "that no pattern fits": unmatched}
    return cases, {reason: files for reason, files in reasons.items() if files}


def _paths(root: Path, suffixes: tuple[str, ...]) -> dict[str, Path]:
    """Return the files below a folder by their paths without ending."""
    found: dict[str, Path] = {}
    for path in images_below(root, suffixes):
        found.setdefault(composed(without_ending(path.relative_to(root)).as_posix()), path)
    return found


def _fields(pattern: str) -> list[str]:
    """Return the words in braces."""
    return list(dict.fromkeys(re.findall(r"\{(\w+)\}", pattern)))


def _compiled(pattern: str) -> re.Pattern[str]:
    """Make a regular expression of a pattern; equal fields must agree.

    Raises:
        ConfigError: It has no field.
    """
    fields = _fields(pattern)
    if not fields or "folders" in fields:
        raise ConfigError(f"{pattern!r} in data.channels or data.mask names no {{name}}: write such as '{{name}}_t1'.")
    parts = re.split(r"\{(\w+)\}", composed(pattern))
    seen: set[str] = set()
    text = ""
    for index, part in enumerate(parts):
        if index % 2 == 0:
            text += re.escape(part)
        else:
            text += f"(?P={part})" if part in seen else f"(?P<{part}>[^/]+)"
            seen.add(part)
    return re.compile(r"(?P<folders>(?:.*/)?)" + text)


def _repeats(paths: Iterable[str], patterns: Sequence[re.Pattern[str]]) -> bool:
    """Whether folders tell cases apart: files in several of them have one name."""
    seen: set[tuple[Any, ...]] = set()
    for name in paths:
        kind, match = next(((i, m) for i, one in enumerate(patterns) if (m := one.fullmatch(name))), (-1, None))
        if match is None:
            continue
        key = (kind, *_told(match, sorted(set(match.groupdict()) - {"folders"})))
        if key in seen:
            return True
        seen.add(key)
    return False


def _told(match: re.Match[str], words: Iterable[str]) -> tuple[str, ...]:
    """Return what words in braces stand for."""
    return tuple(match[word] for word in words)


def _name(key: Sequence[str], fields: Sequence[str]) -> str:
    """Return a case's name: what stands for its fields, behind the folders that tell it from others."""
    told = [value for field, value in zip(fields, key[1:], strict=True) if field != "split"]
    return key[0] + "_".join(told)


def _slices(case: Case) -> list[tuple[Source, ...]]:
    """Return the slices of all files of a case, the mask's last."""
    parts = [sources_in(path) for path in (*case.channels, case.mask)]
    first = case.channels[0]
    for path, of_file in zip((*case.channels[1:], case.mask), parts[1:], strict=True):
        if len(of_file) != len(parts[0]):
            raise DataError(
                f"{first} has {len(parts[0])} slices and {path} {len(of_file)}: expected volumes of one size."
            )
        check_same_place(first, path)
    return list(zip(*parts, strict=True))


def _by_reason(left_out: Mapping[str, Sequence[str]]) -> list[str]:
    return [f"{len(files)} {reason} ({first_few(files, 3)})" for reason, files in left_out.items()]


# ---------------------------------------------------------------------------------------------------- recognition


def _matching(paths: Mapping[str, Path], form: Form) -> bool:
    """Whether some case has all channels and a mask."""
    patterns = [_compiled(pattern) for pattern in (form.mask, *form.channels)]
    seen: dict[tuple[str, ...], set[int]] = defaultdict(set)
    for name in paths:
        for index, pattern in enumerate(patterns):
            if match := pattern.fullmatch(name):
                seen[_told(match, _fields(form.mask))].add(index)
                break
    return any(len(found) == len(patterns) for found in seen.values())


def _of_nnunet(root: Path) -> Form | None:
    """Read what `dataset.json` says, in the order of nnU-Net's second version or of the first and MSD."""
    told = json_object(root / "dataset.json")
    stated, channels = told.get("labels"), told.get("channel_names", told.get("modality", {}))
    classes: dict[int, str] = {}
    regions = []
    for key, value in stated.items() if isinstance(stated, dict) else ():
        if str(key).isdigit() and isinstance(value, str):
            classes[int(key)] = value
        elif isinstance(value, int):
            classes[value] = str(key)
        else:
            regions.append(str(key))
    names = set(_paths(root / "imagesTr", (*IMAGE_SUFFIXES, *RASTER_SUFFIXES)))
    labels = set(_paths(root / "labelsTr", (*IMAGE_SUFFIXES, *RASTER_SUFFIXES)))
    numbered = sorted({name[-5:] for name in names if re.fullmatch(r"_\d{4}", name[-5:]) and name[:-5] in labels})
    if not labels or not (numbered or names & labels):
        return None
    patterns = tuple(f"images{{split}}/{{name}}{number}" for number in numbered or [""])
    remark = f"Channels: {', '.join(map(str, channels.values()))}." if isinstance(channels, dict) and channels else ""
    if regions:
        remark += f" {', '.join(regions)} are regions made of several values: classes are the single values."
    return Form("nnU-Net or MSD", patterns, "labels{split}/{name}", classes, remark.strip())


def _recognised(root: Path, form: Form) -> Recognised:
    cases, left_out = find_cases(root, form.channels, form.mask)
    chosen = [list(cases.values())[index] for index in spread(len(cases), MASKS_LOOKED_AT)]
    values = sorted({value for case in chosen for value in _values(case.mask)})
    classes = _classes(form, values)
    ids = {value: index for index, value in enumerate(value for value in classes if classes[value] != "ignore")}
    options: dict[str, Any] = {"root": str(root.resolve()), "channels": list(form.channels), "mask": form.mask}
    options["class_names"] = [classes[value] for value in ids]
    comments = {"class_names": f"as {form.name} has them: check" if form.classes else "name them"}
    remarks = [form.remark] if form.remark else []
    if list(ids) != list(range(len(ids))) or len(ids) < len(classes):
        options["label_map"] = {value: ids.get(value, VOID) for value in classes}
        comments["label_map"] = "value in a mask: class id; 255 is ignored"
    unknown = [value for value in values if form.classes and value not in form.classes]
    if unknown:
        remarks.append(f"Masks hold values that {form.name} does not name: {first_few(map(str, unknown))}.")
    options |= measured([pixels for case in chosen if (pixels := _middle_slice(case)) is not None])
    comments["mean"] = "measured on middle slices; of CT a window is better, such as mean 40, std 200"
    remarks += [f"Left out: {one}." for one in _by_reason(left_out)]
    images = [case.channels[0] for case in cases.values()]
    return Recognised(
        f"scans as {form.name} has them",
        options,
        images,
        max(1, int(0.8 * len(cases))),
        comments=comments,
        remarks=remarks,
        sources=frozenset(case.mask.resolve() for case in cases.values()),
    )


def _classes(form: Form, values: Sequence[int]) -> dict[int, str]:
    """Return the classes by their values: those that the form names, and all others that occur."""
    if form.classes:
        named = dict(form.classes)
        if form.name == "KiTS" and 3 not in values:  # those of 2019 have no cysts
            del named[3]
    else:
        named = {value: f"class_{value}" for value in range(max([1, *values]) + 1)}
    named |= {value: f"class_{value}" for value in values if value not in named}
    return dict(sorted(named.items()))


def _values(mask: Path) -> set[int]:
    """Return the values in a mask; none where it cannot be read, which is said when it is loaded."""
    try:
        if has_ending(mask, NIFTI_SUFFIXES):
            return set(volume_values(mask))
        return {int(value) for part in sources_in(mask) for value in np.unique(read_labels(part))}
    except DeepLabError:
        return set()


def measured(slices: Sequence[np.ndarray]) -> dict[str, Any]:
    """Return the mean, std and pixel range of `(H, W, C)` slices; for RGB of 8 bits the pixel range alone."""
    alike = [one for one in slices if one.shape[2] == slices[0].shape[2]]
    if not alike:
        return {}
    if alike[0].dtype == np.uint8 and alike[0].shape[2] == 3:
        return {"pixel_range": 255.0}
    pixel_range = 255.0 if alike[0].dtype == np.uint8 else 1.0
    pixels = np.concatenate([one.reshape(-1, one.shape[2]) for one in alike]).astype(np.float64) / pixel_range
    mean, std = pixels.mean(axis=0), np.maximum(pixels.std(axis=0), 1e-3)
    return {
        "mean": [round(float(value), 4) for value in mean],
        "std": [round(float(value), 4) for value in std],
        "pixel_range": pixel_range,
    }


def _middle_slice(case: Case) -> np.ndarray | None:
    """Return the channels of a case's middle slice, `(H, W, C)`; None where they cannot be read."""
    try:
        parts = [sources_in(path) for path in case.channels]
        return np.concatenate([read_any(of_file[len(of_file) // 2]) for of_file in parts], axis=2)
    except (DeepLabError, ValueError):
        return None
