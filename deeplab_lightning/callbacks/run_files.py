"""What a run leaves in its folder besides scores: configuration, reproducibility card, learning curves."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from ..data.fingerprint import fingerprint
from ..energy import EnergyMeter
from ..errors import DeepLabError
from ..files import sha256, write_text
from ..reporting.card import begin_session, environment, file_hash, read_card, write_card, write_code_diff
from ..reporting.plots import plot_curves
from ..runs import RunFolder, mark_latest, resolve_checkpoint
from .metrics_csv import MetricsCsv

_SPLITS = {"fit": ("train", "val"), "validate": ("val",), "test": ("test",)}


class RunFiles(Callback):
    """Writes `config.yaml` and `environment.json` when training starts, and draws the curves as it goes on.

    The card's entry of this stretch of training is renewed at every validation and at the end, so that a run that is
    killed has lost little of it.

    Args:
        run: The run folder.
        config: The resolved configuration, as YAML.
        seed: Of the run.
        is_newest: Let `latest` point at this folder (training does, evaluation does not).

    Attributes:
        changed: What decides numbers and is not as before, where a training goes on: by option, its value then and now.
        branch_of: The checkpoint of another run that this one left from.
    """

    def __init__(self, run: RunFolder, config: str, seed: int | None, is_newest: bool) -> None:
        self.run = run
        self.config = config
        self.seed = seed
        self.is_newest = is_newest
        self.changed: Mapping[str, Any] = {}
        self.branch_of: str | None = None
        self._card: dict[str, Any] = {}
        self._session: dict[str, Any] | None = None
        self._began, self._drawn = 0.0, ""
        self._meter: EnergyMeter | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write what is known before an evaluation."""
        if stage != "fit":
            self._write(trainer, pl_module, stage)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write what is known before the first step; not before it is known that a checkpoint can be gone on from."""
        self._write(trainer, pl_module, "fit")

    def _write(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if not trainer.is_global_zero:
            return
        write_text(self.run.config, self.config)
        self._card = environment(self.seed, [gpu.name for gpu in _gpus(trainer)])
        write_code_diff(self.run)
        self._card |= {"devices": trainer.num_devices, "num_nodes": trainer.num_nodes}
        self._card["parameters"] = sum(parameter.numel() for parameter in pl_module.parameters())
        weights = pl_module.hparams.get("model", {}).get("weights")
        if weights is not None:
            with suppress(DeepLabError):  # a resumed run does without them
                self._card["weights"] = file_hash(resolve_checkpoint(weights))
        datamodule: Any = getattr(trainer, "datamodule", None)
        self._card["data"] = {split: fingerprint(datamodule.dataset(split)) for split in _SPLITS.get(stage, ())}
        if self.branch_of is not None:
            self._card["branch_of"] = self.branch_of
        if stage == "fit":
            with suppress(DeepLabError):  # a new run has no card yet
                before = read_card(self.run)
                self._card |= {key: before[key] for key in ("sessions", "branch_of") if key in before}
        write_card(self.run, self._card)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Become the newest run of this name, and drop log rows that a resumed run is about to repeat."""
        if trainer.is_global_zero:
            if self.is_newest:
                mark_latest(self.run)
            self._session, self._began = begin_session(self._card, trainer.global_step), time.monotonic()
            self._session |= {"changed": dict(self.changed)} if self.changed else {}
            # By UUIDs: numbers differ where only some GPUs are visible.
            self._meter = EnergyMeter([f"GPU-{gpu.uuid}" for gpu in _gpus(trainer)])
        if trainer.global_step > 0:
            for logger in trainer.loggers:
                if isinstance(logger, MetricsCsv):
                    logger.resume_at(trainer.global_step)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Redraw the curves."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._draw_curves(trainer)
            self._note_session(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the curves with the last steps."""
        self._draw_curves(trainer)
        self._end_session(trainer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Note how far it got."""
        self._end_session(trainer)

    def _note_session(self, trainer: Trainer) -> None:
        if self._session is None or self._meter is None:
            return
        used = zip(("cpu", "gpu"), self._meter.read(), strict=True)
        self._session.update(
            to_step=trainer.global_step,
            seconds=round(time.monotonic() - self._began, 1),
            energy_joules={name: None if joules is None else round(joules, 1) for name, joules in used},
        )
        write_card(self.run, self._card)

    def _end_session(self, trainer: Trainer) -> None:
        self._note_session(trainer)
        if self._meter is not None:
            self._meter.stop()
        self._session = self._meter = None

    def _draw_curves(self, trainer: Trainer) -> None:
        if not trainer.is_global_zero:
            return
        for logger in trainer.loggers:
            logger.save()
        with suppress(DeepLabError, FileNotFoundError):  # nothing logged yet
            content = sha256(self.run.metrics)
            if content != self._drawn:  # a validation behind the last step has drawn it
                plot_curves(self.run.metrics, self.run.curves_image)
                self._drawn = content


def _gpus(trainer: Trainer) -> list[Any]:
    """Return the properties of the GPUs that the run uses on this machine."""
    is_on_gpus = trainer.strategy.root_device.type == "cuda"
    return [torch.cuda.get_device_properties(number) for number in trainer.device_ids] if is_on_gpus else []


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)
