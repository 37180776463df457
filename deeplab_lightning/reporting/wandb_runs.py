"""What Weights & Biases gets beyond the logged numbers, and reading its runs back.

The only module that imports wandb. The functions take a live run, `WandbLogger.experiment` in Lightning. Like that
logger they write the step as `trainer/global_step` and leave wandb's own step alone, which must never go back.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import wandb
import yaml
from PIL import Image

from ..errors import ConfigError
from ..files import read_json, write_csv, write_json
from ..metrics.scores import Scores
from ..runs import RunFolder
from .panels import PanelImage, fit
from .plots import plot_confusion
from .records import flattened
from .tables import PER_CLASS_COLUMNS, per_class_rows

if TYPE_CHECKING:
    from lightning.pytorch.loggers import WandbLogger
    from wandb.sdk.wandb_run import Run

STEP_KEY = "trainer/global_step"
IDENTITY = "wandb.json"
"""In a run folder: which run of Weights & Biases it is, so that a resumed training goes on with that one."""
COPIED = ("config.yaml", "environment.json", "evaluation.json", "metrics.csv", "speed.csv", "per_class.csv",
          "confusion.npz", "per_image.npz", "panoptic.npz", "images.zip", "code.diff")  # fmt: skip
"""Files of a run folder that its run of Weights & Biases keeps: what reports and comparisons read."""


def describe_run(run: Run, config_text: str, card: Mapping[str, Any]) -> None:
    """Give the run its configuration and its reproducibility card; let its summary tell the best `val/mIoU`.

    Args:
        run: The live run.
        config_text: The resolved configuration as YAML. Its settings get the names of the command line's options, which
            are those of sweeps, such as `optimizer.lr`.
        card: What `environment.json` holds.
    """
    facts = {key: value for key, value in card.items() if key != "sessions"}
    run.config.update({**flattened(yaml.safe_load(config_text)), "environment": facts}, allow_val_change=True)
    # Left to itself, the summary has the last value, which is not that of the checkpoint that one would use.
    run.define_metric("val/mIoU", step_metric=STEP_KEY, step_sync=True, summary="none")


def log_checkpoint(run: Run, path: Path, alias: str) -> None:
    """Log a checkpoint, if it is there, as a version of the artifact `checkpoint-ID`, to be fetched by its alias."""
    if path.is_file():
        artifact = wandb.Artifact(f"checkpoint-{run.id}", type="model")
        # A copy: a resumed training replaces the file, perhaps before an offline run is uploaded.
        artifact.add_file(str(path), name=path.name, policy="mutable")
        run.log_artifact(artifact, aliases=[alias])


def copy_files(run: Run, folder: RunFolder) -> None:
    """Let the run keep the files of a run folder, below the folder's name: `config.yaml` alone is wandb's own."""
    for name in COPIED:
        path = folder.path / name
        if path.is_file():
            run.save(str(path), base_path=str(folder.path.parent), policy="now")


def write_identity(run: Run, folder: RunFolder) -> None:
    """Write down which run of Weights & Biases a run folder is."""
    write_json(folder.path / IDENTITY, {"id": run.id, "project": run.project, "entity": run.entity or None})


def read_identity(folder: RunFolder) -> dict[str, str | None]:
    """Return `id`, `project` and `entity` of the run that a run folder is; empty if it is none yet."""
    return read_json(folder.path / IDENTITY, "remove it to begin a new run of Weights & Biases.") or {}


def fetch_run(name: str, folder: Path, api: Any = None) -> Path:
    """Fetch the files of the run `ENTITY/PROJECT/ID` to a folder in `folder`, where it can be read like any other.

    Raises:
        ConfigError: There is no such run for who is logged in, or it has no counts of each image.
    """
    if len(name.split("/")) != 3:
        raise ConfigError(f"wandb:{name} is no run: expected wandb:ENTITY/PROJECT/ID, as in the run's address.")
    try:
        run = (api or wandb.Api()).run(name)
        files = [file for file in run.files() if file.name.rpartition("/")[2] in COPIED and file.name.count("/") == 1]
    except (wandb.Error, ValueError) as error:
        raise ConfigError(
            f"wandb:{name} cannot be read ({error}). Is it spelt right, and are you logged in (wandb login)?"
        ) from error
    target = folder / name.replace("/", "_") / "version_0"
    target.mkdir(parents=True, exist_ok=True)
    names = {file.name.rpartition("/")[2] for file in files}
    if not {"per_image.npz", "config.yaml"} <= names:
        raise ConfigError(
            f"wandb:{name} keeps no per_image.npz and config.yaml of a run folder, which comparing needs (found: "
            f"{', '.join(sorted(names)) or 'nothing'}). Runs that this version of deeplab_lightning trained do."
        )
    for file in files:
        with file.download(root=str(target / ".fetched"), replace=True) as content:
            os.replace(content.name, target / file.name.rpartition("/")[2])
    if "metrics.csv" not in names:
        _write_history(run, target / "metrics.csv")
    return target


def _write_history(run: Any, path: Path) -> None:
    """Write a run's logged numbers as `metrics.csv`, a row for each step; steps count from 1, and from 0 in wandb."""
    rows: dict[int, dict[str, float]] = {}
    for entry in run.scan_history():
        step = entry.get(STEP_KEY)
        if isinstance(step, int):
            numbers = {k: v for k, v in entry.items() if isinstance(v, int | float) and not k.startswith("_")}
            rows.setdefault(step, {}).update(numbers)
    columns = sorted({key for row in rows.values() for key in row} - {STEP_KEY})
    write_csv(path, ["step", *columns], ({**rows[step], "step": step + 1} for step in sorted(rows)))


def log_panels(run: Run, panels: Sequence[PanelImage], class_names: Sequence[str], step: int) -> None:
    """Log images as `val/panels`, each with the masks `prediction` and `ground_truth` by class name.

    Large ones are shrunk as in `panels.panel_overview`. Void pixels get the further id `C`, called "void".
    """
    labels = dict(enumerate([*class_names, "void"]))

    def mask(ids: np.ndarray) -> dict[str, object]:
        inside = (ids >= 0) & (ids < len(class_names))
        return {"mask_data": np.where(inside, ids, len(class_names)), "class_labels": labels}

    images = [
        wandb.Image(image, caption=title, masks={"prediction": mask(pred), "ground_truth": mask(truth)})
        for title, image, truth, pred in map(fit, panels)
    ]
    run.log({"val/panels": images, STEP_KEY: step})


def log_per_class_table(run: Run, scores: Scores, step: int) -> None:
    """Log the scores of each class as the table `val/per_class`; the scores of absent classes are null."""
    rows = [list(row) for row in per_class_rows(scores)]
    run.log({"val/per_class": wandb.Table(columns=list(PER_CLASS_COLUMNS), data=rows), STEP_KEY: step})


def log_confusion(run: Run, matrix: np.ndarray, class_names: Sequence[str], step: int) -> None:
    """Log a confusion matrix `(C, C)` of pixel counts, rows the truth, as the image `val/confusion`."""
    png = io.BytesIO()
    plot_confusion(matrix, class_names, png)
    png.seek(0)
    run.log({"val/confusion": wandb.Image(Image.open(png)), STEP_KEY: step})


def keep_offline(logger: WandbLogger) -> bool:
    """Let a logger's run write to the run folder only, if it was told so, or nobody has logged in.

    That is said to the run itself: `WANDB_MODE`, which Lightning sets for its `offline`, is not read any more once
    wandb has read its settings. Where `WANDB_MODE` or `wandb offline` say something, that counts.

    Returns:
        Whether there is no key: wandb would otherwise stop and ask for one.
    """
    settings = wandb.setup().settings
    if settings._noop or settings._offline:
        return False
    told = bool(logger._offline or logger._wandb_init.get("mode"))
    without_key = not told and not wandb.login(prompt=False, verify=False)
    if logger._offline or without_key:
        logger._wandb_init["mode"] = "offline"
    return without_key
