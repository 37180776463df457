"""A look at augmented samples before training."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Callback, Trainer

from ..data.datamodule import LoaderOptions
from ..data.display import displayable
from ..data.files.saving import write_image
from ..data.loading import LoaderView
from ..data.sampling import Draw
from ..data.spacing import spread
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
        options = getattr(datamodule, "options", None)
        if not trainer.is_global_zero or not isinstance(options, LoaderOptions) or options.preview == 0:
            return
        dataset = datamodule.dataset("train")
        view = LoaderView(dataset, datamodule.transform, datamodule.seed)
        samples = [view[Draw(0, index)] for index in spread(len(dataset), options.preview)]
        overview = augmented_overview(
            [
                (sample["sample_id"], displayable(sample["image"].permute(1, 2, 0).numpy()), sample["mask"].numpy())
                for sample in samples
            ],
            datamodule.labels.colour_table(),
            str(datamodule.transform),
        )
        path = self.run.panels / "augmented.png"
        write_image(path, overview)
        print(f"Augmented samples: {path}", flush=True)
