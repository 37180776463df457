"""The checkpoint of the best validation."""

from __future__ import annotations

from lightning.pytorch.callbacks import ModelCheckpoint

from ..runs import RunFolder


class BestCheckpoint(ModelCheckpoint):
    """Keeps `best.ckpt`, that of the highest mIoU.

    It has a class of its own, so that its state in a checkpoint is none of the user's `ModelCheckpoint`s, whatever they
    watch.

    Args:
        run: The run folder.
    """

    def __init__(self, run: RunFolder) -> None:
        super().__init__(
            run.checkpoints,
            "best",
            monitor="val/mIoU",
            mode="max",
            auto_insert_metric_name=False,
            enable_version_counter=False,
        )
