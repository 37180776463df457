"""Checkpoint files that are whole or not there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from ..files import atomic_open


class SafeCheckpoints(TorchCheckpointIO):
    """Writes a checkpoint beside its place, lets it reach the disk, and moves it there.

    Whatever happens meanwhile, kill or power loss, the name stands for the old file or for the new one. (Lightning
    writes into the system's temporary folder, from where a move to another disk is a copy that can be cut short.)
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Write `checkpoint` to `path`."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_open(path) as file:
            torch.save(checkpoint, file)
            file.flush()
            os.fsync(file.fileno())
        sync_folder(path.parent)


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
