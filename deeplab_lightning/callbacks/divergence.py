"""Training that has gone wrong stops, and says where, on which images, and what the likely cause is."""

from __future__ import annotations

import math
from collections import deque
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from ..errors import DivergenceError

WINDOW = 20
"""Steps over whose median loss a run is said to diverge."""
TIMES_WORSE = 3.0


class Step(NamedTuple):
    """What is remembered of a step until it is looked at."""

    number: int
    loss: Tensor
    sample_ids: list[str]
    lr: float


class Divergence(Callback):
    """Stops when the loss is NaN or infinite, or when it is `TIMES_WORSE` its beginning and twice that of a guess.

    The loss stays on its device: on a GPU it is looked at every `log_every_n_steps` steps, so that no step waits for
    it, and always before anything is saved. The gradient's norm is logged as `train/grad_norm` at every logging step,
    before it is clipped.
    """

    def __init__(self) -> None:
        self._pending: list[Step] = []
        self._first: list[float] = []
        self._recent: deque[float] = deque(maxlen=WINDOW)

    def on_before_optimizer_step(self, trainer: Any, pl_module: LightningModule, optimizer: Any) -> None:
        """Log the norm of the whole gradient."""
        if (trainer.global_step + 1) % trainer.log_every_n_steps == 0:
            gradients = [parameter.grad for parameter in pl_module.parameters() if parameter.grad is not None]
            pl_module.log("train/grad_norm", torch.nn.utils.get_total_norm(gradients))

    def on_train_batch_end(
        self, trainer: Any, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Remember the loss; look at it when that costs nothing, and behind the last step."""
        lr = max(group["lr"] for group in trainer.optimizers[0].param_groups)
        loss = outputs["loss"] * trainer.accumulate_grad_batches  # Lightning has divided it
        self._pending.append(Step(trainer.global_step, loss, batch["sample_id"], lr))
        every = 1 if pl_module.device.type == "cpu" else trainer.log_every_n_steps
        if len(self._pending) >= every or trainer.global_step >= trainer.estimated_stepping_batches:
            self._look(trainer, pl_module)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look before the weights are scored and saved."""
        self._look(trainer, pl_module)

    def _look(self, trainer: Trainer, pl_module: Any) -> None:
        if not self._pending:
            return
        losses = torch.stack([step.loss.detach().float() for step in self._pending]).tolist()
        steps, self._pending = self._pending, []
        for step, loss in zip(steps, losses, strict=True):
            if not math.isfinite(loss):
                message = self._message(f"the loss is {loss}", step, trainer)
                raise DivergenceError(message, kind="" if _broken_image(trainer, step) else "not_finite")
            self._recent.append(loss)
            if len(self._first) < WINDOW:
                self._first.append(loss)
                continue
            # Far worse than the first steps, and than guessing all classes alike.
            limit = max(TIMES_WORSE * median(self._first), 2 * math.log(max(pl_module.num_classes, 2)))
            if median(self._recent) > limit:
                what = f"the loss has risen from {median(self._first):.3g} to {median(self._recent):.3g}"
                raise DivergenceError(self._message(what, step, trainer))

    def _message(self, what: str, step: Step, trainer: Trainer) -> str:
        files = _files(trainer, step.sample_ids)
        before = ", ".join(f"{loss:.3g}" for loss in list(self._recent)[-6:]) or "none, it was the first step"
        return (
            f"Training went wrong at step {step.number}: {what}. The losses before: {before}; learning rate "
            f"{step.lr:.3g}; the batch: {', '.join(files[:8])}{', ...' if len(files) > 8 else ''}. "
            f"{self._likely_cause(trainer, step)} Nothing was saved since; an earlier last.ckpt, if any, is whole."
        )

    def _likely_cause(self, trainer: Trainer, step: Step) -> str:
        if broken := _broken_image(trainer, step):
            return f"Likely cause: {broken} holds values that are no finite numbers. Fix it or take it out."
        if str(trainer.precision).startswith("16"):
            return "Likely cause: half precision overflowed. Use --trainer.precision bf16-mixed, or 32."
        recent = list(self._recent)
        if len(recent) < 3 or recent[-1] > 1.5 * min(recent):
            return (
                f"Likely cause: the learning rate is too high for this network and batch. Set --optimizer.lr "
                f"{step.lr / 10:.2g}, more --optimizer.warmup_steps, or --trainer.gradient_clip_val 1."
            )
        return (
            "The losses before were unsuspicious: look at these images and masks (`doctor` does), and clip gradients "
            "with --trainer.gradient_clip_val 1."
        )


def _broken_image(trainer: Trainer, step: Step) -> str:
    """Return the file of the batch that holds NaN or infinity, as float files can; empty if there is none."""
    for sample_id, (dataset, index) in _places(trainer, step.sample_ids).items():
        if dataset is not None and not np.isfinite(dataset.load(index)[0]).all():
            return _files(trainer, [sample_id])[0]
    return ""


def _files(trainer: Trainer, sample_ids: list[str]) -> list[str]:
    """Return the images' files, or their ids where there are none."""
    places = _places(trainer, sample_ids)
    files = {sample_id: dataset.files(index) if dataset else () for sample_id, (dataset, index) in places.items()}
    return [str(found[0]) if found else sample_id for sample_id, found in files.items()]


def _places(trainer: Trainer, sample_ids: list[str]) -> dict[str, tuple[Any, int]]:
    """Return the training split and each image's place in it; None for the split where there is no datamodule."""
    datamodule: Any = getattr(trainer, "datamodule", None)
    if datamodule is None:
        return dict.fromkeys(sample_ids, (None, 0))
    dataset = datamodule.dataset("train")
    places = {dataset.sample_id(index): index for index in range(len(dataset))}
    return {sample_id: (dataset, places[sample_id]) for sample_id in sample_ids}
