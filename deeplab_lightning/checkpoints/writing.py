"""Checkpoints of networks that no Trainer has trained here: imported ones, and ensembles."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from .. import __version__
from ..errors import ConfigError
from ..files import atomic_open, writing


def write_checkpoint(
    path: Path,
    task: LightningModule,
    weights: Mapping[str, Tensor],
    data: Mapping[str, Any] | None = None,
    **facts: Any,
) -> None:
    """Write a task as a checkpoint that every command reads.

    Args:
        path: The file.
        task: Built by the options that are written down.
        weights: Those of its network, by the network's own names.
        data: Options of the data that it is evaluated on unless something else is said.
        facts: What else is to be known of it: plain values, by name.

    Raises:
        ConfigError: The file cannot be written.
    """
    checkpoint = {
        "deeplab_lightning": {"task": type(task).__name__, "version": __version__},
        **facts,
        "pytorch-lightning_version": lightning.__version__,
        "epoch": 0,
        "global_step": 0,
        "state_dict": {f"model.{key}": value.contiguous().clone() for key, value in weights.items()},
        "hparams_name": "kwargs",
        "hyper_parameters": dict(task.hparams),
        "datamodule_hparams_name": "kwargs",
        "datamodule_hyper_parameters": dict(data or {}),
    }
    with writing(path, "Choose another place with -o.", ConfigError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_open(path) as file:
            torch.save(checkpoint, file)
