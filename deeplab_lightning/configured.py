"""The model that a command line describes, for commands that need neither its data nor a Trainer nor a run folder."""

from __future__ import annotations

from typing import Any

import torch

from .checkpoints.loading import check_fits
from .cli import DeepLabCLI, quieten
from .data.datasets.base import SegmentationDataset
from .inference import EvaluationOptions
from .parsing import class_named
from .tasks import SegmentationTask


class ConfiguredModel(DeepLabCLI):
    """Parses `-c`, `--model.x` and `--data.x` as `fit` does, and builds the task alone.

    Args:
        arguments: What the user wrote, without the command's own options.
        checkpoint: A checkpoint or a run, whose configuration then comes first.
        on_paper: Build it on the meta device: shapes without values, and nothing is fetched. Otherwise on the CPU, with
            the checkpoint's weights if there is one.

    Attributes:
        model: The task.
        crop_size: Of the data's configuration.
    """

    model: SegmentationTask

    def __init__(self, arguments: list[str], checkpoint: str | None = None, *, on_paper: bool) -> None:
        quieten()
        self._on_paper = on_paper
        if checkpoint is None:
            super().__init__("fit", arguments)
        else:
            super().__init__("validate", [*arguments, "--ckpt_path", checkpoint])

    def instantiate_classes(self) -> None:
        """Build the task; leave data and Trainer alone."""
        config = self.config[self.command]
        options: dict[str, Any] = config.model.init_args.as_dict()
        if self._on_paper and "pretrained" in options:
            options["pretrained"] = False
        with torch.device("meta" if self._on_paper else "cpu"):
            self.model = class_named("model", config.model.class_path)(**options)
        if self.checkpoint is not None and not self._on_paper:
            check_fits(self.model, self.model.description["class_names"], self.checkpoint, self.checkpoint_path or "")
            self.model.load_state_dict(self.checkpoint["state_dict"])
        self.crop_size: int = config.data.init_args.crop_size

    @property
    def evaluation(self) -> EvaluationOptions:
        """How images are to be looked at."""
        return EvaluationOptions.of(self.config[self.command].evaluation.as_dict())

    def dataset(self, split: str) -> SegmentationDataset:
        """Open a split of the data that is named."""
        data = self.config[self.command].data
        return class_named("data", data.class_path)(**data.init_args.as_dict()).dataset(split)

    def _set_seed(self) -> None:
        """Only where there will be values."""
        if not self._on_paper:
            super()._set_seed()

    def _run_subcommand(self, subcommand: str) -> None:
        """Nothing: a command of its own goes on from here."""


class ConfiguredData(ConfiguredModel):
    """Parses as `fit` does, and makes the datamodule alone.

    Attributes:
        options: The datamodule's arguments.
        description: What a model gets of it.
        datamodule: Made, but nothing opened.
    """

    def instantiate_classes(self) -> None:
        """Make the datamodule; leave model and Trainer alone."""
        config = self.config[self.command]
        self.options: dict[str, Any] = config.data.init_args.as_dict()
        self.description = config.model.init_args.description
        self.datamodule = class_named("data", config.data.class_path)(**self.options)
