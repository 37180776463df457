"""The one LightningModule with the steps, the evaluation and the optimisation. Generations only bring their network."""

from __future__ import annotations

import inspect
import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, TypeVar, cast

import numpy as np
import torch
from lightning.pytorch import Callback
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor, nn

from .. import __version__
from ..checkpoints.loading import read_checkpoint
from ..checkpoints.transfer import CLASSIFIERS, transfer
from ..errors import ConfigError
from ..layers import Normalise
from ..layers.heads import use_one_logit
from ..layers.norms import pause_statistics
from ..losses import CombinedLoss, LossOptions
from ..losses.class_weights import WeightRule
from ..losses.depth import DepthLoss
from ..metrics.depth import DepthScores
from ..metrics.segmentation import SegmentationScores
from ..metrics.threshold import BestThreshold
from ..optim import FactorLR, parameter_groups
from ..optim.averaging import WeightAverage
from ..types import Batch, DataDescription
from .class_weighting import checked_weights, weights_by_rule
from .depth import DepthHead, depth_of
from .description import check_against, check_two_classes, describe_by_hand
from .distillation import Distillation, DistillationOptions, FeatureLoss, put_aside, put_back
from .evaluating import EvaluatedTask
from .norm_policy import Norm, apply_norm, expect_frozen_norms, freeze, warn_if_few
from .optimisation import make_optimizer, make_schedule, options_of_groups
from .speed import compile_in_place, use_gradient_checkpointing

Network = TypeVar("Network", bound=nn.Module)


class TrainedMaps(NamedTuple):
    """The logits that a training step compares with the labels."""

    main: Tensor
    """`(B, C, h, w)`: what the network says, at its own resolution or the image's."""
    further: tuple[Tensor, ...] = ()
    """Those of an auxiliary head, or of single scales."""


class SegmentationTask(EvaluatedTask, ABC):
    """Trains and evaluates a segmentation network. Not used itself: each generation is a thin subclass.

    A subclass overrides `build_model`, and `trained_maps` with `loss_of` only where its paper differs; never the steps,
    so that an ablation compares networks and not training loops.

    Args:
        num_classes: Taken from the data; only needed where there is no data description.
        ignore_index: Taken from the data, likewise.
        class_names: Taken from the data, likewise.
        description: What the model must know of its data (set by the command line from the datamodule).
        lr: Base learning rate, for the backbone.
        optimizer: sgd, as in the papers, or adamw.
        momentum: Of SGD.
        weight_decay: On the kernels of dense convolutions, PyTorch's convention.
        head_lr_multiplier: How much faster the new layers learn (1 in v3 and v3+, 10 in v1 and v2).
        bias_lr_multiplier: How much faster the biases of convolutions learn (1 in v3 and v3+, 2 in v1 and v2).
        schedule: Of the learning rate: poly (v2 on), step (v1) or cosine.
        poly_power: Exponent of the poly schedule.
        step_every: Optimiser steps between two falls of the step schedule.
        step_gamma: What each of them multiplies the learning rate by.
        warmup_steps: Optimiser steps over which the learning rate first rises.
        norm: batch, or group in place of all batch norms, the backbone's too (for small batches, from scratch).
        freeze_batch_norm: Train with the batch norms' stored statistics, and leave their scale and shift alone (v2; the
            second stage of v3).
        weights: A checkpoint of the same network whose weights a new run starts from: the second stage of v3, or one
            from `import`. For other classes the classifiers start anew, and `head_lr_multiplier` is for them alone.
        ema_decay: Validate and keep an exponential average of the weights, such as 0.999, beside the trained ones.
        swa_start: Likewise the equal average, from this share of the run on, such as 0.75.
        losses: What training makes small: names (cross_entropy, hard_pixels, ohem, focal, dice, tversky, lovasz,
            boundary) and their weights; cross_entropy if not given, as in the papers.
        class_weights: Of the cross-entropy: one for each class, or a rule (median_frequency, effective_number, enet) by
            which they follow from the training masks.
        label_smoothing: Of the cross-entropy: share of the truth that is spread over all classes.
        hard_pixel_share: Share of all pixels that hard_pixels keeps in the end.
        hard_pixel_steps: Optimiser steps over which it gets there, from all pixels.
        ohem_threshold: Probability of the true class below which ohem keeps a pixel.
        ohem_min_kept: Pixels of a batch that it keeps at least.
        focal_gamma: How much less easy pixels count in focal.
        tversky_beta: Weight of missed pixels in tversky; those too much have the rest to 1.
        boundary_width: Pixels on both sides of a border that boundary looks at.
        binary: Two classes by one channel and its sigmoid instead of two and their softmax. The threshold under which
            the second class has the highest IoU is found at every validation, kept in the checkpoint, and used by
            `validate`, `test` and `predict`; in training, `val/mIoU` is that of 0.5.
        depth_weight: Of the loss of a second head that predicts depth, for data with depth maps; 0 builds none.
        depth_loss: scale_invariant, or l1.
        teachers: Checkpoints of trained networks for the same classes, whose scores this one learns besides the labels.
        distill_weight: Of the loss that compares its scores with theirs.
        distill_temperature: By which both are divided before the softmax.
        distill_features: Weight of the loss that compares inner maps; 0 for none.
        feature_loss: hint (squared distance, by a 1x1 adapter where channels differ, which is trained and thrown away)
            or attention (where the maps respond, in whichever channels).
        distill_layer: Module whose output is compared, such as backbone or context; the context module's, or what the
            classifier reads, if not given.
        channels_last: Keep the network's weights and maps in channels-last order: the same numbers, usually faster.
        compile: Compile the training step's network (torch.compile): a slow first step, then faster ones.
        gradient_checkpointing: Compute the backbone's inner maps twice instead of keeping them: slower, less memory.
    """

    features_fit_the_image: bool = True
    """Whether what the classifier reads, resized, lies on the image: a depth head needs that."""

    def __init__(
        self,
        num_classes: int | None = None,
        ignore_index: int | None = None,
        class_names: list[str] | None = None,
        description: DataDescription | None = None,
        lr: float = 0.01,
        optimizer: Literal["sgd", "adamw"] = "sgd",
        momentum: float = 0.9,
        weight_decay: float = 1e-4,
        head_lr_multiplier: float = 1.0,
        bias_lr_multiplier: float = 1.0,
        schedule: Literal["poly", "step", "cosine"] = "poly",
        poly_power: float = 0.9,
        step_every: int = 2000,
        step_gamma: float = 0.1,
        warmup_steps: int = 0,
        norm: Norm = "batch",
        freeze_batch_norm: bool = False,
        weights: str | None = None,
        ema_decay: float | None = None,
        swa_start: float | None = None,
        losses: dict[str, float] | None = None,
        class_weights: list[float] | WeightRule | None = None,
        label_smoothing: float = 0.0,
        hard_pixel_share: float = 0.25,
        hard_pixel_steps: int = 0,
        ohem_threshold: float = 0.7,
        ohem_min_kept: int = 100_000,
        focal_gamma: float = 2.0,
        tversky_beta: float = 0.7,
        boundary_width: int = 3,
        binary: bool = False,
        depth_weight: float = 0.0,
        depth_loss: DepthLoss = "scale_invariant",
        teachers: list[str] | None = None,
        distill_weight: float = 1.0,
        distill_temperature: float = 2.0,
        distill_features: float = 0.0,
        feature_loss: FeatureLoss = "hint",
        distill_layer: str | None = None,
        channels_last: bool = True,
        compile: bool = False,
        gradient_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.description = description or describe_by_hand(num_classes, ignore_index, class_names)
        check_against(self.description, num_classes, ignore_index, class_names)
        self.num_classes = len(self.description["class_names"])
        self.ignore_index = self.description["ignore_index"]
        self.normalise = Normalise(self.description["mean"], self.description["std"], self.description["pixel_range"])
        self.model = self.build_model()
        if binary:
            check_two_classes(self.description)
            use_one_logit(self.model, CLASSIFIERS)
        apply_norm(self.model, norm, freeze_batch_norm, bool(self.hparams.get("pretrained")))
        if gradient_checkpointing:
            use_gradient_checkpointing(self.model, str(self.hparams.get("backbone")))
        self.depth = self._build_depth_head() if depth_weight else None
        if channels_last:
            self.model.to(memory_format=torch.channels_last)
        self.evaluation = SegmentationScores(self.description["class_names"], self.ignore_index)
        self.best_threshold = BestThreshold(self.ignore_index) if binary else None
        self.depth_scores = DepthScores() if self.depth is not None else None
        self._combined = CombinedLoss(
            losses or {"cross_entropy": 1.0},
            self.ignore_index,
            LossOptions(
                label_smoothing=label_smoothing,
                hard_pixel_share=hard_pixel_share,
                hard_pixel_steps=hard_pixel_steps,
                ohem_threshold=ohem_threshold,
                ohem_min_kept=ohem_min_kept,
                focal_gamma=focal_gamma,
                tversky_beta=tversky_beta,
                boundary_width=boundary_width,
            ),
        )
        self._class_weights: Tensor | None = None
        if isinstance(class_weights, list):
            self._class_weights = checked_weights(class_weights, self.num_classes)
        self._optimizer_options: list[dict[str, Any]] = []
        self._new_layers: list[str] = []  # within the network, where its other weights came from `weights`
        self.threshold: float | None = None
        self.distillation: Distillation | None = None

    @abstractmethod
    def build_model(self) -> nn.Module:
        """Make the network from `self.hparams`, for `self.num_classes` classes."""

    def build(self, model_class: Callable[..., Network]) -> Network:
        """Make a network for the data's classes and channels, with all hyper-parameters that it has a name for."""
        names = set(inspect.signature(model_class).parameters)
        options = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in self.hparams.items()
            if name in names
        }
        options |= {"num_classes": self.num_classes, "in_channels": self.description["channels"]}
        return model_class(**options)

    def setup(self, stage: str) -> None:
        """Before a new run: take over the weights that it starts from."""
        if self.hparams["freeze_batch_norm"]:
            expect_frozen_norms()
        if self.depth is not None and self._datamodule is not None:
            self._datamodule.deliver_depth()
        path = self.hparams["weights"]
        if stage == "fit" and path is not None and self.trainer.ckpt_path is None:
            self._new_layers = transfer(self, self.description, read_checkpoint(path), path)
            if self._new_layers:
                rank_zero_info(f"{path} knows other classes; layers that start anew: {', '.join(self._new_layers)}.")

    def train(self, mode: bool = True) -> SegmentationTask:
        """Switch between training and evaluation; frozen batch norms stay in evaluation."""
        super().train(mode)
        if self.hparams["freeze_batch_norm"]:
            freeze(self.model)
        return self

    def configure_callbacks(self) -> list[Callback]:
        """Average the weights, if asked for; before, bring in what is trained beside the network."""
        if self.trainer.state.fn == "fit" and self.hparams["teachers"]:
            self.distillation = self._meet_teachers()
        decay, start = self.hparams["ema_decay"], self.hparams["swa_start"]
        averages = self.trainer.state.fn == "fit" and (decay is not None or start is not None)
        return [WeightAverage(decay, start)] if averages else []

    def on_fit_start(self) -> None:
        """Compile; find the class weights, where they follow from the training masks by a rule."""
        if self.distillation is not None:
            self.distillation.teachers.to(self.device)
        if self.hparams["compile"]:
            compile_in_place(self.model)
        rule = self.hparams["class_weights"]
        if isinstance(rule, str):
            names = self.description["class_names"]
            self._class_weights = weights_by_rule(cast(WeightRule, rule), self._datamodule, names)

    @property
    def _datamodule(self) -> Any:
        return getattr(self.trainer, "datamodule", None)

    def _build_depth_head(self) -> DepthHead:
        model: Any = self.model
        if not self.features_fit_the_image:
            raise ConfigError(
                f"The features of {type(model).__name__} do not lie on the image as its logits do, so that no depth "
                f"map can be read from them: take DeepLab v3 or v3+, or leave out --model.depth_weight."
            )
        return DepthHead(model, self.hparams["depth_loss"], model.align_corners)

    def _meet_teachers(self) -> Distillation:
        hparams: Any = self.hparams
        options = DistillationOptions(
            weight=hparams.distill_weight,
            temperature=hparams.distill_temperature,
            features=hparams.distill_features,
            feature_loss=hparams.feature_loss,
            layer=hparams.distill_layer,
        )
        return Distillation(self.model, hparams.teachers, self.description, options)

    def criterion(self, logits: Tensor, mask: Tensor) -> Tensor:
        """Return the (sum of) losses of `logits` `(B, C, H, W)` against `mask` `(B, H, W)`."""
        return self._combined(logits, mask, self._weights_on(logits.device), self.global_step)

    def _weights_on(self, device: torch.device) -> Tensor | None:
        if self._class_weights is not None:
            self._class_weights = self._class_weights.to(device)
        return self._class_weights

    def loss(self, image: Tensor, mask: Tensor) -> Tensor:
        """The loss against the labels.

        Args:
            image: `(B, C, H, W)` normalised.
            mask: `(B, H, W)` train ids.
        """
        return self.loss_of(self.trained_maps(image), mask)

    def trained_maps(self, image: Tensor) -> TrainedMaps:
        """Return the logits that training compares with the labels, and with the teachers' (the main ones).

        Args:
            image: `(B, C, H, W)` normalised.
        """
        model: Any = self.model
        if getattr(model, "aux_head", None) is None:
            return TrainedMaps(model.coarse_logits(image))
        logits, aux_logits = model.logits_with_auxiliary(image)
        return TrainedMaps(logits, (aux_logits,))

    def loss_of(self, maps: TrainedMaps, mask: Tensor) -> Tensor:
        """The loss at full resolution: logits are brought to the label's size, never the label to the logits'.

        The cross-entropy does that band by band (`losses/upsampled.py`), so that full-resolution logits are not made
        unless another loss needs them.

        A network with an auxiliary head adds that head's, times `aux_loss_weight`.

        Args:
            maps: Of `trained_maps`.
            mask: `(B, H, W)` train ids.
        """
        model: Any = self.model
        if not maps.further:
            weights = self._weights_on(maps.main.device)
            return self._combined.of_coarse(maps.main, mask, model.align_corners, weights, self.global_step)
        (aux_logits,) = maps.further
        return self.criterion(maps.main, mask) + self.hparams["aux_loss_weight"] * self.criterion(aux_logits, mask)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """One step of training."""
        image, mask = batch["image"], batch["mask"]
        assert isinstance(image, Tensor)
        assert isinstance(mask, Tensor)
        maps = self.trained_maps(self.normalise(image))
        parts = {"labels": self.loss_of(maps, mask)}
        if self.depth is not None:
            parts["depth"] = self.hparams["depth_weight"] * self.depth.loss(depth_of(batch))
        if self.distillation is not None:
            parts |= self.distillation(image, maps.main)
        loss = torch.stack(list(parts.values())).sum() if len(parts) > 1 else parts["labels"]
        self.log("train/loss", loss, batch_size=len(image))
        if len(parts) > 1:
            self.log_dict({f"train/loss/{name}": part for name, part in parts.items()}, batch_size=len(image))
        base = next(group for group in self.trainer.optimizers[0].param_groups if group["name"].endswith("kernel"))
        self.log("lr", base["lr"], batch_size=len(image))
        return loss

    def on_before_backward(self, loss: Tensor) -> None:
        """Layers that gradient checkpointing runs again must not count the batch again."""
        if self.hparams["gradient_checkpointing"]:
            self._resume_statistics = pause_statistics(self.model)

    def on_after_backward(self) -> None:
        """Count batches again."""
        if self.hparams["gradient_checkpointing"]:
            self._resume_statistics()

    def configure_optimizers(self) -> Any:
        """The optimiser, and the schedule stepped at every optimiser step."""
        hparams: Any = self.hparams
        groups = parameter_groups(
            self.model,
            hparams.lr,
            hparams.weight_decay,
            hparams.head_lr_multiplier,
            hparams.bias_lr_multiplier,
            self._new_layers,
            beside=[module for module in (self.depth, self.distillation) if module is not None],
        )
        optimizer = make_optimizer(groups, hparams)
        self._optimizer_options = options_of_groups(optimizer)
        schedule = make_schedule(optimizer, hparams, lambda: self.trainer.estimated_stepping_batches)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_train_start(self) -> None:
        """After a resume: the configuration's learning rate, momentum and decay win over those in the checkpoint."""
        for group, options in zip(self.trainer.optimizers[0].param_groups, self._optimizer_options, strict=True):
            group.update(options)
        schedule = self.lr_schedulers()
        if isinstance(schedule, FactorLR):
            schedule.apply()
        warn_if_few(self.model, self.trainer)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Make dropout a pure function of (seed, batch, process): a resumed run draws what it would have drawn."""
        seed = int(os.environ.get("PL_GLOBAL_SEED", "0"))
        batches = self.trainer.fit_loop.epoch_loop.total_batch_idx
        torch.manual_seed(int(np.random.SeedSequence([seed, batches, self.global_rank]).generate_state(1)[0]))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Write down which task this is, so that the checkpoint can be rebuilt on its own.

        What is trained for the teachers' sake is put aside: the network does without it.
        """
        checkpoint["deeplab_lightning"] = {
            "task": type(self).__name__,
            "version": __version__,
            "new_layers": self._new_layers,
        }
        if self.threshold is not None:
            checkpoint["deeplab_lightning"]["threshold"] = self.threshold
        put_aside(checkpoint)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Learn which layers were new when the run began (the optimiser's groups depend on it), and the threshold."""
        facts = checkpoint.get("deeplab_lightning", {})
        self._new_layers = facts.get("new_layers", [])
        self.threshold = facts.get("threshold")
        if self.distillation is not None:
            put_back(checkpoint)
