"""A look at augmented samples before training."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from lightning.pytorch import Callback, Trainer

from ..data.datasets.base import Draw, LoaderView
from ..data.images import write_image
from ..reporting.augmented import augmented_overview
from ..runs import RunFolder


class Preview(Callback):
    """Writes `panels/augmented.png` before training, where `--data.preview` asks for it: samples of the first epoch.

    Args:
        run: The run folder.
    """

    def __init__(self, run: RunFolder) -> None:
        self.run = run

    def on_fit_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Draw the overview, with the pipeline for a caption."""
        datamodule: Any = getattr(trainer, "datamodule", None)
        if not trainer.is_global_zero or not getattr(datamodule, "preview", 0):
            return
        dataset = datamodule.dataset("train")
        view = LoaderView(dataset, datamodule.transform, datamodule.seed)
        chosen = np.linspace(0, len(dataset) - 1, min(datamodule.preview, len(dataset))).round().astype(int).tolist()
        samples = [view[Draw(0, index)] for index in chosen]
        overview = augmented_overview(
            [
                (sample["sample_id"], _as_rgb(sample["image"].permute(1, 2, 0).numpy()), sample["mask"].numpy())
                for sample in samples
            ],
            datamodule.labels.colour_table(),
            str(datamodule.transform),
        )
        path = self.run.panels / "augmented.png"
        write_image(path, overview)
        print(f"Augmented samples: {path}", flush=True)


def _as_rgb(image: np.ndarray) -> np.ndarray:
    """Show an image `(H, W, C)` by its first three channels or its first, stretched if it has not 8 bits."""
    shown = image[..., :3] if image.shape[2] >= 3 else image[..., :1].repeat(3, axis=2)
    if shown.dtype == np.uint8:
        return np.ascontiguousarray(shown)
    return cv2.normalize(np.ascontiguousarray(shown), None, 0, 255, cv2.NORM_MINMAX, cv2.CV_8U)
