"""What the tests share: a real run of a few steps with a small network, made once."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from deeplab_lightning.__main__ import main

REPOSITORY = Path(__file__).parent.parent
V3PLUS = REPOSITORY / "configs" / "v3plus.yaml"

SMALL = [
    *("--model.backbone", "test_efficientnet", "--model.aspp_channels", "16", "--model.decoder_channels", "16"),
    *("--data.crop_size", "65", "--data.batch_size", "2", "--data.num_workers", "0"),
    *("--trainer.max_steps", "4", "--trainer.val_check_interval", "2", "--trainer.accelerator", "cpu"),
]
SMALL_SCENES = [
    *("--data.height", "64", "--data.width", "80", "--data.train_size", "12"),
    *("--data.val_size", "5", "--data.test_size", "3"),
]


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Several tests run side by side: more threads each would only get in one another's way."""
    torch.set_num_threads(1)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("WANDB_MODE", "offline")


Fit = Callable[..., int]


@pytest.fixture
def fit(tmp_path: Path) -> Fit:
    """`fit("--option", "value", ...)`: train the small network on small drawn scenes, with runs in `tmp_path/runs`."""

    def run(*options: str) -> int:
        return main(["fit", "-c", str(V3PLUS), *SMALL, *SMALL_SCENES, "--run.folder", str(tmp_path / "runs"), *options])

    return run


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run on drawn scenes. Do not write into it."""
    folder = tmp_path_factory.mktemp("trained") / "runs"
    assert main(["fit", "-c", str(V3PLUS), *SMALL, *SMALL_SCENES, "--run.folder", str(folder)]) == 0
    return folder / "v3plus" / "version_0"


@pytest.fixture(scope="session")
def checkpoint(trained_run: Path) -> Path:
    """The last checkpoint of `trained_run`."""
    return trained_run / "checkpoints" / "last.ckpt"
