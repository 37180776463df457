"""The whole of what the doctor does with a configured data set, in order: open, look, compare, advise."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..data.dataset import SegmentationDataset
from ..data.finding import files_below
from ..errors import ConfigError, DataError, DeepLabError, Kind
from ..labels import LabelSet
from ..types import DataDescription
from .advice import balance, normalisation, shift, sizes
from .classes import empty_classes, strange_masks
from .duplicates import leaks, repeated
from .findings import Finding, about_files, finding
from .images import Look, class_counts, files_of, look_at_split
from .pairs import leftovers
from .unloadable import unloadable, unreadable_files

if TYPE_CHECKING:
    from ..data.datamodule import SegmentationDataModule

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")

REASONS: tuple[Kind, ...] = ("leak", "missing_files")
"""Kinds of error for which data sets refuse a split that a finding is named after; all else is of kind `split`."""


@dataclass
class Examination:
    """What was found.

    Attributes:
        labels: What the values of masks mean.
        datasets: The splits that could be opened.
        looks: What was seen of each.
        findings: What is wrong with the data, or strange.
        advice: What is true of good data too, and what would suit it.
    """

    labels: LabelSet
    datasets: dict[str, SegmentationDataset] = field(default_factory=dict)
    looks: dict[str, list[Look]] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    advice: list[Finding] = field(default_factory=list)

    def loadable(self, split: str) -> bool:
        """Whether a split has an image that can be loaded."""
        return any(look.error is None for look in self.looks.get(split, ()))


def examine(
    datamodule: SegmentationDataModule,
    description: DataDescription,
    options: Mapping[str, Any],
    limit: int | None = None,
    workers: int | None = None,
) -> Examination:
    """Open every split of a data set and look at its images.

    Args:
        datamodule: The data set.
        description: What the model is told of it.
        options: The arguments of `datamodule`.
        limit: Images of each split to look at, spread evenly; all if None.
        workers: Threads; as many as there are cores if None.
    """
    done = Examination(datamodule.labels)
    threads = workers or os.cpu_count() or 1
    root = Path(options["root"]).expanduser() if options.get("root") else None
    refused: dict[str, tuple[DeepLabError, list[str]]] = {}
    for split in SPLITS:
        try:
            done.datasets[split] = datamodule.dataset(split)
            continue
        except (ConfigError, DataError) as error:
            opened = error
        if split == "test" and str(opened) not in refused and (isinstance(opened, ConfigError) or not _has_test(root)):
            what = "There is no test split whose scores could be computed."
            done.findings.append(finding("note", "no_test", what, f"`test` cannot be run, `validate` can ({opened})"))
        else:
            refused.setdefault(str(opened), (opened, []))[1].append(split)
    done.findings += [_unopened(splits, error) for error, splits in refused.values()]
    for name, dataset in done.datasets.items():
        looks = done.looks[name] = look_at_split(dataset, name, limit, threads)
        done.findings += unloadable(dataset, name, looks)
        done.findings += repeated(name, looks)
        if name != "test" or any(look.counts[: done.labels.num_classes].any() for look in looks):
            masks = [str((files_of(dataset, look.index) or (look.sample_id,))[-1]) for look in looks]
            done.findings += strange_masks(name, looks, done.labels, masks)
            done.findings += empty_classes(name, looks, done.labels)
    done.findings += leaks(done.looks)
    done.findings += _beside_the_splits(done, root)
    done.findings += _too_few(done, options)
    if done.loadable("train"):
        train = done.looks["train"]
        found = normalisation(train, description["mean"], description["std"], description["pixel_range"])
        done.advice += [one for one in found if one.severity != "error"]
        done.findings += [one for one in found if one.severity == "error"]
        done.advice += sizes(train, options["crop_size"], options["scale_range"])
        done.advice += shift(done.looks, description["pixel_range"])
        done.advice += balance(train, done.labels)
    return done


def class_table(done: Examination) -> list[dict[str, Any]]:
    """Return for each class its share of the labelled pixels and the number of its images, split by split."""
    counts = {split: class_counts(looks, done.labels.num_classes) for split, looks in done.looks.items()}
    return [
        {"class": name}
        | {
            f"{split}_{column}": value
            for split, (pixels, images) in counts.items()
            for column, value in (
                ("share", float(pixels[index] / max(1, pixels.sum()))),
                ("images", int(images[index])),
            )
        }
        for index, name in enumerate(done.labels.class_names)
    ]


def _has_test(root: Path | None) -> bool:
    """Whether a data set's folder holds a list or a folder of a test split, however incomplete."""
    if root is None or not root.is_dir():
        return False
    return any(path.name.startswith("test") for pattern in ("*", "*/*") for path in root.glob(pattern))


def _unopened(splits: Sequence[str], error: DeepLabError) -> Finding:
    """Say that splits cannot be used, and for which reason."""
    kind = error.kind if error.kind in REASONS else "split"
    what = f"{' and '.join(splits)} cannot be opened. {error}"
    if splits == ["test"]:
        return finding("error", kind, what, "fix it, or leave `test` alone: `fit` and `validate` do not need it")
    return finding("error", kind, what, "`fit` cannot start before this is fixed")


def _beside_the_splits(done: Examination, root: Path | None) -> list[Finding]:
    """Look at what no split reads: leftovers of complete splits, or, where one did not open, unreadable files."""
    used = [files_of(dataset, index) for dataset in done.datasets.values() for index in range(len(dataset))]
    if {"train", "val"} <= set(done.datasets):
        return leftovers(used)
    if root is None or not root.is_dir():
        return []
    known = {path for files in used for path in files}
    bad = unreadable_files([path for path in files_below(root) if path not in known])
    what = f"{len(bad)} files below {root} cannot be read, of those that no opened split uses."
    return about_files(bad, "error", "unreadable_file", what, "copy or download them again, or take them out")


def _too_few(done: Examination, options: Mapping[str, Any]) -> list[Finding]:
    """Refuse a batch that the training split does not fill."""
    if "train" not in done.datasets or len(done.datasets["train"]) >= options["batch_size"]:
        return []
    count = len(done.datasets["train"])
    what = f"The train split has {count} images, fewer than one batch of {options['batch_size']}."
    return [finding("error", "batch", what, f"data: {{batch_size: {count}}}")]


def by_split(looks: Mapping[str, Sequence[Look]]) -> str:
    """Say how many images were looked at."""
    return ", ".join(f"{len(found)} {split}" for split, found in looks.items()) or "no"
