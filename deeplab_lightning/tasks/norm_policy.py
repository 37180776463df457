"""Which norms a network has, and whether a batch is large enough for them."""

from __future__ import annotations

import warnings
from typing import Any, Literal

from lightning.pytorch import Trainer
from lightning.pytorch.utilities import rank_zero_warn
from torch import nn

from ..errors import ConfigError
from ..layers.norms import GroupNormAct, batch_norms, replace_norms

Norm = Literal["batch", "group"]

ENOUGH_IMAGES = 8
"""Images per batch norm below which it pays to do something: on VOC, v3 with 16, 12, 8 and 4 reaches 77.2, 76.5,
75.8 and 64.4 mIoU (v3 paper, effect of the batch size)."""


def apply_norm(model: nn.Module, norm: Norm, freeze_batch_norm: bool, pretrained: bool) -> None:
    """Give `model` its norms.

    Raises:
        ConfigError: Group norm together with what only batch norms have: frozen statistics, or ImageNet weights that
            were found under batch norms and mean little under others.
    """
    if norm == "group":
        if freeze_batch_norm:
            raise ConfigError("norm is group, so there is no batch norm to freeze: leave out freeze_batch_norm.")
        if pretrained and batch_norms(model):
            raise ConfigError(
                "norm is group, but ImageNet weights were found under batch norms and do not carry over: set "
                "--model.pretrained false, or take a backbone that was pretrained with group norm "
                "(--model.backbone resnet50_gn --model.norm batch)."
            )
        replace_norms(model, GroupNormAct)
    if freeze_batch_norm:
        freeze(model)


def freeze(model: nn.Module) -> None:
    """Keep the statistics, scale and shift of all batch norms as they are."""
    for batch_norm in batch_norms(model):
        batch_norm.eval().requires_grad_(False)


def expect_frozen_norms() -> None:
    """Silence Lightning's warning of modules in evaluation: these are meant to be."""
    warnings.filterwarnings("ignore", r"Found \d+ module\(s\) in eval mode")


def warn_if_few(model: nn.Module, trainer: Trainer) -> None:
    """Warn where batch norms that learn see few images at a time, and name the ways out."""
    loader: Any = trainer.train_dataloader
    size = getattr(loader, "batch_size", None)
    norms = [norm for norm in batch_norms(model) if norm.training]
    if not norms or size is None:
        return
    synchronised = any(isinstance(norm, nn.SyncBatchNorm) for norm in norms)
    images = size * trainer.world_size if synchronised else size
    if images >= ENOUGH_IMAGES:
        return
    others = "" if synchronised or trainer.world_size == 1 else " --trainer.sync_batchnorm true (on GPUs),"
    rank_zero_warn(
        f"Batch norms see {images} images at a time, which are few for their statistics: fewer than "
        f"{ENOUGH_IMAGES} cost accuracy. Ways out: a larger --data.batch_size (accumulating gradients does not "
        f"help),{others} --model.norm group, or --model.freeze_batch_norm true from pretrained weights."
    )
