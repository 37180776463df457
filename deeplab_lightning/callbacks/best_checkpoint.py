"""The checkpoint of the best validation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from ..runs import RunFolder


class BestCheckpoint(ModelCheckpoint):
    """Keeps `best.ckpt`, of the validation with the best `leading_score` of the task: `val/mIoU`, or `val/PQ`.

    It has a class of its own, so that its state in a checkpoint is none of the user's `ModelCheckpoint`s, whatever they
    watch.

    Args:
        run: The run folder.
        goes_on: An earlier part of the run wrote there: its best one counts. That of another run does not, and its file
            is left alone. (Lightning itself tells runs by their path, and would forget the best of one that was moved.)
    """

    def __init__(self, run: RunFolder, goes_on: bool) -> None:
        self.goes_on = goes_on
        super().__init__(
            run.checkpoints,
            run.best_checkpoint.stem,
            monitor="val/mIoU",
            mode="max",
            auto_insert_metric_name=False,
            enable_version_counter=False,
        )

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Learn which score leads."""
        self.monitor = str(getattr(pl_module, "leading_score", self.monitor))
        super().setup(trainer, pl_module, stage)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from the best so far."""
        if not self.goes_on:
            return
        here = {str(path): str(Path(str(self.dirpath)) / Path(path).name) for path in state_dict["best_k_models"]}
        super().load_state_dict(
            {
                **state_dict,
                "dirpath": self.dirpath,
                "best_k_models": {here[path]: score for path, score in state_dict["best_k_models"].items()},
                "best_model_path": here.get(state_dict["best_model_path"], ""),
                "kth_best_model_path": here.get(state_dict["kth_best_model_path"], ""),
                "last_model_path": "",
            }
        )
