"""Loggers and plugins of the trainer: those that the user gave, and ours where he gave none of a kind."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger
from lightning.pytorch.plugins import CheckpointIO, LayerSync
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.plugins.layer_sync import TorchSyncBatchNorm
from torch import nn

from .checkpoints.loading import read_checkpoint
from .errors import ConfigError
from .files import atomic_open, writing
from .layers.norms import SyncBatchNormAct, replace_norms
from .runs import RunFolder


def as_list(value: Any, kind: type) -> list[Any]:
    """Return what a configuration gives as one thing, as a list, or not at all."""
    if isinstance(value, kind):
        return [value]
    return list(value) if isinstance(value, list | tuple) else []


def plugins(trainer: Mapping[str, Any]) -> list[Any]:
    """Return the user's plugins of the trainer, and ours where he has none of that kind."""
    given = trainer.get("plugins") or []
    found = list(given) if isinstance(given, list | tuple) else [given]
    if not any(isinstance(plugin, CheckpointIO) for plugin in found):
        found.append(SafeCheckpoints())
    if trainer.get("sync_batchnorm") and not any(isinstance(plugin, LayerSync) for plugin in found):
        found.append(SyncBatchNorm())
    return found


def place_logger(logger: Logger, run: RunFolder) -> None:
    """Let a logger that was not told where to write do so in the run folder."""
    if isinstance(logger, WandbLogger):
        from .reporting.wandb_runs import keep_offline, read_identity

        if keep_offline(logger):
            print("Weights & Biases: no key, so this run is kept in its folder (wandb login; wandb sync uploads it)")
        if logger._wandb_init.get("dir") in (None, "."):
            logger._save_dir = logger._wandb_init["dir"] = str(run.path)
        if logger._wandb_init.get("name") is None:
            logger._name = logger._wandb_init["name"] = f"{run.path.parent.name}/{run.path.name}"
        identity = read_identity(run)
        if identity and logger._wandb_init.get("id") is None:  # a resumed training goes on with its run
            logger._id = logger._wandb_init["id"] = identity["id"]
    elif isinstance(logger, TensorBoardLogger) and logger._root_dir == ".":
        logger._root_dir = str(run.path)


class SafeCheckpoints(TorchCheckpointIO):
    """Writes a checkpoint beside its place, lets it reach the disk, and moves it there; reads one with care.

    Whatever happens meanwhile, kill or power loss, the name stands for the old file or for the new one. (Lightning
    writes into the system's temporary folder, from where a move to another disk is a copy that can be cut short.)
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Write `checkpoint` to `path`.

        Raises:
            ConfigError: The disk is full, or the place cannot be written; what was there before is still there.
        """
        path = Path(path)
        remedy = f"What was saved before is whole. Make room, then go on with --ckpt_path {path.parent.parent}."
        with writing(path, remedy, ConfigError):
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_open(path) as file:
                try:
                    torch.save(checkpoint, file)
                except RuntimeError as error:  # PyTorch's writer closes its archive, which fails too, and says that
                    if isinstance(error.__context__, OSError):
                        raise error.__context__ from error
                    raise
                file.flush()
                os.fsync(file.fileno())
            sync_folder(path.parent)

    def load_checkpoint(
        self, path: str | Path, map_location: Any | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a checkpoint as all commands do: verified, and nothing in it runs."""
        return read_checkpoint(path)


def sync_folder(folder: Path) -> None:
    """Let the names in `folder` reach the disk; nothing where folders cannot be opened (Windows)."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class SyncBatchNorm(TorchSyncBatchNorm):
    """Lightning's conversion, but one that keeps the activations inside timm's batch norms."""

    def apply(self, model: nn.Module) -> nn.Module:
        """Synchronise the batch norms of `model`, in place."""
        replace_norms(model, SyncBatchNormAct)
        return model

    def revert(self, model: nn.Module) -> nn.Module:
        """Put the original batch norms back, with what they learnt."""
        replace_norms(model, SyncBatchNormAct.original, SyncBatchNormAct)
        return model
