"""The whole of what the doctor does with a configured data set, in order: open, look, compare, advise."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..data.dataset import SegmentationDataset
from ..data.files.images import read_image
from ..data.pairing.finding import IMAGE_SUFFIXES, UNREAD, files_below
from ..errors import ConfigError, DataError, DeepLabError
from ..labels import LabelSet
from ..types import DataDescription
from .advice import balance, normalisation, shift, sizes
from .classes import empty_classes, strange_masks
from .duplicates import leaks, repeated
from .findings import Finding, finding
from .images import Look, class_counts, files_of, look_at_split
from .orientation import turned
from .pairs import leftovers
from .unloadable import unloadable

if TYPE_CHECKING:
    from ..data.datamodule import SegmentationDataModule

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")


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
    has_test = root is not None and any(any(root.glob(pattern)) for pattern in ("test*", "*/test*"))
    for split in SPLITS:
        optional = split == "test" and not has_test
        try:
            done.datasets[split] = datamodule.dataset(split)
        except (ConfigError, DataError) as error:
            optional = optional or (split == "test" and isinstance(error, ConfigError))
            if optional and str(error) not in refused:
                what = "There is no test split whose scores could be computed."
                remedy = f"`test` cannot be run, `validate` can ({error})"
                done.findings.append(finding("note", "no_test", what, remedy))
            else:
                refused.setdefault(str(error), (error, []))[1].append(split)
    for refusal, splits in refused.values():
        kind = refusal.kind if refusal.kind in ("leak", "missing_files") else "split"
        remedy = "`fit` cannot start before this is fixed"
        if splits == ["val"]:
            remedy += "; for a trial, --data.val_on_train true scores the training images"
        if splits == ["test"]:
            remedy = "fix it, or leave `test` alone: `fit` and `validate` do not need it"
        done.findings.append(finding("error", kind, f"{' and '.join(splits)} cannot be opened. {refusal}", remedy))
    for name, dataset in done.datasets.items():
        looks = done.looks[name] = look_at_split(dataset, name, limit, threads)
        done.findings += unloadable(dataset, name, looks)
        done.findings += turned(name, dataset, looks)
        done.findings += repeated(name, looks)
        if name != "test" or any(look.counts[: done.labels.num_classes].any() for look in looks):
            masks = [str((files_of(dataset, look.index) or (look.sample_id,))[-1]) for look in looks]
            done.findings += strange_masks(name, looks, done.labels, masks)
            done.findings += empty_classes(name, looks, done.labels)
    done.findings += leaks(done.looks)
    done.findings += _beside_the_splits(done, root)
    count = len(done.datasets.get("train", ()))
    if "train" in done.datasets and count < options["batch_size"]:
        what = f"The train split has {count} images, fewer than one batch of {options['batch_size']}."
        done.findings.append(finding("error", "batch", what, f"data: {{batch_size: {count}}}"))
    if done.loadable("train"):
        train = done.looks["train"]
        for found in normalisation(train, description["mean"], description["std"], description["pixel_range"]):
            (done.findings if found.severity == "error" else done.advice).append(found)
        done.advice += sizes(train, options["crop_size"], options["scale_range"])
        done.advice += shift(done.looks, description["pixel_range"])
        done.advice += balance(train, done.labels)
    return done


def class_table(done: Examination) -> list[dict[str, Any]]:
    """Return for each class its share of the labelled pixels and the number of its images, split by split."""
    table: list[dict[str, Any]] = [{"class": name} for name in done.labels.class_names]
    for split, looks in done.looks.items():
        pixels, images = class_counts(looks, len(table))
        shares = pixels / max(1, pixels.sum())
        for row, share, count in zip(table, shares.tolist(), images.tolist(), strict=True):
            row |= {f"{split}_share": share, f"{split}_images": count}
    return table


def _of_other_kinds(root: Path | None) -> list[Finding]:
    """Name the files that hold images, and are of no kind that is read."""
    if root is None or not root.is_dir():
        return []
    kinds = Counter(path.suffix.lower() for path in files_below(root) if path.suffix.lower() in UNREAD)
    return [
        finding("warning", "not_read", f"{count} files {ending} are of a kind that is not read.", UNREAD[ending])
        for ending, count in kinds.items()
    ]


def _beside_the_splits(done: Examination, root: Path | None) -> list[Finding]:
    """Look at what no split reads: leftovers of complete splits, or, where one did not open, unreadable files."""
    used = [files_of(dataset, index) for dataset in done.datasets.values() for index in range(len(dataset))]
    if {"train", "val"} <= set(done.datasets):
        return [*leftovers(used), *_of_other_kinds(root)]
    if root is None or not root.is_dir():
        return []
    known = {path for files in used for path in files}
    bad = []
    for path in files_below(root):
        if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file() and path not in known:
            try:
                read_image(path)
            except DataError:
                bad.append(path)
    if not bad:
        return []
    what = f"{len(bad)} files below {root} cannot be read, of those that no opened split uses."
    return [finding("error", "unreadable_file", what, "copy or download them again, or take them out", bad)]


def by_split(looks: Mapping[str, list[Look]]) -> str:
    """Say how many images were looked at."""
    return ", ".join(f"{len(found)} {split}" for split, found in looks.items()) or "no"
