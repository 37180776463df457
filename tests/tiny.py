"""A run of one step that takes a fraction of a second: for tests of what happens around the training."""

from __future__ import annotations

from pathlib import Path

from deeplab_lightning.__main__ import main

TINY = [
    *("--model.base_width", "2", "--data.crop_size", "17", "--data.batch_size", "2", "--data.num_workers", "0"),
    *("--data.height", "64", "--data.width", "64", "--data.train_size", "6", "--data.val_size", "2"),
    *("--data.test_size", "2", "--trainer.max_steps", "2", "--trainer.val_check_interval", "2"),
    *("--trainer.accelerator", "cpu", "--trainer.num_sanity_val_steps", "0", "--trainer.enable_progress_bar", "false"),
]


def tiny_fit(folder: Path, *options: str, model: str = "EncoderDecoder") -> int:
    """Train a network of a few hundred weights for two steps; the run is `folder / "tiny" / "version_N"`."""
    where = ["--run.folder", str(folder), "--run.name", "tiny"]
    return main(["fit", "--model", model, *TINY, *where, *options])
