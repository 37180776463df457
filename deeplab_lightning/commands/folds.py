"""`folds`: a cross-validation of one configuration, and its networks as one ensemble."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from ..command_line import ConfigurationWords
from ..config_words import config_files, without_option
from ..errors import ConfigError, DataError
from ..ledger import Ledger
from ..options import Written, at_least

if TYPE_CHECKING:
    from ..metrics.per_image import ImageCounts
    from ..runs import RunFolder

STATE = "folds"
ENSEMBLE = "ensemble.ckpt"
TABLE = "folds.md"
DECIDED_HERE = ("--ckpt_path", "--data.folds", "--data.fold", "--run.name", "--run.folder")


def folds(
    count: Annotated[int, at_least(2), Written(metavar="COUNT")],
    /,
    *,
    name: str | None = None,
    folder: Path = Path("runs"),
    configuration: ConfigurationWords = (),
) -> int:
    """Cross-validate: train on all parts of the images but one, in turn.

    Every image is validated once, by a network that has not seen it: their scores together tell more of few images than
    one split does. The networks become one checkpoint, an ensemble, that predict and export take as any other. Stopped
    at any point, the same command goes on there.

    Args:
        count: Parts that the images of train and val are divided into, such as 5.
        name: Name of the whole; the first configuration's stem with -folds if not given.
        folder: Folder of all runs.
        configuration: -c FILE.yaml and options, as fit takes them; the data is the user's own images.

    Returns:
        0, or the exit code of the first training that fails.

    Raises:
        ConfigError: There is no configuration, or an option says what is decided here.
        DataError: A run's files are damaged, or the parts overlap.
    """
    for option in DECIDED_HERE:
        if len(without_option(configuration, option)) != len(configuration):
            raise ConfigError(f"folds takes no {option}: it says that itself (use --name and --folder for places).")
    files = config_files(configuration)
    if not files:
        raise ConfigError("folds needs what to train, as fit does: folds 5 -c mine.yaml")
    from ..runs import find_run
    from ..studies import programs

    whole = folder / (name or f"{files[0].stem}-folds")
    ledger = Ledger(whole)
    wanted = {"count": count, "words": list(configuration)}
    before = ledger.read(STATE) or {**wanted, "finished": []}
    ledger.expect_same(before, wanted, "choose another --name")
    finished = list(before["finished"])
    for number in range(len(finished), count):
        of_fold = f"fold_{number}"
        words = ["fit", *configuration, f"--data.folds={count}", f"--data.fold={number}"]
        words += ["--run.folder", str(whole), "--run.name", of_fold, *programs.going_on(whole / of_fold)]
        print(f"fold {number + 1} of {count}", flush=True)
        code = programs.run(words).code
        if code != 0:
            return code
        finished.append(str(find_run(whole / of_fold).path))
        ledger.write(STATE, {**wanted, "finished": finished})
    from ..runs import RunFolder

    runs = [RunFolder(Path(path)) for path in finished]
    print(_write_table(runs, whole))
    ensemble = write_ensemble(runs, whole / ENSEMBLE)
    print(
        f"ensemble: {ensemble}. Together its networks have seen all images of train and val: score it on others.\n"
        f"  python -m deeplab_lightning predict IMAGES --ckpt_path {ensemble}"
    )
    return 0


def _write_table(runs: list[RunFolder], whole: Path) -> str:
    """Write the scores of all images, each by the network that has not seen it; returns them as a table."""
    from ..metrics.per_image import ImageCounts
    from ..metrics.scores import scores_from_confusion
    from ..reporting.tables import markdown_table, number, write_per_class_csv

    counts = [ImageCounts.load(run.per_image) for run in runs]
    together = merged_counts(counts)
    scores = scores_from_confusion(together.total(), together.class_names)
    rows = []
    for index, one in enumerate(counts):
        own = scores_from_confusion(one.total(), one.class_names)
        rows.append([f"fold {index + 1}", str(len(one)), number(own.macro.iou), number(own.pixel_acc)])
    rows.append(["all images", str(len(together)), number(scores.macro.iou), number(scores.pixel_acc)])
    table = markdown_table(["validated on", "images", "mIoU", "pixel accuracy"], rows)
    together.save(whole / "per_image.npz")
    write_per_class_csv(whole / "per_class.csv", scores)
    (whole / TABLE).write_text(f"{table}\n", encoding="utf-8")
    return table


def merged_counts(folds: list[ImageCounts]) -> ImageCounts:
    """Return the counts of all folds' images together.

    Raises:
        DataError: Classes differ, or an image was validated twice.
    """
    from ..metrics.per_image import ImageCounts

    together = ImageCounts(folds[0].class_names)
    for one in folds:
        twice = sorted(set(one.sample_ids) & set(together.sample_ids))
        if twice or one.class_names != together.class_names:
            what = f"image {twice[0]!r} was validated twice" if twice else "their classes differ"
            raise DataError(
                f"The folds do not belong together: {what}. Was the data changed in between? Choose another --name to "
                f"begin anew."
            )
        for sample_id in one.sample_ids:
            together.add(sample_id, one.matrix(sample_id))
    return together


def write_ensemble(runs: list[RunFolder], path: Path) -> Path:
    """Write the best networks of some runs as one checkpoint; returns its path."""
    from ..checkpoints.loading import read_checkpoint
    from ..checkpoints.writing import write_checkpoint
    from ..models import network_named
    from ..tasks.base import SegmentationTask

    found = [read_checkpoint(run.checkpoint()) for run in runs]
    kept = [checkpoint["hyper_parameters"] for checkpoint in found]
    members = [{"name": one["network"], **one["model"], "pretrained": False} for one in kept]
    task = SegmentationTask(kept[0]["description"], network=network_named("Ensemble"), members=members)
    weights = {
        f"members.{index}.{key.removeprefix('model.')}": value
        for index, checkpoint in enumerate(found)
        for key, value in checkpoint["state_dict"].items()
        if key.startswith("model.")
    }
    task.model.load_state_dict(weights)
    write_checkpoint(path, task, weights, ensemble=[str(run.path) for run in runs])
    return path
