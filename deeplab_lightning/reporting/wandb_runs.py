"""What Weights & Biases shows beyond numbers: panels with switchable masks, the per-class table, the confusion matrix.

The only module that imports wandb. The functions take a live run, `WandbLogger.experiment` in Lightning. Like that
logger they write the step as `trainer/global_step` and leave wandb's own step alone, which must never go back.
"""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import wandb
from PIL import Image

from ..metrics.scores import Scores
from .panels import PanelPicture, fit
from .plots import plot_confusion
from .tables import PER_CLASS_COLUMNS, per_class_rows

if TYPE_CHECKING:
    from wandb.sdk.wandb_run import Run

STEP_KEY = "trainer/global_step"


def log_panels(run: Run, pictures: Sequence[PanelPicture], class_names: Sequence[str], step: int) -> None:
    """Log pictures as `val/panels`, each with the masks `prediction` and `ground_truth` by class name.

    Args:
        run: The live run.
        pictures: What to show; large ones are shrunk as in `panels.panel_sheet`.
        class_names: `C` names. Void pixels get the further id `C`, called "void".
        step: The optimiser step.
    """
    labels = dict(enumerate([*class_names, "void"]))

    def mask(ids: np.ndarray) -> dict[str, object]:
        inside = (ids >= 0) & (ids < len(class_names))
        return {"mask_data": np.where(inside, ids, len(class_names)), "class_labels": labels}

    images = [
        wandb.Image(image, caption=title, masks={"prediction": mask(pred), "ground_truth": mask(truth)})
        for title, image, truth, pred in map(fit, pictures)
    ]
    run.log({"val/panels": images, STEP_KEY: step})


def log_per_class_table(run: Run, scores: Scores, step: int) -> None:
    """Log the scores of each class as the table `val/per_class`; the scores of absent classes are null.

    Args:
        run: The live run.
        scores: What to log.
        step: The optimiser step.
    """
    rows = [list(row) for row in per_class_rows(scores)]
    run.log({"val/per_class": wandb.Table(columns=list(PER_CLASS_COLUMNS), data=rows), STEP_KEY: step})


def log_confusion(run: Run, matrix: np.ndarray, class_names: Sequence[str], step: int) -> None:
    """Log the confusion matrix as the picture `val/confusion`.

    Args:
        run: The live run.
        matrix: `(C, C)` integer pixel counts; rows are the truth, columns the prediction.
        class_names: `C` names.
        step: The optimiser step.
    """
    png = io.BytesIO()
    plot_confusion(matrix, class_names, png)
    png.seek(0)
    run.log({"val/confusion": wandb.Image(Image.open(png)), STEP_KEY: step})


def go_offline_without_key() -> bool:
    """Let wandb write to the run folder only, where nobody has logged in and `WANDB_MODE` says nothing else.

    Returns:
        Whether it was needed: wandb would otherwise stop and ask for a key.
    """
    if "WANDB_MODE" in os.environ or wandb.login(prompt=False):
        return False
    os.environ["WANDB_MODE"] = "offline"
    return True
