"""What an evaluation leaves to read and to look at: table, matrices, panels."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import WandbLogger
from rich.console import Console

from ..data.files.saving import write_image
from ..data.spacing import spread
from ..metrics.scores import Scores, scores_from_confusion
from ..reporting.evaluation import EvaluationRecord, write_evaluation
from ..reporting.gallery import SPREAD, GalleryCollector, write_gallery
from ..reporting.panels import PanelImage, panel_overview
from ..reporting.plots import plot_confusion
from ..reporting.tables import panoptic_table, per_class_table, write_confusion, write_per_class_csv
from ..runs import RunFolder

PANEL_IMAGES = 6
"""Images per panel overview, spread evenly over the split."""


class EvaluationFiles(Callback):
    """Keeps the files of the best evaluation in the run folder, and prints its per-class table at the end.

    While training, the files are rewritten whenever the task's `leading_score` improves: they always describe
    `checkpoints/best.ckpt`.

    Of a task with `objects` there are `panoptic.npz`, further columns of
    `per_class.csv` and a second table. The gallery shows objects as outlines where a batch has `numbers` (a list of
    `(H, W)`, the truth's, whose classes are `mask`) and the outputs of a step have `segments` (a list of pairs of
    classes and numbers).

    Args:
        run: The run folder.
        step: Of the checkpoint that is evaluated, outside of training.
        goes_on: An earlier part of the run wrote to the folder, and its best score counts.
    """

    def __init__(self, run: RunFolder, step: int = 0, goes_on: bool = True) -> None:
        self.run = run
        self.step, self.goes_on = step, goes_on
        self.best_score = -math.inf
        self._tables: list[Any] = []
        self._panels: list[PanelImage] = []
        self._gallery = GalleryCollector(0)
        self._spread: set[int] = set()
        self._seen, self._began = 0, 0.0

    def state_dict(self) -> dict[str, float]:
        """Remember the best score over a resume."""
        return {"best_score": self.best_score}

    def load_state_dict(self, state_dict: dict[str, float]) -> None:
        """Go on from the best score so far."""
        if self.goes_on:
            self.best_score = state_dict["best_score"]

    def on_validation_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Begin an overview."""
        loader: Any = trainer.test_dataloaders if trainer.testing else trainer.val_dataloaders
        self._panels, self._seen, self._began = [], 0, time.monotonic()
        self._gallery = GalleryCollector(len(pl_module.description["class_names"]))
        sampler = getattr(loader, "sampler", None)
        self._spread = set() if sampler is None else set(spread(len(sampler), SPREAD))

    on_test_start = on_validation_start

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Keep some images."""
        batches = trainer.num_test_batches if trainer.testing else trainer.num_val_batches
        self._keep(sum(map(int, batches)), outputs, batch, batch_idx)
        self._keep_for_gallery(trainer, pl_module, outputs, batch)

    on_test_batch_end = on_validation_batch_end

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Write the files if this is the best evaluation so far; outside of training, print the table."""
        if trainer.sanity_checking or not trainer.is_global_zero:
            return
        scores: Scores = pl_module.evaluation.scores()
        if trainer.state.fn == "fit":
            score = float(trainer.callback_metrics[pl_module.leading_score])
            if score > self.best_score:
                self.best_score = score
                self._write(trainer, pl_module, scores, "val", f"best so far, step {trainer.global_step}")
        else:
            split, title = ("test", "test") if trainer.testing else ("val", "validation")
            self._write(trainer, pl_module, scores, split, title)
            self._print()

    on_test_end = on_validation_end

    def on_fit_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Print the table of the best validation."""
        if trainer.is_global_zero:
            self._print()

    def _keep_for_gallery(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any) -> None:
        """Take images that are spread over the split, and the worst."""
        evaluation = pl_module.evaluation
        images = zip(batch["sample_id"], batch["image"], batch["mask"], outputs["pred"], strict=True)
        for place, (sample_id, image, mask, pred) in enumerate(images):
            is_spread = self._seen in self._spread
            self._seen += 1
            if trainer.sanity_checking or not trainer.is_global_zero:
                continue
            score = scores_from_confusion(evaluation.image(sample_id), evaluation.class_names).mIoU
            if self._gallery.wants(score, is_spread):
                shown = image.cpu().numpy().transpose(1, 2, 0)
                objects = None
                if "segments" in outputs:
                    pairs = (mask, batch["instances"][place]), outputs["segments"][place]
                    objects = tuple((classes.cpu().numpy(), numbers.cpu().numpy()) for classes, numbers in pairs)
                masks = mask.cpu().numpy(), pred.cpu().numpy()
                self._gallery.add(sample_id, shown, *masks, score, is_spread, objects)

    def _keep(self, batches: int, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Take the first image of evenly spread batches."""
        wanted = {round(share * (batches - 1) / max(PANEL_IMAGES - 1, 1)) for share in range(PANEL_IMAGES)}
        if batch_idx not in wanted:
            return
        image = np.ascontiguousarray(batch["image"][0].cpu().numpy().transpose(1, 2, 0))
        mask, pred = batch["mask"][0].cpu().numpy(), outputs["pred"][0].cpu().numpy()
        self._panels.append(PanelImage(batch["sample_id"][0], image, mask, pred))

    def _write(self, trainer: Trainer, pl_module: Any, scores: Scores, split: str, title: str) -> None:
        counts, description, run = pl_module.evaluation.counts(), pl_module.description, self.run
        matrix, class_names = counts.total(), description["class_names"]
        panoptic = None if pl_module.objects is None else pl_module.objects.scores
        quality = None if panoptic is None else panoptic.quality()
        write_per_class_csv(run.per_class, scores, quality)
        if panoptic is not None:
            panoptic.counts().save(run.panoptic)
        write_confusion(run.confusion, matrix, class_names)
        counts.save(run.per_image)
        plot_confusion(matrix, class_names, run.confusion_image)
        if self._panels:
            run.panels.mkdir(exist_ok=True)
            write_image(run.panels / "panels.png", panel_overview(self._panels, class_names, description["palette"]))
        write_gallery(run.images, self._gallery.images(), class_names, description["palette"])
        protocol, step = pl_module.protocol, trainer.global_step or self.step
        score = None if math.isnan(scores.mIoU) else scores.mIoU
        seconds = round(time.monotonic() - self._began, 3)
        write_evaluation(run, EvaluationRecord(split, protocol, len(counts), step, score, seconds))
        self._tables = [per_class_table(scores, title, f"{len(counts)} images; {protocol}")]
        if quality is not None:
            self._tables.append(panoptic_table(quality, f"{title}, objects and stuff"))
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                from ..reporting import wandb_runs

                if trainer.state.fn == "fit":
                    best = {"val/mIoU": scores.mIoU, "best_step": trainer.global_step}
                    logger.experiment.summary.update(best)
                shown_at = trainer.global_step - 1  # Lightning, which writes the curves there, counts from 0
                wandb_runs.log_per_class_table(logger.experiment, scores, shown_at)
                wandb_runs.log_confusion(logger.experiment, matrix, class_names, shown_at)
                if self._panels:
                    wandb_runs.log_panels(logger.experiment, self._panels, class_names, shown_at)

    def _print(self) -> None:
        for table in self._tables:
            Console().print(table)
        print(f"Files: {self.run.path}", flush=True)
