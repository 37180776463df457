"""A run as reports see it: everything that its folder tells, read without torch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from ..config_words import load_yaml
from ..errors import ConfigError, DataError, DeepLabError
from ..files import read_text
from ..metrics.panoptic_quality import PanopticCounts
from ..metrics.per_image import ImageCounts
from ..metrics.scores import Scores, scores_from_confusion
from ..runs import LATEST, RunFolder, find_run, newest_evaluation, read_metrics
from .card import Card, read_card
from .evaluation import UNKNOWN, EvaluationRecord, read_evaluation
from .gallery import Gallery, read_gallery

_WITHOUT_EFFECT = (
    "run",
    "ckpt_path",
    "weights_only",
    "trainer.enable_progress_bar",
    "trainer.logger",
    "trainer.default_root_dir",
)
"""Settings that say where things go, not what is computed."""

ABSENT = "(absent)"
"""Stands for the value of a setting that a run does not have."""


@dataclass(frozen=True, eq=False)
class RunRecord:
    """What a run folder tells.

    Attributes:
        name: What to call it.
        run: Its folder.
        config: The resolved configuration, nested; empty if there is none.
        card: The reproducibility card; empty if there is none.
        evaluation: How it was scored; split and protocol are `UNKNOWN` where an older run does not tell.
        counts: Confusion counts of each image.
        panoptic: Matched segments of each image, of a run that has them.
        metrics: Column of `metrics.csv` -> `(rows,)` float64; empty if nothing was logged.
        speed: Likewise of `speed.csv`.
        gallery: Images kept, if any.
    """

    name: str
    run: RunFolder
    config: dict[str, Any]
    card: Card
    evaluation: EvaluationRecord
    counts: ImageCounts
    panoptic: PanopticCounts | None
    metrics: dict[str, np.ndarray]
    speed: dict[str, np.ndarray]
    gallery: Gallery | None

    @property
    def scores(self) -> Scores:
        """Of all images together."""
        return scores_from_confusion(self.counts.total(), self.counts.class_names)

    def image_scores(self, sample_id: str) -> Scores:
        """Of one image."""
        return scores_from_confusion(self.counts.matrix(sample_id), self.counts.class_names)


def read_record(path: Path, name: str | None = None) -> RunRecord:
    """Read a run, or an evaluation of one.

    Args:
        path: `runs/NAME`, `runs/NAME/version_0`, or the folder that `validate` or `test` wrote.
        name: What to call it; name and version if not given.

    Raises:
        ConfigError: There is no run.
        DataError: It has no scores yet, or a file is damaged.
    """
    run = (None if _is_run(path) else newest_evaluation(path)) or find_run(path)
    if not run.per_image.is_file():
        scored = run.newest_evaluation()
        if scored is None:
            raise DataError(
                f"{run.path} has no {run.per_image.name}: expected a run that was validated at least once. Score its "
                f"checkpoint: validate --ckpt_path {run.path}"
            )
        run = scored
    try:
        return _record(run, name)
    except DeepLabError:
        raise
    except Exception as error:  # a run folder may be anyone's
        raise DataError(f"{run.path} is no run folder as `fit` writes it ({type(error).__name__}: {error}).") from error


def _record(run: RunFolder, name: str | None) -> RunRecord:
    counts = ImageCounts.load(run.per_image)
    card: Card = {}
    with suppress(DataError):
        card = read_card(run)
    return RunRecord(
        name=name or _name(run.path),
        run=run,
        config=_read_config(run),
        card=card,
        evaluation=read_evaluation(run) or _guessed_evaluation(run, counts),
        counts=counts,
        panoptic=PanopticCounts.load(run.panoptic) if run.panoptic.is_file() else None,
        metrics=_metrics(run.metrics),
        speed=_metrics(run.speed),
        gallery=_gallery_of(run, counts),
    )


def _gallery_of(run: RunFolder, counts: ImageCounts) -> Gallery | None:
    """Read the images that were kept.

    Raises:
        DataError: They are damaged, or not of the images and classes that were scored.
    """
    if not run.images.is_file():
        return None
    gallery = read_gallery(run.images)
    if not set(gallery.images) <= set(counts.sample_ids) or len(gallery.class_names) != len(counts.class_names):
        raise DataError(
            f"{run.images} holds images or classes that {run.per_image} has no scores of: they are of different "
            f"evaluations. Delete it, or score the checkpoint again: validate --ckpt_path {run.path}"
        )
    return gallery


def read_records(paths: Sequence[Path]) -> list[RunRecord]:
    """Read several runs, under names as short as they can be told apart by."""
    records = [read_record(path) for path in paths]
    folders = [record.run.path.resolve() for record in records]
    if len(set(folders)) < len(folders):
        again = next(folder for folder in folders if folders.count(folder) > 1)
        raise ConfigError(f"{again} is given more than once: compare different runs.")
    short = [_short_name(record.run.path) for record in records]
    return [
        RunRecord(**{**vars(record), "name": name if short.count(name) == 1 else record.name})
        for record, name in zip(records, short, strict=True)
    ]


def flattened(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return `optimizer.lr` -> value for every setting that is computed with; classes as `model` and `data`."""
    flat: dict[str, Any] = {}

    def visit(prefix: str, value: Any) -> None:
        if isinstance(value, Mapping) and value:
            for key, inner in value.items():
                is_choice = prefix in ("model", "data") and key == "name"
                visit(prefix if is_choice else f"{prefix}.{key}" if prefix else str(key), inner)
        else:
            flat[prefix] = value

    visit("", config)
    return {
        key: value
        for key, value in flat.items()
        if not any(key == name or key.startswith(f"{name}.") for name in _WITHOUT_EFFECT)
    }


def config_differences(records: Sequence[RunRecord]) -> dict[str, list[str]]:
    """Return the settings that are not the same in all runs, each run's value in words, or `ABSENT`."""
    flats = [flattened(record.config) for record in records]
    found = {}
    for key in dict.fromkeys(key for flat in flats for key in flat):
        values = [describe_value(flat[key]) if key in flat else ABSENT for flat in flats]
        if len(set(values)) > 1:
            found[key] = values
    return found


def describe_value(value: Any) -> str:
    """Return a setting's value as it is written on the command line."""
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _is_run(path: Path) -> bool:
    """Whether a folder is a run, or one of runs that `fit` made; `runs/NAME-validate` is neither."""
    return RunFolder(path).config.is_file() or (path / LATEST).exists() or path.is_symlink()


def _name(path: Path) -> str:
    """Return `NAME/version_0`, and for evaluations inside a run `NAME/version_0/validate/version_1`."""
    parts = path.resolve().parts
    return "/".join(parts[-4:] if path.resolve().parent.name in ("validate", "test") else parts[-2:])


def _short_name(path: Path) -> str:
    parts = path.resolve().parts
    return "/".join((parts[-4], *parts[-2:])) if parts[-2] in ("validate", "test") else parts[-2]


def _read_config(run: RunFolder) -> dict[str, Any]:
    try:
        content = load_yaml(read_text(run.config), run.config, plain=True)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise DataError(f"{run.config} cannot be read: {error.strerror}.") from error
    except yaml.YAMLError as error:
        raise DataError(f"{run.config} is no valid YAML: {error}.") from error
    return content if isinstance(content, dict) else {}


def _guessed_evaluation(run: RunFolder, counts: ImageCounts) -> EvaluationRecord:
    """Say what an older run tells of its evaluation: those of `fit` are of the validation split."""
    inside = run.path.resolve().parent.name
    split = {"validate": "val", "test": "test"}.get(inside.rsplit("-", 1)[-1], "val")
    score = scores_from_confusion(counts.total(), counts.class_names).mIoU
    return EvaluationRecord(split, UNKNOWN, len(counts), 0, None if np.isnan(score) else score)


def _metrics(path: Path) -> dict[str, np.ndarray]:
    with suppress(DataError):
        return read_metrics(path)
    return {}
