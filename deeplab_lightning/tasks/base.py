"""The LightningModule with the steps, the evaluation and the optimisation. Generations only bring their network."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from functools import wraps
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
import torch
from lightning.pytorch import Callback
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from .. import __version__
from ..checkpoints.loading import read_checkpoint
from ..checkpoints.transfer import transfer
from ..errors import ConfigError
from ..layers.norms import pause_statistics, put_back_statistics, without_statistics
from ..losses import CombinedLoss, LossOptions, loss_options
from ..losses.class_weights import ClassCounts, WeightRule, class_weights
from ..losses.shrink import shrink_labels
from ..models import Network, TrainingMaps, network_named
from ..optim.averaging import WeightAverage, training_images
from ..optim.groups import parameter_groups
from ..optim.options import OptimizerOptions, make_optimizer, make_schedule
from ..optim.schedules import FactorLR
from ..options import hints_of
from ..plugins import name_of
from ..types import Batch, DataDescription
from .depth import DepthTask
from .description import check_against, check_classes_of_data, describe_by_hand
from .distillation import Distillation, put_aside, put_back
from .evaluating import EvaluatedTask
from .norm_policy import warn_if_few
from .objects import objects_of
from .options import TaskOptions
from .precision import expect_precision

STATISTICS_BATCHES = 20
"""Training batches on which norms that were folded get their statistics."""


class SegmentationTask(EvaluatedTask):
    """Trains and evaluates a segmentation network, whichever it is.

    A generation is a subclass that names its `network_class`; none overrides the steps, so that an ablation compares
    networks and not training loops.

    Args:
        description: What the model must know of its data, from the datamodule; not needed where `num_classes` (or
            `class_names`) is given.
        network: The network to train, or its name, where the class does not say.
        optimizer: The optimiser and its schedule; the generation's own if not given.
        loss: The losses and their constants; cross-entropy if not given.
        model: Options of the network, and those of `TaskOptions`.

    Attributes:
        model: The network.

    Raises:
        ConfigError: An option is unknown, out of range, or contradicts the data.
    """

    network_class: ClassVar[type[Network] | None] = None
    trainer_settings: Mapping[str, Any] = MappingProxyType({})
    """Settings of the trainer that decide numbers: checkpoints carry them, and a configuration takes them up again."""
    optimizer_defaults: ClassVar[OptimizerOptions] = OptimizerOptions()

    def __init__(
        self,
        description: DataDescription | None = None,
        *,
        network: type[Network] | str | None = None,
        optimizer: OptimizerOptions | Mapping[str, Any] | None = None,
        loss: LossOptions | Mapping[str, Any] | None = None,
        **model: Any,
    ) -> None:
        network = network or self.network_class
        if network is None:
            raise ConfigError("This task does not know which network to train: give it network='DeepLabV3Plus'.")
        network_class = network_named(network) if isinstance(network, str) else network
        told = TaskOptions.of({name: model.pop(name) for name in hints_of(TaskOptions) if name in model})
        description = description or describe_by_hand(told.num_classes, told.ignore_index, told.class_names)
        check_against(description, told.num_classes, told.ignore_index, told.class_names)
        losses = _made(loss_options(), loss, loss_options()())
        built = network_class(len(description["class_names"]), description["channels"], **model)
        super().__init__(
            description,
            built,
            None if losses.depth is None else DepthTask(built, losses.depth),
            objects_of(built, losses.instances, description),
        )
        self.options, self.loss_options = told, losses
        self.optimizer_options = _made(OptimizerOptions, optimizer, self.optimizer_defaults)
        self.num_classes = len(description["class_names"])
        self.save_hyperparameters(
            {
                "network": name_of(network_class),
                "model": {**self.model.options.plain(), **self.options.plain()},
                "optimizer": self.optimizer_options.plain(),
                "loss": self.loss_options.plain(),
                "description": self.description,
            }
        )
        self.losses = CombinedLoss(self.loss_options, self.ignore_index, self.num_classes)
        self._optimizer_options: list[dict[str, Any]] = []
        self._losses_of_step: tuple[int, list[dict[str, Tensor]]] = (-1, [])
        self._groups_so_far: dict[str, int] | None = None  # of the optimiser of a training that goes on
        self._seed_so_far = 0
        self._new_layers: list[str] = []  # within the network, where its other weights came from `weights`
        self.distillation: Distillation | None = None

    def setup(self, stage: str) -> None:
        """Before a new run: take over the weights that it starts from."""
        expect_precision(self.trainer.precision)
        self._range_is_known = False
        check_classes_of_data(self.num_classes, self._datamodule, None)
        if self.model.options.freeze_batch_norm:
            warnings.filterwarnings("ignore", r"Found \d+ module\(s\) in eval mode")  # they are meant to be
        if self._datamodule is not None:
            for side in self.side_tasks:
                self._datamodule.deliver(side.needs)
        path = self.options.weights
        if stage == "fit" and path is not None and self.trainer.ckpt_path is None:
            self._new_layers = transfer(self, self.model.classifiers, self.description, read_checkpoint(path), path)
            if self._new_layers:
                rank_zero_info(f"{path} knows other classes; layers that start anew: {', '.join(self._new_layers)}.")

    def configure_callbacks(self) -> list[Callback]:
        """Average the weights, if asked for; before, bring in what is trained beside the network."""
        if self.trainer.state.fn != "fit":
            return []
        if self.loss_options.distillation is not None:
            from .rebuild import load_task  # which knows all tasks

            self.distillation = Distillation(
                self.model,
                self.description,
                self.loss_options.distillation,
                lambda path: load_task(read_checkpoint(path), path),
            )
        return [WeightAverage(self.optimizer_options)] if self.optimizer_options.averages else []

    def on_fit_start(self) -> None:
        """Compile; find the class weights, where they follow from the training masks by a rule."""
        if self.distillation is not None:
            self.distillation.teachers.to(self.device)
        if self.options.compile:
            compile_training(self.model)
        if self.losses.rule is not None:
            self.losses.class_weights = self._weights_by_rule(self.losses.rule)

    def _weights_by_rule(self, rule: WeightRule) -> Tensor:
        """Count in the training masks, and return and tell the classes' weights that follow, `(C,)`."""
        if self._datamodule is None:
            raise ConfigError(
                f"--loss.cross_entropy.class_weights {rule!r} needs a datamodule to count in: give a list of weights "
                f"instead."
            )
        counts = ClassCounts(*map(torch.from_numpy, self._datamodule.class_counts()))
        weights = class_weights(rule, counts).float()
        named = zip(self.description["class_names"], weights.tolist(), strict=True)
        rank_zero_info("Class weights: " + ", ".join(f"{name} {weight:.3g}" for name, weight in named))
        return weights

    @property
    def _datamodule(self) -> Any:
        return getattr(self.trainer, "datamodule", None)

    def loss(self, maps: TrainingMaps, mask: Tensor) -> Tensor:
        """Return the loss of a network's maps.

        Logits are brought to the label's size, never the label to the logits', but where the network's paper does so
        (v1, v2). The cross-entropy does that band by band (`losses/upsampled.py`), so that full-resolution logits are
        not made unless another loss needs them.

        Args:
            maps: Of `Network.training_maps`.
            mask: `(B, H, W)` train ids.
        """
        if not maps.further and not self.model.shrinks_labels:
            return self.losses.of_coarse(maps.main, mask, self.model.align_corners, self.global_step)
        losses = [maps.further_weight * self.criterion(logits, mask) for logits in maps.further]
        return torch.stack([*losses, self.criterion(maps.main, mask)]).sum()

    def criterion(self, logits: Tensor, mask: Tensor) -> Tensor:
        """Return the (sum of) losses of `logits` `(B, C, h, w)` against `mask` `(B, H, W)`.

        The papers that shrink labels add the pixels up. The mean gives a learning rate the same meaning whatever the
        crop, the batch and the share of void.
        """
        if self.model.shrinks_labels:
            height, width = logits.shape[-2:]
            mask = shrink_labels(mask, (height, width), self.model.align_corners)
        return self.losses(logits, mask, self.global_step)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """One step of training."""
        image, mask = batch["image"], batch["mask"]
        assert isinstance(image, Tensor)
        assert isinstance(mask, Tensor)
        self.check_batch(image, mask)
        maps = self.model.training_maps(self.normalise(image))
        weights = [found for side in self.side_tasks if (found := side.pixel_weights(batch)) is not None]
        self.losses.pixel_weights = torch.stack(weights).prod(0) if weights else None
        parts = {"labels": self.loss(maps, mask)}
        for side in self.side_tasks:
            parts |= side.losses(maps, batch)
        if self.distillation is not None:
            parts |= self.distillation(image, maps.main)
        loss = torch.stack(list(parts.values())).sum() if len(parts) > 1 else parts["labels"]
        shown = {"train/loss": loss}
        if len(parts) > 1:
            shown |= {f"train/loss/{name}": part for name, part in parts.items()}
        self.log_dict(self._means_of_step(shown), batch_size=len(image))
        base = next(group for group in self.trainer.optimizers[0].param_groups if group["name"].endswith("kernel"))
        self.log("lr", base["lr"], batch_size=len(image))
        return loss

    def _means_of_step(self, losses: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the means of losses over the batches of the optimiser step so far: several, where they accumulate."""
        step, so_far = self._losses_of_step
        so_far = [*(so_far if step == self.global_step else ()), {key: loss.detach() for key, loss in losses.items()}]
        self._losses_of_step = self.global_step, so_far
        return {key: torch.stack([each[key] for each in so_far]).mean() for key in losses}

    def on_before_backward(self, loss: Tensor) -> None:
        """Layers that gradient checkpointing runs again must not count the batch again."""
        if self.model.options.gradient_checkpointing:
            self._resume_statistics = pause_statistics(self.model)

    def on_after_backward(self) -> None:
        """Count batches again."""
        if self.model.options.gradient_checkpointing:
            self._resume_statistics()

    def configure_optimizers(self) -> Any:
        """Return the optimiser, and the schedule stepped at every optimiser step."""
        groups = parameter_groups(
            self.model,
            self.optimizer_options,
            self._new_layers,
            beside=[module for module in (self.depth, self.distillation) if module is not None],
        )
        now = {group["name"]: len(group["params"]) for group in groups}
        if self._groups_so_far not in (None, now):
            raise ConfigError(
                f"What is trained is not what was so far ({_in_words(now)}; so far {_in_words(self._groups_so_far)}), "
                f"and the optimiser cannot go on. Leave out what changes it, such as --model.freeze_batch_norm; or "
                f"begin a new run from the weights, with --model.weights in place of --ckpt_path."
            )
        optimizer = make_optimizer(groups, self.optimizer_options)
        self._optimizer_options = [
            {key: value for key, value in group.items() if key != "params"} for group in optimizer.param_groups
        ]
        schedule = make_schedule(optimizer, self.optimizer_options, lambda: self.trainer.estimated_stepping_batches)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_train_start(self) -> None:
        """After a resume: the configuration's learning rate, momentum and decay win over those in the checkpoint."""
        for group, options in zip(self.trainer.optimizers[0].param_groups, self._optimizer_options, strict=True):
            group.update(options)
        check_classes_of_data(self.num_classes, None, self.trainer.train_dataloader)
        _begin_another_epoch(self.trainer.fit_loop)
        schedule = self.lr_schedulers()
        if isinstance(schedule, FactorLR):
            schedule.apply()
        warn_if_few(self.model, self.trainer)
        if self.global_step == 0 and self.options.weights is not None:
            self._put_back_norms()

    def _put_back_norms(self) -> None:
        """Give norms that were folded into kernels, and shall learn, the statistics that they lack."""
        norms = without_statistics(self.model)
        if not norms:
            return
        rank_zero_info(
            f"{len(norms)} batch norms of {self.options.weights} were folded into kernels: their statistics are "
            f"measured on {STATISTICS_BATCHES} training batches, and what the network computes stays the same."
        )
        images = training_images(self.trainer, self, STATISTICS_BATCHES)
        put_back_statistics(self.model, norms, images, lambda sums: self.trainer.strategy.reduce(sums, reduce_op="sum"))

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Make dropout a pure function of (seed, batch, process): a resumed run draws what it would have drawn."""
        seed = int(os.environ.get("PL_GLOBAL_SEED", self._seed_so_far))
        batches = self.trainer.fit_loop.epoch_loop.total_batch_idx
        torch.manual_seed(int(np.random.SeedSequence([seed, batches, self.global_rank]).generate_state(1)[0]))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Write down which task this is, so that the checkpoint can be rebuilt on its own.

        What is trained for the teachers' sake is put aside: the network does without it.
        """
        checkpoint["deeplab_lightning"] = {
            "task": name_of(type(self)),
            "version": __version__,
            "new_layers": self._new_layers,
            "seed": int(os.environ.get("PL_GLOBAL_SEED", self._seed_so_far)),
            "trainer": dict(self.trainer_settings),
            "evaluation": self.evaluation_options.plain(),
            "processes": 1 if self._trainer is None else self.trainer.world_size,
        }
        if self.threshold is not None:
            checkpoint["deeplab_lightning"]["threshold"] = self.threshold
        put_aside(checkpoint)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Learn which layers were new when the run began (the optimiser's groups depend on it), and the threshold."""
        facts = checkpoint.get("deeplab_lightning", {})
        self._new_layers = facts.get("new_layers", [])
        self.threshold = facts.get("threshold")
        self._seed_so_far = facts.get("seed", 0)
        if self.distillation is not None:
            put_back(checkpoint)
        if self.trainer_is_fitting:
            self._go_on_from(checkpoint)

    def _go_on_from(self, checkpoint: dict[str, Any]) -> None:
        """Take over what the optimiser moved, and refuse another optimiser."""
        if not checkpoint.get("optimizer_states"):
            raise ConfigError(
                "The checkpoint holds weights alone, from which no training goes on: begin a new run from them, with "
                "--model.weights in place of --ckpt_path."
            )
        so_far, name = checkpoint["hyper_parameters"]["optimizer"]["name"], self.optimizer_options.name
        if so_far != name:
            raise ConfigError(
                f"--optimizer.name is {name}, and the checkpoint holds the state of {so_far}, from which {name} cannot "
                f"go on. Leave it out; or begin a new run from the weights, with --model.weights in place of "
                f"--ckpt_path."
            )
        groups = checkpoint["optimizer_states"][0]["param_groups"]
        self._groups_so_far = {group["name"]: len(group["params"]) for group in groups}
        if "current_model_state" in checkpoint and not self.optimizer_options.averages:
            checkpoint["state_dict"] = checkpoint.pop("current_model_state")  # the average was never trained


def compile_training(network: Network) -> None:
    """Compile what training calls; names of weights stay as they are (no `_orig_mod.`), evaluation stays uncompiled.

    Evaluation sees images of all sizes, each of which would be compiled for anew.
    """
    plain = network.training_maps
    network.training_maps = wraps(plain)(torch.compile(plain))  # type: ignore[method-assign]


def _begin_another_epoch(loop: Any) -> None:
    """Let a run that was saved behind an epoch's last batch count the epoch that it goes on with.

    Lightning ends the old epoch when it restores such a state, and still takes the next one for the rest of it: it does
    not count it as begun, and a run that is saved within it once more would end an epoch early.
    """
    epochs = loop.epoch_progress.current
    if loop.restarted_mid_epoch and epochs.processed == epochs.ready:
        loop.reset_restart_stage()


def _in_words(groups: Mapping[str, int] | None) -> str:
    return ", ".join(f"{name} {size}" for name, size in (groups or {}).items())


def _made(group: Any, given: Any, default: Any) -> Any:
    """Return options that are given as such, by name, or not at all."""
    if given is None:
        return default
    return given if isinstance(given, group) else group.of({**default.values(), **given})
