"""Batch norms whose statistics are those of all processes: `--trainer.sync_batchnorm true`."""

from __future__ import annotations

from lightning.pytorch.plugins.layer_sync import TorchSyncBatchNorm
from torch import nn

from ..layers.norms import SyncBatchNormAct, replace_norms


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
